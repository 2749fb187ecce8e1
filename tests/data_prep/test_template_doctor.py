"""The template doctor: a verdict known by hand for every question, and never one that contradicts the encoder."""

from __future__ import annotations

import io
import json
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from data_prep.__main__ import main as data_prep
from data_prep.encode import Encoder, RejectedDialogue
from data_prep.formats import Adaptations
from data_prep.probe import probe_dialogue
from data_prep.template import TemplateError
from data_prep.template_doctor import ADAPTATIONS, Examination, examine, show
from data_prep.template_evidence import Answer, Subject, excerpt, user
from tests.assets import tokenizer_dir
from tests.data_prep.encoders import CASES, encoder, tokenizer
from tests.data_prep.test_encode_probe import DATES, FAMILIES, PARTS, TRL, template, tokenizer_with_all_tokens

# What native must carry; where the encoder has proven it loss-free, none of these may be answered with no.
CARRIED = (
    "tools",
    "system_beside_tools",
    "calls",
    "thoughts_beside_calls",
    "parallel_calls",
    "arguments",
    "calls_read_back",
    "tool_results",
)
# What the doctor must have answered with no, by what the encoder says native loses.
LOST = {
    "template_drops_tools": ("tools", "system_beside_tools"),
    "template_drops_prompt": ("system_beside_tools",),
    "template_drops_call": ("calls", "parallel_calls"),
    "template_drops_thought": ("thoughts_beside_calls", "thinking"),
    "template_drops_results": ("tool_results",),
    "template_raises": CARRIED,
    "not_parsed_back": ("calls_read_back",),
    "no_call_parser": ("calls_read_back",),
}
NO_SYSTEM = "{% if messages[0].role == 'system' %}{{ raise_exception('no system role') }}{% endif %}"
EITHER = "{% if tools and messages[0].role != 'system' %}" + PARTS["tools"] + "{% endif %}"
CLOCK = "{{ strftime_now('%d %b %Y') }}\n"
TWICE = PARTS["calls"].replace(
    "c.function | tojson", "{'name': c.function.name, 'arguments': c.function.arguments | tojson} | tojson"
)
NO_THOUGHT = "{% if not m.tool_calls %}{{ m.content }}{% endif %}"
THINKS = "{% if m.thinking %}<think>{{ m.thinking }}</think>{% endif %}{{ m.content }}"
FORGETS = "{% if m.thinking and loop.last %}<think>{{ m.thinking }}</think>{% endif %}{{ m.content }}"
ONE_CALL = "{% if m.tool_calls | length > 1 %}{{ raise_exception('one call only') }}{% endif %}" + PARTS["calls"]


OWN_NOTATION = "{% for c in m.tool_calls %}{{ c.function.name }}({{ c.function.arguments.qzkey }}){% endfor %}"


@cache
def plainly_examined(text: str) -> Examination:
    return examine(tokenizer("qwen2_5"), text)


def examined(text: str, **options: Any) -> Examination:
    return examine(tokenizer("qwen2_5"), text, **options) if options else plainly_examined(text)


def answer(text: str, key: str, **options: Any) -> Answer:
    found = examined(text, **options).answer(key)
    assert found is not None, f"{key} was not answered"
    return found


def shown(found: Answer) -> str:
    return "\n".join(f"{seen.label}: {seen.text}" for seen in found.evidence)


# Every question, with a template whose verdict is known


@pytest.mark.parametrize(
    ("text", "key", "holds", "words", "seen"),
    [
        (template(), "system_prompt", True, "rendered", "<|im_start|>system\nqzsystem<|im_end|>"),
        (NO_SYSTEM + template(), "system_prompt", False, "first user message", "no system role"),
        ("<|im_start|>system\nBe kind now.<|im_end|>\n" + template(), "default_system_prompt", None, "its own", "kind"),
        (template(), "tools", True, "rendered whole", "qzparam"),
        (template(tools=""), "tools", False, "the tool list is dropped", "<|im_start|>user"),
        (template(), "system_beside_tools", True, "both rendered", "qzsystem"),
        (EITHER + template(tools=""), "system_beside_tools", False, "dropped: the tool list", "qzsystem"),
        (template(tools="{{ tools[0] | tojson }}"), "tools", False, "dropped: the second tool", "qzname"),
        (
            template(tools="{% for x in tools or [] %}{{ x.function.name }}{% endfor %}"),
            "tools",
            False,
            "dropped: descriptions of tools, parameters, descriptions of parameters",
            "qznameqzother",
        ),
        (template(), "calls", True, "rendered", '<tool_call>{"name": "qzname"'),
        (template(calls=""), "calls", False, "dropped", "(nothing)"),
        (template(), "thoughts_beside_calls", True, "rendered", "qzthought<tool_call>"),
        (template(content=NO_THOUGHT), "thoughts_beside_calls", False, "dropped (thought, call)", "<tool_call>"),
        (template(), "parallel_calls", True, "both", "qzother"),
        (
            template(calls="\n<tool_call>{{ m.tool_calls[0].function | tojson }}</tool_call>"),
            "parallel_calls",
            False,
            "the second of two calls is dropped",
            "qzname",
        ),
        (template(calls=ONE_CALL), "parallel_calls", False, "raises", "one call only"),
        (template(), "arguments", True, "an object comes out as a JSON object", '{"qzkey": "qzvalue"}'),
        (template(calls=TWICE), "arguments", False, "double encoded", r'"{\"qzkey\": \"qzvalue\"}"'),
        (
            template(calls="{% for c in m.tool_calls %}{{ c.function }}{% endfor %}"),
            "arguments",
            False,
            "a Python literal",
            "{'qzkey': 'qzvalue'}",
        ),
        (
            template(calls=OWN_NOTATION),
            "arguments",
            False,
            "a notation of its own",
            "qzname(qzvalue)",
        ),
        (template(), "calls_read_back", True, "JSON with 'name' and 'arguments'", "qzother"),
        (
            template(calls=OWN_NOTATION),
            "calls_read_back",
            False,
            "no parser",
            "qzname(qzvalue)",
        ),
        (template(), "tool_results", True, "under a header of their own", "<|im_start|>tool"),
        (template().replace("{{ m.role }}", "{{ 'user' if m.role == 'tool' else m.role }}"),
         "tool_results", True, "inside a user turn", "qzoutcome"),
        (template(result="{{ m.name }}"), "tool_results", False, "dropped", "qzother<|im_end|>"),
        (template(), "button_text", True, "tool turns", "<call>"),
        (template(result="{{ m.name }}"), "button_text", True, "user turns", "qzresult"),
        (template(content=THINKS), "thinking", True, "under reasoning_content", "<think>qzthinking</think>qzanswer"),
        (template(), "thinking", False, "before the answer", "qzanswer"),
        (template(), "history", None, "kept", ""),
        (template(content=FORGETS), "history", None, "answers with thinking (2 turns: 2 samples)",
         "once others follow: "),
        (template(), "generation_prompt", True, r"'<|im_start|>assistant\n'", "qzuser<|im_end|>"),
        (template(prompt=""), "generation_prompt", False, "changes nothing", "qzuser"),
        (template(prompt="<|im_start|>assistant\n"), "generation_prompt", True, "unasked", "assistant"),
        (template(), "stop_token", True, "<|im_end|> (151645)", "qzanswer<|im_end|>"),
        (template(end="<|endoftext|>"), "stop_token", True, "eos_token is another one, <|im_end|>", "<|endoftext|>"),
        (
            template() + "{% if not add_generation_prompt %}<|endoftext|>{% endif %}",
            "stop_token",
            True,
            "'<|endoftext|>' stands once behind the last turn",
            "qzanswer",
        ),
        (template(end="<|eot_id|>"), "stop_token", None, "refuses", "qzanswer"),
        (template(end="<|eot_id|>"), "unknown_tokens", False, "<|eot_id|>", ""),
        (template(), "determinism", True, "the same", ""),
        (CLOCK + template(), "determinism", False, "reads the clock", "03 Dec 2031"),
        ("{% if tools %}" + CLOCK + "{% endif %}" + template(), "determinism", False, "reads the clock", "26 Jul 2024"),
        (template(prompt="{% if add_generation_prompt %}{{ range(99999) | random }}{% endif %}"),
         "determinism", False, "otherwise each time", "again"),
        (template(), "control_tokens", None, "rejects such a row (control_token)", "qzuser <|im_end|> qzcaller"),
        (template().replace("{{ m.content }}", "{{ m.content | replace('<|', '< |') }}"),
         "control_tokens", None, "defuses", "qzuser < |im_end|> qzcaller"),
        (template(), "end_to_end", True, "are encoded; tokens: thought", "qzthought<tool_call>"),
        (template(tools=""), "end_to_end", True, "are encoded; tokens: thought", "</call><|im_end|>"),
    ],
)  # fmt: skip
def test_each_question_gets_the_verdict_a_person_would_give(
    text: str, key: str, holds: bool | None, words: str, seen: str
) -> None:
    found = answer(text, key)
    assert (found.holds, words in found.verdict, seen in shown(found)) == (holds, True, True), found


def test_a_plain_template_has_no_default_system_prompt_and_no_unknown_tokens() -> None:
    made = examined(template())
    assert made.answer("default_system_prompt") is None and made.answer("unknown_tokens") is None


def test_history_shows_both_texts_from_where_they_part() -> None:
    first, second = answer(template(content=FORGETS), "history").evidence
    assert "<think>qzthinking</think>qzanswer" in first.text and "assistant\nqzanswer" in second.text


def test_where_the_prompt_opens_the_thinking_history_is_probed_with_thinking_and_calls_are_refused() -> None:
    opens = template(
        content="{% if m.thinking %}<think>\n{{ m.thinking }}</think>{% endif %}{{ m.content }}",
        prompt="{% if add_generation_prompt %}<|im_start|>assistant\n<think>\n{% endif %}",
    )
    assert answer(opens, "history").verdict.startswith("kept")
    for key in ("end_to_end", "button_text"):
        found = answer(opens, key)
        assert found.holds is False and "not how the template opens such a turn" in found.verdict


def test_both_forms_of_arguments_are_shown_and_the_encoders_choice_is_said() -> None:
    joins = template(
        calls="{% for c in m.tool_calls %}\n<tool_call>"
        "{{ '{\"name\": \"' + c.function.name + '\", \"arguments\": ' + c.function.arguments + '}' }}"
        "</tool_call>{% endfor %}"
    )
    found = answer(joins, "arguments")
    assert found.holds and "an object comes out as an error" in found.verdict
    assert found.verdict.endswith("the encoder gives text")
    assert "arguments_as_text" in examined(joins).facts["adaptations"]


# Templates the encoder refuses


@pytest.mark.parametrize(
    ("parts", "reason"),
    [
        ({"prompt": ""}, "no generation prompt"),
        ({"end": "\n"}, "does not end in a control token"),
        ({"prompt": "{% if add_generation_prompt %}<|im_start|>assistant\n<think>\n{% endif %}"}, "<think>"),
        ({"content": "{{ raise_exception('never an assistant') }}"}, "never an assistant"),
    ],
)
def test_a_refused_template_is_examined_all_the_same_and_the_encoders_reason_is_given(
    parts: dict[str, str], reason: str
) -> None:
    made = examined(template(**parts))
    assert made.refused is not None and reason in made.refused and made.facts is None
    with pytest.raises(TemplateError) as refused:
        Encoder(tokenizer("qwen2_5"), chat_template=template(**parts))
    assert str(refused.value) == made.refused
    tools, history = made.answer("tools"), made.answer("history")
    assert tools and tools.holds and history and history.holds is None


def test_a_template_that_reads_the_clock_is_refused_and_examined_with_a_date() -> None:
    made = examined(CLOCK + template())
    assert made.refused is not None and "reads the clock" in made.refused
    assert made.assumed and made.facts is not None and made.facts["tool_format"] == "native"
    fixed = examined(CLOCK + template(), template_kwargs=made.assumed)
    assert fixed.refused is None and not fixed.assumed
    determinism = fixed.answer("determinism")
    assert determinism and determinism.holds


def test_text_that_is_no_jinja_and_a_tokenizer_without_template_are_errors() -> None:
    with pytest.raises(TemplateError, match="no valid Jinja"):
        examined("{% for %}{{ x }}")
    with pytest.raises(TemplateError, match="has no chat template"):
        examine(tokenizer("gemma"))


# The doctor and the encoder say the same


def assert_says_what_the_encoder_says(made: Examination, judge: Encoder) -> None:
    assert made.refused is None and made.facts == judge.facts()
    answers = {found.key: found for found in made.answers}
    lossy = judge.formats.lossy
    assert ("native loses nothing" in made.why) == (judge.tool_format == "native") == (lossy is None)
    assert made.why.startswith(judge.tool_format)
    if lossy is None:
        assert all(answers[key].holds for key in CARRIED), made.answers
    else:
        assert lossy.reason in made.why
        assert any(answers[key].holds is False for key in LOST.get(lossy.code, CARRIED)), (lossy, made.answers)
    assert answers["system_prompt"].holds == (not judge.format.adaptations.fold_system)
    key = judge.format.adaptations.thinking_key
    assert (f"under {key}" in answers["thinking"].verdict) == (key is not None)
    try:
        judge.encode(probe_dialogue(thought=True, parallel=True))
    except RejectedDialogue as rejected:  # Nemotron's prompt opens the thinking, and no call turn follows that
        assert not answers["end_to_end"].holds and rejected.code in answers["end_to_end"].verdict
        assert judge.tool_format == "native" or not answers["button_text"].holds
    else:
        assert answers["end_to_end"].holds
    assert all(stop in answers["stop_token"].verdict for stop in judge.formats.stops)


@pytest.mark.parametrize("case", CASES)
def test_the_doctor_never_contradicts_the_encoder(case: str) -> None:
    made = examine(tokenizer(CASES[case].tokenizer), CASES[case].chat_template)
    assert_says_what_the_encoder_says(made, encoder(case))


@pytest.mark.parametrize("case", CASES)
def test_evidence_is_what_apply_chat_template_renders(case: str) -> None:
    judge = encoder(case)
    subject = Subject(judge.tokenizer, judge.chat_template, judge, None)
    rows, listed, at = judge.formats.native.adapt(probe_dialogue(thought=False))
    for messages, tools in (([user()], None), (rows[: next(iter(at.values()))], listed)):
        expected = judge.tokenizer.apply_chat_template(
            messages, tools=tools, chat_template=judge.chat_template, tokenize=False, add_generation_prompt=True
        )
        assert subject.render(messages, tools, prompt=True) == expected


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(path.stem for path in TRL.glob("*.jinja")))
def test_the_doctor_never_contradicts_the_encoder_on_a_template_of_trl(name: str) -> None:
    family = next(family for family in sorted(FAMILIES, key=len, reverse=True) if name.startswith(family))
    tokens = tokenizer_with_all_tokens(FAMILIES[family][0])
    kwargs = next((date for start, date in DATES.items() if name.startswith(start)), None)
    text = (TRL / f"{name}.jinja").read_text()
    made = examine(tokens, text, template_kwargs=kwargs)
    try:
        judge = Encoder(tokens, chat_template=text, template_kwargs=kwargs)
    except TemplateError as error:
        assert made.refused == str(error)
    else:
        assert_says_what_the_encoder_says(made, judge)


def test_a_forced_format_is_reported_with_what_native_loses() -> None:
    assert examined(template(), tool_format="button").why.startswith("button, as asked; native loses nothing")
    why = examined(template(tools=""), tool_format="native").why
    assert "native, as asked; native loses: the template drops the tool list" in why and "rejected" in why


def test_every_adaptation_has_words() -> None:
    every = Adaptations(*(True if value is False else value for value in Adaptations()))
    assert all(name in ADAPTATIONS for name in every.named())


# The command


def write_template(folder: Path, text: str) -> str:
    path = folder / "mine.jinja"
    path.write_text(text, encoding="utf-8")
    return str(path)


def test_a_jinja_file_without_tokenizer_is_an_error_that_names_the_option(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert data_prep(["template", write_template(tmp_path, template())]) == 1
    assert "--tokenizer MODEL" in capsys.readouterr().err


def test_the_command_prints_the_verdict_or_json_and_exits_1_for_a_refused_template(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = str(tokenizer_dir("qwen2_5"))
    assert data_prep(["template", folder]) == 0
    text = capsys.readouterr().out
    assert "native loses nothing" in text and "default system prompt" in text and "⏎" in text
    path = write_template(tmp_path, template(prompt=""))
    assert data_prep(["template", path, "--tokenizer", folder, "--json", "-"]) == 1
    read = json.loads(capsys.readouterr().out)
    assert not read["accepted"] and "no generation prompt" in read["refused"]
    assert read["questions"]["generation_prompt"]["holds"] is False
    assert read["questions"]["tools"]["evidence"][0]["label"] == "tools, user"


def test_the_json_file_says_what_is_printed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "verdict.json"
    date = '{"strftime_now": "26 Jul 2024"}'
    args = [write_template(tmp_path, CLOCK + template()), "--tokenizer", str(tokenizer_dir("qwen2_5"))]
    assert data_prep(["template", *args, "--template-kwargs", date, "--tool-format", "button", "--json", str(out)]) == 0
    printed, read = capsys.readouterr().out, json.loads(out.read_text(encoding="utf-8"))
    assert read["encoder"]["tool_format"] == "button" and read["why"] in printed.replace("\n", " ")
    for found in read["questions"].values():
        assert found["verdict"].split()[0] in printed


def test_unknown_models_and_templates_are_errors_of_the_command(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert data_prep(["template", str(tmp_path / "nothing")]) == 1
    assert "no tokenizer at" in capsys.readouterr().err
    assert data_prep(["template", "nothing.jinja", "--tokenizer", str(tokenizer_dir("qwen2_5"))]) == 1
    assert "no template 'nothing.jinja'" in capsys.readouterr().err


def test_a_template_cannot_act_on_the_terminal() -> None:
    out = io.StringIO()
    show(Console(file=out, width=120), examined("\x1b[2J[red]" + template()))
    assert "\x1b" not in out.getvalue() and "␛[2J[red]" in out.getvalue()


def test_excerpts_show_each_word_and_say_where_text_is_left_out() -> None:
    text = "a" * 200 + "one" + "b" * 300 + "two" + "c" * 200
    assert excerpt(text, "one", "two") == f"…{'a' * 56}one{'b' * 56}…{'b' * 56}two{'c' * 56}…"
    assert excerpt("one two", "one", "two", "three") == "one two"
    assert excerpt("x" * 80) == "…" + "x" * 56
