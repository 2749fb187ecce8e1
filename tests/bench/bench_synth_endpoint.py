"""The endpoint pipelines at size: ten kills and every fault change no row; the share of a server's limit that is used.

python -m pytest tests/bench/bench_synth_endpoint.py -s -q
"""

from __future__ import annotations

from pathlib import Path

from tests.synth.endpoint.button_model import say
from tests.synth.endpoint.kills import compare_with_kills
from tests.synth.endpoint.test_button_pipeline import check_rows


def test_200_button_rows_come_out_whatever_the_server_does_and_ten_kills_change_nothing(tmp_path: Path) -> None:
    out, figures = compare_with_kills("button", say, tmp_path, rows=200, kills=10, longest_s=15.0)
    check_rows(out, 200)
    print(f"200 BUTTON rows: {figures}")
