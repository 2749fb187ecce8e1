"""AgentBoard's Tool-Query (Ma et al. 2024): 60 questions to academia, weather and movie tools, up to 30 turns.

    python -m eval run MODEL --tasks tool_query --data DIR --out REPORT

    DIR/tool-query/test.jsonl               {"goal": "...", "subgoals": [...], "difficulty": "easy" | "hard",
                                             "additional_info": {"tool": "weather", "answer": 3, "goal_type": 0,
                                             "init_config": {"current_date", "current_location"}}}
    DIR/tool-query/academia/raw/*.pkl       paper_net, author_net, and four dicts between names and ids
    DIR/tool-query/recordings/weather.json  request -> response (eval/environments/cassette.py); ours, made by the user:
    DIR/tool-query/recordings/movie.json    the release asks the live services instead

Each result of a call is a candidate for one subgoal, and so is the answer given to `finish`. Progress is the share of
subgoals matched; calls only add candidates, so the last value is the best over time. Success is finished with progress
1: an answer without `finish` ends the episode unfinished. Grounding is the share of steps whose observation is no
error; a step is a call, or a turn without one. Results are compared as JSON values, coordinates within 50 km, as
published, and computed numbers within a millionth, because distances come from another formula.
"""

from __future__ import annotations

import math
import os
from collections import Counter
from collections.abc import Sequence
from typing import Any

import msgspec

from data_prep.dialogue import Dialogue, Message
from eval import agent
from eval.call_scorers import same_json
from eval.environments.tool_query import DOMAINS, GRAPH_FILES, Sources, ToolQueryEnvironment, load_sources
from eval.environments.tool_query_apis import same_place
from eval.environments.tool_query_tools import tools_of
from eval.protocol import EvalError, Item, Loaded, Request, Score, Step, Task

FILE = "test.jsonl"
RELEASE = "https://huggingface.co/datasets/hkust-nlp/agentboard (data.tar.gz)"
MAX_TURNS = 30
MAX_NEW_TOKENS = 256
DIFFICULTIES = ("easy", "hard")
FINISH = "Answer by the tools listed. When you know the answer, call finish with it: that ends the task."
PLACES = "Take latitudes and longitudes from get_latitude_longitude, never from memory."


def folder_of(data_dirs: Sequence[str]) -> str:
    """The Tool-Query folder of the first directory that has one. Raises EvalError saying where to get it."""
    for path in data_dirs:
        for folder in (os.path.join(path, "tool-query"), path):
            if os.path.isfile(os.path.join(folder, FILE)):
                return folder
    raise EvalError(f"tool-query/{FILE} is in none of: {', '.join(data_dirs)}; unpack {RELEASE} and pass --data DIR")


def data_files(data_dirs: Sequence[str]) -> list[str]:
    """The questions, and the graphs and recordings that are there."""
    folder = folder_of(data_dirs)
    graphs = [os.path.join(folder, "academia", "raw", f"{name}.pkl") for name in GRAPH_FILES]
    recordings = [os.path.join(folder, "recordings", f"{name}.json") for name in DOMAINS[1:]]
    return [os.path.join(folder, FILE)] + [path for path in graphs + recordings if os.path.isfile(path)]


def load(data_dirs: Sequence[str], limit: int | None) -> Loaded:
    """All questions whose domain has its graphs or recordings; the others are left out, under `no_data_<domain>`."""
    folder = folder_of(data_dirs)
    sources = load_sources(folder)
    left_out: Counter[str] = Counter()
    items: list[Item] = []
    with open(os.path.join(folder, FILE), "rb") as file:
        for number, line in enumerate((line for line in file if line.strip()), 1):
            item = _item(folder, number, line)
            if _has_data(item.gold["domain"], sources):
                items.append(item)
            else:
                left_out[f"no_data_{item.gold['domain']}"] += 1
    if not items:
        raise EvalError(
            f"{folder}: no question can be asked ({dict(left_out)}); academia needs academia/raw/*.pkl of {RELEASE}, "
            "weather and movie need recordings/*.json"
        )
    return Loaded(items[:limit], dict(left_out))


def _has_data(domain: str, sources: Sources) -> bool:
    available = {"academia": sources.nets, "weather": sources.weather.recordings, "movie": sources.movie.recordings}
    return bool(available[domain])


def _item(folder: str, number: int, line: bytes) -> Item:
    where = f"{folder}/{FILE}:{number}"
    try:
        row = msgspec.json.decode(line)
        extra, subgoals = row["additional_info"], row["subgoals"]
        domain, difficulty, goal = extra["tool"], row["difficulty"], row["goal"]
        setting = extra.get("init_config") or {}
    except (msgspec.DecodeError, RecursionError, KeyError, TypeError, AttributeError) as error:
        raise EvalError(f"{where}: not a row of Tool-Query ({error!r:.200}); unpack {RELEASE} again") from error
    listed = isinstance(subgoals, list) and isinstance(setting, dict)
    if (
        domain not in DOMAINS
        or difficulty not in DIFFICULTIES
        or not listed
        or not subgoals
        or not isinstance(goal, str)
    ):
        raise EvalError(
            f"{where}: wanted a goal, subgoals, a tool of {', '.join(DOMAINS)} and a difficulty of "
            f"{', '.join(DIFFICULTIES)}; got {domain!r:.60}, {difficulty!r:.60}, subgoals {subgoals!r:.60}"
        )
    hints = f"{FINISH} {PLACES}" if domain == "weather" else FINISH
    dialogue = Dialogue(
        id=f"tool-query-{number - 1}",
        source="tool_query",
        messages=(Message(role="user", content=f"{goal}\n\n{hints}"),),
        tools=tools_of(domain),
    )
    gold = {
        "domain": domain,
        "difficulty": difficulty,
        "subgoals": subgoals,
        "answer": extra.get("answer"),
        "setting": setting,
        "folder": folder,
    }
    return Item(dialogue.id, dialogue.id, dialogue, gold)


def play(item: Item, steps: Sequence[Step]) -> tuple[agent.Episode, ToolQueryEnvironment]:
    """The episode that the model's turns make, and the environment as they leave it."""
    gold = item.gold
    environment = ToolQueryEnvironment(gold["domain"], load_sources(gold["folder"]), gold["setting"])
    return agent.replay(item.dialogue, [step.reply for step in steps], environment, MAX_TURNS), environment


def next_request(item: Item, steps: Sequence[Step]) -> Request | None:
    episode, environment = play(item, steps)
    return None if episode.ending or environment.finished else Request(episode.dialogue, MAX_NEW_TOKENS)


def score(item: Item, steps: Sequence[Step]) -> Score:
    """Progress, success and grounding; the first two also under the question's difficulty."""
    episode, environment = play(item, steps)
    executed = environment.executed
    subgoals = item.gold["subgoals"]
    progress = matched(subgoals, [done.subgoal for done in executed if done.outcome == "result"]) / len(subgoals)
    success = float(environment.finished and progress == 1)
    without_call = int(episode.ending in ("answer", "unparsed", "rejected"))
    grounded = sum(done.outcome in ("result", "refusal") for done in executed)
    values = {
        "success": success,
        "progress": progress,
        "grounding": grounded / max(1, len(executed) + without_call),
        f"success_{item.gold['difficulty']}": success,
        f"progress_{item.gold['difficulty']}": progress,
    }
    outcomes = Counter(done.outcome for done in executed)
    notes = {
        "domain": item.gold["domain"],
        "ending": "finished" if environment.finished else episode.ending or "unfinished",
        "errors": str(outcomes["error"]),
        "not_recorded": str(outcomes["not_recorded"]),
    }
    return Score(
        values, {name: episode.reason for name, value in values.items() if episode.reason and not value}, notes
    )


def matched(subgoals: Sequence[Any], found: Sequence[Any]) -> int:
    """How many subgoals have a result of their own: one result serves one subgoal."""
    left = list(found)
    count = 0
    for subgoal in subgoals:
        place = next((place for place, result in enumerate(left) if same_result(subgoal, result)), None)
        if place is not None:
            del left[place]
            count += 1
    return count


def same_result(subgoal: Any, result: Any) -> bool:
    """Equal as JSON values; a place within 50 km, a computed number within a millionth."""
    if isinstance(subgoal, float) and isinstance(result, float):
        return math.isclose(subgoal, result, rel_tol=1e-6)
    wanted, found = _place(subgoal), _place(result)
    if wanted is None or found is None:
        return same_json(subgoal, result)
    rest = [{key: value for key, value in whole.items() if key not in COORDINATES} for whole in (subgoal, result)]
    return same_place(wanted, found) and same_json(*rest)


COORDINATES = ("latitude", "longitude")


def _place(value: Any) -> tuple[float, float] | None:
    if not isinstance(value, dict):
        return None
    found = [value.get(key) for key in COORDINATES]
    numbers = [float(number) for number in found if isinstance(number, (int, float)) and abs(number) <= 360]
    return (numbers[0], numbers[1]) if len(numbers) == 2 else None


TASK = Task(
    name="tool_query",
    version=1,
    description="AgentBoard Tool-Query: questions to academia, weather and movie tools (data in --data DIR)",
    metrics={
        "success": "finished, with all subgoals matched",
        "progress": "share of the subgoals that results of calls and the answer match",
        "grounding": "share of the steps whose observation is no error",
        "success_easy": "success of easy questions",
        "success_hard": "success of hard questions",
        "progress_easy": "progress of easy questions",
        "progress_hard": "progress of hard questions",
    },
    max_new_tokens=MAX_NEW_TOKENS,
    data_files=data_files,
    load=load,
    next_request=next_request,
    score=score,
)
