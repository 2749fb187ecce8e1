"""GTA (Wang et al. 2024): the release's files, and how its gold answers are compared.

dataset.json  {"0": {"tools": [{"name": "OCR", "description": "...", "inputs": [{"type": "image", "name": "image",
                     "description": null, "optional": false, "default": null, "filetype": null}], "outputs": [...]}],
                     "files": [{"type": "image", "path": "image/image_1.jpg", "url": null}],
                     "dialogs": [{"role": "user", "content": "..."},
                                 {"role": "assistant", "thought": "...", "tool_calls": [{"type": "function", "function":
                                     {"name": "OCR", "arguments": {"image": "image/image_1.jpg"}}}]},
                                 {"role": "tool", "name": "OCR", "content": {"type": "text", "content": "..."}},
                                 {"role": "assistant", "content": "..."}],
                     "gt_answer": {"whitelist": [["2", "two"]], "blacklist": null}}}
toolmeta.json {"OCR": {"name", "description", "inputs", "outputs"}}      for tools that dataset.json only names

gt_answer is such a dict (groups of aliases), a list of reference sentences, or null where the outcome is an image. The
images are not needed: tools that would look at them answer from the gold results. Thoughts are not shown to the model,
as in the published harness; that the user's message begins with the paths of its files is our wording.
"""

from __future__ import annotations

import importlib
import os
import re
from collections import Counter
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import msgspec

from data_prep.dialogue import DialogueError, Message, ToolCall, function_of
from eval.protocol import EvalError

DATASET, TOOLS = "dataset.json", "toolmeta.json"
RELEASE = "https://github.com/open-compass/GTA/releases/download/v0.1.0/gta_dataset.zip"
SIMILARITY_MODEL = "all-mpnet-base-v2"
TYPES = {"int": "integer", "float": "number", "bool": "boolean"}  # all others (text, image, file, audio) are text
PATHS = ("image", "file", "audio")
PATH_FORMAT = "path"  # as a JSON Schema `format`, which validators take for a remark

Similarity = Callable[[str, str], float]  # of two texts, -1 to 1


class Sample(NamedTuple):
    """A query with its gold tool chain. files: every path that the sample or its gold chain names."""

    id: str
    tools: tuple[dict[str, Any], ...]
    messages: tuple[Message, ...]
    answer: dict[str, Any] | list[str] | None
    files: list[str]


def data_files(data_dirs: Sequence[str]) -> list[str]:
    """dataset.json, and toolmeta.json where it lies beside it. Raises EvalError saying where to get them."""
    for folder in data_dirs:
        for place in (folder, os.path.join(folder, "gta_dataset")):
            if os.path.isfile(os.path.join(place, DATASET)):
                paths = [os.path.join(place, name) for name in (DATASET, TOOLS)]
                return [path for path in paths if os.path.isfile(path)]
    raise EvalError(f"{DATASET} is in none of: {', '.join(data_dirs)}; unpack {RELEASE} and pass --data DIR")


def read_samples(data_dirs: Sequence[str]) -> tuple[list[Sample], dict[str, int]]:
    """All samples in the file's order, and how many are left out by reason. Raises EvalError with the sample's key."""
    paths = data_files(data_dirs)
    rows = _read_object(paths[0])
    known = _read_object(paths[1]) if len(paths) > 1 else {}
    samples: list[Sample] = []
    left_out: Counter[str] = Counter()
    for key, row in rows.items():
        try:
            samples.append(_sample(key, row, known))
        except DialogueError as error:
            left_out[error.code] += 1
        except (KeyError, TypeError, AttributeError, IndexError) as error:
            raise EvalError(f"{paths[0]}: sample {key!r} is not in GTA's form ({error!r}); unpack it again") from error
    if not samples:
        raise EvalError(f"{paths[0]}: holds no sample; unpack {RELEASE} again")
    return samples, dict(left_out)


def _read_object(path: str) -> dict[str, Any]:
    try:
        with open(path, "rb") as file:
            value = msgspec.json.decode(file.read())
    except (msgspec.DecodeError, RecursionError) as error:
        raise EvalError(f"{path}: not JSON ({error}); unpack {RELEASE} again") from error
    if not isinstance(value, dict):
        raise EvalError(f"{path}: must be a JSON object, not {type(value).__name__}; is this GTA's file?")
    return value


def _sample(key: str, row: dict[str, Any], known: dict[str, Any]) -> Sample:
    tools = tuple(_to_tool(tool if tool.get("inputs") is not None else known[tool["name"]]) for tool in row["tools"])
    files = [file["path"] for file in row["files"]]
    messages = list(_messages(row["dialogs"]))
    if not any(message.role == "user" for message in messages):
        raise DialogueError("no_user_turn", "nobody asks anything")
    if files:
        first = next(index for index, message in enumerate(messages) if message.role == "user")
        paths = ", ".join(f"`{path}`" for path in files)
        messages[first] = msgspec.structs.replace(
            messages[first], content=f"Files: {paths}\n\n{messages[first].content}"
        )
    return Sample(key, tools, tuple(messages), _answer(row["gt_answer"]), files + _paths_in(row["dialogs"]))


def _to_tool(meta: dict[str, Any]) -> dict[str, Any]:
    """A tool in the OpenAI form."""
    properties: dict[str, Any] = {}
    for entry in meta["inputs"]:
        schema = properties[entry["name"]] = {"type": TYPES.get(entry["type"], "string")}
        if entry["type"] in PATHS:
            schema["format"] = PATH_FORMAT
        schema |= {name: entry[name] for name in ("description", "default") if entry.get(name) is not None}
    required = [entry["name"] for entry in meta["inputs"] if not entry.get("optional")]
    parameters = {"type": "object", "properties": properties, "required": required}
    function = {"name": meta["name"], "description": meta.get("description") or "", "parameters": parameters}
    return {"type": "function", "function": function}


def _messages(dialogs: list[dict[str, Any]]) -> list[Message]:
    """The dialogue in canonical form. Raises DialogueError where calls and results do not pair up."""
    messages: list[Message] = []
    waiting: list[ToolCall] = []
    made = 0
    for turn in dialogs:
        if turn["role"] == "tool":
            if not waiting:
                raise DialogueError("result_without_call", "a result that no call precedes")
            call = waiting.pop(0)
            messages.append(Message(role="tool", tool_call_id=call.id, name=call.name, content=_text(turn["content"])))
            continue
        if waiting:
            raise DialogueError("call_without_result", "a call that no result follows")
        for entry in turn.get("tool_calls") or ():
            function = entry["function"]
            waiting.append(ToolCall(f"call_{made}", function["name"], dict(function["arguments"])))
            made += 1
        content = "" if waiting else _text(turn.get("content"))
        messages.append(Message(role=turn["role"], content=content, tool_calls=tuple(waiting)))
    return messages


def _text(content: Any) -> str:
    """The text of a message or result, {"type": "text", "content": "..."}; of an image its path."""
    content = content.get("content") if isinstance(content, dict) else content
    return "" if content is None else content if isinstance(content, str) else msgspec.json.encode(content).decode()


def _paths_in(dialogs: list[dict[str, Any]]) -> list[str]:
    """Paths of images that gold calls take or gold results bring, which are no files of the release."""
    found = []
    for turn in dialogs:
        for call in turn.get("tool_calls") or ():
            found += [value for value in call["function"]["arguments"].values() if isinstance(value, str)]
        if isinstance(turn.get("content"), dict) and turn["content"].get("type") in PATHS:
            found.append(_text(turn["content"]))
    return [text for text in found if re.fullmatch(r"[\w./-]+\.(?:jpe?g|png|webp|bmp|gif)", text, re.IGNORECASE)]


def _answer(answer: Any) -> dict[str, Any] | list[str] | None:
    if not answer:
        return None
    if isinstance(answer, dict) and isinstance(answer["whitelist"], list):
        return {"whitelist": answer["whitelist"], "blacklist": answer.get("blacklist") or []}
    if isinstance(answer, list) and all(isinstance(text, str) for text in answer):
        return answer
    raise TypeError(f"gt_answer {answer!r:.60}")


def call_error(call: ToolCall, tools: Sequence[dict[str, Any]], files: Sequence[str]) -> str | None:
    """Why a call could not be made, by GTA's list of errors, which holds no wrong types; None where it could."""
    functions = {function["name"]: function["parameters"] for function in map(function_of, tools)}
    if call.name not in functions:
        return "unknown_function"
    properties, required = functions[call.name]["properties"], functions[call.name]["required"]
    if set(call.arguments) - set(properties):
        return "unknown_argument"
    if set(required) - set(call.arguments):
        return "missing_argument"
    paths = [value for name, value in call.arguments.items() if properties[name].get("format") == PATH_FORMAT]
    return "missing_file" if any(path not in files for path in paths) else None


def answer_score(text: str, answer: dict[str, Any] | list[str], similarity: Similarity | None) -> float | None:
    """Whether all groups of the whitelist and none of the blacklist are in the text; or its best similarity, from 0.

    None for a list without a similarity function: unknown is not 0. Aliases match as whole words in any case; the
    published pattern's word borders never let "50%" match before a space, these do.
    """
    if isinstance(answer, dict):
        allowed = all(_says(text, group) for group in answer["whitelist"])
        return float(allowed and not any(_says(text, group) for group in answer["blacklist"]))
    if similarity is None:
        return None
    return min(1.0, max(0.0, *(similarity(text, reference) for reference in answer))) if text.strip() else 0.0


def _says(text: str, aliases: Sequence[str]) -> bool:
    return any(re.search(rf"(?<!\w){re.escape(str(alias))}(?!\w)", text, re.IGNORECASE) for alias in aliases)


def load_similarity() -> Similarity:
    """Cosine similarity of the published sentence model. Raises EvalError where package or model are missing."""
    try:
        sentence_transformers = importlib.import_module("sentence_transformers")
    except ImportError as error:
        raise EvalError(
            "answers that GTA compares with sentences need the package sentence-transformers: pip install it"
        ) from error
    try:
        model = sentence_transformers.SentenceTransformer(SIMILARITY_MODEL, device="cpu")
    except OSError as error:
        raise EvalError(f"the sentence model {SIMILARITY_MODEL} could not be loaded: {error}") from error

    def similarity(left: str, right: str) -> float:
        vectors = model.encode([left, right])
        return float(sentence_transformers.util.cos_sim(vectors[0], vectors[1])[0][0])

    return similarity


@lru_cache(maxsize=1)
def similarity_or_none() -> Similarity | None:
    """The sentence model if this machine has it; the answers that need it are else reported as unscored."""
    try:
        return load_similarity()
    except EvalError:
        return None
