"""`python -m data_prep synth button --out rows.jsonl --rows 1000`: dialogues made by programs, every call executed.

Typed functions over seeded worlds (`domains/`) are composed by matching the kind of one function's output with the kind
of another's input (`graph.py`), executed and worded (`compose.py`, `phrases.py`), and checked by a second
implementation that knows the exported row only (`verify.py`). `maths/` does the same for multi-turn word problems.
"""
