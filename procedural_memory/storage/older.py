"""Pickles of the older engine, read without its classes: nothing that a file names is looked up or called.

That engine pickled ``{"patterns": {id: WorkflowPattern}, "graph": DiGraph, "causal_chains": dict}``. What it had
learned stands in the patterns: their commands, and how often they went well or not. Graph and chains follow from these.
"""

from __future__ import annotations

import pickletools
from collections.abc import Callable, Mapping
from typing import IO, Any, Final, NamedTuple

from procedural_memory.errors import SnapshotError, shown

__all__ = ["MOST_SESSIONS", "OlderPattern", "older_patterns", "read_older"]

MOST_SESSIONS: Final = 200
"""At most so many successes, and so many failures, are taken over of one pattern; of more the share is kept."""

_MOST_STEPS, _MOST_CHARACTERS = 500_000, 20_000_000
"""Of all patterns together: a small file can hold one long list, or one long line, in many places by reference."""

_MARK: Final = object()


class _Dict(dict[str, Any]):
    """A mapping with texts for keys; `partial` when it had others."""

    partial = False


class _Object:
    """Stands for a class, or for an object of one: of the latter it keeps the state, and what was put into it."""

    __slots__ = ("entries", "items", "state")

    def __init__(self) -> None:
        self.state: Any = None
        self.entries = _Dict()
        self.items: list[Any] = []


def read_older(file: IO[bytes]) -> dict[str, Any] | None:
    """Return the patterns in a pickle of the older engine by their ids; None where it is none of it.

    The opcodes are followed here, not by `pickle`: they make plain containers and `_Object`, nothing else. Entries
    whose key is no text are left out, so that no key can be made that takes forever to hash. Time and memory are linear
    in the size of the file.

    Raises
    ------
    SnapshotError
        An id of a pattern is no text.
    """
    file.seek(0)
    try:
        content = _Machine().run(file)
    except Exception:  # almost anything, when it is no pickle
        return None
    if not isinstance(content, _Dict) or not content.keys() & {"graph", "causal_chains"}:
        return None
    patterns = content.get("patterns")
    if isinstance(patterns, _Object) and patterns.entries:  # a mapping of another class
        patterns = patterns.entries
    if isinstance(patterns, _Dict) and patterns.partial:
        raise SnapshotError("patterns: must have texts for ids; nothing was loaded")
    return patterns if isinstance(patterns, _Dict) else None


class _Machine:
    """The stack and the memo of an unpickler."""

    def __init__(self) -> None:
        self.stack: list[Any] = []
        self.memo: list[Any] = []

    def run(self, file: IO[bytes]) -> Any:
        """Follow the opcodes to the end and return what they leave."""
        for opcode, argument, _ in pickletools.genops(file):
            if opcode.name == "STOP":
                return self.stack.pop()
            if opcode.name in _VALUES:
                self.stack.append(_VALUES[opcode.name](argument))
            else:
                _STEPS[opcode.name](self, argument)  # KeyError: an opcode that no object of that engine needs
        raise ValueError("no end")

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
        if isinstance(target, _Object):
            target = target.entries
        for key, value in zip(items[::2], items[1::2], strict=True):
            if isinstance(key, str):
                target[key] = value
            else:
                target.partial = True

    def add(self, items: list[Any]) -> None:
        """Put items into the list below them."""
        target = self.stack[-1]
        (target.items if isinstance(target, _Object) else target).extend(items)

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
        """Keep the newest item under a number: the next one, as every pickler counts."""
        if place == len(self.memo):
            self.memo.append(self.stack[-1])
        else:
            self.memo[place] = self.stack[-1]  # IndexError: a far place

    def dictionary(self, items: list[Any]) -> None:
        """Make a mapping."""
        self.stack.append(_Dict())
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
    "EMPTY_DICT": lambda _: _Dict(),
    "EMPTY_TUPLE": lambda _: (),
    "EMPTY_SET": lambda _: _Object(),
    "MARK": lambda _: _MARK,
    "GLOBAL": lambda _: _Object(),
    "NEXT_BUFFER": lambda _: _Object(),
}
"""Opcodes that push a value."""

_STEPS: Final[dict[str, Callable[[_Machine, Any], object]]] = {
    "PROTO": lambda m, _: None,
    "FRAME": lambda m, _: None,
    "READONLY_BUFFER": lambda m, _: None,
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


class OlderPattern(NamedTuple):
    """A pattern of the older engine: its commands, and how often they went well and not."""

    pattern_id: str
    commands: list[str]
    success: int
    failure: int


def older_patterns(patterns: Mapping[str, Any]) -> list[OlderPattern]:
    """Return the patterns that `read_older` found.

    Raises
    ------
    SnapshotError
        A pattern has no commands, or counts that are none; the message names it.
    """
    all_of_them = []
    steps = characters = 0
    for pattern_id, pattern in patterns.items():
        try:
            found = _pattern(pattern_id, _fields(pattern))
        except SnapshotError as error:
            raise SnapshotError(f"patterns[{shown(pattern_id)}].{error}") from None
        times = max(1, found.success + found.failure)
        steps += times * len(found.commands)
        characters += times * sum(map(len, found.commands))
        if steps > _MOST_STEPS or characters > _MOST_CHARACTERS:
            raise SnapshotError(
                f"the patterns hold more than {_MOST_STEPS} steps or {_MOST_CHARACTERS} characters; nothing was loaded"
            )
        all_of_them.append(found)
    return all_of_them


def _pattern(pattern_id: str, fields: Mapping[str, Any]) -> OlderPattern:
    commands = fields.get("command_sequence")
    if isinstance(commands, _Object):
        commands = commands.items
    if not isinstance(commands, (list, tuple)) or not commands:
        raise SnapshotError(f"command_sequence: must be a list of commands, got {_told(commands)}")
    for command in commands:
        if not isinstance(command, str):
            raise SnapshotError(f"command_sequence: must hold command lines, got {_told(command)}")
    success, failure = (_count(name, fields) for name in ("success_count", "failure_count"))
    if (most := max(success, failure)) > MOST_SESSIONS:
        success, failure = (-(-count * MOST_SESSIONS // most) for count in (success, failure))
    return OlderPattern(pattern_id, list(commands), success, failure)


def _fields(pattern: Any) -> dict[str, Any]:
    """Return the fields of a pattern, whether it kept them in a dict, in slots, in both, or is a mapping itself."""
    if not isinstance(pattern, _Object):
        return pattern if isinstance(pattern, dict) else {}
    parts = pattern.state if isinstance(pattern.state, tuple) else (pattern.state,)
    fields = dict(pattern.entries)
    for part in parts:
        if isinstance(part, dict):
            fields |= part
    return fields


def _count(name: str, fields: Mapping[str, Any]) -> int:
    count = fields.get(name)
    if count is None:
        return 0
    if isinstance(count, bool) or not isinstance(count, (int, float)) or count < 0 or count != count // 1:
        raise SnapshotError(f"{name}: must be an integer of 0 or more, got {_told(count)}")
    return int(count)


def _told(value: Any) -> str:
    """Return a value as an error shows it: of what may hold much by reference, its kind."""
    if value is None or isinstance(value, (str, int, float)):
        return shown(value)
    return "an object" if isinstance(value, _Object) else f"a {type(value).__name__} of {len(value)}"
