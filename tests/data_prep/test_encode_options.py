"""The encoder's options and error paths: what it is given, what it refuses, what is saved of it."""

from __future__ import annotations

import copy
import pickle
from pathlib import Path

import msgspec
import pytest
from transformers import AutoTokenizer, ByT5Tokenizer

from data_prep import button
from data_prep.dialogue import Dialogue, Message, ToolCall
from data_prep.encode import REASONS, Encoded, Encoder, RejectedDialogue, load_encoder, load_tokenizer
from data_prep.template import TemplateError
from recipes.schema import Recipe
from tests.assets import tokenizer_dir
from tests.data_prep.encoders import CASES, encoder, tokenizer, turns_of
from tests.data_prep.test_encode_made import USER, answered, with_result

CLOCK = "{{ strftime_now('%d %b %Y') }}\n"
DATED = (
    "{% if not date_string is defined %}{% set date_string = strftime_now('%d %b %Y') %}{% endif %}{{ date_string }}\n"
)


def chatml(before: str = "") -> str:
    shipped = encoder("shipped chatml").template.text
    return before + shipped[shipped.index("-#}") + 3 :].lstrip()


# What is refused, and how


def test_a_slow_tokenizer_is_refused() -> None:
    with pytest.raises(ValueError, match=r"slow tokenizer; a fast one"):
        Encoder(ByT5Tokenizer())


@pytest.mark.parametrize("option", [{"tool_format": "xml"}, {"history": "drop"}, {"control_text": "keep"}])
def test_an_unknown_option_is_refused_with_the_valid_ones(option: dict[str, str]) -> None:
    with pytest.raises(ValueError, match=f"{next(iter(option))} is .*wanted one of"):
        Encoder(tokenizer("qwen2_5"), **option)


def test_an_unknown_template_name_is_refused_with_the_shipped_ones() -> None:
    with pytest.raises(FileNotFoundError, match=r"'chatlm' is no file.*chatml, gemma, llama3, mistral"):
        Encoder(tokenizer("qwen2_5"), chat_template="chatlm")


def test_a_tokenizer_without_a_template_says_what_to_give() -> None:
    with pytest.raises(TemplateError, match=r"no chat template; give chat_template"):
        Encoder(tokenizer("gptoss"))


def test_a_template_whose_tokens_the_vocabulary_lacks_is_refused() -> None:
    bare = AutoTokenizer.from_pretrained(tokenizer_dir("gemma"))  # knows <end_of_turn> only as ordinary text
    with pytest.raises(TemplateError, match=r"does not end in a control token but in .*<end_of_turn>"):
        Encoder(bare, chat_template="gemma")


def test_broken_jinja_is_refused() -> None:
    with pytest.raises(TemplateError, match="no valid Jinja"):
        Encoder(tokenizer("qwen2_5"), chat_template="{% for message in messages %}{{ message.content }}")


def test_rejections_survive_pickling_and_have_listed_codes() -> None:
    [rejected] = encoder("shipped chatml").encode_batch([answered(train=False)])
    assert isinstance(rejected, RejectedDialogue) and rejected.code == "no_trained_turn"
    again = pickle.loads(pickle.dumps(rejected))
    assert (again.code, again.message, str(again)) == (rejected.code, rejected.message, str(rejected))
    assert rejected.code in REASONS


def test_calls_without_a_tool_list_are_refused_in_both_formats() -> None:
    call = Message(role="assistant", tool_calls=(ToolCall(id="c", name="f", arguments={}),))
    dialogue = Dialogue(id="d", source="t", messages=(USER, call))
    for tool_format in ("native", "button"):
        [result] = encoder("qwen2_5", tool_format).encode_batch([dialogue])
        assert isinstance(result, RejectedDialogue) and result.code == "calls_without_tools"


def test_a_dialogue_that_begins_with_the_assistant_is_refused() -> None:
    dialogue = Dialogue(id="d", source="t", messages=(Message(role="assistant", content="Hello."), USER))
    [result] = encoder("shipped llama3").encode_batch([dialogue])
    assert isinstance(result, RejectedDialogue) and result.code == "template_raises"


@pytest.mark.parametrize(
    "message",
    [
        Message(role="assistant", content="a</final>b"),
        Message(role="assistant", content="Hm <call> hm", tool_calls=(ToolCall(id="c", name="f", arguments={}),)),
        Message(role="assistant", tool_calls=(ToolCall(id="c", name="f", arguments={"x": "</call>"}),)),
        Message(role="assistant", content="Hi.", thinking="or <final>?"),
    ],
)
def test_a_part_that_holds_its_closing_marker_is_refused_in_button_text_only(message: Message) -> None:
    dialogue = msgspec.structs.replace(with_result("{}"), messages=(USER, message))
    [result] = encoder("qwen2_5", "button").encode_batch([dialogue])
    assert isinstance(result, RejectedDialogue) and result.code == "button_marker"
    assert encoder("qwen2_5", "native").encode(dialogue)


def test_markers_that_close_nothing_are_kept_in_button_text() -> None:
    call = Message(role="assistant", tool_calls=(ToolCall(id="c", name="f", arguments={"x": "<final>"}),))
    user = Message(role="user", content="</call></final></tool><call>")
    for message in (Message(role="assistant", content="a <call> b <final>"), call):
        dialogue = msgspec.structs.replace(with_result("{}"), messages=(user, message))
        assert encoder("qwen2_5", "button").encode(dialogue)


def test_the_character_that_marks_breaks_is_text_like_any_other_unless_breaks_are_made() -> None:
    dialogue = answered("a \ufdd0 b")
    made = encoder("shipped chatml")
    assert made.parse(turns_of(made.encode(dialogue)[0])[0], has_tools=False).content == "a \ufdd0 b"
    [result] = encoder("shipped chatml", control_text="plain").encode_batch([dialogue])
    assert isinstance(result, RejectedDialogue) and result.code == "control_token"


def test_text_that_the_tokenizer_has_no_tokens_for_is_refused() -> None:
    made = encoder("smollm2")  # its vocabulary lacks a few bytes
    [result] = made.encode_batch([answered("a \U00048118 b")])
    assert isinstance(result, RejectedDialogue) and result.code == "unencodable_text"
    assert encoder("shipped llama3").encode(answered("a \U00048118 b"))


# History that the template rewrites


def two_answers() -> Dialogue:
    messages = (USER, Message(role="assistant", content="One.", thinking="First."), USER,
                Message(role="assistant", content="Two.", thinking="Second."))  # fmt: skip
    return Dialogue(id="d", source="t", messages=messages)


def test_a_rewritten_turn_is_a_sample_of_its_own() -> None:
    made = encoder("qwen3")
    samples = made.encode(two_answers())
    assert len(samples) == 2
    for sample, index in zip(samples, (1, 3), strict=True):
        [turn] = turns_of(sample)
        prompt = made.prompt_ids(two_answers().before(index))
        assert sample.input_ids[: len(prompt)] == prompt and sample.input_ids[len(prompt) :][: len(turn)] == turn


def test_history_error_refuses_what_the_template_rewrites() -> None:
    with pytest.raises(RejectedDialogue, match="history_rewritten: 1 of 2 turns"):
        encoder("qwen3", history="error").encode(two_answers())
    assert len(encoder("qwen2_5", history="error").encode(two_answers())) == 1


def test_a_token_that_merges_across_the_prompts_border_makes_a_sample_of_its_own() -> None:
    """Gemma 3 has one token for two line breaks: behind `model\\n` an answer that begins with one would join it."""
    made = Encoder(tokenizer("gemma3"), chat_template="gemma")
    dialogue = answered("\nHello.")
    [sample] = made.encode(dialogue)
    prompt = made.prompt_ids(dialogue.before(1))
    assert sample.input_ids[: len(prompt)] == prompt and not any(sample.kinds[: len(prompt)])
    assert made.parse(sample.input_ids[len(prompt) :], has_tools=False).content == "\nHello."
    whole = made.tokenizer.apply_chat_template(
        made.messages(dialogue)[0], chat_template=made.chat_template, return_dict=False
    )
    assert whole[: len(prompt)] != prompt  # why it may not be a part of the whole
    with pytest.raises(RejectedDialogue, match="history_rewritten: a token merges"):
        Encoder(tokenizer("gemma3"), chat_template="gemma", history="error").encode(dialogue)


# The clock and template_kwargs


@pytest.mark.parametrize(
    ("text", "kwargs"), [(DATED, {"date_string": "26 Jul 2024"}), (CLOCK, {"strftime_now": "26 Jul 2024"})]
)
def test_a_template_that_reads_the_clock_needs_a_date_which_it_then_carries(text: str, kwargs: dict[str, str]) -> None:
    with pytest.raises(TemplateError, match=rf"reads the clock.*template_kwargs, e.g. {{{next(iter(kwargs))}:"):
        Encoder(tokenizer("qwen2_5"), chat_template=chatml(text))
    made = Encoder(tokenizer("qwen2_5"), chat_template=chatml(text), template_kwargs=kwargs)
    saved = copy.copy(made.tokenizer)
    saved.chat_template = made.chat_template
    rendered = saved.apply_chat_template(
        [{"role": "user", "content": "Hi"}], add_generation_prompt=True, tokenize=False
    )
    assert rendered.startswith("26 Jul 2024<|im_start|>user")
    assert saved.encode(rendered, add_special_tokens=False) == made.prompt_ids(answered().before(1))


def test_a_row_on_which_the_template_would_read_the_clock_is_refused() -> None:
    late = "{% if messages[0].content == 'What time is it?' %}" + CLOCK + "{% endif %}"
    made = Encoder(tokenizer("qwen2_5"), chat_template=chatml(late))
    assert made.encode(answered())
    asked = (Message(role="user", content="What time is it?"), *answered().messages[1:])
    [result] = made.encode_batch([msgspec.structs.replace(answered(), messages=asked)])
    assert isinstance(result, RejectedDialogue) and result.code == "template_raises"


def test_kwargs_baked_into_the_saved_template_render_as_kwargs_do() -> None:
    text = "é \"q\" 'q' \\ 🙂 %}\n"
    kwargs = {"enable_thinking": False, "nothing": None, "text": text, "count": 3, "list": [1, {"a": None}]}
    head = "\n{{ text }}{{ count + 1 }}{{ list[1].a is none }}{{ nothing is none }}{{ enable_thinking }}\n"
    made = Encoder(tokenizer("qwen2_5"), chat_template=head + chatml(), template_kwargs=kwargs)
    rows, _ = made.messages(two_answers())
    for prompting in (True, False):
        given = made.tokenizer.apply_chat_template(
            rows, tokenize=False, add_generation_prompt=prompting, chat_template=head + chatml(), **kwargs
        )
        baked = made.tokenizer.apply_chat_template(
            rows, tokenize=False, add_generation_prompt=prompting, chat_template=made.chat_template
        )
        assert baked == given and baked.startswith(f"\n{text}4TrueTrueFalse")


def test_qwen3_with_thinking_switched_off_prompts_with_an_empty_thought() -> None:
    off = Encoder(tokenizer("qwen3"), template_kwargs={"enable_thinking": False})
    prompt = off.tokenizer.decode(off.prompt_ids(answered().before(1)))
    assert prompt.endswith("<|im_start|>assistant\n<think>\n\n</think>\n\n")
    [sample] = off.encode(answered())
    assert off.tokenizer.decode(turns_of(sample)[0]) == "Hello.<|im_end|>"


# What is saved, and other processes


@pytest.mark.parametrize("case", ["qwen3", "mistral_nemo", "shipped chatml"])
def test_an_encoder_survives_pickling(case: str) -> None:
    made = encoder(case)
    again = pickle.loads(pickle.dumps(made))
    assert again.encode(two_answers()) == made.encode(two_answers())
    assert again.facts() == made.facts()


@pytest.mark.parametrize("case", list(CASES))
def test_every_trained_stop_token_is_listed(case: str) -> None:
    made = encoder(case)
    dialogues = [answered(), two_answers(), with_result('{"x": 1}')]
    ends = {turn[-1] for dialogue in dialogues for sample in made.encode(dialogue) for turn in turns_of(sample)}
    assert ends == set(made.stop_token_ids)
    assert made.facts()["stop_tokens"] == list(CASES[case].known.stops)


@pytest.mark.parametrize("name", ["llama3", "llama3_1", "deepseek_v3", "mistral_nemo", "qwen2_5"])
def test_loading_keeps_padding_apart_from_the_stop_token(name: str) -> None:
    loaded = load_tokenizer(str(tokenizer_dir(name)))
    assert loaded.pad_token_id not in Encoder(loaded).stop_token_ids


def test_a_recipe_gives_the_encoder_it_asks_for(tmp_path: Path) -> None:
    (tmp_path / "mine.jinja").write_text(chatml())
    recipe = Recipe.model_validate(
        {
            "name": "r",
            "model_name_or_path": str(tokenizer_dir("qwen2_5")),
            "chat_template": str(tmp_path / "mine.jinja"),
            "tool_format": "button",
            "train_data": [{"source": "button", "path": ["x.jsonl"]}],
            "held_out_share": 0.1,
            "learning_rate": 1e-4,
            "output_dir": "out",
        }
    )
    made = load_encoder(recipe)
    assert made.tool_format == "button" and made.chat_template == chatml()
    assert isinstance(made.encode(answered())[0], Encoded)


def test_parsing_reads_text_and_ids_alike_with_and_without_the_stop_token() -> None:
    made = encoder("shipped chatml", "button")
    turn = '<call>[{"name": "f", "arguments": {"x": 1}}]</call>'
    ids = made.tokenizer.encode(turn, add_special_tokens=False)
    for generated in (turn, turn + "<|im_end|>\n", ids, [*ids, *made.stop_token_ids]):
        assert made.parse(generated, has_tools=True).tool_calls[0].arguments == {"x": 1}
    with pytest.raises(button.TurnParseError) as error:
        made.parse("no markers", has_tools=True)
    assert error.value.code == "no_action"
