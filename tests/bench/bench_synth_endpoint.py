"""The endpoint pipelines at size: ten kills and every fault change no row; the share of a server's limit that is used.

python -m pytest tests/bench/bench_synth_endpoint.py -s -q
"""

from __future__ import annotations

import time
from pathlib import Path

from data_prep.synth.cli import main
from tests.synth.endpoint.button_model import say
from tests.synth.endpoint.kills import compare_with_kills
from tests.synth.endpoint.loopback import Body, loopback
from tests.synth.endpoint.test_button_pipeline import check_rows
from tests.synth.test_mathchat_pipeline import make_with_kills


def test_200_button_rows_come_out_whatever_the_server_does_and_ten_kills_change_nothing(tmp_path: Path) -> None:
    out, figures = compare_with_kills("button", say, tmp_path, rows=200, kills=10)
    check_rows(out, 200)
    print(f"200 BUTTON rows: {figures}")


def test_200_maths_dialogues_come_out_and_no_wrong_number_is_in_any(tmp_path: Path) -> None:
    print(f"200 MathChatsync rows: {make_with_kills(tmp_path, rows=200, kills=10)}")


def test_the_servers_limit_is_used_and_never_overstepped(tmp_path: Path) -> None:
    limit = 600  # requests a minute, each served in 0.3 s
    arrivals: list[float] = []

    def timed(body: Body) -> str:
        arrivals.append(time.monotonic())
        return say(body)

    with loopback(timed, per_minute=limit, delay_s=0.3) as server:
        command = ["button", "--out", str(tmp_path / "rows.jsonl"), "--rows", "30", "--base-url", server.url]
        assert main([*command, "--model", "m", "--concurrency", "16", "--requests-per-minute", str(limit)]) == 0
    share = (len(arrivals) - 1) / ((arrivals[-1] - arrivals[0]) / 60) / limit
    print(f"throughput: {share:.1%} of the server's {limit} requests a minute; {server.over_limit} over its limit")
    assert server.over_limit == 0 and share > 0.7
