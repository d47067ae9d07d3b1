"""The engine and every peer fulfil the contract of a predictor; each peer does what its source says."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import replace
from functools import partial
from typing import Any

import peers
import pytest
from peers.base import Peer, SequenceModel, back_off
from peers.counts import IPAM, InterpolatedCounts, Markov, MostFrequent
from peers.history import MatchPreviousCommand, MostRecent
from peers.sessions import CPT, STAN, SequentialRules
from predictor_checks import CHECKS, MakePredictor, context, steps, teach

from procedural_memory import Command, ProceduralMemoryEngine
from procedural_memory.evaluation.predictors import Context, EnginePredictor, HeldOutEnginePredictor, Ranking
from procedural_memory.evaluation.sessions import Step

PREDICTORS: dict[str, MakePredictor] = {
    "engine": lambda: EnginePredictor(ProceduralMemoryEngine(embedder="lexical")),
    "engine, held out": lambda: HeldOutEnginePredictor(ProceduralMemoryEngine(embedder="lexical")),
    **{name: partial(Peer, model) for name, model in peers.MODELS.items()},
}


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
@pytest.mark.parametrize("name", PREDICTORS)
def test_contract(name: str, check: Callable[[MakePredictor], None]) -> None:
    """Every predictor passes every check."""
    if name in peers.missing():
        pytest.skip(f"{name}: {peers.missing()[name]}")
    check(PREDICTORS[name])


def taught(model: SequenceModel, *sessions: str) -> SequenceModel:
    """Let a model learn sessions of one-letter symbols."""
    for session in sessions:
        for place, symbol in enumerate(session):
            model.learn(list(session[:place]), symbol)
        model.end(list(session))
    return model


def order(ranking: Ranking) -> str:
    """Return the symbols of a ranking, best first."""
    return "".join(symbol for symbol, _ in ranking)


def close_to(expected: dict[str, float]) -> Any:
    """Return what equals a ranking with these probabilities."""
    return pytest.approx(expected, abs=1e-12)


def test_most_frequent() -> None:
    """Counts over all steps; what is left over is one place for each distinct symbol."""
    assert dict(taught(MostFrequent(), "aab").rank([])) == close_to({"a": 2 / 5, "b": 1 / 5})


def test_most_recent() -> None:
    """The newest first; probabilities are how often that place was right so far."""
    model = taught(MostRecent(), "abba")
    assert order(model.rank([])) == "ab"
    # Right before "b" (place 0) and before the last "a" (place 1), of four steps.
    assert dict(model.rank([])) == close_to({"a": 2 / 24, "b": 2 / 24})


def test_markov_backs_off() -> None:
    """Followers of the last symbols, then of fewer, then the most frequent; the start of a session is a context."""
    model = taught(Markov(2), "abc", "abd", "abd", "xbe")
    assert order(model.rank(list("ab")))[:3] == "dce"
    assert order(model.rank(list("qb")))[:3] == "dce"
    assert order(model.rank(list("qq")))[0] == "b"
    assert order(model.rank([]))[:2] == "ax"
    assert dict(model.rank(list("ab")))["d"] == pytest.approx(2 / 5)


def test_ipam_updates_as_published() -> None:
    """A row fades by alpha and what came gains 1 - alpha; a new row starts from the default row."""
    model = taught(IPAM(alpha=0.8), "ab")
    # The default row after a, b: a .16, b .2; the row of "a" began as that and saw b: a .128, b .36.
    row = dict(model.rank(["a"]))
    assert row["b"] == pytest.approx(0.36)
    assert row["a"] == pytest.approx(0.128)
    # The start saw "a" alone: the default row of that moment (a .2), updated with a.
    assert dict(model.rank([]))["a"] == pytest.approx(0.36)


def test_interpolated_counts_by_hand() -> None:
    """Absolute discounting: each count gives .75 to the order below."""
    model = taught(InterpolatedCounts(), "aab")
    counts = {"a": 2.0, "b": 1.0}
    order0 = {s: (c - 0.75) / 3 for s, c in counts.items()}
    # After "a" came a and b once each: a quarter of each count stays, .75 goes to the order below.
    expected = {s: 0.25 / 2 + 0.75 * order0[s] for s in counts}
    assert dict(model.rank(["q", "q", "a"])) == close_to(expected)


def test_decay_prefers_what_is_new() -> None:
    """Without decay the majority leads; with it, what came lately."""
    sessions = ["ab"] * 30 + ["ac"] * 20
    assert order(taught(InterpolatedCounts(), *sessions).rank(["a"]))[0] == "b"
    assert order(taught(InterpolatedCounts(decay=0.9), *sessions).rank(["a"]))[0] == "c"


def test_decayed_counts_survive_a_long_life() -> None:
    """Growing weights are brought back in time: no overflow, still probabilities."""
    model = InterpolatedCounts(decay=0.5)
    for step in range(3000):
        model.learn(["a"], "bc"[step % 2])
    ranking = model.rank(["a"])
    assert order(ranking) == "cb"
    assert 0.5 < sum(probability for _, probability in ranking) <= 1.0


def test_match_previous_command() -> None:
    """The newest entry that followed the same command; else the newest entry of all."""
    model = taught(MatchPreviousCommand(), "abacad", "xy")
    assert order(model.rank(["a"]))[:3] == "dcb"
    assert order(model.rank(["nothing"]))[:2] == "yx"


def test_sequential_rules_weigh_by_distance() -> None:
    """A rule gains 1 / distance, up to ten steps back."""
    model = taught(SequentialRules(), "abc", "ab")
    assert order(model.rank(["a"]))[:2] == "bc"
    # Of "a": b 1 + 1, c 1/2; two distinct.
    ranking = dict(model.rank(["a"]))
    assert ranking["b"] == pytest.approx(2 / 4.5)
    assert ranking["c"] == pytest.approx(0.5 / 4.5)
    far = dict(taught(SequentialRules(), "a" + "q" * 9 + "rz").rank(["a"]))
    whole = sum(1 / distance for distance in range(1, 11)) + 2
    assert far["r"] == pytest.approx(0.1 / whole)
    assert far["z"] == pytest.approx(2 / whole / 16)  # no rule, but one of twelve steps, of four kinds


def test_stan_prefers_what_stands_near_in_like_sessions() -> None:
    """Neighbours share symbols with the end of the session; what stands next to the shared one leads."""
    model = taught(STAN(), "abcdef", "uvwxyz")
    assert order(model.rank(["c"]))[:2] in ("bd", "db")
    assert set(order(model.rank(["w"]))[:2]) == set("vx")


def test_cpt_readme_example() -> None:
    """The example of the package's own description."""
    pytest.importorskip("cpt", reason="cpt is not installed (extra: benchmarks)")
    model = CPT()
    for session in (["hello", "world"], ["hello", "this", "is", "me"], ["hello", "me"]):
        for place, symbol in enumerate(session):
            model.learn(session[:place], symbol)
        model.end(session)
    assert model.rank(["hello"])[0][0] == "me"
    # Equal scores, whose order is the package's own.
    assert {symbol for symbol, _ in model.rank(["hello", "this"])[:2]} == {"is", "me"}


def test_back_off_keeps_the_whole() -> None:
    """The order below gets what is left over, and never displaces."""
    ranking = back_off([("a", 0.5), ("b", 0.1)], [("b", 0.9), ("c", 0.1)])
    assert [symbol for symbol, _ in ranking] == ["a", "b", "c"]
    assert dict(ranking) == close_to({"a": 0.5, "b": 0.1, "c": 0.04})


def test_a_peer_begins_each_session_anew() -> None:
    """The history that a model is taught with, or asked about, is that of the session."""

    class Notes:
        def __init__(self) -> None:
            self.calls: list[tuple[str, list[str]]] = []

        def rank(self, history: Sequence[str]) -> Ranking:
            self.calls.append(("rank", list(history)))
            return []

        def learn(self, history: Sequence[str], symbol: str) -> None:
            self.calls.append((symbol, list(history)))

        def end(self, history: Sequence[str]) -> None:
            self.calls.append(("end", list(history)))

    models: list[Notes] = []

    def make() -> Notes:
        models.append(Notes())
        return models[-1]

    peer = Peer(make)
    teach(peer, [steps(["cat a.txt", "make"]), steps(["ls"])])
    peer.predict(context(steps(["cat b.txt"])), "template")
    assert models[0].calls == [
        ("cat <FILE>", []), ("make", ["cat <FILE>"]), ("end", ["cat <FILE>", "make"]), ("ls", []), ("end", ["ls"]),
        ("rank", ["cat <FILE>"]),
    ]  # fmt: skip
    assert models[1].calls[1] == ("make", ["cat a.txt"])


def test_an_open_placeholder_claims_no_probability() -> None:
    """What the engine cannot fill keeps its place in the list of lines, and its probability in that of templates."""
    predictor = EnginePredictor(ProceduralMemoryEngine(embedder="lexical"))
    with closing(predictor):
        for _ in range(4):
            for step in steps(["make", "cat a.txt", "ls"]):
                predictor.learn(Step(replace(step.command, project="one"), step.template))
            predictor.end(None)
        elsewhere = Context("two", None, steps(["make"]))
        predictor.learn(Step(Command("make", project="two"), "make"))
        assert dict(predictor.predict(elsewhere, "full"))["cat <FILE>"] == 0.0
        assert dict(predictor.predict(elsewhere, "template"))["cat <FILE>"] > 0.3
