"""Procedural memory: learns workflows from command sequences and predicts the next step."""
