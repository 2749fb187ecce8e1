"""transformers in process: a local checkpoint, a PEFT adapter directory, or a hub id; batched, on a CPU or GPUs.

    backend = HfBackend(load_model("runs/quickstart"), batch_size=32)

Prompts come from the encoder that made the training samples, set up as the checkpoint's manifest.json says.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Sequence
from typing import Any, NamedTuple

import psutil  # type: ignore[import-untyped]
import torch
from transformers import AutoModelForCausalLM
from transformers.cache_utils import get_layer_types_and_kwargs

from data_prep.dialogue import Dialogue
from data_prep.encode import Encoder
from eval.backends.checkpoint import adapter_base, encoder_home, hashes_of, make_encoder, stop_ids_of
from eval.backends.choose import chooser
from eval.backends.decode import Decoder, Job, plan_order
from eval.backends.padded import generate_padded
from eval.backends.turns import Prompt, prompt_of, reply_of
from eval.protocol import GREEDY, EvalError, FollowUp, Request, Sampling

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
CPU_ROWS, GPU_ROWS = 128, 64


class Loaded(NamedTuple):
    """A model ready to generate, and the directories (or hub id) that it came from."""

    name: str
    model: Any
    encoder: Encoder
    stop_ids: list[int]
    sources: list[str]


def load_model(
    name: str, dtype: str = "auto", tool_format: str | None = None, chat_template: str | None = None
) -> Loaded:
    """Load model and encoder. `dtype` auto is float32 on a CPU, where half precision is slower, else the checkpoint's.

    Raises EvalError where the model, or an adapter's base model, is missing.
    """
    base = adapter_base(name)
    on_gpu = torch.cuda.is_available()
    if dtype == "auto":
        chosen: Any = "auto" if on_gpu else torch.float32
    else:
        chosen = DTYPES[dtype]
    model = _from_pretrained(base or name, chosen, "auto" if on_gpu else None, adapter=name if base else None)
    encoder = make_encoder(encoder_home(name, base), name, tool_format, chat_template)
    if base:
        from peft import PeftModel

        if len(encoder.tokenizer) > model.config.get_text_config().vocab_size:
            model.resize_token_embeddings(len(encoder.tokenizer), mean_resizing=False)  # the adapter brings new rows
        with warnings.catch_warnings():  # peft asks for it by a name that transformers has given up
            warnings.filterwarnings("ignore", "`is_gradient_checkpointing`", FutureWarning)
            model = PeftModel.from_pretrained(model, name)
    stop_ids = stop_ids_of(encoder, name, model.generation_config)
    return Loaded(name, model.eval(), encoder, stop_ids, [name, base] if base else [name])


def _from_pretrained(name: str, dtype: Any, device_map: str | None, adapter: str | None) -> Any:
    try:
        return AutoModelForCausalLM.from_pretrained(name, dtype=dtype, device_map=device_map)
    except OSError as error:  # also what a hub id that is not cached raises offline
        what = f"adapter {adapter} needs its base model {name}, which" if adapter else f"model {name}"
        raise EvalError(f"{what} cannot be loaded: {str(error).splitlines()[0]}") from error


class HfBackend:
    """Generates with a loaded model; implements eval.protocol.Backend."""

    def __init__(self, loaded: Loaded, batch_size: int | None = None, sampling: Sampling = GREEDY):
        self.loaded = loaded
        self.sampling = sampling
        self.model = loaded.model
        self.encoder = loaded.encoder
        self.device = self.model.get_input_embeddings().weight.device
        self.rows = batch_size or (CPU_ROWS if self.device.type == "cpu" else GPU_ROWS)
        self.backoffs = 0
        self.seconds = 0.0
        self.new_tokens = 0

    def identity(self) -> dict[str, Any]:
        """Hashes of the model's files, and what decides the prompts."""
        files = {source: hashes_of(source, self.model.config) for source in self.loaded.sources}
        return {
            "backend": "hf",
            "model": files,
            "encoder": self.encoder.facts(),
            "stop_token_ids": self.loaded.stop_ids,
            "dtype": str(self.model.dtype).removeprefix("torch."),
            "sampling": self.sampling.facts(),
        }

    def describe(self) -> dict[str, Any]:
        """Device, batch size after any back-off, and speed."""
        device = (
            torch.cuda.get_device_name() if self.device.type == "cuda" else f"cpu, {torch.get_num_threads()} threads"
        )
        return {
            "device": device,
            "batch_size": self.rows,
            "out_of_memory_backoffs": self.backoffs,
            "generation_seconds": round(self.seconds, 2),
            "new_tokens_per_second": round(self.new_tokens / self.seconds, 2) if self.seconds else None,
        }

    def generate(self, requests: Sequence[Request], follow_up: FollowUp) -> None:
        """See Backend. Conversations go on in their own key/value cache; the batch size halves when memory runs out."""
        asked: dict[int, tuple[Dialogue, Prompt]] = {}

        def job_of(index: int, request: Request | None) -> Job | None:
            limit = getattr(self.model.config, "max_position_embeddings", None)  # foreign configs: not all have one
            while request is not None:
                prompt = prompt_of(self.encoder, request, limit)
                if isinstance(prompt, Prompt):
                    asked[index] = (request.dialogue, prompt)
                    seed = self.sampling.turn_seed(request.dialogue, prompt.hash)
                    return Job(index, prompt.ids, prompt.max_new_tokens, seed)
                request = follow_up(index, prompt)
            return None

        def done(job: Job, new_ids: list[int], stopped: bool) -> Job | None:
            self.new_tokens += len(new_ids)
            reply = reply_of(self.encoder, *asked[job.index], new_ids, stopped)
            return job_of(job.index, follow_up(job.index, reply))

        started = time.perf_counter()
        made = [job_of(index, request) for index, request in enumerate(requests)]
        jobs = plan_order([job for job in made if job is not None])
        while jobs:
            jobs = self._run(jobs, done)
        self.seconds += time.perf_counter() - started

    def _run(self, jobs: list[Job], done: Any) -> list[Job]:
        """Run until all is done or memory runs out; returns what is left, with fewer rows set."""
        stops, choose = self.loaded.stop_ids, chooser(self.sampling)
        if not has_plain_cache(self.model):
            return generate_padded(self.model, jobs, stops, self.rows, self.device, done, self._halve, choose)
        decoder = Decoder(self.model, stops, self.rows, self._cache_bytes(), self.device, choose)
        try:
            decoder.run(jobs, done)
        except (torch.OutOfMemoryError, RuntimeError) as error:
            self._halve(error)
        return decoder.unfinished()

    def _halve(self, error: Exception) -> None:
        """Fewer rows after an out-of-memory error; any other error, or one row being too many, is raised."""
        if not _is_out_of_memory(error) or self.rows == 1:
            raise error
        self.rows //= 2
        self.backoffs += 1
        if self.device.type == "cuda":
            torch.cuda.empty_cache()

    def _cache_bytes(self) -> int:
        """Memory that keys and values may take: a third of what is available on a CPU, 60 % on a GPU."""
        if self.device.type == "cuda":
            return int(0.6 * torch.cuda.mem_get_info(self.device)[0])
        return psutil.virtual_memory().available // 3


def has_plain_cache(model: Any) -> bool:
    """Whether every layer is plain or sliding-window attention, whose cache can be cut, moved and refilled."""
    types, _ = get_layer_types_and_kwargs(model.config.get_text_config(decoder=True))
    return set(types) <= {"full_attention", "sliding_attention"}


def _is_out_of_memory(error: Exception) -> bool:
    return isinstance(error, torch.OutOfMemoryError) or "can't allocate memory" in str(error)
