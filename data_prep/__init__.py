"""Dialogues in, exactly masked training samples out."""
