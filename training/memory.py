"""Memory per device, part by part, of a way to train: DDP, FSDP, ZeRO 0 to 3, with what is held in which format.

What is stated of DeepSpeed is what its 0.19 does with the keys our launch files leave at their defaults. Parts are
those of the moment of most memory, so they add up to the peak: gradients that do not exist yet are not counted.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import torch
import yaml

from recipes.schema import Recipe
from training.trace import Numbers, Trace

GIB = 2**30
ADAM_STATE = 8  # two float32 moments of each trained weight
MASTER = 4  # DeepSpeed's float32 copy of each trained weight
# NF4 with double quantization: half a byte, an 8-bit scale for each 64 weights, a float32 one for each 64 x 256.
NF4_BYTES = 0.5 + 1 / 64 + 4 / (64 * 256)
# DeepSpeed's defaults, in elements.
BUCKET = 500_000_000
LIVE_PARAMETERS = 1_000_000_000
# What TRL's LM head for GPUs has of the logits at a time: positions x words.
TILE = (4096, 32768)
# A CUDA context with its libraries, and what the caching allocator cannot use of what it holds. Ours, and cautious.
CUDA_CONTEXT = 1 * GIB
FRAGMENTATION = 0.06
# What activations take on a CPU beyond themselves. glibc's posix_memalign, before 2.38, asks for more room than a freed
# tensor of the same size has left, so holes stay: nothing to three quarters, by the batch. Fitted in docs/memory.md.
HOLES = 0.65


class Strategy(NamedTuple):
    """How a launch spreads the model."""

    kind: str  # single, ddp, zero, fsdp
    processes: int
    stage: int = 0
    offload_optimizer: bool = False
    offload_weights: bool = False

    def name(self) -> str:
        """`ZeRO-3, optimizer and weights in main memory`."""
        if self.kind != "zero":
            return {"single": "one process", "ddp": "DDP", "fsdp": "FSDP2"}[self.kind]
        held = [part for part, is_held in (("optimizer", self.offload_optimizer), ("weights", self.offload_weights))
                if is_held]  # fmt: skip
        return f"ZeRO-{self.stage}" + (f", {' and '.join(held)} in main memory" if held else "")


class Sizes(NamedTuple):
    """Parameters of a model, in elements."""

    trained: int
    frozen: int
    quantizable: int  # weights of linear layers but the head: what QLoRA keeps in four bits
    layer: int  # the largest of the repeated layers
    embedding: int  # the table of input embeddings
    widest: int  # the largest single linear layer
    vocabulary: int
    hidden: int


class Parts(NamedTuple):
    """Bytes on one device at the peak, and in main memory for what is offloaded there."""

    weights: float
    gradients: float
    optimizer: float
    activations: float
    logits: float
    buffers: float
    main_memory: float

    def total(self) -> float:
        """The peak on the device, in bytes."""
        return sum(self[:-1])

    def needed(self, on_gpu: bool) -> float:
        """What the device must have: the peak, and on a GPU the context and what fragmentation costs."""
        return self.total() * (1 + FRAGMENTATION) + CUDA_CONTEXT if on_gpu else self.total()


def strategies(processes: int) -> list[Strategy]:
    """Every way to train on `processes` GPUs, the simplest first."""
    first = Strategy("single" if processes == 1 else "ddp", processes)
    stages = [Strategy("zero", processes, stage) for stage in (range(4) if processes > 1 else ())]
    offloading = [
        Strategy("zero", processes, 1, offload_optimizer=True),
        Strategy("zero", processes, 2, offload_optimizer=True),
        Strategy("zero", processes, 3, offload_optimizer=True),
        Strategy("zero", processes, 3, offload_optimizer=True, offload_weights=True),
    ]
    return [first, *stages, *([Strategy("fsdp", processes)] if processes > 1 else []), *offloading]


def strategy_of(launch_file: Path, processes: int | None = None) -> tuple[Strategy, bool]:
    """What an accelerate launch file starts, and whether on CPUs. Raises OSError, yaml.YAMLError, ValueError."""
    settings = yaml.safe_load(launch_file.read_text(encoding="utf-8"))
    if not isinstance(settings, dict):
        raise ValueError(f"{launch_file}: holds no mapping; give a file that `accelerate config` writes")
    count = processes or int(settings.get("num_processes", 1))
    on_cpu = bool(settings.get("use_cpu"))
    kind = str(settings.get("distributed_type", "NO"))
    if kind == "DEEPSPEED":
        keys = settings.get("deepspeed_config") or {}
        if "deepspeed_config_file" in keys:
            raise ValueError(f"{launch_file}: names a DeepSpeed JSON file; put its keys into deepspeed_config itself")
        held = [keys.get(f"offload_{what}_device", "none") != "none" for what in ("optimizer", "param")]
        return Strategy("zero", count, int(keys.get("zero_stage", 2)), *held), on_cpu
    if kind == "FSDP" and not on_cpu:
        return Strategy("fsdp", count), on_cpu
    return Strategy("single" if count == 1 else "ddp", count), on_cpu


def numbers_of(recipe: Recipe, strategy: Strategy) -> Numbers:
    """The formats that training/arguments.py and the launcher choose together."""
    if recipe.dtype == "float32":
        return Numbers(torch.float32, autocast=False)
    if strategy.kind in ("zero", "fsdp"):
        return Numbers(torch.bfloat16, autocast=False)
    return Numbers(torch.bfloat16 if recipe.use_peft else torch.float32, autocast=True)


def memory_of(recipe: Recipe, strategy: Strategy, sizes: Sizes, traced: Trace, trained: int, on_gpu: bool) -> Parts:
    """Parts of the peak. `traced` is a micro-batch in the strategy's formats, `trained` its trained tokens."""
    numbers = numbers_of(recipe, strategy)
    byte = numbers.weights.itemsize
    own = _own_byte(recipe, strategy, numbers)
    share = 1 / strategy.processes
    weights, gathered = _weights(recipe, strategy, sizes, byte, own)
    optimizer = float(ADAM_STATE + _master(strategy, byte)) * sizes.trained
    sharded = strategy.kind == "fsdp" or (strategy.kind == "zero" and strategy.stage >= 1)
    optimizer *= share if sharded else 1
    # Of each gradient this share stays on this device once it is reduced.
    kept = share if strategy.kind == "fsdp" or strategy.stage >= 2 else 1.0
    whole = sizes.trained * own * kept
    if recipe.gradient_accumulation_steps > 1:  # they stand from the micro-batch before
        moment, gradients = traced.peak(0.0), whole
    else:
        moment = traced.peak(kept)
        gradients = kept * moment.gradients
    buffers = gathered + _buffers(recipe, strategy, sizes, own, on_gpu)
    logits = moment.logits + (_head_of_gpus(sizes, trained, byte, recipe) if on_gpu else 0)
    activations = moment.activations * (1 if on_gpu else 1 + HOLES)
    step = gradients_at_step(strategy, sizes, own)  # after backward: no activations, every gradient
    main_memory = 0.0
    if strategy.offload_optimizer:  # the step is made in main memory, which holds float32 gradients for it
        main_memory, optimizer, gradients = optimizer + sizes.trained * MASTER * share, 0.0, 0.0
    elif step > activations + logits + gradients:
        activations, logits, gradients = 0.0, 0.0, step
    if strategy.offload_weights:
        main_memory, weights = main_memory + weights, 0.0
    return Parts(weights, gradients, optimizer, activations, logits, buffers, main_memory)


def _own_byte(recipe: Recipe, strategy: Strategy, numbers: Numbers) -> int:
    """Bytes of a trained weight: PEFT keeps adapters in float32 under autocast, TRL those on four bits in bfloat16."""
    if recipe.use_peft:
        return 4 if numbers.autocast and not recipe.load_in_4bit else numbers.weights.itemsize
    return 4 if strategy.kind == "fsdp" else numbers.weights.itemsize


def _master(strategy: Strategy, byte: int) -> int:
    """Bytes of DeepSpeed's copy: of 16-bit weights always, of float32 ones in stages 1 and 2 all the same."""
    return MASTER if strategy.kind == "zero" and (byte < MASTER or strategy.stage in (1, 2)) else 0


def gradients_at_step(strategy: Strategy, sizes: Sizes, byte: int) -> float:
    """Gradients while the optimizer steps: DeepSpeed makes those of its own master weights beside them."""
    share = 1 / strategy.processes
    if strategy.kind == "zero":
        kept = share if strategy.stage >= 2 else 1.0
        return sizes.trained * (byte * kept + _master(strategy, byte) * (share if strategy.stage else 1.0))
    return sizes.trained * byte * (share if strategy.kind == "fsdp" else 1.0)


def _weights(recipe: Recipe, strategy: Strategy, sizes: Sizes, byte: int, own: int) -> tuple[float, float]:
    """Bytes of the weights that stay on a device, and of those gathered there while they are used."""
    adapter = sizes.trained if recipe.use_peft else 0
    base = float(sizes.trained + sizes.frozen - adapter) * byte
    if recipe.load_in_4bit:
        base += sizes.quantizable * (NF4_BYTES - byte)
    total = base + adapter * own
    if strategy.kind == "fsdp":
        stored = 4 * (sizes.trained + sizes.frozen) if not recipe.use_peft else total
        return stored / strategy.processes, (2 * sizes.layer + sizes.embedding) * byte
    if strategy.stage == 3:
        return total / strategy.processes, min(total, LIVE_PARAMETERS * byte)
    return total, 0.0


def _buffers(recipe: Recipe, strategy: Strategy, sizes: Sizes, own: int, on_gpu: bool) -> float:
    """What gradients travel in, and what a quantized layer becomes while it is used."""
    found = 0.0
    if strategy.kind == "ddp":
        found += sizes.trained * own  # DDP's buckets lie beside the gradients
    if strategy.kind == "zero":
        # The bucket is reserved whole; on a CPU only what is written to becomes memory.
        bucket = BUCKET if on_gpu else min(BUCKET, sizes.trained)
        found += bucket * own * (2 if strategy.stage == 3 and on_gpu else 1)  # stage 3 fills one while one travels
        if not on_gpu:
            # Its flat copy, the share kept of it, and gloo's copies of what it sends and receives to gather weights.
            share = 1 / strategy.processes
            found += (bucket + sizes.trained * (share + 1 + share)) * own
    if recipe.load_in_4bit:
        found += 2 * sizes.widest
    return found


def _head_of_gpus(sizes: Sizes, trained: int, byte: int, recipe: Recipe) -> float:
    """TRL's fused head: one tile of logits, what enters it, its gradient in float32, and that of a trained head."""
    tile = min(trained, TILE[0]) * min(sizes.vocabulary, TILE[1]) * min(byte, 2)
    return tile + trained * sizes.hidden * (byte + 4) + (0 if recipe.use_peft else 4 * sizes.vocabulary * sizes.hidden)
