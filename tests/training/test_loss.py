"""The packing law, and the loss per trained token."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from trl.trainer.utils import add_fused_lm_head

from data_prep.prefixes import MIN_SHARED
from tests.training.helpers import VOCABULARY, encoded_row, joined_rows, split_row, with_beginning
from training.attention import BY_DIALOGUE, BordersLeak, check_borders
from training.collate import FILLER, collate
from training.loss import CrossEntropy, flat_logits, sums_by_kind, token_scores, trained_kinds
from training.tiny import tiny_model

LONG = MIN_SHARED + 5  # tokens of a common beginning
IMPLEMENTATIONS = (BY_DIALOGUE, "sdpa", "eager")
EXACT = {"rtol": 1e-5, "atol": 1e-6}  # float32 rounding


def loss_and_gradients(model, batches, implementation):
    """Summed loss of the batches and every parameter's gradient."""
    model.zero_grad()
    loss = torch.stack([token_scores(model, batch, implementation).losses.sum() for batch in batches]).sum()
    loss.backward()
    return loss.detach(), {name: p.grad.clone() for name, p in model.named_parameters()}


@pytest.mark.parametrize("architecture", ["llama", "mistral", "qwen2", "gemma"])
@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
@settings(max_examples=5)
@given(seed=st.integers(0, 10_000), dialogues=st.integers(1, 5))
def test_packed_loss_and_gradients_equal_those_of_the_dialogues_alone(architecture, implementation, seed, dialogues):
    model = tiny_model(architecture, VOCABULARY, attn_implementation=implementation)
    row = encoded_row(seed, dialogues)
    packed_loss, packed = loss_and_gradients(model, [collate([row])], implementation)
    alone_loss, alone = loss_and_gradients(model, [collate([part]) for part in split_row(row)], implementation)
    torch.testing.assert_close(packed_loss, alone_loss, **EXACT)
    for name, gradient in packed.items():
        torch.testing.assert_close(gradient, alone[name], rtol=1e-4, atol=2e-6, msg=lambda m, n=name: f"{n}: {m}")


@pytest.mark.parametrize("architecture", ["llama", "mistral", "qwen2", "gemma"])
@settings(max_examples=5)
@given(seed=st.integers(0, 10_000), groups=st.lists(st.integers(1, 4), min_size=1, max_size=3))
def test_a_common_beginning_computed_once_changes_neither_loss_nor_gradients(architecture, seed, groups):
    model = tiny_model(architecture, VOCABULARY, attn_implementation=BY_DIALOGUE)
    row = joined_rows([with_beginning(encoded_row(seed + at, size), seed + at, LONG) for at, size in enumerate(groups)])
    shared = collate([row], share_prefixes=True)
    shared_loss, gradients = loss_and_gradients(model, [shared], BY_DIALOGUE)
    alone_loss, alone = loss_and_gradients(model, [collate([part]) for part in split_row(row)], BY_DIALOGUE)
    torch.testing.assert_close(shared_loss, alone_loss, **EXACT)
    for name, gradient in gradients.items():
        torch.testing.assert_close(gradient, alone[name], rtol=1e-4, atol=2e-6, msg=lambda m, n=name: f"{n}: {m}")
    assert shared["input_ids"].shape[1] == len(row["input_ids"]) - sum(LONG * (size - 1) for size in groups)


def test_attention_by_dialogue_equals_eager_within_and_beyond_a_sliding_window():
    row = encoded_row(3, dialogues=3, low=20, high=30)
    models = [tiny_model("mistral", VOCABULARY, attn_implementation=name) for name in IMPLEMENTATIONS]
    for model in models:
        model.config.sliding_window = 8
        for layer in model.model.layers:
            layer.self_attn.config.sliding_window = 8
    logits = [flat_logits(model, collate([row]), name) for model, name in zip(models, IMPLEMENTATIONS, strict=True)]
    unlimited = flat_logits(
        tiny_model("mistral", VOCABULARY, attn_implementation=BY_DIALOGUE), collate([row]), BY_DIALOGUE
    )
    torch.testing.assert_close(logits[0], logits[2], rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(logits[1], logits[2], rtol=1e-4, atol=1e-5)
    assert (logits[0] - unlimited).abs().max() > 1e-4


@given(seeds=st.lists(st.integers(0, 999), min_size=1, max_size=4))
def test_head_at_trained_positions_equals_the_full_computation(seeds):
    model = tiny_model("llama", VOCABULARY, attn_implementation=BY_DIALOGUE)
    batch = collate([encoded_row(seed, dialogues=2) for seed in seeds])
    logits = flat_logits(model, batch, BY_DIALOGUE)
    full = F.cross_entropy(logits[:-1], batch["labels"][0, 1:], reduction="none", ignore_index=-100)
    trained = batch["labels"][0, 1:] != -100
    torch.testing.assert_close(token_scores(model, batch, BY_DIALOGUE).losses, full[trained], **EXACT)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@settings(max_examples=20)
@given(seed=st.integers(0, 999), positions=st.sampled_from([0, 1, 16, 17, 40]))
def test_cross_entropy_written_over_its_logits_is_that_of_torch(dtype, seed, positions):
    generator = torch.Generator().manual_seed(seed)
    values = (torch.randn(positions, VOCABULARY, generator=generator) * 5).to(dtype)
    targets = torch.randint(VOCABULARY, (positions,), generator=generator)
    upstream = torch.randn(positions, generator=generator)
    ours, theirs = values.clone().requires_grad_(), values.clone().requires_grad_()
    # A soft cap, as some models have: its backward needs its own result, which is not the logits.
    losses, right = CrossEntropy.apply(torch.tanh(ours / 30) * 30, targets)
    wanted = F.cross_entropy((torch.tanh(theirs / 30) * 30).float(), targets, reduction="none")
    torch.testing.assert_close(losses, wanted, **EXACT)
    assert right.tolist() == (values.argmax(1) == targets).tolist() or dtype == torch.bfloat16  # which has ties
    (losses * upstream).sum().backward()
    (wanted * upstream).sum().backward()
    torch.testing.assert_close(ours.grad, theirs.grad, rtol=1e-5 if dtype == torch.float32 else 2e-2, atol=1e-6)


def test_cross_entropy_makes_no_copy_of_its_logits_and_refuses_those_that_somebody_needs():
    hidden, weight = torch.randn(40, 8, requires_grad=True), torch.randn(VOCABULARY, 8)
    logits = hidden @ weight.T
    seen = []
    logits.register_hook(lambda gradient: seen.append(gradient.data_ptr()))
    CrossEntropy.apply(logits, torch.zeros(40, dtype=torch.int64))[0].sum().backward()
    assert seen == [logits.data_ptr()]
    needed = (hidden @ weight.T).exp()
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        CrossEntropy.apply(needed, torch.zeros(40, dtype=torch.int64))[0].sum().backward()


def test_a_token_is_right_where_no_other_is_likelier():
    model = tiny_model("llama", VOCABULARY, attn_implementation=BY_DIALOGUE)
    batch = collate([encoded_row(seed) for seed in range(40)])
    likeliest = flat_logits(model, batch, BY_DIALOGUE).argmax(1)[:-1] == batch["labels"][0, 1:]
    trained = batch["labels"][0, 1:] != -100
    right = token_scores(model, batch, BY_DIALOGUE).right
    assert right.tolist() == likeliest[trained].tolist() and right.any()


def test_the_head_used_on_a_gpu_gives_the_same_losses():
    model = tiny_model("llama", VOCABULARY, attn_implementation=BY_DIALOGUE)
    batch = collate([encoded_row(1, dialogues=3)])
    here = token_scores(model, batch, BY_DIALOGUE).losses
    add_fused_lm_head(model)
    fused = model(
        input_ids=batch["input_ids"], position_ids=batch["position_ids"], labels=batch["labels"],
        runs=batch["runs"], fused_lm_head=True,
    )  # fmt: skip
    trained = batch["labels"][0, 1:] != -100
    torch.testing.assert_close(-fused.log_probs[0, trained], here, **EXACT)


def test_losses_by_kind_add_up_to_the_whole():
    model = tiny_model("llama", VOCABULARY, attn_implementation=BY_DIALOGUE)
    batch = collate([encoded_row(seed) for seed in range(6)])
    losses, kinds = token_scores(model, batch, BY_DIALOGUE).losses, trained_kinds(batch)
    sums = sums_by_kind(losses, kinds, 5)
    assert sums[1, 0] == 0 and (sums[1, 1:] > 0).all()
    assert sums[1].sum() == len(losses)
    torch.testing.assert_close(sums[0].sum().float(), losses.sum(), **EXACT)
    torch.testing.assert_close(sums[0, 2].float(), losses[kinds == 2].sum(), **EXACT)


def test_a_filler_row_adds_nothing_and_still_reaches_every_parameter():
    model = tiny_model("llama", VOCABULARY, attn_implementation=BY_DIALOGUE)
    loss, gradients = loss_and_gradients(model, [collate([FILLER])], BY_DIALOGUE)
    assert loss == 0
    assert all((gradient == 0).all() for gradient in gradients.values())
    row = encoded_row(5)
    with_filler, _ = loss_and_gradients(model, [collate([row, FILLER])], BY_DIALOGUE)
    without, _ = loss_and_gradients(model, [collate([row])], BY_DIALOGUE)
    torch.testing.assert_close(with_filler, without, **EXACT)


def test_the_first_token_of_a_dialogue_is_never_trained_from_the_dialogue_before_it():
    row = {"input_ids": [1, 2, 3, 4], "labels": [1, 2, 3, 4], "kinds": [3, 3, 3, 4], "seq_lengths": [2, 2]}
    assert collate([row])["labels"].tolist() == [[-100, 2, -100, 4]]


def test_lengths_that_do_not_add_up_are_an_error():
    with pytest.raises(ValueError, match=r"'made-1': seq_lengths \[3\] do not add up"):
        collate([{**encoded_row(1), "seq_lengths": [3]}])


def test_a_branch_that_sees_another_branch_is_refused():
    model = tiny_model("llama", VOCABULARY, attn_implementation=BY_DIALOGUE)

    def leaky(batch):  # the branches of a run as one
        runs = [run if len(run) < 3 else [run[0], sum(run[1:])] for run in batch["runs"]]
        return flat_logits(model, {**batch, "runs": runs}, BY_DIALOGUE)

    check_borders(leaky, VOCABULARY, torch.device("cpu"), "leaky")
    with pytest.raises(BordersLeak, match="does not keep the dialogues of a row apart"):
        check_borders(leaky, VOCABULARY, torch.device("cpu"), "leaky", share_prefixes=True)


@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
def test_attention_that_honours_borders_passes_the_check(implementation):
    model = tiny_model("llama", VOCABULARY, attn_implementation=implementation)
    check_borders(
        lambda batch: flat_logits(model, batch, implementation), VOCABULARY, torch.device("cpu"), implementation
    )


def test_attention_that_leaks_across_borders_is_refused():
    model = tiny_model("llama", VOCABULARY, attn_implementation="sdpa")

    def leaky(batch):  # an all-ones mask beside restarting positions
        mask = torch.ones_like(batch["input_ids"])
        return model(input_ids=batch["input_ids"], position_ids=batch["position_ids"], attention_mask=mask).logits[0]

    with pytest.raises(BordersLeak, match="does not keep the dialogues of a row apart"):
        check_borders(leaky, VOCABULARY, torch.device("cpu"), "leaky")
