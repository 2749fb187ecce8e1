"""`python -m data_prep synth mathchat --out rows.jsonl --rows 1000`: maths dialogues computed from expression trees."""
