"""GTA's tools in one sample: the calculator is live, the others answer from the sample's gold results.

    environment = GtaEnvironment(tools, files, chain)       chain: (gold call, its result) in gold order
    environment.execute(ToolCall("call_0", "OCR", {"image": "image/image_1.jpg"}))       -> "Total 12.50"

A call that equals a gold call, name and arguments, gets that call's result, however often. Another call of a tool gets
the next gold result of that tool that no call has had yet: its arguments (a search query, a box) may be as good as the
gold ones, and a text model cannot tell. Solver and Plot run Python in the published harness; here they do not.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from data_prep.arithmetic import NotArithmetic, evaluate, tokenize
from data_prep.dialogue import ToolCall
from eval.call_scorers import same_json
from eval.gta_data import call_error

MAX_EXPRESSION_CHARS = 1000
MAX_ERROR_CHARS = 300
COMPLAINTS = {
    "unknown_function": "there is no tool {name}",
    "unknown_argument": "{name} takes no such argument as one of these: {arguments}",
    "missing_argument": "{name} needs other arguments than these: {arguments}",
    "missing_file": "a file is not there; got {arguments}",
}


class GtaEnvironment:
    """Implements eval.agent.Environment; `called` are the names of all calls, `errors` why those that failed did."""

    def __init__(self, tools: Sequence[dict[str, Any]], files: Sequence[str], chain: Sequence[tuple[ToolCall, str]]):
        self.tools = tools
        self.files = files
        self.chain = chain
        self.used = [False] * len(chain)
        self.called: list[str] = []
        self.errors: list[str] = []

    def execute(self, call: ToolCall) -> str:
        """The result as text, or an error that begins with `Error:`."""
        self.called.append(call.name)
        fault = call_error(call, self.tools, self.files)
        if fault is not None:
            given = ", ".join(call.arguments) or "none"
            return self._error(fault, COMPLAINTS[fault].format(name=call.name, arguments=given))
        place = self._gold_place(call, equal=True)
        if place is None and call.name == "Calculator":
            return self._calculate(call.arguments.get("expression"))
        if place is None:
            place = self._gold_place(call, equal=False)
        if place is None:
            return self._error("no_result", f"{call.name} found nothing for these arguments")
        self.used[place] = True
        return self.chain[place][1]

    def _gold_place(self, call: ToolCall, equal: bool) -> int | None:
        """Place of the gold call that equals this one, unused ones first; or of the tool's next unused one."""
        places = [place for place, (gold, _) in enumerate(self.chain) if gold.name == call.name]
        if equal:
            places = [place for place in places if same_json(self.chain[place][0].arguments, call.arguments)]
        unused = [place for place in places if not self.used[place]]
        return unused[0] if unused else places[0] if equal and places else None

    def _calculate(self, expression: Any) -> str:
        if not isinstance(expression, str) or len(expression) > MAX_EXPRESSION_CHARS:
            return self._error("arithmetic", f"expression must be text of up to {MAX_EXPRESSION_CHARS} characters")
        try:
            value = evaluate(tokenize(expression))
            return str(value.numerator) if value.denominator == 1 else f"{float(value):.12g}"
        except (NotArithmetic, OverflowError) as error:
            return self._error("arithmetic", f"not arithmetic of + - * / ^ % and brackets: {error}")

    def _error(self, fault: str, text: str) -> str:
        self.errors.append(fault)
        return f"Error: {text[:MAX_ERROR_CHARS]}"
