"""`python -m eval run MODEL --tasks function_calls,gsm8k --out runs/eval`: benchmarks and reports one can trust."""
