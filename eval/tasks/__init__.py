"""The benchmarks, by name; adding one is a file beside this one and a line here.

python -m eval list
"""

from __future__ import annotations

from eval.protocol import Task
from eval.tasks import (
    bfcl_multi_turn,
    function_calls,
    gsm8k,
    gta,
    gta_step,
    mathchat_error_analysis,
    mathchat_error_correction,
    mathchat_follow_up,
    mathchat_problem_generation,
    program,
    tool_query,
)

TASKS: dict[str, Task] = {
    "function_calls": function_calls.TASK,
    "calls": function_calls.CALLS_TASK,
    "program": program.TASK,
    "bfcl_multi_turn": bfcl_multi_turn.TASK,
    "gta": gta.TASK,
    "gta_step": gta_step.TASK,
    "tool_query": tool_query.TASK,
    "gsm8k": gsm8k.TASK,
    "mathchat_follow_up": mathchat_follow_up.TASK,
    "mathchat_error_correction": mathchat_error_correction.TASK,
    "mathchat_error_analysis": mathchat_error_analysis.TASK,
    "mathchat_problem_generation": mathchat_problem_generation.TASK,
}
