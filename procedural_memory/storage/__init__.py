"""The store behind its interface, and snapshots."""
