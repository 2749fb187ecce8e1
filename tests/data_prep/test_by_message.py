"""The laws of rendering once: every beginning is what rendering it alone gives, and what could differ is not cut."""

import pytest

from data_prep.by_message import ByMessage
from data_prep.template import Template
from tests.data_prep.encoders import encoder, tokenizer

HEADER = "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
LINE = "<|im_start|>{{ message.role }}\n{{ message.content }}<|im_end|>\n"
CUT = ["qwen2_5", "smollm2", "shipped chatml", "shipped llama3", "shipped gemma"]

TOOLS = [{"type": "function", "function": {"name": "f", "parameters": {"type": "object", "properties": {}}}}]
CALL = {"id": "c", "type": "function", "function": {"name": "f", "arguments": {"x": [1, None]}}}
ROWS = [
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": "1?"},
    {"role": "assistant", "content": "one"},
    {"role": "user", "content": "2?"},
    {"role": "assistant", "content": "", "tool_calls": [CALL, CALL]},
    {"role": "tool", "tool_call_id": "c", "name": "f", "content": "2"},
    {"role": "tool", "tool_call_id": "c", "name": "f", "content": "3"},
    {"role": "assistant", "content": "two"},
    {"role": "user", "content": "3?"},
]
PLAIN = [row for row in ROWS if row["role"] in ("user", "assistant") and not row.get("tool_calls")]


def assert_beginnings_are_as_rendered_alone(template, rows, tools):
    turns = [at for at, row in enumerate(rows) if row["role"] == "assistant" and at]
    once = template.render_once(rows, tools, turns)
    assert once is not None
    assert once.text == template.finished(rows, tools)
    assert list(once.turns) == turns
    for at, (start, ending) in once.turns.items():
        assert once.text[:start] == template.render(rows[:at], tools, generation_prompt=True)
        assert once.text[:start] + ending == template.render(rows[: at + 1], tools, generation_prompt=False)


@pytest.mark.parametrize("case", CUT)
def test_every_beginning_is_what_rendering_it_alone_gives(case):
    template = encoder(case).template
    assert_beginnings_are_as_rendered_alone(template, PLAIN, None)
    if case == "qwen2_5":  # the one that carries tools; its tool messages look at the next one
        assert_beginnings_are_as_rendered_alone(template, ROWS, TOOLS)
        assert_beginnings_are_as_rendered_alone(template, ROWS[1:], TOOLS)


def test_heads_of_other_tools_and_systems_are_not_mixed_up():
    template = encoder("qwen2_5").template
    for tools in (TOOLS, [*TOOLS, *TOOLS], None, TOOLS):
        for rows in (ROWS[:3], [{"role": "system", "content": "Other."}, *ROWS[1:3]], ROWS[1:3]):
            assert_beginnings_are_as_rendered_alone(template, rows, tools)


def template_of(text):
    return Template(tokenizer("qwen2_5"), text, None)


KEEPS_STATE = "{% set ns = namespace(n=0) %}{% for message in messages %}{% set ns.n = ns.n + 1 %}"
NOT_CUT = {
    "a count": KEEPS_STATE + "{{ ns.n }}" + LINE + "{% endfor %}" + HEADER,
    "the number of messages": "{% for message in messages %}{{ messages | length }}" + LINE + "{% endfor %}" + HEADER,
    "the loop's length": "{% for message in messages %}{{ loop.length }}" + LINE + "{% endfor %}" + HEADER,
    "the last message in front": "{{ messages[-1].role }}{% for message in messages %}"
    + LINE + "{% endfor %}" + HEADER,
    "the last message behind": "{% for message in messages %}" + LINE + "{% endfor %}{{ messages[-1].role }}" + HEADER,
    "the prompt inside": "{% for message in messages %}{{ add_generation_prompt }}" + LINE + "{% endfor %}" + HEADER,
    "a variable of the head": "{% set role = messages[0].role %}{% for message in messages %}{{ role }}"
    + LINE + "{% endfor %}" + HEADER,
    "two loops": "{% for message in messages %}" + LINE + "{% endfor %}{% for message in messages %}{% endfor %}"
    + HEADER,
    "another order": "{% for message in messages[::-1] %}" + LINE + "{% endfor %}" + HEADER,
    "all messages at once": "{% for message in messages %}{{ messages | map(attribute='role') | join }}" + LINE
    + "{% endfor %}" + HEADER,
}  # fmt: skip


@pytest.mark.parametrize("why", NOT_CUT)
def test_a_template_that_looks_at_more_than_its_message_is_rendered_whole(why):
    assert template_of(NOT_CUT[why]).render_once(PLAIN, None, [1]) is None


LOOKS_ON = "{% for message in messages %}" + LINE + "{% if not loop.last %}then\n{% endif %}{% endfor %}" + HEADER
FAR = "{% for message in messages %}" + LINE + "{{ (messages[loop.index0 + 2] or message).role }}{% endfor %}" + HEADER
LAST_BY_NUMBER = "{% for message in messages %}" + LINE + "{{ messages[loop.index0 - 1].role }}{% endfor %}" + HEADER


@pytest.mark.parametrize("text", [LOOKS_ON, FAR, LAST_BY_NUMBER])
def test_a_dialogue_whose_beginnings_end_otherwise_is_rendered_whole(text):
    template = template_of(text)
    assert isinstance(template._by_message, ByMessage)
    assert template.render_once(PLAIN, None, [1, 3]) is None


def test_what_a_template_sets_in_one_message_is_gone_in_the_next():
    text = (
        "{% set end = 'E' %}{% for message in messages %}{{ seen }}{% set seen = 'seen' %}"
        + LINE
        + "{{ end }}{% endfor %}"
    )
    assert_beginnings_are_as_rendered_alone(template_of(text + HEADER), PLAIN, None)
    once = template_of(text + HEADER).render_once(PLAIN, None, [])
    assert once is not None and "seen" not in once.text and once.text.count("E") == len(PLAIN)
