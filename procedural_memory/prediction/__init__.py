"""Experts, the ranker that weighs them, and the predictions made of them."""
