"""Command lines taken apart: secrets hidden, arguments replaced."""

from __future__ import annotations

import importlib
import pkgutil
import shlex
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial

import tree_sitter_bash
from tree_sitter import Language, Parser

import procedural_memory.commands
from procedural_memory import normalize, redact
from procedural_memory.commands.redact import _known_signs
from speed.measure import Call, Contest
from speed.registry import one_of, operation
from speed.workload import real_lines
from speed.world import World

WAYS: dict[str, Callable[[str], object]] = {
    "normalise": normalize,
    "redact": redact,
    "normalise and redact": lambda line: normalize(redact(line)),
}


def forget() -> None:
    """Empty the caches of everything that takes command lines apart; loaded grammars stay."""
    for module in pkgutil.iter_modules(procedural_memory.commands.__path__, "procedural_memory.commands."):
        for value in vars(importlib.import_module(module.name)).values():
            if hasattr(value, "cache_clear") and (value.cache_info().maxsize or 0) > 1:
                value.cache_clear()
    _known_signs.clear()


def split(line: str) -> None:
    """Cut a line into words, as far as `shlex` can read it."""
    with suppress(ValueError):
        shlex.split(line)


def _each(function: Callable[[str], object], lines: list[str]) -> None:
    for line in lines:
        function(line)


@operation("take apart", way=one_of(*WAYS))
def take_apart(world: World, way: str) -> Iterator[Contest]:
    """Take distinct real commands apart, without a cache."""
    lines, _ = real_lines(world.data, world.plan.lines)
    parser = Parser(Language(tree_sitter_bash.language()))
    ours = Call(partial(_each, WAYS[way], lines), before=forget)
    shlex_alone = Call(partial(_each, split, lines))
    parsing = Call(partial(_each, lambda line: parser.parse(line.encode()), lines))
    yield Contest(ours, {"shlex.split": shlex_alone, "tree-sitter parse": parsing}, each=len(lines))
