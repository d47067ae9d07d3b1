"""Lines: from a template that may come next to the command lines that would be run, with their probabilities.

The places of a template are filled one after the other, files first. What may stand in a place is what the fill rules
propose from the session, and what stood there before in this folder, this project or anywhere. A small logistic model
joins the two: for each value the hit rate of the best rule that proposes it, and its share among what stood there
before; beside them the chance that it is none of these. So the product over the places is the probability of a line
given its template.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Final, NamedTuple, TypeAlias

from procedural_memory.commands.ground import ANY, Guess, SessionValues, levels
from procedural_memory.commands.normalize import analyze, render
from procedural_memory.commands.places import UNKNOWABLE, Place, filling_order, places
from procedural_memory.commands.shapes import PLACEHOLDER
from procedural_memory.memory.fills import line_place, rule_keys, runs_own_script, value_keys
from procedural_memory.storage.base import RuleCounts, Store, ValueCounts

__all__ = ["FLOOR", "Grounding", "Line", "PlaceEvidence", "log_odds"]

_WIDTH: Final = 5
"""How many values of a place, and lines of a template, are followed up."""
_UNLIKELY: Final = 0.003
"""Lines less probable, given the template, are not followed up."""
_LEVEL_WEIGHTS: Final = (8.0, 6.0, 3.0)
"""Pseudo-counts that a rate is given of the level before, by level."""
_DISCOUNT, _NEW = 0.6, 0.5
_FEW, _NEVER_TWICE = 3, 0.9
_LEAST: Final = 0.002
FLOOR: Final = -6.2
"""Log-odds of `_LEAST`, and what counts for a value that no rule proposes or that was not seen before."""

# Weights of the logistic model, fitted by `benchmarks/grounding.py` to two data sets together: sessions of a coding
# agent and of people.
_RULE, _NO_RULE, _PAST, _NO_PAST = 0.97, 2.81, 0.61, 2.02
_WITHOUT_RULE, _WITHOUT_PAST = _RULE * FLOOR + _NO_RULE, _PAST * FLOOR + _NO_PAST
_OTHER, _OTHER_PAST, _OTHER_RULES, _OTHER_BEST = -0.82, 0.25, 0.73, 0.19

PRIOR: Final[Mapping[str, float]] = {
    ANY: 0.54,
    "role 1": 0.44,
    "form 1": 0.41,
    "kind 1": 0.35,
    "companion": 0.35,
    "printed and used": 0.3,
    "written 1": 0.23,
    "printed alone": 0.22,
    "same line": 0.2,
    "made next": 0.15,
    "made 1": 0.14,
    "its name": 0.14,
    "printed last": 0.14,
    "printed 1": 0.13,
    "kind 2": 0.1,
    "form 3": 0.1,
    "form 2": 0.09,
    "role 2": 0.09,
    "printed 2": 0.09,
    "written 2": 0.07,
    "made first": 0.07,
    "printed line to 20": 0.06,
    "printed line to 10": 0.05,
    "printed line to 30": 0.05,
    "kind 3": 0.05,
    "role 3": 0.05,
}
"""How often a rule is right, before anything is counted; mean of two data sets. Other rules: `_PRIOR`."""

_PRIOR: Final = 0.03


_Level: TypeAlias = tuple[float, tuple[RuleCounts | None, RuleCounts | None]]
"""How much a level of places weighs, and how rules did there: in the memory, and in the session."""


class Line(NamedTuple):
    """A command line, the probability that it is the next one given its template, and where it comes from."""

    command: str
    probability: float
    origin: str
    runnable: bool = True


class PlaceEvidence(NamedTuple):
    """What is known of the values of a place.

    Attributes
    ----------
    rules : mapping
        Value -> log-odds and name of the best rule that proposes it.
    shares : mapping
        Value -> its share among the values seen in such a place.
    log_rest : float
        Logarithm of the share that is left for values not seen.
    no_rule_right : float
        Logarithm of the probability that no rule has the right value.
    """

    rules: Mapping[str, tuple[float, str]]
    shares: Mapping[str, float]
    log_rest: float
    no_rule_right: float


class _Past(NamedTuple):
    """What was seen in a place: as in `PlaceEvidence`."""

    shares: dict[str, float]
    log_rest: float


class _Free(NamedTuple):
    """What is known of the values of a place, whatever stands in the other places of the line.

    Attributes
    ----------
    rules : mapping
        As in `PlaceEvidence`.
    pasts : mapping
        Value -> what it gains by having stood there before.
    best : list of (float, str, str)
        Negative score, value and origin, best first.
    odds : mapping
        Value -> exponential of its score; `total` is their sum.
    top : float
        Log-odds of the best rule.
    other : float
        Score of all other values, but for what the best rule adds to it.
    """

    rules: dict[str, tuple[float, str]]
    pasts: dict[str, float]
    best: list[tuple[float, str, str]]
    odds: dict[str, float]
    total: float
    top: float
    other: float


class Grounding:
    """Grounds templates in one context; what it reads of the memory is read once.

    Parameters
    ----------
    store : Store
    values : SessionValues
        What the session has used.
    project, cwd : str or None
        Of the line to come.
    """

    def __init__(self, store: Store, values: SessionValues, project: str | None, cwd: str | None = None) -> None:
        self._store = store
        self._values = values
        self._project = project
        self._cwd = cwd
        self._seen: dict[Place, list[ValueCounts]] = {}
        self._judged: dict[Place, list[_Level]] = {}
        self._past: dict[Place, _Past] = {}
        self._free: dict[Place, _Free] = {}
        self._filled: dict[tuple[object, ...], tuple[list[tuple[str, float, str]], float]] = {}
        self._odds_of: dict[Place, dict[str, float]] = {}
        self._rates: dict[Place, dict[str, float]] = {}
        self._rates_of_kind: dict[str, dict[str, float]] = {}

    def lines(self, template: str, least: float = 0.0) -> list[Line]:
        """Return the most probable command lines of a template, best first, none less probable than `least`.

        Where a new value is the most probable in a place, it stays open in a last line, the *form*: its probability is
        that of a value that is not known here. A template that runs a script of another project has no line.
        """
        there = places(template)
        if not self.may_run(template):
            return []
        if not there:
            return self._whole(template)
        self.read(there)
        least = max(least, _UNLIKELY)
        beam: list[tuple[float, dict[int, str], str]] = [(1.0, {}, "")]
        form: dict[int, str] = {}
        closed = 1.0
        for number in filling_order(template):
            grown: list[tuple[float, dict[int, str], str]] = []
            for probability, known, origin in beam:
                for value, p, rule in self._place(template, number, known)[0]:
                    if probability * p < least:
                        break
                    grown.append((probability * p, {**known, number: value}, origin or rule))
            found, other = self._place(template, number, form)
            closed *= 1.0 - other
            if found and found[0][1] >= other:
                form[number] = found[0][0]
            beam = sorted(grown, key=lambda item: -item[0])[:_WIDTH]
        lines = [Line(self._render(template, known), probability, origin) for probability, known, origin in beam]
        if len(form) < len(there):
            lines.append(Line(self._render(template, form), 1.0 - closed, "template", runnable=False))
        return lines

    def may_run(self, template: str) -> bool:
        """Return whether a template runs no script of a project, or one that was run in this project or session."""
        if "/" not in template or template in self._values.by_form or not runs_own_script(analyze(template)):
            return True
        place = line_place(template)
        self.read([place])
        return bool(self._past_of(place).shares)

    def read(self, wanted: Iterable[Place]) -> None:
        """Read what the memory knows of places, all in one go."""
        missing = [place for place in dict.fromkeys(wanted) if place not in self._seen]
        if not missing:
            return
        values, project, last = self._values, self._project, self._values.last
        keys = {
            # No rule proposes a whole line.
            place: (() if place.kind == "LINE" else rule_keys(place, last), value_keys(place, project, self._cwd))
            for place in missing
        }
        rules = self._store.rules([key for of_rules, _ in keys.values() for key in of_rules])
        seen = self._store.values([key for _, of_values in keys.values() for key in of_values])
        for place, (of_rules, of_values) in keys.items():
            self._seen[place] = [seen[key] for key in of_values if key in seen]
            if of_rules:
                self._judged[place] = [
                    (weight, (rules.get(key), values.judged.get(level)))
                    for key, level, weight in zip(of_rules, levels(place, last), _LEVEL_WEIGHTS, strict=True)
                ]

    def _past_of(self, place: Place) -> _Past:
        """Return what was seen in a place that was read."""
        if place not in self._past:
            shares, rest = _shares(self._seen[place])
            self._past[place] = _Past(shares, math.log(rest))
        return self._past[place]

    def _rates_of(self, place: Place) -> dict[str, float]:
        """Return the rates at which rules are right for a place that was read, where they are not the prior."""
        if place not in self._rates:
            kind, *closer = self._judged[place]
            if place.kind not in self._rates_of_kind:
                self._rates_of_kind[place.kind] = _moved({}, [kind])
            self._rates[place] = _moved(self._rates_of_kind[place.kind], closer)
        return self._rates[place]

    def _whole(self, template: str) -> list[Line]:
        """Return the ways in which a template without places was written; without any, as it stands."""
        place = line_place(template)
        self.read([place])
        shares, log_rest = self._past_of(place)
        found = {template: 0.0, **shares}
        found[template] += math.exp(log_rest)
        best = sorted(found.items(), key=lambda item: (-item[1], item[0]))[:_WIDTH]
        return [Line(line, p, "past") for line, p in best]

    def _render(self, template: str, known: Mapping[int, str]) -> str:
        return render(template, [known.get(number, f"<{p.kind}>") for number, p in enumerate(places(template))])

    def _place(
        self, template: str, number: int, known: Mapping[int, str]
    ) -> tuple[list[tuple[str, float, str]], float]:
        """Return the values of a place, each with its probability and origin, best first; and that it is another."""
        place = places(template)[number]
        if place.kind in UNKNOWABLE:
            return [], 1.0
        key = (template, number, *known.values())
        if (found := self._filled.get(key)) is None:
            found = self._filled[key] = self._values_of(template, number, known)
        return found

    def evidence(self, template: str, number: int, known: Mapping[int, str]) -> PlaceEvidence:
        """Return what is known of the values of a place, given those of the places filled before."""
        place = places(template)[number]
        self.read([place])
        free = self._free_of(place)
        rules = free.rules | self._best(free.rules, place, self._values.bound_fills(template, number, known))
        return PlaceEvidence(rules, *self._past_of(place), -math.log1p(math.exp(self._odds(place, ANY))))

    def _values_of(
        self, template: str, number: int, known: Mapping[int, str]
    ) -> tuple[list[tuple[str, float, str]], float]:
        place = places(template)[number]
        free = self._free_of(place)
        bound = self._best(free.rules, place, self._values.bound_fills(template, number, known))
        total, top, scores = free.total, free.top, free.best[: _WIDTH + len(bound)]
        if bound:
            scores = [score for score in scores if score[1] not in bound]
            for value, (odds, rule) in bound.items():
                score = _RULE * odds + free.pasts.get(value, _WITHOUT_PAST)
                scores.append((-score, value, rule))
                total += math.exp(score) - free.odds.get(value, 0.0)
                top = max(top, odds)
            scores.sort()
        other = math.exp(free.other + _OTHER_BEST * top)
        total += other
        found = [(value, math.exp(-low) / total, rule) for low, value, rule in scores[:_WIDTH] if _is_plain(value)]
        return found, other / total

    def _free_of(self, place: Place) -> _Free:
        """Return what is known of the values of a place, whatever stands in the other places of the line."""
        if place not in self._free:
            rules = self._best({}, place, self._values.free_fills(place))
            shares, log_rest = self._past_of(place)
            pasts = {value: _PAST * log_odds(share) for value, share in shares.items()}
            scores = [
                (-_RULE * odds - pasts.get(value, _WITHOUT_PAST), value, rule) for value, (odds, rule) in rules.items()
            ]
            scores += [(-_WITHOUT_RULE - past, value, "past") for value, past in pasts.items() if value not in rules]
            scores.sort()
            odds = {value: math.exp(-low) for low, value, _ in scores}
            no_rule_right = -math.log1p(math.exp(self._odds(place, ANY)))
            self._free[place] = _Free(
                rules,
                pasts,
                scores,
                odds,
                sum(odds.values()),
                max((odds for odds, _ in rules.values()), default=FLOOR),
                _OTHER + _OTHER_PAST * log_rest + _OTHER_RULES * no_rule_right,
            )
        return self._free[place]

    def _best(
        self, known: Mapping[str, tuple[float, str]], place: Place, guesses: Iterable[Guess]
    ) -> dict[str, tuple[float, str]]:
        """Return, for each value that is proposed, the log-odds and the name of the best rule that proposes it.

        Values for which a rule is `known` that is as good are left out.
        """
        best: dict[str, tuple[float, str]] = {}
        odds_of = self._odds_of.setdefault(place, {})
        for rule, value in guesses:
            odds = odds_of[rule] if rule in odds_of else self._odds(place, rule)
            before = best.get(value) or known.get(value)
            if before is None or odds > before[0]:
                best[value] = odds, rule
        return best

    def _odds(self, place: Place, rule: str) -> float:
        """Return the log-odds that a rule is right for a place.

        The rate for places of its kind is the prior of that for its role, and that of the one after the last template.
        """
        known = self._odds_of.setdefault(place, {})
        if rule not in known:
            p = self._rates_of(place).get(rule)
            known[rule] = _PRIOR_ODDS.get(rule, _OTHER_ODDS) if p is None else log_odds(p)
        return known[rule]


def _moved(rates: Mapping[str, float], levels: Iterable[_Level]) -> dict[str, float]:
    """Return the rates at which rules are right, moved level by level to what was counted; else they stay the prior."""
    moved = dict(rates)
    for weight, found in levels:
        for counts in found:
            if counts:
                for rule, (offered, right) in counts.items():
                    p = moved[rule] if rule in moved else PRIOR.get(rule, _PRIOR)
                    moved[rule] = (right + weight * p) / (offered + weight)
    return moved


def _shares(counts: Iterable[ValueCounts]) -> tuple[dict[str, float], float]:
    """Return the shares of the values seen in a place, and what is left for others.

    Counts of the folder back off to those of the project, and those to all, by interpolated absolute discounting.
    """
    shares: dict[str, float] = {}
    rest = 1.0
    for seen in counts:
        discount = _DISCOUNT if seen.kinds < seen.total or seen.total < _FEW else _NEVER_TWICE
        left = (discount * seen.kinds + _NEW) / (seen.total + _NEW)
        shares = {value: left * share for value, share in shares.items()}
        for value, count in seen.best.items():
            shares[value] = shares.get(value, 0.0) + (count - discount) / (seen.total + _NEW)
        rest *= left
    return shares, rest


def log_odds(p: float) -> float:
    """Return the log-odds of a probability, away from 0 and 1."""
    if p < _LEAST:
        p = _LEAST
    elif p > 1.0 - _LEAST:
        p = 1.0 - _LEAST
    return math.log(p / (1.0 - p))


_PRIOR_ODDS: Final = {rule: log_odds(p) for rule, p in PRIOR.items()}
_OTHER_ODDS: Final = log_odds(_PRIOR)


@lru_cache(maxsize=16_384)
def _is_plain(value: str) -> bool:
    """Whether a value can be put on a line: a placeholder cannot, such as the one left of a secret."""
    return PLACEHOLDER.search(value) is None
