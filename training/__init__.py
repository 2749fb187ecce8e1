"""Training: collator, loss, checkpoints and the small tools around them; train.py strings them together."""
