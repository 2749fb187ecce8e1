"""`loss_weights`: the loss and gradients of a global batch equal a plain computation, however the batch is laid out."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
import torch
from datasets import Dataset
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from transformers import GenerationConfig

from data_prep.prefixes import MIN_SHARED
from tests.data_prep.byte_encoder import byte_tokenizer, recipe_of
from tests.training.helpers import VOCABULARY, joined_rows, split_row, with_beginning
from training.arguments import training_arguments
from training.attention import BY_DIALOGUE
from training.collate import FILLER, collate
from training.launch import Launch
from training.loss import trained_weights
from training.tiny import tiny_model
from training.trainer import DialogueTrainer, Run

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::UserWarning", "ignore::DeprecationWarning")

PARTS = {"thought": 1, "call": 2, "answer": 3}
CONTEXT, STOP = 0, 4
EXACT = {"rtol": 1e-5, "atol": 1e-6}  # float32 rounding
WEIGHTS = st.dictionaries(st.sampled_from(sorted(PARTS)), st.floats(0.01, 100), min_size=1)


def dialogue_row(seed: int) -> dict[str, Any]:
    """A row of one dialogue of one to three turns, each of one to three parts, of which some are trained."""
    rng = random.Random(seed)
    turns = [sorted(rng.sample([1, 2, 3], rng.randint(1, 3))) for _ in range(rng.randint(1, 3))]
    trained = {rng.choice(turns[0]), *rng.sample([1, 2, 3], rng.randint(0, 2))}
    kinds, labelled = [CONTEXT], [False]
    for parts in turns:
        context = rng.randint(1, 6)
        turn = [kind for kind in parts for _ in range(rng.randint(1, 4))]
        kinds += [CONTEXT] * context + turn + [STOP]
        labelled += [False] * context + [kind in trained for kind in turn] + [not trained.isdisjoint(turn)]
    ids = [rng.randrange(1, VOCABULARY) for _ in kinds]
    labels = [token if flag else -100 for token, flag in zip(ids, labelled, strict=True)]
    return {"input_ids": ids, "labels": labels, "kinds": kinds, "seq_lengths": [len(ids)], "source": "made"}


def weights_by_hand(row: Mapping[str, Any], loss_weights: Mapping[str, float]) -> list[float]:
    """The weight of each trained token of a row of one dialogue, in order."""
    of_kind = {kind: loss_weights.get(part, 1.0) for part, kind in PARTS.items()}
    weights: list[float] = []
    for kind, label in zip(row["kinds"], row["labels"], strict=True):
        if label != -100:
            weights.append(weights[-1] if kind == STOP else of_kind[kind])
    return weights


def plain_loss(model: torch.nn.Module, rows: list[dict[str, Any]], loss_weights: Mapping[str, float]) -> Tensor:
    """sum(weight * loss) / sum(weight) over the rows, each forwarded alone, from all its logits."""
    above, below = [], 0.0
    for row in rows:
        ids, labels = torch.tensor(row["input_ids"]), torch.tensor(row["labels"])
        log_probs = model(input_ids=ids[None]).logits[0].log_softmax(dim=-1)
        trained = [place for place in range(len(ids)) if labels[place] != -100]
        for place, weight in zip(trained, weights_by_hand(row, loss_weights), strict=True):
            above.append(-weight * log_probs[place - 1, ids[place]])
            below += weight
    return torch.stack(above).sum() / below


def gradients(model: torch.nn.Module, loss: Tensor) -> dict[str, Tensor]:
    model.zero_grad()
    loss.backward()
    return {name: parameter.grad.clone() for name, parameter in model.named_parameters()}


@pytest.fixture(scope="module")
def trainer(tmp_path_factory: pytest.TempPathFactory) -> DialogueTrainer:
    """A trainer of a tiny Llama; the tests give it weights and micro-batches."""
    recipe = recipe_of(tmp_path_factory.mktemp("x") / "none", dtype="float32",
                       output_dir=str(tmp_path_factory.mktemp("run")))  # fmt: skip
    rows = Dataset.from_list([dialogue_row(0)])
    run = Run(
        arguments=training_arguments(recipe, Launch("NO", 1, 0, "cpu", []), holds_out=False),
        train=rows, held_out=rows.select([]), tokenizer=byte_tokenizer(), generation_config=GenerationConfig(),
        manifest={}, attn_implementation="sdpa", share_prefixes=False, loss_weights={}, save_total_limit=None,
    )  # fmt: skip
    return DialogueTrainer(tiny_model("llama", VOCABULARY, attn_implementation=BY_DIALOGUE), run)


def trained_loss(
    trainer: DialogueTrainer, batches: list[dict[str, Any]], loss_weights: Mapping[str, float]
) -> tuple[Tensor, dict[str, Tensor]]:
    """Loss and gradients of one global batch of these micro-batches, as the Trainer adds them up."""
    trainer.run = replace(trainer.run, loss_weights=loss_weights)
    items = trainer._get_num_items_in_batch(batches, torch.device("cpu"))
    losses = [trainer.compute_loss(trainer.model, batch, num_items_in_batch=items) for batch in batches]
    loss = torch.stack(losses).sum()
    return loss.detach(), gradients(trainer.model, loss)


def assert_equal(got: tuple[Tensor, dict[str, Tensor]], wanted: tuple[Tensor, dict[str, Tensor]]) -> None:
    torch.testing.assert_close(got[0], wanted[0], **EXACT)
    for name, gradient in got[1].items():
        torch.testing.assert_close(gradient, wanted[1][name], rtol=1e-4, atol=2e-6, msg=lambda m, n=name: f"{n}: {m}")


@settings(max_examples=15)
@given(seeds=st.lists(st.integers(0, 9999), min_size=1, max_size=6, unique=True), weights=WEIGHTS | st.just({}))
def test_the_weighted_loss_is_that_of_plain_torch_for_every_batch_layout(trainer, seeds, weights):
    rows = [dialogue_row(seed) for seed in seeds]
    loss = plain_loss(trainer.model, rows, weights)
    expected = loss.detach(), gradients(trainer.model, loss)
    layouts = {
        "one by one": [collate([row]) for row in rows],
        "one micro-batch": [collate(rows)],
        "packed into one row": [collate([joined_rows(rows)])],
        "uneven, with filler": [collate(rows[:1]), collate([*rows[1:], FILLER]), collate([FILLER])],
    }
    for layout in layouts.values():
        assert_equal(trained_loss(trainer, layout, weights), expected)


@settings(max_examples=10)
@given(seed=st.integers(0, 9999), factor=st.floats(1e-6, 1e6), weights=WEIGHTS)
def test_only_the_ratios_of_weights_matter_and_equal_ones_are_none(trainer, seed, factor, weights):
    batches = [collate([dialogue_row(seed + at)]) for at in range(3)]
    equal = trained_loss(trainer, batches, dict.fromkeys(PARTS, factor))
    assert_equal(equal, trained_loss(trainer, batches, {}))
    full = {part: weights.get(part, 1.0) for part in PARTS}
    scaled = trained_loss(trainer, batches, {part: weight * factor for part, weight in full.items()})
    assert_equal(scaled, trained_loss(trainer, batches, weights))


@settings(max_examples=10)
@given(seed=st.integers(0, 9999), size=st.integers(2, 4), weights=WEIGHTS)
def test_a_common_beginning_computed_once_changes_nothing_about_the_weighted_loss(trainer, seed, size, weights):
    row = joined_rows([dialogue_row(seed + at) for at in range(size)])
    row = with_beginning({**row, "dialogue_id": "made"}, seed, MIN_SHARED + 5)
    shared = collate([row], share_prefixes=True)
    assert shared["input_ids"].shape[1] < len(row["input_ids"])
    alone = [collate([part]) for part in split_row(row)]
    assert_equal(trained_loss(trainer, [shared], weights), trained_loss(trainer, alone, weights))


def test_without_weights_the_loss_has_the_bits_of_a_sum_over_a_count(trainer):
    from training.loss import token_scores

    batches = [collate([dialogue_row(seed)]) for seed in range(4)]
    trainer.run = replace(trainer.run, loss_weights={})
    items = trainer._get_num_items_in_batch(batches, torch.device("cpu"))
    assert items == sum((batch["labels"] != -100).sum() for batch in batches)
    for batch in batches:
        before = token_scores(trainer.model, batch, BY_DIALOGUE).losses.sum() / items.clamp(min=1)
        assert torch.equal(trainer.compute_loss(trainer.model, batch, num_items_in_batch=items), before)


@given(seeds=st.lists(st.integers(0, 9999), min_size=1, max_size=5), weights=WEIGHTS)
def test_a_stop_token_weighs_what_the_trained_part_before_it_weighs(seeds, weights):
    rows = [dialogue_row(seed) for seed in seeds]
    by_hand = [weight for row in rows for weight in weights_by_hand(row, weights)]
    assert trained_weights(collate([joined_rows(rows)]), weights).tolist() == by_hand


def test_a_stop_token_behind_an_untrained_answer_weighs_what_its_thought_weighs():
    row = {"input_ids": [5, 6, 7, 8], "labels": [-100, 6, -100, 8], "kinds": [0, 1, 3, 4], "seq_lengths": [4]}
    assert trained_weights(collate([row]), {"thought": 2.5}).tolist() == [2.5, 2.5]


def test_a_batch_of_filler_weighs_nothing_and_its_loss_is_zero(trainer):
    loss, found = trained_loss(trainer, [collate([FILLER])], {"call": 2.0})
    assert loss == 0 and all((gradient == 0).all() for gradient in found.values())
