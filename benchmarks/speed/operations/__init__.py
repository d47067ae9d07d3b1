"""All operations; importing this enters them."""

from speed.operations import commands, embedding, keeping, learning, predicting, processes, searching

__all__ = ["commands", "embedding", "keeping", "learning", "predicting", "processes", "searching"]
