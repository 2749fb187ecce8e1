"""transformers in process: a local checkpoint, a PEFT adapter directory, or a hub id; batched, on a CPU or GPUs.

    backend = HfBackend(load_model("runs/quickstart"), batch_size=32)

Prompts come from the encoder that made the training samples, set up as the checkpoint's manifest.json says.
"""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import psutil  # type: ignore[import-untyped]
import torch
from transformers import AutoModelForCausalLM, GenerationConfig
from transformers.cache_utils import get_layer_types_and_kwargs

from data_prep.dialogue import Dialogue
from data_prep.encode import Encoder, load_tokenizer
from eval.backends.choose import chooser
from eval.backends.decode import Decoder, Job, plan_order
from eval.backends.padded import generate_padded
from eval.backends.turns import GREEDY, Prompt, Sampling, prompt_of, reply_of
from eval.protocol import EvalError, FollowUp, Request
from eval.report import file_sha256
from recipes.manifest import read_manifest

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
CPU_ROWS, GPU_ROWS = 128, 64
HASHED = ("*.safetensors", "pytorch_model*.bin", "adapter_*", "config.json", "generation_config.json", "tokenizer*",
          "chat_template*")  # fmt: skip


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
    if base:
        from peft import PeftModel

        model = PeftModel.from_pretrained(model, name)
    tokenizer_home = name if not base or _has_tokenizer(name) else base
    encoder = make_encoder(tokenizer_home, name, tool_format, chat_template)
    stop_ids = sorted({*encoder.stop_token_ids, *_generation_stops(name, model)})
    return Loaded(name, model.eval(), encoder, stop_ids, [name, base] if base else [name])


def adapter_base(name: str) -> str | None:
    """The base model of an adapter directory, None for anything else. Raises EvalError where that base is gone."""
    config = Path(name) / "adapter_config.json"
    if not config.is_file():
        if not Path(name).exists() and _looks_local(name):
            raise EvalError(f"{name}: no such directory; give a checkpoint, an adapter directory, or a hub id")
        return None
    base = json.loads(config.read_text(encoding="utf-8")).get("base_model_name_or_path")
    if not base:
        raise EvalError(
            f"{config} names no base_model_name_or_path; set it to the model that the adapter was trained on"
        )
    if not Path(base).exists() and _looks_local(base):
        raise EvalError(
            f"adapter {name} needs its base model {base}, which is not there; put it back, or write its new place as "
            f"base_model_name_or_path into {config}"
        )
    return base


def _looks_local(name: str) -> bool:
    return name.startswith((".", "/", "~")) or name.count("/") > 1


def _has_tokenizer(folder: str) -> bool:
    return (Path(folder) / "tokenizer_config.json").is_file()


def _from_pretrained(name: str, dtype: Any, device_map: str | None, adapter: str | None) -> Any:
    try:
        return AutoModelForCausalLM.from_pretrained(name, dtype=dtype, device_map=device_map)
    except OSError as error:  # also what a hub id that is not cached raises offline
        what = f"adapter {adapter} needs its base model {name}, which" if adapter else f"model {name}"
        raise EvalError(f"{what} cannot be loaded: {str(error).splitlines()[0]}") from error


def _generation_stops(name: str, model: Any) -> list[int]:
    """End-of-turn ids of the checkpoint's generation_config.json, an adapter's own before its base model's."""
    config = model.generation_config
    if (Path(name) / "generation_config.json").is_file():
        config = GenerationConfig.from_pretrained(name)
    stops = config.eos_token_id
    return [] if stops is None else [stops] if isinstance(stops, int) else list(stops)


def make_encoder(tokenizer_home: str, name: str, tool_format: str | None, chat_template: str | None) -> Encoder:
    """The encoder as the manifest beside the checkpoint says; options override, and without a manifest it is `auto`.

    Text that looks like a control token is encoded as plain text: the model's own words go back into the prompt. Raises
    EvalError where the saved template is not the one that was trained on.
    """
    manifest = read_manifest(name) if Path(name).is_dir() else None
    facts = manifest["encoder"] if manifest else {}
    encoder = Encoder(
        load_tokenizer(tokenizer_home),
        tool_format=tool_format or facts.get("tool_format", "auto"),  # type: ignore[arg-type]
        chat_template=chat_template,
        history=facts.get("history", "as_inferred"),
        control_text="plain",
    )
    found, trained = encoder.facts()["template_sha256"], facts.get("template_sha256")
    if trained and chat_template is None and found != trained:
        raise EvalError(
            f"{name}: its chat template (sha256 {found[:12]}) is not the one in manifest.json ({trained[:12]}); "
            "restore chat_template.jinja, or choose a template with --chat-template"
        )
    return encoder


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
        files = {source: _hashes(source, self.model) for source in self.loaded.sources}
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


def _hashes(source: str, model: Any) -> dict[str, str]:
    """sha256 of a directory's model and tokenizer files; a hub id's commit."""
    folder = Path(source)
    if not folder.is_dir():
        return {"hub": source, "commit": str(model.config._commit_hash)}
    files = sorted({file for pattern in HASHED for file in folder.glob(pattern) if file.is_file()})
    return {file.name: file_sha256(file) for file in files}
