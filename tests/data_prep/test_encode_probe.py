"""What the encoder finds out about a template by probing: what it loses, what it needs, where its turns end."""

from __future__ import annotations

import copy
import importlib.util
from collections import Counter
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from transformers import AddedToken, PreTrainedTokenizerBase

from data_prep.dialogue import Dialogue, Message, ToolCall
from data_prep.encode import ANSWER, STOP, THOUGHT, Encoder, RejectedDialogue
from data_prep.template import TemplateError
from tests.data_prep import oracle
from tests.data_prep.encoders import encoder, tokenizer
from tests.data_prep.made_dialogues import AWKWARD
from tests.data_prep.oracle import Known
from tests.data_prep.test_encode_made import answered, assert_turns_read_back, for_all, with_result

# A small ChatML template in parts, so that a test exchanges one of them.
PARTS = {
    "tools": "{% if tools %}<|im_start|>system\n{{ tools | tojson }}<|im_end|>\n{% endif %}",
    "content": "{{ m.content }}",
    "calls": "{% for c in m.tool_calls %}\n<tool_call>{{ c.function | tojson }}</tool_call>{% endfor %}",
    "result": "{{ m.content }}",
    "end": "<|im_end|>\n",
    "prompt": "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}",
}


def template(**parts: str) -> str:
    p = {**PARTS, **parts}
    return (
        f"{p['tools']}{{% for m in messages %}}<|im_start|>{{{{ m.role }}}}\n"
        f"{{% if m.role == 'tool' %}}{p['result']}{{% elif m.role == 'assistant' %}}{p['content']}"
        f"{{% if m.tool_calls %}}{p['calls']}{{% endif %}}{{% else %}}{{{{ m.content }}}}{{% endif %}}{p['end']}"
        f"{{% endfor %}}{p['prompt']}"
    )


def made(text: str, tool_format: str = "auto", **options: Any) -> Encoder:
    return Encoder(tokenizer("qwen2_5"), tool_format, text, **options)


def lost(text: str) -> str | None:
    lossy = made(text).formats.lossy
    return lossy.code if lossy else None


def test_a_template_that_shows_everything_is_taken_natively() -> None:
    assert lost(template()) is None
    assert made(template()).tool_format == "native"


@pytest.mark.parametrize(
    ("parts", "code"),
    [
        ({"tools": ""}, "template_drops_tools"),
        ({"tools": "{% if tools %}{{ tools[0] | tojson }}{% endif %}"}, "template_drops_tools"),
        ({"tools": "{% if messages[0].role != 'system' %}" + PARTS["tools"] + "{% endif %}"}, "template_drops_tools"),
        (
            {
                "tools": "{% if tools %}{% set messages = messages | rejectattr('role', 'equalto', 'system') | list %}"
                "{% endif %}" + PARTS["tools"]
            },
            "template_drops_prompt",
        ),
        ({"calls": ""}, "template_drops_call"),
        ({"calls": "\n<tool_call>{{ m.tool_calls[0].function | tojson }}</tool_call>"}, "template_drops_call"),
        ({"calls": "{% for c in m.tool_calls %}{{ c.function.name }} {% endfor %}"}, "template_drops_call"),
        (
            {"calls": "{% for c in m.tool_calls %}{{ c.function.name }}: {{ c.function.arguments.qzkey }}{% endfor %}"},
            "no_call_parser",
        ),
        ({"content": "{% if not m.tool_calls %}{{ m.content }}{% endif %}"}, "template_drops_thought"),
        ({"result": ""}, "template_drops_results"),
        ({"result": "{{ m.name }}"}, "template_drops_results"),
        ({"calls": "{% for c in m.tool_calls %}\n{{ c.function }}{% endfor %}"}, "not_parsed_back"),
        (
            {
                "calls": "{% if m.tool_calls | length > 1 %}{{ raise_exception('one call only') }}{% endif %}"
                + PARTS["calls"]
            },
            "template_raises",
        ),
    ],
)
def test_auto_leaves_native_where_the_template_loses_something(parts: dict[str, str], code: str) -> None:
    assert lost(template(**parts)) == code
    assert made(template(**parts)).tool_format == "button"


def test_a_forced_native_format_refuses_rows_with_the_reason_of_the_template() -> None:
    without = made(template(tools=""), "native")
    with pytest.raises(RejectedDialogue, match=r"template_drops_tools.*tool_format: button"):
        without.encode(with_result("{}"))
    assert without.encode(answered())


def test_arguments_that_a_template_encodes_twice_are_given_as_an_object() -> None:
    twice = template(
        calls=PARTS["calls"].replace(
            "c.function | tojson", "{'name': c.function.name, 'arguments': c.function.arguments | tojson} | tojson"
        )
    )
    assert lost(twice) is not None  # as an object they come out as JSON inside JSON, as text doubly so


def test_arguments_are_given_as_text_where_the_template_joins_strings() -> None:
    joins = template(
        calls="{% for c in m.tool_calls %}\n<tool_call>"
        "{{ '{\"name\": \"' + c.function.name + '\", \"arguments\": ' + c.function.arguments + '}' }}"
        "</tool_call>{% endfor %}"
    )
    assert made(joins).tool_format == "native"
    assert made(joins).format.adaptations.arguments_as_text


def test_a_call_turn_without_thought_has_no_content_where_the_template_wants_that() -> None:
    picky = template(
        content="{% if m.tool_calls and m.content is defined and not m.content %}{{ raise_exception('empty') }}"
        "{% endif %}{{ m.content | default('') }}"
    )
    assert made(picky).format.adaptations.call_content_absent


def test_a_template_without_a_system_role_gets_the_prompt_before_the_first_user_turn() -> None:
    text = "{% if messages[0].role == 'system' %}{{ raise_exception('no system role') }}{% endif %}" + template()
    dialogue = Dialogue(
        id="d", source="t", messages=(Message(role="system", content="Be brief."), *answered().messages)
    )
    messages, _ = made(text).messages(dialogue)
    assert [message["role"] for message in messages] == ["user", "assistant"]
    assert messages[0]["content"] == "Be brief.\n\nHi"


def test_results_given_out_of_call_order_are_put_in_call_order() -> None:
    calls = tuple(ToolCall(id=f"c{number}", name="f", arguments={"n": number}) for number in range(3))
    results = [Message(role="tool", tool_call_id=f"c{number}", name="f", content=f"r{number}") for number in (2, 0, 1)]
    tools = with_result("").tools
    dialogue = Dialogue(
        id="d",
        source="t",
        tools=tools,
        messages=(
            Message(role="user", content="Hi"),
            Message(role="assistant", tool_calls=calls),
            *results,
            Message(role="assistant", content="Done."),
        ),
    )
    for tool_format in ("native", "button"):
        messages, _ = made(template(), tool_format).messages(dialogue)
        told = " ".join(message["content"] for message in messages if message["role"] == "tool")
        assert told.index("r0") < told.index("r1") < told.index("r2")


@pytest.mark.parametrize(
    ("parts", "reason"),
    [
        ({"end": "\n"}, "does not end in a control token"),
        ({"content": ""}, "does not render the assistant's content"),
        ({"prompt": ""}, "no generation prompt"),
        ({"content": "{{ raise_exception('never an assistant') }}"}, "never an assistant"),
        ({"prompt": "{% if add_generation_prompt %}<|im_start|>assistant\n<think>\n{% endif %}"}, "ends in .*<think>"),
    ],
)
def test_a_template_that_cannot_be_trained_on_is_refused_saying_why(parts: dict[str, str], reason: str) -> None:
    with pytest.raises(TemplateError, match=reason):
        made(template(**parts))


@pytest.mark.parametrize(
    ("content", "code"),
    [
        ("{{ m.content | upper | replace('QZ', 'qz') }}", None),  # the sentinels tell it from the start
        ("{{ m.content[:20] }}", "template_alters_text"),
        ("{{ m.content | replace('  ', ' ') }}", "template_alters_text"),
        ("{{ m.content.split('--')[0] }}", "template_alters_text"),
    ],
)
def test_text_that_a_template_alters_is_refused_row_by_row(content: str, code: str | None) -> None:
    if code is None:
        with pytest.raises(TemplateError, match="does not render the assistant's content"):
            made(template(content=content))
        return
    altering = made(template(content=content))
    assert altering.encode(answered("Short."))
    [result] = altering.encode_batch([answered("One  --  two and more than twenty.")])
    assert isinstance(result, RejectedDialogue) and result.code == code


def test_a_turn_that_ends_in_a_token_generation_does_not_stop_at_is_refused() -> None:
    switching = template(end="{% if m.content == 'odd' %}<|endoftext|>{% else %}<|im_end|>{% endif %}\n")
    [result] = made(switching).encode_batch([answered("odd")])
    assert isinstance(result, RejectedDialogue) and result.code == "no_stop_token"


@pytest.mark.parametrize(
    "text",
    [
        "{{ messages | length }} messages\n" + template(),
        template().replace("{% else %}{{ m.content }}", "{% else %}{% if loop.last %}Now: {% endif %}{{ m.content }}"),
    ],
)
def test_each_turn_has_its_own_sample_where_even_its_request_is_rendered_otherwise_later(text: str) -> None:
    counts = made(text)
    dialogue = Dialogue(id="d", source="t", messages=(*answered("Hello.").messages, *answered("Bye.").messages))
    samples = counts.encode(dialogue)
    turns = [counts.prompt_ids(dialogue.before(index)) for index in (1, 3)]
    assert [sample.input_ids[: len(prompt)] for sample, prompt in zip(samples, turns, strict=True)] == turns
    said = [counts.tokenizer.decode(sample.input_ids[len(p) :]) for sample, p in zip(samples, turns, strict=True)]
    assert said == ["Hello.<|im_end|>", "Bye.<|im_end|>"]


def test_a_template_that_draws_at_random_is_refused() -> None:
    with pytest.raises(TemplateError, match="draws at random"):
        made(template(prompt=PARTS["prompt"] + "{% if tools %}{{ range(9) | random }}{% endif %}"))


def test_markup_around_the_answer_belongs_to_it_and_is_not_read_as_text() -> None:
    wrapped = made(template(content="<|box_start|>{{ m.content }}<|box_end|>"))
    [sample] = wrapped.encode(answered("Hello."))
    start, end = (wrapped.tokenizer.convert_tokens_to_ids(token) for token in ("<|box_start|>", "<|box_end|>"))
    spans = [(token, kind) for token, kind in zip(sample.input_ids, sample.kinds, strict=True) if kind]
    assert (spans[0], spans[-2], spans[-1][1]) == ((start, ANSWER), (end, ANSWER), STOP)
    assert_turns_read_back(wrapped, answered("Hello."), [sample])


def test_what_a_template_writes_behind_the_last_turn_is_no_part_of_the_turn() -> None:
    tailed = made(template() + "{% if not add_generation_prompt %}<|endoftext|>{% endif %}")
    assert tailed.facts()["stop_tokens"] == ["<|im_end|>"]
    [sample] = tailed.encode(answered("Hello."))
    assert sample.input_ids[-1] == tailed.tokenizer.convert_tokens_to_ids("<|endoftext|>") and sample.kinds[-1] == 0


def test_thinking_beside_an_answer_is_thought_under_whichever_key_it_renders() -> None:
    for key in ("reasoning_content", "thinking", "reasoning"):
        thinks = made(
            template(content=f"{{% if m.{key} %}}<think>{{{{ m.{key} }}}}</think>\n{{% endif %}}{{{{ m.content }}}}")
        )
        [sample] = thinks.encode(answered("Hello.", thinking="Greet."))
        said = {
            kind: thinks.tokenizer.decode([t for t, k in zip(*sample, strict=True) if k == kind])
            for kind in (THOUGHT, ANSWER)
        }
        # One token holds the closing bracket and the line break: a token that touches two parts takes the later one.
        assert said == {THOUGHT: "<think>Greet.</think", ANSWER: ">\nHello."}


def test_thinking_that_renders_under_no_key_stands_before_the_answer_with_a_blank_line() -> None:
    [sample] = made(template()).encode(answered("Hello.", thinking=" Greet her "))
    tokens = tokenizer("qwen2_5")
    assert tokens.decode([t for t, k in zip(*sample, strict=True) if k == THOUGHT]) == "Greet her"
    assert tokens.decode([t for t, k in zip(*sample, strict=True) if k == ANSWER]) == "\n\nHello."


def test_auto_leaves_native_where_thinking_is_lost_after_results() -> None:
    forgets = template(
        content="{% if m.thinking and 'tool' not in (messages | map(attribute='role')) %}<think>{{ m.thinking }}"
        "</think>{% endif %}{{ m.content }}"
    )
    assert lost(forgets) == "template_drops_thought"


def test_a_row_with_the_button_prompt_and_no_tools_is_written_in_button_text() -> None:
    dialogue = Dialogue(id="d", source="t", messages=answered("Done.").messages, meta={"parallel_calls": False})
    plain = encoder("shipped chatml", "button")
    assert "<final>Done.</final>" in plain.tokenizer.decode(plain.encode(dialogue)[0].input_ids)
    assert "<final>" not in plain.tokenizer.decode(encoder("qwen2_5").encode(dialogue)[0].input_ids)


# Templates that TRL ships, on a tokenizer that has their control tokens or was given them

TRL = Path(importlib.util.find_spec("trl").origin).parent / "chat_templates"
CHATML = Known(("<|im_end|>",), think_close="</think>", call_open="<tool_call>")
FAMILIES: dict[str, tuple[str, tuple[str, ...], Known]] = {  # longest name first
    "qwen": ("qwen3", (), CHATML),
    "nemotron": ("qwen3", (), CHATML),
    "lfm2": (
        "qwen3",
        (
            "<|tool_list_start|>",
            "<|tool_list_end|>",
            "<|tool_call_start|>",
            "<|tool_call_end|>",
            "<|tool_response_start|>",
            "<|tool_response_end|>",
        ),
        CHATML,
    ),
    "llama3": ("llama3_1", (), Known(("<|eot_id|>",))),
    "gptoss": ("gptoss", (), Known(("<|return|>",), think_close="<|end|><|start|>assistant")),
    "gemma4": (
        "gemma3",
        (
            "<|turn>",
            "<turn|>",
            "<|channel>",
            "<channel|>",
            "<|tool_call>",
            "<tool_call|>",
            "<|tool>",
            "<tool|>",
            "<|tool_response>",
            "<tool_response|>",
            "<|think|>",
            '<|"|>',
        ),
        Known(("<turn|>",), think_close="<channel|>"),
    ),
    "gemma": ("gemma3", (), Known(("<end_of_turn>",))),
    "glm4moe": (
        "llama3_1",
        ("<|user|>", "<|assistant|>", "<|system|>", "<|observation|>"),
        Known(("<|user|>",), think_close="</think>"),
    ),
    "cohere": (
        "llama3_1",
        (
            "<|START_OF_TURN_TOKEN|>",
            "<|END_OF_TURN_TOKEN|>",
            "<|CHATBOT_TOKEN|>",
            "<|USER_TOKEN|>",
            "<|SYSTEM_TOKEN|>",
            "<|START_RESPONSE|>",
            "<|END_RESPONSE|>",
        ),
        Known(("<|END_OF_TURN_TOKEN|>",)),
    ),
    "phi3": (
        "llama3_1",
        ("<|user|>", "<|assistant|>", "<|system|>", "<|end|>"),
        Known(("<|end|>",), tail="<|eot_id|>"),
    ),
    "muse": (
        "llama3_1",
        ("<|start|>", "<|message|>", "<|eot|>", "<|eom|>"),
        Known(("<|eot|>",), think_close="<|eom|><|start|>assistant"),
    ),
    "deepseek": ("deepseek_v3", (), Known(("<｜end▁of▁sentence｜>",))),
    "idefics3": ("llama3_1", ("<end_of_utterance>",), Known(("<end_of_utterance>",))),
    "smolvlm": ("llama3_1", ("<end_of_utterance>",), Known(("<end_of_utterance>",))),
    "llava": ("mistral_nemo", (), Known(("</s>",))),
}
FAMILIES["diffusion_gemma"] = FAMILIES["gemma4"]
DATES = {
    "gptoss": {"strftime_now": "2024-07-26"},
    "llama3_2": {"date_string": "26 Jul 2024"},
    "muse": {"current_date": "2024-07-26"},
}
# Why a person reading these templates would say that no turn of plain text can be trained with them.
REFUSED = {
    "deepseek": "ends in '.*<think>",  # the prompt opens the thinking, which the template cuts out of every turn
    "glm4moe.jinja": "does not end in a control token",  # its turns end where the next role begins
    "idefics3": "where it is text",
    "smolvlm": "where it is text",
    "llava": "cannot be rendered",
}
NATIVE = (
    "qwen2_5",
    "qwen2_5_training",
    "qwen3",
    "qwen3_training",
    "qwen3_instruct_2507",
    "qwen3_instruct_2507_training",
    "qwen3_vl",
    "qwen3_vl_training",
)
OPENS_THINKING = ("nemotron",)  # their prompts open the thinking: a turn without any can't follow


@cache
def tokenizer_with_all_tokens(base: str) -> PreTrainedTokenizerBase:
    made_for = copy.deepcopy(tokenizer(base))
    lacking = sorted({token for other, tokens, _ in FAMILIES.values() if other == base for token in tokens})
    made_for.add_tokens([AddedToken(token, normalized=False, special=True) for token in lacking])
    return made_for


@cache
def trl_encoder(name: str) -> tuple[Encoder, Known]:
    family = next(family for family in sorted(FAMILIES, key=len, reverse=True) if name.startswith(family))
    base, _, known = FAMILIES[family]
    kwargs = next((date for start, date in DATES.items() if name.startswith(start)), None)
    text = (TRL / f"{name}.jinja").read_text()
    return Encoder(tokenizer_with_all_tokens(base), chat_template=text, template_kwargs=kwargs), known


def assert_trl_template_is_exact(name: str, examples: int) -> None:
    refused = next((reason for start, reason in REFUSED.items() if f"{name}.jinja".startswith(start)), None)
    if refused:
        with pytest.raises(TemplateError, match=refused):
            trl_encoder(name)
        return
    seen: Counter[str] = Counter()
    subject, known = trl_encoder(name)
    assert subject.tool_format == ("native" if name in NATIVE else "button")

    def law(dialogue: Dialogue) -> None:
        roles = [message.role for message in dialogue.messages]
        # Gemma 4 joins consecutive turns of the model: the oracle can't tell where the second begins.
        if ("gemma4" in name or "diffusion" in name) and ("assistant", "assistant") in pairwise(roles):
            return
        [result] = subject.encode_batch([dialogue])
        seen["kept" if not isinstance(result, RejectedDialogue) else result.code] += 1
        if not isinstance(result, RejectedDialogue):
            assert sorted(result) == oracle.expected_samples(subject, dialogue, known)
            assert_turns_read_back(subject, dialogue, result)

    for_all(law, AWKWARD, examples)
    if name.startswith(OPENS_THINKING):
        assert subject.encode(answered(thinking="Greet."))
    else:
        assert seen["kept"] and set(seen) <= {"kept", "no_trained_turn", "template_raises"}


@pytest.mark.parametrize(
    "name", ["gptoss", "qwen3_5_think", "cohere2", "phi3", "glm4moe_training", "nemotron_3_nano", "glm4moe"]
)
def test_a_template_of_trl_is_encoded_exactly_or_refused_truly(name: str) -> None:
    assert_trl_template_is_exact(name, 15)


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(path.stem for path in TRL.glob("*.jinja")))
def test_every_template_of_trl_is_encoded_exactly_or_refused_truly(name: str) -> None:
    assert_trl_template_is_exact(name, 60)
