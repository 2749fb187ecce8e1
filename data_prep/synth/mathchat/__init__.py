"""`python -m data_prep synth mathchat --out rows.jsonl --rows 200 --base-url URL --model NAME`: dialogues about maths.

From a question/answer file (`problems.py`), a plan for each dialogue (`plan.py`) is filled by moves (`moves.py`) from
what a model writes (`parts.py`, `prompts/`) and a program checks (`checks.py`); `pipeline.py` puts the stages together.
`benchmark.py` makes items in the form of the MathChat benchmark from the same parts.
"""
