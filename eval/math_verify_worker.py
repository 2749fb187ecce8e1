"""math-verify in a process of its own: `python -m eval.math_verify_worker` answers each line of its input with one.

    {"golds": [[18, 1]], "text": "... The answer is \\boxed{18}."}   "right", "wrong", "unparsed", "timeout", "failed"

sympy computes what it parses, and no handler can interrupt `9**9**9`; then the kernel ends this process. Time is CPU
time: math-verify's own limits are wall time, and give other verdicts on a busy machine. What reaches sympy's
`parse_expr`, which ends in Python's own `eval`, is digits, signs and brackets: math-verify's expressions hold nothing
else, and its LaTeX goes through a grammar.
"""

from __future__ import annotations

import json
import resource
import signal
import sys
import time

MEMORY_BYTES = 4 << 30
CPU_S = 2.0  # of a question; a handler ends it
KILL_CPU_S = 4  # the process, where none could run


class OutOfTime(BaseException):
    """Not an Exception: math-verify catches those."""


def _out_of_time(*_: object) -> None:
    raise OutOfTime


def main() -> None:
    """Say "ready", then answer until the input ends."""
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    signal.signal(signal.SIGPROF, _out_of_time)
    import sympy
    from math_verify import parse, verify

    print('"ready"', flush=True)
    for line in sys.stdin:
        question = json.loads(line)
        resource.setrlimit(resource.RLIMIT_CPU, (int(time.process_time()) + KILL_CPU_S, resource.RLIM_INFINITY))
        signal.setitimer(signal.ITIMER_PROF, CPU_S)
        try:
            answer = parse(question["text"], parsing_timeout=None, raise_on_error=True)
            golds = [sympy.Rational(*gold) for gold in question["golds"]]
            right = bool(answer) and verify(golds, answer, timeout_seconds=None, raise_on_error=True)
            verdict = "right" if right else "wrong" if answer else "unparsed"
        except OutOfTime:
            verdict = "timeout"
        except Exception:  # whatever went wrong, the next question is another one
            verdict = "failed"
        signal.setitimer(signal.ITIMER_PROF, 0)
        print(json.dumps(verdict), flush=True)


if __name__ == "__main__":
    main()
