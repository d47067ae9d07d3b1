"""Where sessions come from: one file per format.

A reader yields entries (`entry`), of which sessions are made (`grouping`); `catalogue` knows all of them and where
their files are. Files that hold whole sessions are read by `files`. Nothing here knows the engine.
"""
