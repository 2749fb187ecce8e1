"""Renders a dialogue once, message by message, where its template allows that: every turn's prompt is cut out of it.

    {%- for message in messages %}...{%- endfor %}{%- if add_generation_prompt %}<|im_start|>assistant{%- endif %}

A template may be cut into what stands before its loop over the messages, the loop's body and what stands behind, where
the parts share nothing but what they are given: no namespace, no variable set in one and read in another, no look at
other messages than the first, those before and the next one. Then what it makes of the first k messages is, by the
meaning of Jinja alone, the same pieces up to k, and rendering each beginning anew can be left out. All of this is read
off the template's syntax tree, and what a tree cannot say is seen while the body runs; any other template, and any
dialogue that a body looks about in, is rendered whole.
"""

from __future__ import annotations

import marshal
from collections.abc import Iterable
from typing import Any, NamedTuple

import jinja2
from jinja2 import nodes

Messages = list[dict[str, Any]]

PLAIN_NODES = (
    nodes.Output, nodes.TemplateData, nodes.If, nodes.For, nodes.Assign, nodes.Name, nodes.Const, nodes.Getattr,
    nodes.Getitem, nodes.Slice, nodes.Compare, nodes.Operand, nodes.BinExpr, nodes.UnaryExpr, nodes.CondExpr,
    nodes.Concat, nodes.Filter, nodes.Test, nodes.Call, nodes.Keyword, nodes.List, nodes.Tuple, nodes.Dict, nodes.Pair,
)  # fmt: skip
LOOP_FACTS = {"first", "last", "index", "index0"}
# Names whose values change as they are used.
WITH_MEMORY = {"namespace", "cycler", "joiner", "self", "caller", "lipsum"}
HEADS_KEPT = 1024


class LooksElsewhere(Exception):
    """The template looked at a message that a beginning of the dialogue need not have."""


class Rendered(NamedTuple):
    """A dialogue's text, and for each place asked for where a turn there begins and what the template ends it with."""

    text: str
    turns: dict[int, tuple[int, str]]


class _Seen:
    """The messages as a body may see them: up to the next one, which `looked_ahead` tells of."""

    def __init__(self, rows: Messages):
        self.rows = rows
        self.at = 0
        self.last = False
        self.looked_ahead = False

    def __getitem__(self, index: int) -> dict[str, Any]:
        if type(index) is not int or not 0 <= index <= self.at + 1:
            raise LooksElsewhere
        if index == self.at + 1:
            self.looked_ahead = True
            if self.last:
                raise IndexError(index)
        return self.rows[index]


class _Loop(dict[str, Any]):
    """Jinja's `loop` in a body."""

    def __init__(self, seen: _Seen):
        self.seen = seen

    def __missing__(self, fact: str) -> bool | int:
        if fact == "last":
            self.seen.looked_ahead = True
            return self.seen.last
        return {"first": self.seen.at == 0, "index0": self.seen.at, "index": self.seen.at + 1}[fact]


class ByMessage:
    """One template, cut at its loop over the messages; made by `cut`."""

    def __init__(self, head: jinja2.Template, body: jinja2.Template, target: str, ends: tuple[str, str]):
        self._head = head
        self._body = body
        self._target = target
        self._end, self._prompt_end = ends  # without and with a generation prompt
        self._heads: dict[bytes, str] = {}

    @classmethod
    def cut(cls, template: jinja2.Template, source: str, variables: dict[str, Any]) -> ByMessage | None:
        """None where the template does not allow it. `variables` are what each rendering is given beside messages."""
        environment = _quick(template.environment)
        tree = environment.parse(source)
        loops = [
            at for at, node in enumerate(tree.body) if isinstance(node, nodes.For) and _named(node.iter, "messages")
        ]
        if len(loops) != 1:
            return None
        loop = tree.body[loops[0]]
        assert isinstance(loop, nodes.For)
        head, tail = tree.body[: loops[0]], tree.body[loops[0] + 1 :]
        constants = [node for node in head if isinstance(node, nodes.Assign) and isinstance(node.node, nodes.Const)]
        if not isinstance(loop.target, nodes.Name) or loop.test or loop.else_ or loop.recursive:
            return None
        taken = {"messages", "loop", "tools", "add_generation_prompt", loop.target.name}
        from_head = _set_in(node for node in head if node not in constants)
        if not (
            all(_plain(part, taken) for part in (head, loop.body, tail))
            and not _names(head) & {"loop", "add_generation_prompt", loop.target.name}
            and not _names(loop.body) & {"add_generation_prompt", *from_head}
            and not _names(tail) & {*taken - {"add_generation_prompt"}, *from_head}
        ):
            return None

        def part(statements: list[nodes.Node]) -> jinja2.Template:
            scope = nodes.Scope([*constants, *statements], lineno=1)
            cut = nodes.Template([scope], lineno=1)
            cut.set_environment(environment)
            return jinja2.Template.from_code(environment, environment.compile(cut), template.globals)

        ends = [part(tail).render(variables, add_generation_prompt=asked) for asked in (False, True)]
        return cls(part(head), part(loop.body), loop.target.name, (ends[0], ends[1]))

    def render(
        self, rows: Messages, tools: list[dict[str, Any]] | None, variables: dict[str, Any], turns: Iterable[int]
    ) -> Rendered | None:
        """The dialogue, with where the turns at these places of `rows` begin and how the template ends there.

        None where a turn is not rendered the same in the whole dialogue, or whatever else asks for rendering it whole.
        """
        try:
            return self._render(rows, tools, variables, turns)
        except Exception:  # a template is foreign code: the whole rendering says what it raises
            return None

    def _render(
        self, rows: Messages, tools: list[dict[str, Any]] | None, variables: dict[str, Any], turns: Iterable[int]
    ) -> Rendered | None:
        seen = _Seen(rows)
        given = {**variables, "messages": seen, "tools": tools, self._target: None}
        context = self._body.new_context({**given, "loop": _Loop(seen)})
        wanted = set(turns)
        pieces = [self._head_of(rows, tools, given)]
        begins = len(pieces[0])
        found: dict[int, tuple[int, str]] = {}
        for at, row in enumerate(rows):
            context.parent[self._target] = row
            seen.at, seen.last, seen.looked_ahead = at, at == len(rows) - 1, False
            piece = last = "".join(self._body.root_render_func(context))
            if seen.looked_ahead and not seen.last and not wanted.isdisjoint((at, at + 1)):
                seen.last = True
                last = "".join(self._body.root_render_func(context))
            if at in wanted:
                turn = last + self._end
                if not turn.startswith(self._prompt_end):
                    return None
                found[at] = begins + len(self._prompt_end), turn[len(self._prompt_end) :]
            if at + 1 in wanted and piece != last:  # the prompt of the next turn is no beginning of the dialogue
                return None
            pieces.append(piece)
            begins += len(piece)
        return Rendered("".join(pieces) + self._end, found)

    def _head_of(self, rows: Messages, tools: list[dict[str, Any]] | None, given: dict[str, Any]) -> str:
        """What stands before the messages; many dialogues of a corpus share it."""
        key = marshal.dumps((rows[0], tools), 2)  # version 2: equal bytes only for equal values
        if key not in self._heads:
            if len(self._heads) >= HEADS_KEPT:
                self._heads.clear()
            self._heads[key] = self._head.render({**given, "messages": _First(rows)})
        return self._heads[key]


def _quick(environment: jinja2.Environment) -> jinja2.Environment:
    """The same environment, which finds the keys of plain dicts without trying their attributes first."""
    quick = environment.overlay()
    by_attribute, methods = quick.getattr, frozenset(dir(dict))

    def get(obj: Any, name: str) -> Any:
        if type(obj) in (dict, _Loop) and name not in methods:
            try:
                return obj[name]
            except KeyError:
                return quick.undefined(obj=obj, name=name)
        return by_attribute(obj, name)

    quick.getattr = get  # type: ignore[method-assign, assignment]
    return quick


class _First:
    """The messages as what stands before the loop may see them."""

    def __init__(self, rows: Messages):
        self.rows = rows

    def __getitem__(self, index: int) -> dict[str, Any]:
        if type(index) is not int or index != 0:
            raise LooksElsewhere
        return self.rows[0]


def _named(node: nodes.Node, name: str) -> bool:
    return isinstance(node, nodes.Name) and node.name == name


def _all(statements: Iterable[nodes.Node]) -> list[nodes.Node]:
    found = []
    waiting = list(statements)
    while waiting:
        found.append(waiting.pop())
        waiting += found[-1].iter_child_nodes()
    return found


def _names(statements: Iterable[nodes.Node]) -> set[str]:
    return {node.name for node in _all(statements) if isinstance(node, nodes.Name)}


def _set_in(statements: Iterable[nodes.Node]) -> set[str]:
    return {node.name for node in _all(statements) if isinstance(node, nodes.Name) and node.ctx == "store"}


def _plain(statements: list[nodes.Node], taken: set[str]) -> bool:
    """No node that keeps or shares state; messages only picked by number, of the loop only what _Loop knows."""
    found = _all(statements)
    picked = {id(node.node) for node in found if isinstance(node, nodes.Getitem) and _named(node.node, "messages")}
    asked = {id(node.node) for node in found if isinstance(node, nodes.Getattr) and node.attr in LOOP_FACTS}
    return (
        all(isinstance(node, PLAIN_NODES) for node in found)
        and not _set_in(statements) & taken
        and not _names(statements) & WITH_MEMORY
        and all(id(node) in picked for node in found if _named(node, "messages"))
        and all(id(node) in asked for node in found if _named(node, "loop"))
    )
