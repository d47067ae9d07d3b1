"""Claude Code: its hooks record what the agent runs, and tell it what usually works. Standard library alone.

`events` takes in what Claude Code sends, `recall` reads from the log what is worth telling, `settings` puts the hooks
into its settings and takes them out again.
"""
