"""Embedders: text to unit-length vectors, in process."""
