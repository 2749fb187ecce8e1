"""One episode of AgentBoard's Tool-Query: its academia, weather or movie tools, and the subgoals its calls reach.

    environment = ToolQueryEnvironment("academia", sources, {})
    environment.execute(ToolCall("call_0", "loadAuthorNet", {}))              -> '"AuthorNet is loaded."'
    environment.execute(ToolCall("call_1", "finish", {"answer": 3}))          -> '3'; `finished` is now True

Every call comes out in one of three ways, as in the published environment: a result, which may match a subgoal; a
refusal in the tool's own words (no such node, a date in the future); or an error, `ERROR | ...`, for an unknown tool,
arguments that it cannot take, or a request without a recording. Arguments that a tool does not have are ignored, as
there.
"""

from __future__ import annotations

import math
import os
import pickle
from collections.abc import Callable
from functools import lru_cache
from typing import Any, NamedTuple

from data_prep import button
from data_prep.dialogue import ToolCall
from eval.environments.cassette import Cassette, NotRecordedError, load_cassette
from eval.environments.restricted_pickle import Graph, load_graph, load_plain, to_json
from eval.environments.tool_query_apis import Refusal, movie, weather
from eval.environments.tool_query_tools import PARAMETERS
from eval.protocol import EvalError

DOMAINS = ("academia", "weather", "movie")
MAX_ERROR_CHARS = 300
GRAPH_FILES = ("paper_net", "author_net", "title2id_dict", "id2title_dict", "author2id_dict", "id2author_dict")


class Net(NamedTuple):
    """A graph with its name, and its nodes' ids by name and back."""

    name: str
    graph: Graph
    ids: dict[str, Any]
    names: dict[Any, str]


class Sources(NamedTuple):
    """What the tools answer from. nets: by name, empty where the graphs are not there."""

    nets: dict[str, Net]
    weather: Cassette
    movie: Cassette


class Executed(NamedTuple):
    """A call and what came of it. outcome: `result`, `refusal`, `error` or `not_recorded`; subgoal: of a result."""

    call: ToolCall
    outcome: str
    subgoal: Any = None


@lru_cache(maxsize=4)
def load_sources(folder: str) -> Sources:
    """Graphs and recordings of a Tool-Query folder; shared by all episodes, which only read. Raises EvalError."""
    paths = {name: os.path.join(folder, "academia", "raw", f"{name}.pkl") for name in GRAPH_FILES}
    nets: dict[str, Net] = {}
    if any(os.path.isfile(path) for path in paths.values()):
        try:
            plain = {name: load_plain(paths[name]) for name in GRAPH_FILES[2:]}
            papers, authors = load_graph(paths["paper_net"]), load_graph(paths["author_net"])
        except (pickle.UnpicklingError, OSError) as error:
            raise EvalError(f"{folder}/academia/raw: {error}; unpack AgentBoard's data again") from error
        nets["PaperNet"] = Net("PaperNet", papers, plain["title2id_dict"], plain["id2title_dict"])
        nets["AuthorNet"] = Net("AuthorNet", authors, plain["author2id_dict"], plain["id2author_dict"])
    recordings = {name: load_cassette(os.path.join(folder, "recordings", f"{name}.json")) for name in DOMAINS[1:]}
    return Sources(nets, recordings["weather"], recordings["movie"])


class ToolQueryEnvironment:
    """Implements eval.agent.Environment. `executed` holds every call; `finished` says whether `finish` was called.

    setting: the row's `init_config`, which holds the user's date and place in the weather domain.
    """

    def __init__(self, domain: str, sources: Sources, setting: dict[str, Any]):
        self.domain = domain
        self.sources = sources
        self.setting = setting
        self.loaded: set[str] = set()
        self.executed: list[Executed] = []
        self.finished = False

    def execute(self, call: ToolCall) -> str:
        """The observation as JSON text; nothing is raised."""
        try:
            shown, subgoal = self._run(call.name, self._arguments(call))
        except Refusal as refusal:
            return self._note(call, "refusal", str(refusal))
        except NotRecordedError as missing:
            return self._note(call, "not_recorded", f"ERROR | the service cannot be reached for {missing}")
        except (LookupError, ValueError, TypeError, AttributeError, ArithmeticError, RecursionError) as error:
            return self._note(call, "error", f"ERROR | {type(error).__name__}: {error}")
        self.executed.append(Executed(call, "result", subgoal))
        return button.dump_json(shown)

    def _note(self, call: ToolCall, outcome: str, text: str) -> str:
        self.executed.append(Executed(call, outcome))
        return button.dump_json(text[:MAX_ERROR_CHARS])

    def _arguments(self, call: ToolCall) -> dict[str, Any]:
        """The tool's arguments. Raises ValueError where it has no such tool, one is missing, or of the wrong type."""
        if self.finished:
            raise ValueError("the goal is finished already")
        tools = PARAMETERS[self.domain]
        if call.name not in tools:
            raise ValueError(f"no tool {call.name!r}; there are {', '.join(tools)}")
        missing = [name for name in tools[call.name] if name not in call.arguments]
        if missing:
            raise ValueError(f"{call.name} needs {', '.join(missing)}")
        return {name: _typed(name, call.arguments[name], wanted) for name, wanted in tools[call.name].items()}

    def _run(self, name: str, arguments: dict[str, Any]) -> tuple[Any, Any]:
        """What the tool shows, and its subgoal."""
        if name == "finish":
            answer = arguments["answer"]
            answer = sorted(answer) if isinstance(answer, list) else answer
            self.finished = True
            return answer, answer
        if self.domain == "weather":
            return weather(name, arguments, self.sources.weather, self.setting)
        if self.domain == "movie":
            return movie(name, arguments, self.sources.movie)
        result = to_json(ACADEMIA[name](self, **arguments))
        return result, result

    def load(self, name: str) -> str:
        if name not in self.sources.nets:
            raise Refusal(f"{name} is not there.")
        self.loaded.add(name)
        return f"{name} is loaded."

    def net(self, name: str) -> Net:
        """A loaded net. Raises Refusal where it is not, or where there is none of that name."""
        if name not in ("PaperNet", "AuthorNet"):
            raise Refusal(f"{name[:100]} is no graph.")
        if name not in self.loaded:
            raise Refusal(f"Please load the {name} first.")
        return self.sources.nets[name]

    def neighbours(self, graph: str, node: str) -> list[str]:
        net = self.net(graph)
        return [net.names[other] for other in net.graph.adjacency[_id(net, node)]]

    def node(self, graph: str, node: str) -> dict[str, Any]:
        net = self.net(graph)
        return net.graph.nodes[_id(net, node)]

    def edge(self, graph: str, node1: str, node2: str) -> dict[str, Any]:
        net = self.net(graph)
        first, second = _id(net, node1), _id(net, node2)
        if second not in net.graph.adjacency[first]:
            raise Refusal(f"There is no edge between {node1} and {node2}.")
        edge = dict(net.graph.adjacency[first][second])
        if graph == "AuthorNet":
            titles = self.sources.nets["PaperNet"].names
            edge["collaborative_papers"] = [titles[paper] for paper in edge["collaborative_papers"]]
        return edge


ACADEMIA: dict[str, Callable[..., Any]] = {
    "loadPaperNet": lambda world: world.load("PaperNet"),
    "loadAuthorNet": lambda world: world.load("AuthorNet"),
    "neighbourCheck": ToolQueryEnvironment.neighbours,
    "paperNodeCheck": lambda world, node: world.node("PaperNet", node),
    "authorNodeCheck": lambda world, node: world.node("AuthorNet", node),
    "paperEdgeCheck": lambda world, node1, node2: world.edge("PaperNet", node1, node2),
    "authorEdgeCheck": lambda world, node1, node2: world.edge("AuthorNet", node1, node2),
}


def _id(net: Net, node: str) -> Any:
    if node not in net.ids:
        raise Refusal(f"There is no node named {node[:100]} in the {net.name}.")
    return net.ids[node]


def _typed(name: str, value: Any, wanted: str) -> Any:
    """The value as the tool takes it: ids may be numbers, numbers may be text. Raises ValueError."""
    if wanted == "any":
        return value
    if wanted == "string" and isinstance(value, (str, int)) and not isinstance(value, bool):
        return str(value)
    if wanted == "number" and isinstance(value, (str, int, float)) and not isinstance(value, bool):
        number = float(value) if isinstance(value, str) else value
        if math.isfinite(number):
            return number
    raise ValueError(f"{name} must be a {wanted}")
