"""python -m data_prep check --source NAME --in FILE|HUB_ID ... [--max-rejected SHARE] [--report FILE]

Reads and checks every row, says what would be rejected and why with one example each; exit 1 over --max-rejected,
which is 0 here: one bad row is worth a look.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from data_prep.checks import REASONS
from data_prep.cli.reading import add_reading_arguments, open_dialogues, share, write_report
from data_prep.quarantine import Quarantine, TooManyRejected


def main(argv: Sequence[str]) -> int:
    """Check the inputs; 0 if at most --max-rejected of the rows are bad, else 1."""
    parser = argparse.ArgumentParser(prog="python -m data_prep check", description=__doc__.split("\n\n")[1])
    add_reading_arguments(parser)
    parser.add_argument("--max-rejected", type=share, default=0.0, metavar="SHARE", help="0 to 1 (default: 0)")
    parser.add_argument("--quarantine", metavar="FILE", help="write the rejected rows here (default: nowhere)")
    args = parser.parse_args(argv)
    with Quarantine(args.quarantine) as quarantine:
        for _ in open_dialogues(args, quarantine):
            pass
    for file, counts in quarantine.by_file.items():
        rejected = sum(counts.values()) - counts["read"]
        print(f"{file}: kept {counts['read'] - rejected:,} of {counts['read']:,}")
    for code, count in quarantine.by_reason.most_common():
        print(f"  {code} {count:,}: {REASONS.get(code, code)}; first: {quarantine.examples[code]}")
    print(quarantine.summary())
    write_report(args.report, quarantine)
    try:
        quarantine.check(args.max_rejected)
    except TooManyRejected as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0
