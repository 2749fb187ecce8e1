#!/usr/bin/env bash
# The whole main path on a CPU; `make demo` runs it. Each command is printed before it runs, and can be run by hand.
set -euo pipefail
cd "$(dirname "$0")/../.."

recipe=recipes/quickstart/button.yaml
model=runs/models/smollm2-135m-instruct
out=runs/quickstart
train=$out/data/button_train.jsonl
held_out=$out/data/button_held_out.jsonl
tuned=$out/button
# Chains of two calls with four tools listed: 51 held-out dialogues give 102 turns that are a call, of up to 110 tokens.
shape="--max-calls 2 --max-tools 4 --simple"
budget_s=${DEMO_BUDGET_S:-870}
started=${DEMO_STARTED:-$(date +%s)} # `make demo` counts its set-up in

elapsed() { echo $(($(date +%s) - started)); }

step() {
    local step_started=$SECONDS
    printf '\n+ %s\n' "$*"
    "$@"
    step_s=$((SECONDS - step_started))
    printf '  (%d s)\n' $step_s
}

# How many dialogues fit into what is left: one trains as long as a 26th of the evaluation that was just timed takes, on
# whatever machine; the evaluation of the adapter takes as long as that one; the rest, starting and saving, 60 s.
affordable_rows() {
    local evaluation_s=$(($1 + 1))
    local left_s=$((budget_s - $(elapsed) - evaluation_s - 60))
    local rows=$((left_s * 26 / evaluation_s / 2 * 2))
    echo $((rows < 24 ? 24 : rows > 200 ? 200 : rows))
}

step python -m training smollm2 --out $model
step python -m data_prep synth button --out $held_out --rows 51 --rows-per-list 6 --split held_out $shape
[ -f $out/before/report.json ] || rm -rf $out/before # one that was cut off would be timed in part
step python -m eval run $model --tasks calls --tool-format button --data $held_out --max-new-tokens 112 --out $out/before
if [ ! -f $train ]; then
    rows=$(affordable_rows $step_s)
    printf '\n%d s are over, that evaluation took %d s: training on %d dialogues fits into %d s\n' \
        "$(elapsed)" $step_s "$rows" "$budget_s"
    step python -m data_prep synth button --out $train --rows "$rows" --rows-per-list 2 $shape
fi
step python -m data_prep preview $recipe --rows 0 --html $out/preview.html
step accelerate launch --config_file accelerate_configs/cpu.yaml train.py $recipe
step python -m eval run $tuned --tasks calls --data $held_out --max-new-tokens 112 --out $out/after
step python -m eval compare $out/before $out/after --out $out/compare.html

printf '\nDone in %d min %d s.\n' $(($(elapsed) / 60)) $(($(elapsed) % 60))
printf '  %-32s %s\n' \
    $tuned "the adapter, its tokenizer, manifest.json, metrics.jsonl and loss picture" \
    $tuned/data "the training samples, with summary.md and lengths.png" \
    $out/preview.html "a training dialogue, each token coloured by its kind" \
    $out/before "report and transcripts of the untrained model" \
    $out/after "report and transcripts of the trained one" \
    $out/compare.html "the two side by side, with paired tests"
