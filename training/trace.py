"""What one micro-batch holds in memory, found by running it on tensors without data.

The model is built from its config alone, under torch's FakeTensorMode: every tensor has shape and dtype, none has
storage. Forward and backward then go the way of training (attention, checkpointing, adapters, LM head at trained
positions), and each tensor that appears and disappears is counted. No table of formulas per architecture is needed.
"""

from __future__ import annotations

import copy
import weakref
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from functools import partial
from typing import Any, NamedTuple, cast

import torch
from peft import LoraConfig, get_peft_model
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from transformers import AutoModelForCausalLM, PretrainedConfig

from training.attention import BY_DIALOGUE, flat_batch
from training.loss import model_inputs, scores_at

# Layers of a repeated stack cost the same, so two shallow models give the line on which the deep one lies.
SHALLOW, LESS_SHALLOW = 2, 4


class Moment(NamedTuple):
    """Bytes alive after one operation, the model's weights left out."""

    activations: float
    logits: float  # whatever is as wide as the vocabulary
    gradients: float  # of weights, as autograd leaves them


class Trace(NamedTuple):
    """The moments of one forward and backward, in their order."""

    moments: tuple[Moment, ...]
    first_layer: int = 0  # the moment at which backward comes to the first layer

    def peak(self, gradient_share: float) -> Moment:
        """The moment of most memory where a gradient takes `gradient_share` of the room it has in autograd."""
        return max(self.moments, key=lambda m: m.activations + m.logits + gradient_share * m.gradients)


class MicroBatch(NamedTuple):
    """What is run: dialogues of `length` tokens each, `tokens` in all, the last `trained` of them trained."""

    tokens: int
    trained: int
    length: int


class Numbers(NamedTuple):
    """In which formats: weights are loaded in `weights`; with `autocast`, computed in bfloat16 all the same."""

    weights: torch.dtype
    autocast: bool


def trace(
    config: PretrainedConfig,
    adapter: LoraConfig | None,
    batch: MicroBatch,
    numbers: Numbers,
    *,
    checkpointing: bool,
) -> Trace:
    """Trace one micro-batch of the model that `config` describes, LoRA where `adapter` is given.

    Deep models are traced twice, shallow, and the rest is drawn along the line; not where the adapter names its modules
    by a pattern, which may tell layers apart.
    """
    depth = config.num_hidden_layers
    by_pattern = (
        adapter is not None and isinstance(adapter.target_modules, str) and adapter.target_modules != "all-linear"
    )
    if depth <= LESS_SHALLOW or by_pattern:
        return _traced(config, adapter, batch, numbers, checkpointing)
    low, high = (
        _traced(_of_depth(config, layers), adapter, batch, numbers, checkpointing) for layers in (SHALLOW, LESS_SHALLOW)
    )
    times = (depth - SHALLOW) / (LESS_SHALLOW - SHALLOW)
    pairs = zip(_landmarks(low), _landmarks(high), strict=True)
    return Trace(tuple(Moment(*(a + times * (b - a) for a, b in zip(*pair, strict=True))) for pair in pairs))


def _of_depth(config: PretrainedConfig, layers: int) -> PretrainedConfig:
    shallow = copy.deepcopy(config)
    if getattr(shallow, "layer_types", None):
        shallow.layer_types = shallow.layer_types[:layers]
    shallow.num_hidden_layers = layers
    return shallow


def _landmarks(traced: Trace) -> tuple[Moment, Moment]:
    """The most before backward comes to the first layer, gradients left out, and the most from there on.

    A peak is one of the two: in between, layer by layer, activations go and gradients come, both by equal steps.
    """
    before, after = traced.moments[: traced.first_layer], traced.moments[traced.first_layer :]
    return Trace(before or after).peak(0.0), Trace(after).peak(1.0)


def _traced(
    config: PretrainedConfig,
    adapter: LoraConfig | None,
    batch: MicroBatch,
    numbers: Numbers,
    checkpointing: bool,
) -> Trace:
    model = empty_model(config, adapter, numbers)
    if checkpointing:
        model.activation_checkpointing_enable()
        if adapter is not None:
            model.enable_input_require_grads()
    model.train()
    with FakeTensorMode(allow_non_fake_inputs=True):
        _fill(model)
        runs = [[batch.length]] * (batch.tokens // batch.length)
        runs += [[batch.tokens % batch.length]] if batch.tokens % batch.length else []
        inputs = flat_batch(torch.zeros(batch.tokens, dtype=torch.int64), runs)
        with _counting(model, config.vocab_size) as counter:
            autocast = torch.autocast("cpu", torch.bfloat16) if numbers.autocast else nullcontext()
            positions = torch.arange(batch.tokens - batch.trained, batch.tokens)
            with autocast:
                losses = scores_at(
                    model, model_inputs(inputs, BY_DIALOGUE), positions, torch.zeros_like(positions)
                ).losses
            losses.sum().backward()
        return Trace(tuple(counter.moments), counter.first_layer)


def empty_model(config: PretrainedConfig, adapter: LoraConfig | None, numbers: Numbers) -> Any:
    """The model on torch's meta device, with its adapter: every parameter has a shape and none has storage."""
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config, dtype=numbers.weights, attn_implementation=BY_DIALOGUE)
        if adapter is None:
            return model
        return get_peft_model(model, copy.deepcopy(adapter), autocast_adapter_dtype=numbers.autocast)


def _fill(model: torch.nn.Module) -> None:
    """Put fake tensors of the CPU in place of a model's meta ones; what is shared stays shared."""
    made: dict[int, torch.Tensor] = {}
    for module in model.modules():
        for held in (cast("dict[str, Any]", module._parameters), module._buffers):
            for name, tensor in held.items():
                if tensor is not None:
                    if id(tensor) not in made:
                        fake = torch.empty(tensor.shape, dtype=tensor.dtype)
                        is_parameter = isinstance(tensor, torch.nn.Parameter)
                        made[id(tensor)] = torch.nn.Parameter(fake, tensor.requires_grad) if is_parameter else fake
                    held[name] = made[id(tensor)]


class _Counter(TorchDispatchMode):
    """Keeps count of the storages that operations make, until each is freed."""

    def __init__(self, vocabulary: int, known: set[int]) -> None:
        super().__init__()
        self.vocabulary, self.known = vocabulary, known
        self.alive: dict[int, tuple[str, int]] = {}
        self.bytes = {"activations": 0, "logits": 0, "gradients": 0}
        self.moments: list[Moment] = []
        self.first_layer = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        made = func(*args, **(kwargs or {}))
        for tensor in tree_leaves(made):
            if isinstance(tensor, torch.Tensor):
                self._note(tensor)
        return made

    def _note(self, tensor: torch.Tensor) -> None:
        storage = tensor.untyped_storage()
        key = storage._cdata
        if key in self.alive or key in self.known:
            return
        part = "logits" if tensor.ndim and tensor.shape[-1] == self.vocabulary else "activations"
        self._add(key, part, storage.nbytes())
        weakref.finalize(storage, self._free, key)
        self.moments.append(Moment(**self.bytes))

    def _add(self, key: int, part: str, size: int) -> None:
        self.alive[key] = (part, size)
        self.bytes[part] += size

    def _free(self, key: int) -> None:
        part, size = self.alive.pop(key, ("activations", 0))
        self.bytes[part] -= size

    def is_gradient(self, name: str, parameter: torch.Tensor) -> None:
        """Called when a weight's gradient is complete: from here on its storage counts as one."""
        assert parameter.grad is not None
        key = parameter.grad.untyped_storage()._cdata
        part, size = self.alive.get(key, ("gradients", 0))
        if part != "gradients":
            self._free(key)
            self._add(key, "gradients", size)
        if ".layers.1." in name:
            self.first_layer = len(self.moments)
        self.moments.append(Moment(**self.bytes))


@contextmanager
def _counting(model: torch.nn.Module, vocabulary: int) -> Iterator[_Counter]:
    own = [*model.parameters(), *model.buffers()]
    counter = _Counter(vocabulary, {tensor.untyped_storage()._cdata for tensor in own})
    trained = [(name, parameter) for name, parameter in model.named_parameters() if parameter.requires_grad]
    hooks = [p.register_post_accumulate_grad_hook(partial(counter.is_gradient, name)) for name, p in trained]
    with counter:
        yield counter
    for hook in hooks:
        hook.remove()
