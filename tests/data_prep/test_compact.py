"""The laws of compact columns: they answer as dicts and lists do, in a few bytes an entry."""

import tracemalloc

from hypothesis import given
from hypothesis import strategies as st

from data_prep.compact import Labels, Numbers, Texts


@given(st.lists(st.text(max_size=2) | st.integers(0, 40).map(str), max_size=200))
def test_texts_are_numbered_as_a_dict_would(texts):
    numbers, wanted = Numbers(), {}
    for text in texts:
        assert numbers.find(text) == wanted.get(text) and (text in numbers) == (text in wanted)
        assert numbers.add(text) == wanted.setdefault(text, len(wanted))
        assert len(numbers) == len(wanted)
    assert [numbers.find(text) for text in wanted] == list(wanted.values())


def test_texts_whose_hashes_want_the_same_slot_keep_their_own_numbers():
    found = Numbers(f"chat-{number}" for number in range(50_000))  # half of them meet another one in the table
    assert [found.find(f"chat-{number}") for number in range(50_000)] == list(range(50_000))
    assert found.find("chat-50000") is None and len(found) == 50_000


@given(st.lists(st.text(st.characters(codec="utf-8")), max_size=30))
def test_texts_and_labels_read_back_while_more_are_added(texts):
    for column in (Texts(), Labels()):
        for number, text in enumerate(texts):
            column.append(text)
            assert column[number // 2] == texts[number // 2]
        assert [column[number] for number in range(len(texts))] == texts


def test_texts_on_disk_stay_there(tmp_path):
    with open(tmp_path / "ids", "wb+") as file:
        ids = Texts(file)
        for number in range(1000):
            ids.append(f"chat-{number}")
        assert (ids[0], ids[999], len(ids)) == ("chat-0", "chat-999", 1000)


def bytes_a_text(make):
    """The most memory that a column took for each of the texts that it was made from, whose own is not counted."""
    texts = [f"{number:0100}" for number in range(20_000)]
    tracemalloc.start()
    try:
        kept = make(texts)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    del kept
    return peak / len(texts)


def test_numbering_takes_at_most_50_bytes_a_text_however_long_it_is():
    assert bytes_a_text(Numbers) < 50


def test_labels_take_4_bytes_for_each_repetition():
    def make(texts):
        labels = Labels()
        for number, _ in enumerate(texts):
            labels.append(texts[number % 3])
        return labels

    assert bytes_a_text(make) < 6
