"""Shells: what records each command that is typed, and puts predictions on the command line when a key is pressed."""
