"""Plain words for a prediction, made from its evidence and from nothing else."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from itertools import chain, islice
from typing import Any

from procedural_memory.types import Evidence
from procedural_memory.words import counted

__all__ = ["reason"]

_SHOWN = 60
_VERDICTS = ("accepted", "rejected", "ignored")
_SESSIONS = frozenset({"counts", "project", "directory"})


def reason(evidence: Sequence[Evidence], template: str | None = None) -> str:
    """Return one sentence for what speaks most for a candidate.

    Parameters
    ----------
    evidence : sequence of Evidence
        Strongest contribution (weight x probability) first.
    template : str, optional
        What the counts are of, where the line that is predicted is only one of its form.
    """
    # Who counts sessions and how they ended comes first; beside it the strongest of those that look elsewhere; at the
    # end what became of it before.
    first = _said(item for item in evidence if item.expert in _SESSIONS)
    others = _said(item for item in evidence if item.expert not in _SESSIONS and item.expert != "feedback")
    last = _said(item for item in evidence if item.expert == "feedback")
    text = "; ".join([*islice(chain(islice(first, 1), others), 2), *last])
    return f"`{_short(template)}`: {text}" if template and text else text


def _said(evidence: Iterable[Evidence]) -> Iterator[str]:
    return (part for item in evidence if (part := _PARTS[item.expert](item)))


def _counts(item: Evidence) -> str:
    d = item.details
    if not d:
        return ""
    where = {"project": " of this project", "directory": " in this directory"}.get(item.expert, "")
    known, sessions = d["ended_well"] + d["ended_badly"], d["sessions"]
    if known == 0:
        ended = ""
    elif known == sessions == 1:
        ended = ", which ended well" if d["ended_well"] else ", which ended badly"
    elif known == sessions:
        ended = f", {d['ended_well']} ended well"
    else:
        ended = f", of {known} with a known end {d['ended_well']} ended well"
    if d["at_start"] and not item.context:
        return f"seen {_times(d['count'])} at the start of a session{where}{ended}"
    among = "a session" if sessions == 1 else f"{sessions} sessions"
    after = f" after {_steps(item.context)}" if item.context else ""
    place = "at the start of" if d["at_start"] else "in"
    return f"seen {_times(d['count'])}{after} {place} {among}{where}{ended}"


def _recent(item: Evidence) -> str:
    d = item.details
    if not d or not d["lately"] or d["lately"] == d["count"]:  # as often as ever: the counts have said it
        return ""
    if d["at_start"]:
        return f"{d['lately']} of the last {d['of']} sessions {'that ' if item.context else ''}began so"
    return f"{d['lately']} of the last {d['of']} " + (
        f"times after {_steps(item.context)}" if item.context else "steps"
    )


def _program(item: Evidence) -> str:
    d = item.details
    return f"{_share(d)} after {_any(d['programs'])}{_from_start(d)}" if d and d["programs"] else ""


def _exit(item: Evidence) -> str:
    d = item.details
    if not d:
        return ""
    # What is counted of a program holds whatever its arguments were.
    after = _steps(d["steps"]) if "steps" in d else f"{_any(d['programs'])} that"
    return f"{_share(d)} after {after} {d['ended']}{_from_start(d)}"


def _skip(item: Evidence) -> str:
    d = item.details
    if not d:
        return ""
    what = _steps(item.context) or "the start of a session"
    return f"{_share(d)} {d['steps_back']} steps after {what}"


def _patterns(item: Evidence) -> str:
    d = item.details
    if not d:
        return ""
    verb = "continues" if d["patterns"] == 1 else "continue"
    found = f"{'' if d['all_looked_at'] else 'at least '}{counted(d['patterns'], 'similar workflow')}"
    return f"{found} {verb} this way (best match {d['similarity']:.2f})"


def _semantic(item: Evidence) -> str:
    d = item.details
    if not d:
        return ""
    return (
        f"followed {_steps(item.context)}, which resembles the last step ({d['similarity']:.2f}), {_times(d['count'])}"
    )


def _recency(item: Evidence) -> str:
    d = item.details
    if not d:
        return ""
    return (
        "the last step of this session" if d["steps_ago"] == 1 else f"used {d['steps_ago']} steps ago in this session"
    )


def _line(item: Evidence) -> str:
    d = item.details
    if not d:
        return ""
    after = f" after {_steps(item.context)}" if item.context else ""
    start = " at the start of a session" if d["at_start"] else ""
    where = " of no project" if d["project"] is None else " of this project"
    return f"this very line {_times(d['count'])}{after}{start or ' in sessions'}{where}"


def _silent(item: Evidence) -> str:
    return ""


def _feedback(item: Evidence) -> str:
    d = item.details
    # Of what is known of this very line and of all lines of its form, the former says more.
    kind = "line_" if any(d[f"line_{name}"] for name in _VERDICTS) else ""
    counts = {name: d[kind + name] for name in _VERDICTS}
    verdict = next(name for name, count in counts.items() if count)
    count, total = counts[verdict], sum(counts.values())
    often = _times(count) if count == total else f"{count} of {total} times"
    return f"{'this line ' if kind else ''}{verdict} {often} after this step"


_PARTS = {
    "counts": _counts,
    "recent": _recent,
    "project": _counts,
    "directory": _counts,
    "program": _program,
    "exit": _exit,
    "skip": _skip,
    "patterns": _patterns,
    "semantic": _semantic,
    "recency": _recency,
    "line": _line,
    "line lately": _silent,
    "line here": _silent,
    "line after": _silent,
    "fill": _silent,
    "feedback": _feedback,
}


@lru_cache(maxsize=4_096)
def _steps(templates: tuple[str, ...]) -> str:
    return " then ".join(f"`{_short(template)}`" for template in templates)


def _any(programs: Sequence[str]) -> str:
    return " then ".join(f"any `{_short(program)}`" for program in programs)


def _from_start(details: Mapping[str, Any]) -> str:
    return " at the start of a session" if details["at_start"] else ""


@lru_cache(maxsize=4_096)
def _short(template: str) -> str:
    line = " ".join(template.split())
    return line if len(line) <= _SHOWN else line[: _SHOWN - 1] + "…"


def _share(details: Mapping[str, Any]) -> str:
    count, total = details["count"], details["total"]
    return "the only time" if total == 1 else f"{count} of {total} times"


def _times(count: int) -> str:
    return "once" if count == 1 else f"{count} times"
