"""``python -m procedural_memory`` is ``procedural-memory``."""

from procedural_memory.cli import main

if __name__ == "__main__":
    main()
