"""Read a pickled networkx graph as data: no class of any package is imported, and nothing that the file says is called.

    graph = load_graph("paper_net.pkl")
    graph.nodes[7]       {"year": 2021, "venue": "..."}          graph.adjacency[7]       {12: {"weight": 2}}

A pickle is a program: it may name any importable object and call it. Here the few names that a graph of plain values
needs become inert classes made for this one file, every other name raises `UnpicklingError`, so even a file that calls
or patches what it is given reaches nothing outside.
"""

from __future__ import annotations

import io
import os
import pickle
from collections import OrderedDict
from typing import Any, NamedTuple

GRAPHS = ("Graph", "DiGraph", "MultiGraph", "MultiDiGraph")
VIEWS = {
    "networkx.classes.reportviews": ("NodeView", "NodeDataView", "EdgeView", "OutEdgeView", "InEdgeView", "DegreeView",
                                     "DiDegreeView", "OutDegreeView", "InDegreeView", "EdgeDataView",
                                     "OutEdgeDataView"),
    "networkx.classes.coreviews": ("AtlasView", "AdjacencyView", "MultiAdjacencyView"),
}  # fmt: skip
PLAIN = {"dict": dict, "list": list, "set": set, "frozenset": frozenset, "tuple": tuple, "int": int, "float": float,
         "str": str, "bool": bool}  # fmt: skip
MAX_DEPTH = 50


class Graph(NamedTuple):
    """Attributes by node, and of each edge by its two ends."""

    nodes: dict[Any, dict[str, Any]]
    adjacency: dict[Any, dict[Any, dict[str, Any]]]


class RestrictedUnpickler(pickle.Unpickler):
    """Knows networkx's graph classes, as inert stand-ins, and plain containers; anything else raises."""

    def __init__(self, file: Any):
        super().__init__(file)
        self.stand_ins: dict[str, type] = {}

    def find_class(self, module: str, name: str) -> Any:
        module = {"__builtin__": "builtins", "copy_reg": "copyreg"}.get(module, module)  # as Python 2 named them
        is_graph = name in GRAPHS and module == f"networkx.classes.{name.lower()}"
        if is_graph or name in VIEWS.get(module, ()):
            return self.stand_ins.setdefault(name, type(name, (_Inert,), {}))
        if module == "builtins" and name in PLAIN:
            return PLAIN[name]
        if (module, name) == ("builtins", "object"):
            return self.stand_ins.setdefault("object", type("object", (_Inert,), {}))
        if (module, name) == ("copyreg", "_reconstructor"):  # protocols 0 and 1
            return _reconstruct
        if (module, name) == ("collections", "OrderedDict"):
            return OrderedDict
        raise pickle.UnpicklingError(f"the pickle names {module}.{name}, which is no part of a graph of plain values")


class _Inert:
    """An object with attributes and no behaviour."""

    def __init__(self, *arguments: Any):
        pass


def _reconstruct(cls: type, base: type, state: Any) -> Any:
    if not (isinstance(cls, type) and issubclass(cls, _Inert)):
        raise pickle.UnpicklingError("the pickle rebuilds something that is no graph")
    return cls()


def load_plain(path: str | os.PathLike[str]) -> Any:
    """The value of a pickle. Raises UnpicklingError for what names anything else, or is no pickle."""
    with open(path, "rb") as file:
        return loads(file.read())


def loads(data: bytes) -> Any:
    """As `load_plain`, from bytes."""
    try:
        return RestrictedUnpickler(io.BytesIO(data)).load()
    except pickle.UnpicklingError:
        raise
    except (ValueError, TypeError, AttributeError, EOFError, IndexError, KeyError, RecursionError, MemoryError,
            OverflowError, ImportError) as error:  # fmt: skip
        raise pickle.UnpicklingError(f"not a pickle of plain values: {error!r:.200}") from error


def load_graph(path: str | os.PathLike[str]) -> Graph:
    """The nodes and edges of a pickled graph. Raises UnpicklingError as `load_plain`, and where it is no graph."""
    value = load_plain(path)
    parts = vars(value) if isinstance(value, _Inert) and type(value).__name__ in ("Graph", "DiGraph") else {}
    nodes: Any = parts.get("_node")
    adjacency: Any = parts.get("_adj", parts.get("_succ"))
    if not (_maps_to_dicts(nodes) and _maps_to_dicts(adjacency) and all(map(_maps_to_dicts, adjacency.values()))):
        raise pickle.UnpicklingError(f"{path}: holds no networkx Graph or DiGraph, but {type(value).__name__}")
    return Graph(nodes, adjacency)


def _maps_to_dicts(value: Any) -> bool:
    return isinstance(value, dict) and all(isinstance(inner, dict) for inner in value.values())


def to_json(value: Any, depth: int = 0) -> Any:
    """A node's or edge's attributes as JSON values: tuples and sets become lists, keys become text."""
    if depth > MAX_DEPTH:
        raise ValueError("attributes are nested too deep")
    if isinstance(value, dict):
        return {str(key): to_json(inner, depth + 1) for key, inner in value.items()}
    if isinstance(value, (set, frozenset)):
        return sorted((to_json(inner, depth + 1) for inner in value), key=repr)
    if isinstance(value, (list, tuple)):
        return [to_json(inner, depth + 1) for inner in value]
    return value if value is None or isinstance(value, (str, int, float, bool)) else str(value)
