"""python -m data_prep check --source NAME --in FILE|HUB_ID ... [--max-rejected SHARE] [--report FILE] [--model M]

Reads and checks every row, says what would be rejected and why with one example each; exit 1 over --max-rejected,
which is 0 here: one bad row is worth a look. With --model every row is encoded for that model too, and its samples are
proven to hold the laws of data_prep/proofs.py.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import islice
from typing import Literal

from data_prep.checks import REASONS
from data_prep.cli.reading import add_reading_arguments, open_dialogues, share, write_report
from data_prep.dialogue import Dialogue
from data_prep.quarantine import Quarantine, TooManyRejected
from data_prep.rejection import LAWS
from data_prep.rejection import REASONS as UNENCODABLE


def main(argv: Sequence[str]) -> int:
    """Check the inputs; 0 if at most --max-rejected of the rows are bad, else 1."""
    parser = argparse.ArgumentParser(prog="python -m data_prep check", description=__doc__.split("\n\n")[1])
    add_reading_arguments(parser)
    parser.add_argument("--max-rejected", type=share, default=0.0, metavar="SHARE", help="0 to 1 (default: 0)")
    parser.add_argument("--quarantine", metavar="FILE", help="write the rejected rows here (default: nowhere)")
    parser.add_argument("--model", metavar="M", help="encode every row for this model and prove the samples")
    parser.add_argument("--tool-format", choices=("auto", "native", "button"), default="auto",
                        help="how --model is given tools (default: auto)")  # fmt: skip
    args = parser.parse_args(argv)
    laws: Counter[str] = Counter()
    with Quarantine(args.quarantine) as quarantine:
        dialogues = open_dialogues(args, quarantine)
        if args.model:
            laws = prove_rows(dialogues, args.model, args.tool_format, quarantine)
        for _ in dialogues:
            pass
    for file, counts in quarantine.by_file.items():
        rejected = sum(counts.values()) - counts["read"]
        print(f"{file}: kept {counts['read'] - rejected:,} of {counts['read']:,}")
    for code, count in quarantine.by_reason.most_common():
        meaning = REASONS.get(code) or UNENCODABLE.get(code, code)
        print(f"  {code} {count:,}: {meaning}; first: {quarantine.examples[code]}")
    for law, rows in laws.items():
        print(f"  proven on {rows:,} rows: {law}, {LAWS[law]}")
    print(quarantine.summary(), *quarantine.notes(), sep="\nnote: ")
    write_report(args.report, quarantine, laws=dict(laws) if args.model else None)
    try:
        quarantine.check(args.max_rejected)
    except TooManyRejected as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


def prove_rows(
    dialogues: Iterable[Dialogue], model: str, tool_format: Literal["auto", "native", "button"], quarantine: Quarantine
) -> Counter[str]:
    """Encode every dialogue for `model`; on how many each law was proven. What fails goes to the quarantine."""
    from data_prep.encode import Encoder, RejectedDialogue, load_tokenizer  # imports transformers: only where asked for
    from data_prep.fit import CHUNK_DIALOGUES, loaded

    encoder = loaded(model, lambda: Encoder(load_tokenizer(model), tool_format))
    laws: Counter[str] = Counter()
    rows = iter(dialogues)
    while chunk := list(islice(rows, CHUNK_DIALOGUES)):
        for dialogue, result in zip(chunk, encoder.prove_batch(chunk), strict=True):
            if isinstance(result, RejectedDialogue):
                quarantine.reject(dialogue, result.code, result.message)
            else:
                laws.update(result.laws)
    return laws
