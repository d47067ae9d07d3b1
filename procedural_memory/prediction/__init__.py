"""Experts, their blend, and the predictions made of them."""
