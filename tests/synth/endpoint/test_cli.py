"""The command's options: what would do nothing, or can't work, is refused before anything is asked."""

from __future__ import annotations

import pytest

from data_prep.__main__ import main


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ("--base-url http://localhost:1/v1", "needs --base-url and --model"),
        ("--backend endpoint --model m", "needs --base-url and --model"),
        ("--base-url http://localhost:1/v1 --model m --split held_out", "--split makes dialogues by program"),
        ("--base-url http://localhost:1/v1 --model m --concurrency 0", "--concurrency must be at least 1"),
        ("--base-url http://localhost:1/v1 --model m --budget-money 1", "--budget-money needs --price-in"),
        ("--base-url localhost:8000/v1 --model m", "--base-url must be an address such as"),
        ("--base-url http://[::1 --model m", "--base-url must be an address such as"),
        (
            "--base-url http://localhost:1/v1 --model m --requests-per-minute 0",
            "--requests-per-minute must be more than",
        ),
        (
            "--base-url http://localhost:1/v1 --model m --tokens-per-minute nan",
            "--tokens-per-minute must be more than 0",
        ),
        ("--base-url http://localhost:1/v1 --model m --timeout -1", "--timeout must be more than 0, not -1"),
        ("--base-url http://localhost:1/v1 --model m --price-in -2", "--price-in must be 0 or more"),
        ("--faithful", "--faithful needs --base-url"),
        ("--switch realism=0", "--switch needs --base-url"),
    ],
)
def test_options_that_do_nothing_or_lack_another_are_refused(
    capsys: pytest.CaptureFixture[str], options: str, complaint: str
) -> None:
    with pytest.raises(SystemExit):
        main(["synth", "button", "--out", "rows.jsonl", "--rows", "1", *options.split()])
    assert complaint in capsys.readouterr().err


def test_an_unknown_switch_and_seeds_that_can_not_be_read_name_the_remedy(capsys: pytest.CaptureFixture[str]) -> None:
    begin = ["synth", "button", "--out", "rows.jsonl", "--rows", "1", "--dry-run"]
    assert main([*begin, "--switch", "realsim=1"]) == 1
    assert "there is no 'realsim'; have realism" in capsys.readouterr().err
    assert main([*begin, "--seeds", "/nowhere.jsonl"]) == 1
    assert "/nowhere.jsonl" in capsys.readouterr().err
