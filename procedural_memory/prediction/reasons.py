"""Plain words for a prediction, made from its evidence and from nothing else."""

from __future__ import annotations

from collections.abc import Sequence

from procedural_memory.types import Evidence

__all__ = ["reason"]

_SHOWN = 60
_SESSIONS = frozenset({"counts", "project", "directory"})


def reason(evidence: Sequence[Evidence]) -> str:
    """Return one sentence for what speaks most for a candidate.

    Parameters
    ----------
    evidence : sequence of Evidence
        Strongest contribution (weight x probability) first.
    """
    # Who counts sessions and how they ended comes first; beside it the strongest of those that look at something else.
    first = [part for item in evidence if item.expert in _SESSIONS and (part := _PARTS[item.expert](item))]
    others = [part for item in evidence if item.expert not in _SESSIONS and (part := _PARTS[item.expert](item))]
    return "; ".join([*first[:1], *others][:2])


def _counts(item: Evidence) -> str:
    d = item.details
    if not d:
        return ""
    after = f" after {_steps(item.context)}" if item.context else ""
    if d["at_start"]:
        after += " at the start of a session" if not item.context else ", the beginning of a session,"
    known = d["ended_well"] + d["ended_badly"]
    ended = ""
    if known:
        of_them = "" if known == d["sessions"] else f" of {known}"
        ended = f", {d['ended_well']}{of_them} ended well"
    where = {"project": " of this project", "directory": " in this directory"}.get(item.expert, "")
    return f"seen {_times(d['count'])}{after} in {_many(d['sessions'], 'session')}{where}{ended}".replace(",,", ",")


def _recent(item: Evidence) -> str:
    d = item.details
    if not d or not d.get("lately"):
        return ""
    after = f" after {_steps(item.context)}" if item.context else ""
    return f"{d['lately']} of the last {_many(d['of'], 'step')}{after}"


def _program(item: Evidence) -> str:
    d = item.details
    return f"{d['count']} of {d['total']} times after `{d['program']}`" if d.get("program") else ""


def _exit(item: Evidence) -> str:
    d = item.details
    return f"{d['count']} of {d['total']} times after `{_short(d['step'])}` {d['ended']}" if d else ""


def _skip(item: Evidence) -> str:
    d = item.details
    if not d:
        return ""
    what = _steps(item.context) or "the start of a session"
    return f"{d['count']} of {d['total']} times {d['steps_back']} steps after {what}"


def _patterns(item: Evidence) -> str:
    d = item.details
    if not d:
        return ""
    verb = "continues" if d["patterns"] == 1 else "continue"
    return f"{_many(d['patterns'], 'similar workflow')} {verb} this way (best match {d['similarity']:.2f})"


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
}


def _steps(templates: Sequence[str]) -> str:
    return " then ".join(f"`{_short(template)}`" for template in templates)


def _short(template: str) -> str:
    line = " ".join(template.split())
    return line if len(line) <= _SHOWN else line[: _SHOWN - 1] + "…"


def _times(count: int) -> str:
    return "once" if count == 1 else f"{count} times"


def _many(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"
