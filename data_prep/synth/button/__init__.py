"""BUTTON's pipeline (arXiv 2410.12952) against any OpenAI-compatible server; prompts in our own words.

    python -m data_prep synth button --out rows.jsonl --rows 200 --base-url http://localhost:8000/v1 --model NAME

`stages.py` has the bottom-up half (scenarios to composed tasks and functions), `agents.py` the top-down half (the three
simulated agents), `toolbox.py`, `provenance.py` and `verify.py` what goes beyond the paper; `pipeline.py` joins them.
"""
