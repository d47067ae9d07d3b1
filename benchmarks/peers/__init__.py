"""Predictors that a user could pick instead, each a few lines, all on the same templates."""
