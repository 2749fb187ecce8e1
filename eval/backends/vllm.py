"""vLLM in process: the same prompt ids as eval.backends.hf, on one GPU or several (extra `vllm`).

    backend = VllmBackend(load_vllm("runs/button/llama3-8b-lora", tensor_parallel=2))

Written against vLLM's documented interface (`vllm.LLM`, `SamplingParams`, `LoRARequest`) and not yet run by us: no GPU
was at hand. vLLM keeps the keys and values of earlier rounds itself (prefix caching), and shares those of equal
beginnings between conversations.
"""

from __future__ import annotations

import importlib.metadata
import json
import time
from collections import deque
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from transformers import AutoConfig, GenerationConfig

from data_prep.encode import Encoder
from eval.backends.checkpoint import adapter_base, encoder_home, hashes_of, make_encoder, stop_ids_of
from eval.backends.turns import Prompt, prompt_of, reply_of
from eval.protocol import GREEDY, EvalError, FollowUp, Request, Sampling

TURNS_AT_ONCE = 512  # handed over together; those that vLLM has no room for wait inside it
LORA_RANKS = (8, 16, 32, 64, 128, 256, 320, 512)  # that vLLM has kernels for


class VllmParts(NamedTuple):
    """An engine ready to generate, and what it was loaded from."""

    engine: Any
    sampling_params: Any  # the class vllm.SamplingParams
    adapter: Any  # a LoRARequest, or None
    encoder: Encoder
    stop_ids: list[int]
    config: Any
    sources: list[str]
    tensor_parallel: int
    facts: dict[str, Any]


def load_vllm(
    name: str,
    dtype: str = "auto",
    tool_format: str | None = None,
    chat_template: str | None = None,
    tensor_parallel: int = 1,
) -> VllmParts:
    """Load a checkpoint, an adapter directory with its base model, or a hub id. Raises EvalError without the extra."""
    try:
        from vllm import LLM, SamplingParams
        from vllm.lora.request import LoRARequest
    except ImportError as error:
        raise EvalError(
            f"--backend vllm needs the extra vllm ({error}); it has pins of its own, so install it into another "
            "environment: pip install -e '.[vllm]'"
        ) from error
    base = adapter_base(name)
    home = base or name
    try:
        config = AutoConfig.from_pretrained(home)
    except OSError as error:
        raise EvalError(f"model {home} cannot be loaded: {str(error).splitlines()[0]}") from error
    encoder = make_encoder(encoder_home(name, base), name, tool_format, chat_template)
    try:
        base_generation = GenerationConfig.from_pretrained(home)
    except OSError:  # not every model has one
        base_generation = GenerationConfig()
    with_adapter = {"enable_lora": True, "max_lora_rank": lora_rank(name)} if base else {}
    engine = LLM(
        model=home, dtype=dtype, tensor_parallel_size=tensor_parallel, seed=0, enable_prefix_caching=True,
        **with_adapter,
    )  # fmt: skip
    facts = {"dtype": dtype, "vllm": importlib.metadata.version("vllm")}
    return VllmParts(
        engine, SamplingParams, LoRARequest("adapter", 1, name) if base else None, encoder,
        stop_ids_of(encoder, name, base_generation), config, [name, base] if base else [name], tensor_parallel, facts,
    )  # fmt: skip


def lora_rank(adapter: str) -> int:
    """The smallest rank that vLLM has kernels for and that holds this adapter. Raises EvalError for too large a one."""
    file = Path(adapter) / "adapter_config.json"
    rank = int(json.loads(file.read_text(encoding="utf-8"))["r"])
    fitting = [known for known in LORA_RANKS if known >= rank]
    if not fitting:
        raise EvalError(
            f"{file}: vLLM takes ranks up to {LORA_RANKS[-1]}, this is {rank}; `python -m training merge` it first"
        )
    return fitting[0]


class VllmBackend:
    """Generates with vLLM; implements eval.protocol.Backend. `batch_size` turns are handed over together."""

    def __init__(self, parts: VllmParts, batch_size: int | None = None, sampling: Sampling = GREEDY):
        self.parts = parts
        self.turns = batch_size or TURNS_AT_ONCE
        self.sampling = sampling
        self.seconds = 0.0
        self.new_tokens = 0

    def identity(self) -> dict[str, Any]:
        """Hashes of the model's files, and what decides the prompts and the tokens."""
        return {
            "backend": "vllm",
            "model": {source: hashes_of(source, self.parts.config) for source in self.parts.sources},
            "encoder": self.parts.encoder.facts(),
            "stop_token_ids": self.parts.stop_ids,
            "sampling": self.sampling.facts(),
            **self.parts.facts,
        }

    def describe(self) -> dict[str, Any]:
        """GPUs, batch size and speed."""
        return {
            "tensor_parallel": self.parts.tensor_parallel,
            "batch_size": self.turns,
            "generation_seconds": round(self.seconds, 2),
            "new_tokens_per_second": round(self.new_tokens / self.seconds, 2) if self.seconds else None,
        }

    def generate(self, requests: Sequence[Request], follow_up: FollowUp) -> None:
        """See Backend. The next round of a conversation goes before conversations that have not begun."""
        started = time.perf_counter()
        waiting = deque(enumerate(requests))
        while waiting:
            batch = [waiting.popleft() for _ in range(min(self.turns, len(waiting)))]
            following = [(index, request) for index, request in self._answer(batch, follow_up) if request is not None]
            waiting.extendleft(reversed(following))
        self.seconds += time.perf_counter() - started

    def _answer(self, batch: Sequence[tuple[int, Request]], follow_up: FollowUp) -> list[tuple[int, Request | None]]:
        """One call of the engine; the conversations with what they ask next."""
        limit = getattr(self.parts.config, "max_position_embeddings", None)  # foreign configs: not all have one
        asked: list[tuple[int, Request, Prompt]] = []
        following: list[tuple[int, Request | None]] = []
        for index, request in batch:
            prompt = prompt_of(self.parts.encoder, request, limit)
            if isinstance(prompt, Prompt):
                asked.append((index, request, prompt))
            else:
                following.append((index, follow_up(index, prompt)))
        if not asked:
            return following
        outputs = self.parts.engine.generate(
            [{"prompt_token_ids": prompt.ids} for _, _, prompt in asked],
            [self._params(request, prompt) for _, request, prompt in asked],
            use_tqdm=False,
            lora_request=self.parts.adapter,
        )
        for (index, request, prompt), output in zip(asked, outputs, strict=True):
            new_ids = list(output.outputs[0].token_ids)
            self.new_tokens += len(new_ids)
            stopped = bool(new_ids) and new_ids[-1] in self.parts.stop_ids
            reply = reply_of(self.parts.encoder, request.dialogue, prompt, new_ids, stopped)
            following.append((index, follow_up(index, reply)))
        return following

    def _params(self, request: Request, prompt: Prompt) -> Any:
        greedy = self.sampling.temperature == 0
        return self.parts.sampling_params(
            max_tokens=prompt.max_new_tokens,
            temperature=self.sampling.temperature,
            top_p=1.0 if greedy else self.sampling.top_p,
            seed=None if greedy else self.sampling.turn_seed(request.dialogue, prompt.hash),
            stop_token_ids=self.parts.stop_ids,
            ignore_eos=True,  # the model's own end is among the stop tokens, where it counts as one
            detokenize=False,
        )
