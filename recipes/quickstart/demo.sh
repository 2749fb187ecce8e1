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
# Short dialogues of several requests: most trained calls for the tokens that two cores can train in five minutes.
shape="--max-calls 2 --max-tools 4 --user-turns 3"

step() {
    local started=$SECONDS
    printf '\n+ %s\n' "$*"
    "$@"
    printf '  (%d s)\n' $((SECONDS - started))
}

step python -m training smollm2 --out $model
step python -m data_prep synth button --out $train --rows 26 $shape
step python -m data_prep synth button --out $held_out --rows 17 --split held_out $shape
step python -m data_prep preview $recipe --rows 0
step python -m data_prep preview $recipe --rows 0,1,2 --html $out/preview.html
step python -m eval run $model --tasks function_calls --tool-format button --data $held_out --max-new-tokens 112 --out $out/before
step accelerate launch --config_file accelerate_configs/cpu.yaml train.py $recipe
step python -m eval run $tuned --tasks function_calls --data $held_out --max-new-tokens 112 --out $out/after
step python -m eval compare $out/before $out/after --out $out/compare.html

printf '\nDone in %d min %d s.\n' $((SECONDS / 60)) $((SECONDS % 60))
printf '  %-32s %s\n' \
    $tuned "the adapter, its tokenizer, manifest.json, metrics.jsonl and loss picture" \
    $tuned/data "the training samples, with summary.md and lengths.png" \
    $out/preview.html "three dialogues, each token coloured by its kind" \
    $out/before "report and transcripts of the untrained model" \
    $out/after "report and transcripts of the trained one" \
    $out/compare.html "the two side by side, with paired tests"
