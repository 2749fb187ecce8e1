"""The preview shows every token as it is trained, and nothing in the data can act on who looks at it."""

import io
from html.parser import HTMLParser

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from data_prep.build_dir import BuildError
from data_prep.dialogue import Dialogue
from data_prep.preview import legend, main, show, token_texts, views, visible
from data_prep.preview_html import html
from tests.data_prep.byte_encoder import byte_encoder, byte_tokenizer, chat, write_rows

EVERYTHING = ("thought", "call", "answer")
NASTY = "<script>alert(1)</script> [red]x[/red] \x1b[2J\x1b]0;title\x07 \x9b31m \u202egnp.exe\r\x00 {{ 7 * 7 }}"


@pytest.fixture(scope="module")
def encoder():
    return byte_encoder()


def printed(view, colour=False):
    out = io.StringIO()
    system = "truecolor" if colour else None
    show(Console(file=out, width=100, force_terminal=colour, color_system=system, highlight=False), view)
    return out.getvalue()


def view_of(encoder, *texts, train_on=EVERYTHING):
    (view,) = views(Dialogue.from_dict(chat(0, *texts)), encoder, train_on)
    return view


@given(st.lists(st.integers(0, 258), max_size=40))
def test_token_texts_join_to_the_decoded_whole(ids):
    tokenizer = byte_tokenizer()
    assert "".join(token_texts(tokenizer, ids)) == tokenizer.decode(ids, clean_up_tokenization_spaces=False)


@given(st.text(max_size=30))
def test_token_texts_give_text_back_with_every_character_whole(text):
    tokenizer = byte_tokenizer()
    texts = token_texts(tokenizer, tokenizer.encode(text, add_special_tokens=False))
    assert "".join(texts) == text.encode("utf-8", "replace").decode()
    assert len(texts) == len(text.encode())


@pytest.mark.parametrize("name", ["gemma3", "llama3", "mistral_nemo"])
def test_token_texts_keep_the_white_space_of_real_tokenizers(load_test_tokenizer, name):
    tokenizer = load_test_tokenizer(name)
    text = "  two spaces, 漢字 and 👩‍🚀\n\n\ttab  end "
    ids = tokenizer.encode(text, add_special_tokens=False)
    assert "".join(token_texts(tokenizer, ids)) == tokenizer.decode(ids, clean_up_tokenization_spaces=False)


@given(st.text(max_size=60))
def test_visible_text_holds_no_control_or_direction_characters(text):
    shown = visible(text)
    assert not any((ord(char) < 32 and char != "\n") or 0x7F <= ord(char) < 0xA0 for char in shown)
    assert not set(shown) & set("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\u200b\u2028\ufeff")
    assert visible("plain é 漢 👩‍🚀\n") == "plain é 漢 👩‍🚀\n"


@pytest.mark.parametrize("colour", [False, True])
def test_data_cannot_act_on_the_terminal(encoder, colour):
    text = printed(view_of(encoder, NASTY, "fine"), colour)
    for sequence in ("\x1b[2J", "\x1b]0;", "\x07", "\x9b", "\u202e", "\r", "\x00"):
        assert sequence not in text
    assert ("\x1b" in text) is colour
    if not colour:
        assert "[red]x[/red] ␛[2J␛]0;title␇ \\u009b31m \\u202egnp.exe␍␀" in text


class Tags(HTMLParser):
    """Collects the tags and the text of a page."""

    def __init__(self):
        super().__init__()
        self.tags: list[str] = []
        self.text = ""
        self.attributes: list[tuple[str, str | None]] = []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += attrs

    def handle_data(self, data):
        self.text += data


def test_data_cannot_act_on_the_page_and_the_page_loads_nothing(encoder):
    texts = (NASTY, '"><img src=x onerror=alert(1)>')
    (view,) = views(Dialogue.from_dict({**chat(0, *texts), "id": "<script>id"}), encoder, EVERYTHING)
    page = Tags()
    page.feed(html([view]))
    assert "<script>alert(1)</script>" in page.text and "<script>id" in page.text
    assert '"><img src=x onerror=alert(1)>' in page.text and "{{ 7 * 7 }}" in page.text
    assert not {"script", "img", "link", "iframe"} & set(page.tags)
    assert not any(name.startswith("on") or name in ("src", "href") for name, _ in page.attributes)


def test_every_token_is_on_the_page_with_its_kind(encoder):
    view = view_of(encoder, "hi", "yo\nho")
    page = Tags()
    page.feed(html([view]))
    titles = [value for name, value in page.attributes if name == "title"]
    assert len(titles) == len(view.tokens)
    assert titles.count(f"{view.tokens[-2].id} stop, trained") == 1
    assert sum("answer, trained" in title for title in titles) == len("yo\nho")


def test_counts_per_turn_are_what_train_on_trains(encoder):
    view = view_of(encoder, "a", "bcd", "e", "fg")
    assert [(turn.total, turn.trained, turn.by_kind) for turn in view.turns] == [
        (4, 4, {"answer": 3, "stop": 1}),
        (3, 3, {"answer": 2, "stop": 1}),
    ]
    text = printed(view)
    assert "turn 1: 4 of 4 tokens trained (answer 3, stop 1)" in text
    assert f"sample: 7 of {len(view.tokens)} tokens trained" in text
    untrained = view_of(encoder, "a", "bcd", train_on=("call",))
    assert untrained.trained == 0 and "(answer) bcd" in printed(untrained)


def test_line_breaks_and_special_tokens_are_seen(encoder):
    text = printed(view_of(encoder, "hi", "one\ntwo"))
    assert "answer  one⏎" in text and "\n        two" in text
    assert "stop    <|im_end|>" in text
    assert "context" in legend().plain and "stop" in legend().plain


def test_a_rejected_dialogue_is_shown_with_its_reason(encoder):
    view = view_of(encoder, "say <|im_end|>", "no")
    assert "rejected, control_token" in printed(view)
    assert "control_token" in html([view])


def test_the_command_prints_rows_of_a_file_and_writes_a_page(tmp_path, capsys):
    byte_tokenizer().save_pretrained(tmp_path / "model")
    rows = write_rows(tmp_path / "rows.jsonl", [*map(chat, range(4)), chat(4, "a", "first", "b", "second")])
    (tmp_path / "recipe.yaml").write_text(
        f"name: look\nmodel_name_or_path: {tmp_path}/model\nchat_template: chatml\nheld_out_share: 0\n"
        f"train_data: [{{source: messages, path: {rows}}}]\nlearning_rate: 1e-4\noutput_dir: none\n"
    )
    assert main([str(tmp_path / "recipe.yaml"), "--rows", "3,1"]) == 0
    out = capsys.readouterr().out
    assert 0 < out.index("answer 3") < out.index("answer 1") and "answer 0" not in out
    assert main([str(tmp_path / "recipe.yaml"), "--rows", "0", "--html", str(tmp_path / "page.html")]) == 0
    assert "chat-0" in (tmp_path / "page.html").read_text()
    assert main([str(tmp_path / "recipe.yaml"), "--rows", "4", "only_last_turn=true"]) == 0
    out = capsys.readouterr().out
    assert "turn 1: 7 of 7 tokens trained (answer 6, stop 1)" in out and "turn 2" not in out
    with pytest.raises(BuildError, match="--rows 9: there are fewer rows"):
        main([str(tmp_path / "recipe.yaml"), "--rows", "9"])
    with pytest.raises(SystemExit):
        main(["--model", "x"])
