"""report.html and the comparison page: hostile text is shown and never run, filters and search find what they name.

Chromium opens the pages where it is installed; a URL's hash sets the filters, as a click does.
"""

from __future__ import annotations

import html
import json
import re
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from data_prep import button, preview_html
from data_prep.dialogue import Message, ToolCall, message_to_dict
from eval import html_compare, html_page, html_report, report, transcripts
from eval.html_parts import CUTS, PAGE_CHARACTERS, fitted, gold_parts, item_of, reply_parts, visible
from eval.protocol import Item, Score, Step, Task
from tests.eval.helpers import ask, reply_of

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
in_browser = pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed (Debian: chromium)")

PWNED = "<script>document.title='pwned'</script>"
HOSTILE = [
    PWNED,
    "<img src=x onerror=\"document.title='pwned'\">",
    f"</script>{PWNED}<!--",
    f"<!-- <script> {PWNED}",
    f'"}}]}}</script><svg onload="document.title=1">{PWNED}',
    "\x1b[2J\x1b]0;owned\x07 NUL \x00 surrogate \ud800 right-to-left \u202etxt.exe\u2066 line \u2028 end",
    "x" * 1_000_000,
    "&lt;b&gt; &amp; {{ 7 * 7 }} {% include 'x' %}",
]


def score(item: Item, steps: Sequence[Step]) -> Score:
    """exact: the last turn says `right`; partly: how many turns do; faults: how many do not."""
    said = [step.reply.text.startswith("right") for step in steps]
    unparsed = {"exact": "no_final"} if steps[-1].reply.text.startswith("unparsed") else {}
    share = sum(said) / len(said)
    return Score({"faults": 1 - share, "partly": share, "exact": float(said[-1])}, unparsed, {"note": item.id})


TASK = Task("toy", 1, "toy <b>task</b>", {"faults": "faults; lower is better", "partly": "share", "exact": "last turn"},
            16, lambda dirs: [], lambda dirs, limit: None, lambda item, steps: None, score)  # fmt: skip


def record(index: int, *texts: str) -> dict[str, Any]:
    """Item `index` with these turns; the prompt of each shows the turns before it."""
    dialogue = ask("Oslo", index)
    item = Item(f"toy-{index}", f"toy-{index // 2}", dialogue, {"answer": f"gold {index}"})
    steps, prompt = [], f"system\nWeather {index}?\n"
    for text in texts:
        steps.append(Step(dialogue, reply_of(text)._replace(prompt=prompt, prompt_hash=str(index))))
        prompt += text + "<|im_end|>\nnext question\n"
    return transcripts.make_record(TASK, item, steps, score(item, steps))


def write_run(out: Path, records: Sequence[dict[str, Any]], model: str = "model") -> dict[str, Any]:
    out.mkdir()
    with open(out / transcripts.FILE, "w") as file:
        for row in records:
            transcripts.append(file, row)
    facts = {"left_out": {}, "data": {"toy.jsonl": "0" * 64}, "max_new_tokens": 16}
    made = {
        "format": report.FORMAT,
        "model": model,
        "tasks": {"toy": report.summarize(TASK, records) | facts},
        "sampling": {"do_sample": False},
        "identity": {"backend": "scripted"},
        "run": {"device": "none"},
    }
    report.write(out, made)
    html_report.write(out, made, transcripts.read(out))
    return made


def embedded(page: str) -> Any:
    """The data that a page holds."""
    return json.loads(re.search(r'<script type="application/json" id="data">(.*?)</script>', page, re.S)[1])


def dom(page: Path, state: str = "") -> str:
    """The page's DOM once its script has run, without the data block and scripts."""
    flags = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--window-size=1366,900"]
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        command = [str(CHROMIUM), *flags, f"--user-data-dir={profile}", "--dump-dom", f"file://{page}{state}"]
        done = subprocess.run(command, capture_output=True, timeout=120, check=True)
    text = done.stdout.decode("utf-8", "replace")
    return re.sub(r'<script( type="application/json")?( id="data")?>.*?</script>', "", text, flags=re.S)


def shown_ids(text: str) -> list[str]:
    return re.findall(r'<span class="id">(.*?)</span>', text)


def filters(text: str) -> dict[str, str]:
    return dict(re.findall(r'data-filter="([^"]+)"[^>]*>[^<]*? ([\d,]+)</button>', text))


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """before: right, wrong, unparsed, right ...; after: right, right, wrong, right ...; both end in hostile items."""
    folder = tmp_path_factory.mktemp("runs")
    before = [record(k, "right", ("right", "wrong Bergen", "unparsed")[k % 3]) for k in range(12)]
    after = [record(k, "right", ("right", "right", "wrong")[k % 3]) for k in range(12)]
    hostile = [record(100 + k, text) for k, text in enumerate(HOSTILE)]
    write_run(folder / "before", [*before, *hostile], f"base{PWNED}\x1b[31m")
    write_run(folder / "after", [*after, *hostile], "tuned")
    html_compare.write(folder / "compare.html", folder / "before", folder / "after")
    return folder


def test_no_text_of_a_model_is_markup_of_the_page(runs: Path) -> None:
    for file in (runs / "before" / "report.html", runs / "compare.html"):
        page = file.read_text(encoding="utf-8")  # a lone surrogate would not be UTF-8
        assert page.count("<script") == page.count("</script") == 2
        assert "<img" not in page and "<svg onload" not in page and "pwned'</script>" not in page
        assert not re.search("[\x00-\x08\x0b-\x1f\x7f\u202e\u2066\u2028]", page)
        assert "<!--" not in page
    assert "toy &lt;b&gt;task" in (runs / "before" / "report.html").read_text(encoding="utf-8")


def test_a_page_names_no_address_and_forbids_all_but_its_own_script(runs: Path) -> None:
    for file in (runs / "before" / "report.html", runs / "compare.html"):
        page = file.read_text(encoding="utf-8")
        outside = re.sub(r'<script type="application/json".*?</script>', "", page, flags=re.S)
        assert not re.search(r"https?:|//[a-z]+\.|\bsrc=|<link|@import|url\(|innerHTML|\beval\(", outside)
        assert "default-src 'none'" in page and "script-src 'sha256-" in page and "'unsafe-inline'; script" in page


def test_the_data_hold_every_item_in_natural_order_and_texts_over_the_limit_are_cut_and_say_so(runs: Path) -> None:
    page = (runs / "before" / "report.html").read_text(encoding="utf-8")
    items = {item["id"]: item for item in embedded(page)["items"]}
    assert list(items) == [f"toy-{k}" for k in (*range(12), *range(100, 100 + len(HOSTILE)))]
    assert items["toy-100"]["steps"][0]["parts"] == [["answer", PWNED]]
    assert items["toy-105"]["steps"][0]["parts"][0][1].startswith(
        "⟨U+001B⟩[2J⟨U+001B⟩]0;owned⟨U+0007⟩ NUL ⟨U+0000⟩ surrogate ⟨U+D800⟩"
    )
    long = items["toy-106"]["steps"][0]["parts"][0][1]
    assert len(long) < 101_000 and "[… 900,000 characters left out; transcripts.jsonl has them …]" in long
    assert "Texts over 100,000 characters are cut" in page


@in_browser
def test_hostile_text_is_shown_as_text_and_leaves_the_title_alone(runs: Path) -> None:
    report_page, compare_page = runs / "before" / "report.html", runs / "compare.html"
    for file, title, number in ((report_page, "Evaluation of base", 0), (report_page, "Evaluation of base", 1),
                                (compare_page, "base", 4)):  # fmt: skip
        text = dom(file, f"#item=toy-{100 + number}")
        assert re.search(r"<title>(.*?)</title>", text)[1].startswith(title)
        shown = re.findall(r'<span class="answer">(.*?)</span>', text, re.S)
        assert html.escape(HOSTILE[number], quote=False) in shown
        assert "<img" not in text and "onload" not in re.sub(r"<pre.*?</pre>|<span.*?</span>", "", text, flags=re.S)


@in_browser
def test_filters_and_search_in_the_hash_show_the_items_they_name(runs: Path) -> None:
    page = runs / "before" / "report.html"
    text = dom(page, "#task=toy&metric=exact&filter=wrong&q=bergen")
    assert shown_ids(text) == ["toy-1", "toy-4", "toy-7", "toy-10"]
    assert filters(text) == {"all": "4", "right": "0", "wrong": "4", "unparsed": "0"}
    text = dom(page, "#metric=exact&filter=unparsed")
    assert shown_ids(text) == ["toy-2", "toy-5", "toy-8", "toy-11"]
    assert ">4 shown<" in text and "exact: no_final" in text
    text = dom(page, "#metric=faults&filter=right")  # of what counts faults, none is right
    assert shown_ids(text) == ["toy-0", "toy-3", "toy-6", "toy-9"]


@in_browser
def test_a_click_on_a_filter_a_metric_and_an_item_does_what_the_hash_does(
    runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clicks = (
        'document.querySelector("tr[data-metric=exact]").click();'
        'document.querySelector("[data-filter=unparsed]").click();'
        'document.querySelectorAll(".row")[2].click();'
    )
    ours = html_page.script
    monkeypatch.setattr(html_page, "script", lambda name: ours(name) + clicks)
    made = report.read(runs / "before")
    (tmp_path / "page.html").write_text(html_report.to_html(made, transcripts.read(runs / "before")), encoding="utf-8")
    text = dom(tmp_path / "page.html", "#metric=partly")
    assert shown_ids(text) == ["toy-2", "toy-5", "toy-8", "toy-11"]
    assert "<h3>toy-8</h3>" in text
    assert re.search(r'aria-selected="true"[^>]*>.*?toy-8<', text)


@in_browser
def test_the_comparison_finds_gained_and_lost_items_and_shows_both_sides(runs: Path) -> None:
    text = dom(runs / "compare.html", "#metric=exact&filter=gained")
    assert shown_ids(text) == ["toy-1", "toy-4", "toy-7", "toy-10"]
    assert filters(text) == {"all": "20", "gained": "4", "lost": "0", "both right": "4", "both wrong": "12"}
    sides = text[text.index('<div class="sides">') :]
    assert sides.index("wrong Bergen") < sides.index("<h3>after</h3>") < sides.rindex(">right<")
    assert text.count("Weather 1?") == 1  # a prompt that both saw stands once


@in_browser
@pytest.mark.slow
def test_a_page_of_ten_thousand_transcripts_opens_and_holds_only_the_rows_in_sight(tmp_path: Path) -> None:
    long = "right " + "lorem ipsum " * 250
    write_run(tmp_path / "run", [record(k, long if k % 2 else "wrong " + long) for k in range(10_000)])
    text = dom(tmp_path / "run" / "report.html", "#metric=exact&filter=wrong&item=toy-9000")
    assert ">5,000 shown<" in text and "<h3>toy-9000</h3>" in text
    assert "toy-9000" in shown_ids(text) and len(shown_ids(text)) < 100


def test_parts_joined_are_the_text_and_cut_where_thought_call_and_answer_meet() -> None:
    call = Message(role="assistant", content="I look.", tool_calls=(ToolCall("call_0", "f", {"x": 1}),))
    final = Message(role="assistant", content="4 degrees.", thinking="It says 4.")
    cases = [
        ("".join(button.render_turn(call)), call, ["thought", "call"]),
        ("".join(button.render_turn(final)), final, ["thought", "answer"]),
        ('I look.\n<tool_call>\n{"name": "f"}\n</tool_call>', call, ["thought", "call"]),
        ("<think>\nIt says 4.\n</think>\n\n4 degrees.", final, ["thought", "answer"]),
        ("plain", Message(role="assistant", content="plain"), ["answer"]),
        ("", Message(role="assistant", content=""), []),
        ("I look.<call>[{", None, ["thought", "call"]),
        ("no markers", None, ["unparsed"]),
    ]
    for text, message, kinds in cases:
        parts = reply_parts(text, None if message is None else message_to_dict(message))
        assert "".join(piece for _, piece in parts) == text
        assert [kind for kind, _ in parts] == kinds
    thought, answer = reply_parts(cases[3][0], message_to_dict(final))
    assert thought[1].endswith("</think>\n\n") and answer[1] == "4 degrees."
    assert gold_parts({"message": message_to_dict(call)})[1] == (
        "call",
        '<call>[{"name": "f", "arguments": {"x": 1}}]</call>',
    )
    assert gold_parts({"message": "no message"}) == [("answer", "message: no message")]


def test_a_later_prompt_is_shown_without_what_stood_before_it() -> None:
    steps = item_of(record(1, "right", "wrong"))["steps"]
    assert [step["prompt"] for step in steps] == ["system\nWeather 1?\n", "<|im_end|>\nnext question\n"]
    served = record(2, "right", "wrong")
    messages = [{"role": "user", "content": "Q"}]
    served["steps"][0]["prompt"] = {"messages": messages, "tools": None}
    served["steps"][1]["prompt"] = {"messages": [*messages, {"role": "user", "content": "again"}]}
    first, second = item_of(served)["steps"]
    assert first["prompt"] == "user: Q\n\n"
    assert second["prompt"] == "user: again\n\n"
    served["steps"][1]["prompt"]["tools"] = [{"a": 1}]
    first, second = item_of(served)["steps"]
    assert second["prompt"] == 'tools: [{"a": 1}]\n\nuser: Q\n\nuser: again\n\n'


def test_a_page_never_grows_past_what_a_browser_reads() -> None:
    items = [{"id": str(k), "text": "x" * 30_000} for k in range(2_000)]
    shown, cut = fitted(items)
    assert cut == 20_000 and cut in CUTS
    assert sum(len(item["text"]) for item in shown) < 1.05 * PAGE_CHARACTERS


def test_items_are_ordered_as_people_count_and_kinds_have_the_colours_of_the_preview() -> None:
    assert sorted(["a-10/1", "a-9/3", "a-9/10", "²", "b"], key=transcripts.natural)[:3] == ["a-9/3", "a-9/10", "a-10/1"]
    css = html_page.read("page.css")
    for kind in ("context", "thought", "call", "answer"):
        assert re.search(rf"\.{kind} {{[^}}]*}}", css)[0] == re.search(rf"\.{kind} {{[^}}]*}}", preview_html.PAGE)[0]
    assert visible("a\tb\n\u200dé") == "a\tb\n\u200dé"
