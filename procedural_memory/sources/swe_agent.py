"""Trajectories of SWE-agent and agents that write the same form: ``trajectory`` is a list of steps with an ``action``.

They tell neither times nor exit codes, so both stay unknown.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from procedural_memory.errors import HistoryError
from procedural_memory.sources.entry import Entry, Skip

__all__ = ["SWE_AGENT"]

_LARGEST = 64 * 1024 * 1024


class _Trajectory:
    whole = True
    unfinished = ()

    def __init__(self, path: Path, known: Mapping[str, Any] | None, skip: Skip) -> None:
        self._path = path
        self._after = int((known or {}).get("line") or 0)
        self._skip = skip
        self._steps = 0

    def entries(self) -> Iterator[Entry]:
        """Yield the actions that were not read before."""
        document = _document(self._path)
        steps = document.get("trajectory") if isinstance(document, Mapping) else None
        if not isinstance(steps, list):
            raise HistoryError(f"trajectory {str(self._path)!r}: has no list 'trajectory'")
        for number, step in enumerate(steps, 1):
            self._steps = number
            if number <= self._after:
                continue
            action = step.get("action") if isinstance(step, Mapping) else None
            if isinstance(action, str) and action.strip():
                yield Entry(
                    action.strip().replace("\0", ""),
                    cwd=_folder(step.get("state")),
                    session=self._path.stem,
                    actor="agent",
                    line=number,
                )
            else:
                self._skip(number, "a step without an action")

    @property
    def done(self) -> float:
        """The share that was read."""
        return 1.0 if self._steps else 0.0

    @property
    def last(self) -> int:
        """The number of the last step."""
        return self._steps

    def place(self, line: int) -> Mapping[str, Any]:
        """Return what tells later where a step was."""
        return {"line": line}


def _document(path: Path) -> Any:
    try:
        if path.stat().st_size > _LARGEST:
            raise HistoryError(f"trajectory {str(path)!r}: is larger than {_LARGEST:,} bytes, and not read")
        return json.loads(path.read_bytes())
    except OSError as error:
        raise HistoryError(f"trajectory {str(path)!r}: cannot be read ({error})") from error
    except (ValueError, RecursionError) as error:
        raise HistoryError(f"trajectory {str(path)!r}: is not valid JSON ({error})") from error


def _folder(state: Any) -> str | None:
    if isinstance(state, str):
        try:
            state = json.loads(state)
        except (ValueError, RecursionError):
            return None
    folder = state.get("working_dir") if isinstance(state, Mapping) else None
    return folder if isinstance(folder, str) and folder else None


class _SweAgent:
    name = "swe-agent"

    def find(self, home: Path) -> list[Path]:
        """Return nothing: an agent writes where it is told to."""
        return []

    def open(self, path: Path, known: Mapping[str, Any] | None, skip: Skip) -> _Trajectory:
        """Begin to read a file."""
        return _Trajectory(path, known, skip)


SWE_AGENT = _SweAgent()
