"""Pickles of the older engine, read without its classes: nothing that a file names is looked up or called.

That engine pickled ``{"patterns": {id: WorkflowPattern}, "graph": DiGraph, "causal_chains": dict}``. What it had
learned stands in the patterns: their commands, and how often they went well or not. Graph and chains follow from these.
"""

from __future__ import annotations

import pickletools
from collections.abc import Callable, Iterator
from hashlib import blake2b
from typing import IO, Any, Final

from procedural_memory.errors import SnapshotError, shown

__all__ = ["MOST_SESSIONS", "older_sessions", "read_older"]

MOST_SESSIONS: Final = 1_000
"""At most so many successes, and so many failures, are taken over of one pattern."""

_MOST_STEPS, _MOST_CHARACTERS = 500_000, 50_000_000
"""Of all patterns together: a small file can hold one long list, or one long line, in many places by reference."""

_MARK: Final = object()
_KEYS = (str, int, float, bool, type(None))


class _Object:
    """Stands for a class, or for an object of one: of the latter it keeps the state."""

    __slots__ = ("state",)

    def __init__(self) -> None:
        self.state: Any = None


def read_older(file: IO[bytes]) -> dict[str, Any] | None:
    """Return the patterns in a pickle of the older engine by their ids; None where it is none of it.

    The opcodes are followed here, not by `pickle`: they make plain containers and `_Object`, nothing else. Entries
    whose key is no text or number are left out, so that no key can be made that takes forever to hash. Time and memory
    are linear in the size of the file.
    """
    file.seek(0)
    try:
        content = _Machine().run(file)
    except SnapshotError:
        raise
    except Exception:  # almost anything, when it is no pickle
        return None
    patterns = content.get("patterns") if isinstance(content, dict) else None
    return patterns if isinstance(patterns, dict) else None


class _Machine:
    """The stack and the memo of an unpickler."""

    def __init__(self) -> None:
        self.stack: list[Any] = []
        self.memo: dict[int, Any] = {}

    def run(self, file: IO[bytes]) -> Any:
        """Follow the opcodes to the end and return what they leave."""
        for opcode, argument, _ in pickletools.genops(file):
            if opcode.name == "STOP":
                return self.stack.pop()
            if opcode.name in _VALUES:
                self.stack.append(_VALUES[opcode.name](argument))
            else:
                _STEPS[opcode.name](self, argument)  # KeyError: an opcode that no object of that engine needs
        raise SnapshotError("the pickle has no end; nothing was loaded")

    def marked(self) -> list[Any]:
        """Return what lies above the newest mark, and take it away."""
        place = len(self.stack) - 1
        while self.stack[place] is not _MARK:  # IndexError: there is none
            place -= 1
        items = self.stack[place + 1 :]
        del self.stack[place:]
        return items

    def set(self, items: list[Any]) -> None:
        """Put keys and values, in turns, into the mapping below them."""
        target = self.stack[-1]
        if isinstance(target, dict):
            target.update((k, v) for k, v in zip(items[::2], items[1::2], strict=True) if isinstance(k, _KEYS))

    def add(self, items: list[Any]) -> None:
        """Put items into the list below them."""
        if isinstance(self.stack[-1], list):
            self.stack[-1].extend(items)

    def take(self, count: int) -> list[Any]:
        """Return the newest items, and take them away."""
        items = self.stack[len(self.stack) - count :]
        del self.stack[len(self.stack) - count :]
        return items

    def call(self, taken: int) -> None:
        """Put an object in the place of what would make it."""
        self.take(taken)
        self.stack.append(_Object())

    def call_marked(self) -> None:
        """Put an object in the place of what lies above the newest mark."""
        self.marked()
        self.call(0)

    def build(self) -> None:
        """Give an object its state."""
        state = self.stack.pop()
        if isinstance(self.stack[-1], _Object):
            self.stack[-1].state = state

    def put(self, place: int) -> None:
        """Keep the newest item under a number."""
        self.memo[place] = self.stack[-1]

    def dictionary(self, items: list[Any]) -> None:
        """Make a mapping."""
        self.stack.append({})
        self.set(items)


_VALUES: Final[dict[str, Callable[[Any], Any]]] = {
    **dict.fromkeys(
        (
            *("INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT"),
            *("STRING", "BINSTRING", "SHORT_BINSTRING", "UNICODE", "SHORT_BINUNICODE", "BINUNICODE", "BINUNICODE8"),
            *("BINBYTES", "SHORT_BINBYTES", "BINBYTES8", "BYTEARRAY8"),
        ),
        lambda argument: argument,
    ),
    "NONE": lambda _: None,
    "NEWTRUE": lambda _: True,
    "NEWFALSE": lambda _: False,
    "EMPTY_LIST": lambda _: [],
    "EMPTY_DICT": lambda _: {},
    "EMPTY_TUPLE": lambda _: (),
    "EMPTY_SET": lambda _: _Object(),
    "MARK": lambda _: _MARK,
    "GLOBAL": lambda _: _Object(),
}
"""Opcodes that push a value."""

_STEPS: Final[dict[str, Callable[[_Machine, Any], object]]] = {
    "PROTO": lambda m, _: None,
    "FRAME": lambda m, _: None,
    "POP": lambda m, _: m.take(1),
    "POP_MARK": lambda m, _: m.marked(),
    "DUP": lambda m, _: m.stack.append(m.stack[-1]),
    "LIST": lambda m, _: m.stack.append(m.marked()),
    "TUPLE": lambda m, _: m.stack.append(tuple(m.marked())),
    "TUPLE1": lambda m, _: m.stack.append(tuple(m.take(1))),
    "TUPLE2": lambda m, _: m.stack.append(tuple(m.take(2))),
    "TUPLE3": lambda m, _: m.stack.append(tuple(m.take(3))),
    "DICT": lambda m, _: m.dictionary(m.marked()),
    "APPEND": lambda m, _: m.add(m.take(1)),
    "APPENDS": lambda m, _: m.add(m.marked()),
    "ADDITEMS": lambda m, _: m.marked(),
    "FROZENSET": lambda m, _: m.call_marked(),
    "SETITEM": lambda m, _: m.set(m.take(2)),
    "SETITEMS": lambda m, _: m.set(m.marked()),
    "PUT": lambda m, place: m.put(int(place)),
    "BINPUT": lambda m, place: m.put(place),
    "LONG_BINPUT": lambda m, place: m.put(place),
    "MEMOIZE": lambda m, _: m.put(len(m.memo)),
    "GET": lambda m, place: m.stack.append(m.memo[int(place)]),
    "BINGET": lambda m, place: m.stack.append(m.memo[place]),
    "LONG_BINGET": lambda m, place: m.stack.append(m.memo[place]),
    "STACK_GLOBAL": lambda m, _: m.call(2),
    "REDUCE": lambda m, _: m.call(2),
    "NEWOBJ": lambda m, _: m.call(2),
    "NEWOBJ_EX": lambda m, _: m.call(3),
    "INST": lambda m, _: m.call_marked(),
    "OBJ": lambda m, _: m.call_marked(),
    "BUILD": lambda m, _: m.build(),
}
"""Opcodes that work on the stack."""


def older_sessions(patterns: dict[str, Any], start: float) -> Iterator[dict[str, Any]]:
    """Yield patterns of the older engine as sessions of a snapshot: one for each time that a pattern went well or not.

    Parameters
    ----------
    patterns : dict
        As `read_older` returns them.
    start : float
        When the sessions began, in seconds since the epoch: that engine did not say.

    Raises
    ------
    SnapshotError
        A pattern has no commands, or counts that are none; the message names it.
    """
    steps = characters = 0
    for pattern_id, pattern in patterns.items():
        name = f"patterns[{shown(pattern_id)}]"
        fields = _fields(pattern)
        commands = fields.get("command_sequence")
        if not isinstance(commands, (list, tuple)) or not commands:
            raise SnapshotError(f"{name}.command_sequence: must be a list of commands, got {shown(commands)}")
        if wrong := [command for command in commands if not isinstance(command, str) or not command.strip()]:
            raise SnapshotError(f"{name}.command_sequence: must hold command lines, got {shown(wrong[0])}")
        counts = {outcome: _count(name, f"{outcome}_count", fields) for outcome in ("success", "failure")}
        outcomes: list[str | None] = [outcome for outcome, count in counts.items() for _ in range(count)]
        outcomes = outcomes or [None]
        steps += len(outcomes) * len(commands)
        characters += len(outcomes) * sum(map(len, commands))
        if steps > _MOST_STEPS or characters > _MOST_CHARACTERS:
            raise SnapshotError(
                f"the patterns hold more than {_MOST_STEPS} steps or {_MOST_CHARACTERS} characters; nothing was loaded"
            )
        digest = blake2b("\x1e".join([str(pattern_id), *commands]).encode("utf-8", "surrogatepass"), digest_size=8)
        for number, outcome in enumerate(outcomes):
            yield {
                "session_id": f"older-{digest.hexdigest()}-{number}",
                "start": start,
                "outcome": outcome,
                "source": "older engine",
                "commands": [{"command": command} for command in commands],
            }


def _fields(pattern: Any) -> dict[str, Any]:
    """Return the fields of a pattern, whether it kept them in a dict, in slots or is one itself."""
    state = pattern.state if isinstance(pattern, _Object) else pattern
    if isinstance(state, tuple):
        state = next((part for part in reversed(state) if isinstance(part, dict)), None)
    return state if isinstance(state, dict) else {}


def _count(name: str, field: str, fields: dict[str, Any]) -> int:
    count = fields.get(field, 0)
    if type(count) is not int or count < 0:
        raise SnapshotError(f"{name}.{field}: must be an integer of 0 or more, got {shown(count)}")
    return min(count, MOST_SESSIONS)
