"""`python -m eval run MODEL --tasks function_calls,gsm8k --out runs/eval`: the benchmarks, and reports one can trust."""
