"""Similarity of commands and of workflows, through the public functions."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from procedural_memory.memory import families
from procedural_memory.memory.families import FAMILIES, JOBS, LOOKING, OPPOSITES, VERBS, fold, read
from procedural_memory.memory.similarity import (
    CEILING,
    COMMON_VERB,
    DISORDER,
    GAP,
    POWER,
    RECENCY,
    SUBSTITUTION,
    UNDONE,
    UNKNOWN_SUBSTITUTION,
    Alignment,
    CommandSimilarity,
    KeptSimilarity,
    Scale,
    align,
    continuations,
    measure_scale,
    scale_for,
)
from procedural_memory.storage.base import text_id

SIMILARITY = CommandSimilarity()
Floats = NDArray[np.float32]


def of(first: str, second: str, similarity: CommandSimilarity = SIMILARITY) -> float:
    """Return the similarity of two commands."""
    return float(similarity.matrix([first], [second])[0, 0])


def aligned(query: Sequence[str], *patterns: Sequence[str]) -> Alignment:
    """Align a workflow with others."""
    steps = [step for pattern in patterns for step in pattern]
    offsets = np.cumsum([0, *map(len, patterns)]).astype(np.intp)
    return align(
        SIMILARITY.matrix(query, steps),
        np.arange(len(steps)),
        offsets,
        SIMILARITY.weights(query),
        SIMILARITY.substitution(query, steps),
    )


def workflow(query: Sequence[str], pattern: Sequence[str]) -> float:
    """Return the similarity of two workflows."""
    return float(aligned(query, pattern).similarity[0])


RELEASE = ["git checkout -b <BRANCH>", "git add <FILE>", "git commit -m <STR>", "git push -u origin <BRANCH>"]

# -- commands


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("npm install <PKG>", "yarn add <PKG>"),
        ("npm ci", "pnpm install --frozen-lockfile"),
        ("npm run lint", "yarn lint"),
        ("pytest -q", "python -m pytest -q"),
        ("pip install -r <FILE>", "uv pip install -r <FILE>"),
        ("python3 -m venv <FILE>", "uv venv"),
        ("docker compose up -d", "podman-compose up -d"),
        ("docker build -t <IMAGE> .", "podman build -t <IMAGE> ."),
        ("terraform apply", "tofu apply"),
        ("git switch -c <BRANCH>", "git checkout -b <BRANCH>"),
        ("tar xzf <FILE>", "unzip <FILE>"),
        ("curl -LO <URL>", "wget <URL>"),
        ("sudo apt install -y <PKG>", "dnf install <PKG>"),
        ("systemctl start <ARG>", "service <ARG> start"),
        ("make test", "ninja test"),
        ("grep -rn <STR> <FILE>", "rg -n <STR> <FILE>"),
        ("aws s3 ls <URL>", "gsutil ls <URL>"),
        ("mkfs.ext4 <FILE>", "mkfs.xfs <FILE>"),
        ("bundle exec rspec", "rspec"),
        ("cd <FILE> && make test", "make test"),
    ],
)
def test_equivalent_commands_pass_the_threshold(first: str, second: str) -> None:
    """Tools of one family doing the same job are more alike than the default threshold."""
    assert of(first, second) >= 0.7


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("docker compose up -d", "docker compose down"),
        ("terraform apply", "terraform destroy"),
        ("terraform apply", "tofu destroy"),
        ("npm install <PKG>", "npm uninstall <PKG>"),
        ("pip install <PKG>", "uv pip uninstall <PKG>"),
        ("git push", "git reset --hard"),
        ("systemctl start <ARG>", "systemctl stop <ARG>"),
        ("systemctl enable <ARG>", "systemctl disable <ARG>"),
        ("docker network create <ARG>", "docker network rm <ARG>"),
        ("createdb <ARG>", "dropdb <ARG>"),
        ("git add <FILE>", "git rm <FILE>"),
        ("mount <FILE> <FILE>", "umount <FILE>"),
        ("git stash", "git stash pop"),
        ("git commit -m <STR>", "git revert <HASH>"),
        ("tar -czf <FILE> <FILE>", "tar -xzf <FILE>"),
        ("pg_dump <ARG>", "pg_restore <ARG>"),
        ("alembic upgrade head", "alembic downgrade -1"),
        ("docker login <HOST>", "docker logout <HOST>"),
        ("gpg -e <FILE>", "gpg -d <FILE>"),
        ("kubectl apply -f <FILE>", "kubectl delete -f <FILE>"),
    ],
)
def test_opposite_commands_are_unlike_whatever_vectors_say(first: str, second: str) -> None:
    """A verb and its opposite have no similarity, not even when their vectors are equal."""
    blind = CommandSimilarity(lambda a, b: np.ones((len(a), len(b)), dtype=np.float32))
    assert of(first, second) < 0.2
    assert of(first, second, blind) < 0.2


@pytest.mark.parametrize(
    ("plain", "forced"),
    [
        ("git push", "git push --force"),
        ("git push", "git push -f"),
        ("git clean -n", "git clean -n -f"),
        ("npm install", "npm install --force"),
        ("rm <FILE>", "rm -f <FILE>"),
    ],
)
def test_a_forced_variant_never_passes_by_similarity_alone(plain: str, forced: str) -> None:
    """Overriding a safety check sets a command apart, also when the vectors are equal."""
    blind = CommandSimilarity(lambda a, b: np.ones((len(a), len(b)), dtype=np.float32))
    assert of(plain, forced, blind) < 0.7
    assert of(forced, forced, blind) == 1.0


def test_more_in_common_is_more_alike() -> None:
    """Flags, object, verb, program and nothing in common: each step down is less alike."""
    query = "kubectl get pods -n <ARG>"
    ladder = [
        "kubectl get pods -n <ARG>",
        "kubectl get pods",
        "kubectl get events",
        "kubectl cordon <ARG>",
        "vim <FILE>",
    ]
    scores = SIMILARITY.matrix([query], ladder)[0]
    assert scores[0] == 1.0
    assert (np.diff(scores) < 0).all()
    assert scores[-1] < 0.1


def test_wrappers_paths_and_versions_say_nothing() -> None:
    """sudo, env, a folder or a version do not change what a command does."""
    variants = ["sudo -u root pytest -q", "env A=1 pytest -q", "A=1 pytest -q", ".venv/bin/pytest -q", "time pytest -q"]
    assert SIMILARITY.matrix(["pytest -q"], variants).min() > 0.99
    assert of("python3.12 -m pytest", "python -m pytest") > 0.99


def test_a_pipeline_is_as_alike_as_its_parts() -> None:
    """Filters and cd count little, a second real command counts."""
    assert of("cat <FILE> | grep <STR> | wc -l", "grep <STR> <FILE>") > 0.5
    assert of("pytest -q | tail -n <NUM>", "pytest -q") > 0.85
    assert 0.5 < of("make && make install", "make") < 0.9


def test_vectors_speak_where_tables_are_silent() -> None:
    """A cosine lifts commands that no table knows, below the ceiling; equivalent ones it leaves alone."""

    def cosines(first: Sequence[str], second: Sequence[str]) -> Floats:
        return np.full((len(first), len(second)), 0.9, dtype=np.float32)

    lifted = CommandSimilarity(cosines, Scale(0.2, 0.8))
    assert of("frobnicate <FILE>", "defrobulate <FILE>") < 0.05
    assert 0.3 < of("frobnicate <FILE>", "defrobulate <FILE>", lifted) < CEILING
    assert of("git log", "vim <FILE>", lifted) < 0.3
    assert of("npm ci", "yarn install", lifted) == of("npm ci", "yarn install")


def test_a_missing_vector_leaves_structure_alone() -> None:
    """NaN, or no cosines at all, gives what structure alone gives."""
    query, others = ["npm ci", "git push"], ["yarn install", "vim <FILE>", "git pull"]
    expected = SIMILARITY.matrix(query, others)
    missing = CommandSimilarity(lambda a, b: np.full((len(a), len(b)), np.nan, dtype=np.float32))
    np.testing.assert_array_equal(missing.matrix(query, others), expected)
    np.testing.assert_array_equal(CommandSimilarity(lambda a, b: None).matrix(query, others), expected)


def test_a_scale_makes_embedders_comparable() -> None:
    """Shifted and squeezed cosines give the same similarities on their own scale."""
    rng = np.random.default_rng(1)
    raw = rng.uniform(0, 1, (3, 4)).astype(np.float32)
    query, others = ["a x", "b y", "c z"], ["d v", "e w", "f u", "g t"]
    wide = CommandSimilarity(lambda a, b: raw, Scale(0.0, 1.0)).matrix(query, others)
    narrow = CommandSimilarity(lambda a, b: 0.6 + 0.3 * raw, lambda: Scale(0.6, 0.9)).matrix(query, others)
    np.testing.assert_allclose(wide, narrow, atol=1e-5)
    assert wide.max() > 0


def test_a_scale_is_measured_with_the_embedder_alone() -> None:
    """Equivalent commands lie above unrelated ones; blind vectors still give a usable scale."""
    from procedural_memory.embedding.lexical import LexicalEmbedder

    embedder = LexicalEmbedder()
    scale = measure_scale(embedder.embed)
    assert scale == measure_scale(embedder.embed)
    assert -1 < scale.low < scale.high <= 1
    assert scale_for(embedder.fingerprint).low == pytest.approx(scale.low, abs=0.05)
    assert scale_for(embedder.fingerprint).high == pytest.approx(scale.high, abs=0.05)
    blind = measure_scale(lambda texts: np.tile(np.array([1, 0], dtype=np.float32), (len(texts), 1)))
    assert blind.high > blind.low


def test_empty_lists_give_empty_matrices() -> None:
    """No query or no others: an empty matrix of the right shape."""
    assert SIMILARITY.matrix([], ["ls"]).shape == (0, 1)
    assert SIMILARITY.matrix(["ls"], []).shape == (1, 0)
    assert SIMILARITY.weights([]).shape == (0,)


def test_looking_weighs_less_than_doing() -> None:
    """Steps that only look count half, and those that only prepare another a quarter."""
    weights = SIMILARITY.weights(["git status", "git commit -m <STR>", "ls", "kubectl get pods", "rm <FILE>"])
    np.testing.assert_array_equal(weights, [0.5, 1, 0.5, 0.5, 1])
    np.testing.assert_array_equal(SIMILARITY.weights(["cd <FILE>", "cd <FILE> && make"]), [0.25, 1])


def test_an_unknown_tool_may_be_an_equivalent_one() -> None:
    """In the place of another a program in no table counts half; a known one, or another use of it, less."""
    assert SIMILARITY.substitution(["git push"], ["frob send", "git log"]).tolist() == [
        [UNKNOWN_SUBSTITUTION, pytest.approx(SUBSTITUTION)]
    ]
    assert SIMILARITY.substitution(["frob send"], ["frob take"])[0, 0] == pytest.approx(SUBSTITUTION)
    unknown = workflow(RELEASE, [*RELEASE[:3], "frob send"])
    other = workflow(RELEASE, [*RELEASE[:3], "git log"])
    assert workflow(RELEASE, RELEASE[:3]) < other < unknown < 1.0


def test_a_step_that_answers_one_command_is_not_held_against_another() -> None:
    """Two commands of one job, of which the pattern holds one: a step less, not a step in disorder."""
    query = ["apt update", "docker container prune", "docker volume prune", "reboot"]
    assert workflow(query, [query[0], query[1], query[3]]) == pytest.approx(0.75**POWER, abs=0.01)


@pytest.mark.parametrize(
    ("carried", "plain"),
    [
        ("ssh <HOST> sudo systemctl restart <NAME>", "systemctl restart <NAME>"),
        ("ssh -p <NUM> -i <FILE> <HOST> df -h", "df -h"),
        ("docker exec -it <NAME> pytest -q", "pytest -q"),
        ("docker compose exec web python manage.py migrate", "python manage.py migrate"),
        ("kubectl exec <NAME> -n <NAME> -- ls <FILE>", "ls <FILE>"),
        ("uv run --with <NAME> pytest", "pytest"),
        ("conda run -n <NAME> pytest", "pytest"),
        ("./manage.py migrate", "python manage.py migrate"),
        ("uv run scripts/train.py --fast", "python <FILE> --fast"),
        ("./scripts/deploy.sh", "make deploy"),
    ],
)
def test_what_is_carried_counts_not_the_carrier(carried: str, plain: str) -> None:
    """Run elsewhere, by a runner with options or as a script: the same job."""
    assert of(carried, plain) >= 0.7


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("curl -X POST <URL> -d <STR>", "curl -X DELETE <URL>"),
        ("scp <FILE> <HOST>:<FILE>", "scp <HOST>:<FILE> ."),
        ("aws s3 cp <FILE> <URL>", "gsutil cp <URL> ."),
        ("rsync -av <FILE> <HOST>:<FILE>", "rsync -av <HOST>:<FILE> <FILE>"),
    ],
)
def test_arguments_may_tell_the_opposite(first: str, second: str) -> None:
    """The method of a request and the direction of a copy."""
    assert of(first, second) == 0.0


def test_features_stay_bounded_and_survive_forgetting(monkeypatch: pytest.MonkeyPatch) -> None:
    """Many more templates than are kept, also in one call: the same similarities, bounded memory."""
    monkeypatch.setattr("procedural_memory.memory.similarity._CAPACITY", 16_384)
    similarity = CommandSimilarity()
    verbs = ("build", "test", "remove", "push", "list")
    for begin in range(0, 40_000, 2_000):
        seen = [f"tool{i} {verbs[i % 5]}" for i in range(begin, begin + 4_000)]
        kept = similarity.matrix(["npm ci", "cargo build", "tool3 remove"], seen)
        fresh = CommandSimilarity().matrix(["npm ci", "cargo build", "tool3 remove"], seen)
        np.testing.assert_array_equal(kept, fresh)
        assert len(similarity._features._slots) <= 16_384
    many = [f"other{i} build" for i in range(20_000)] + ["yarn install", "npm ci"]
    scores = similarity.matrix(["npm ci"], many)[0]
    assert scores[-2] == of("npm ci", "yarn install")
    assert scores[-1] == 1.0
    assert len(similarity._features._slots) <= 16_384


def test_two_similarities_may_share_what_they_read() -> None:
    """Beside one another they give what each gives alone."""
    near = CommandSimilarity(
        lambda first, second: np.ones((len(first), len(second)), dtype=np.float32), Scale(0.0, 1.0)
    )
    beside = CommandSimilarity(beside=near)
    query, others = ["frob build", "make && cd <FILE>"], ["cargo build", "cd <FILE>", "make"]
    np.testing.assert_array_equal(beside.matrix(query, others), SIMILARITY.matrix(query, others))
    assert (near.matrix(query, others) > beside.matrix(query, others)).any()
    assert len(near._features._slots) == 5


def kept_matrix(kept: KeptSimilarity, query: Sequence[str], others: Sequence[str]) -> Floats:
    """Return the similarities that are kept, of templates by their ids."""
    ids = {text_id(text): text for text in others}
    return kept.matrix(query, list(ids), lambda numbers: [ids[number] for number in numbers])


def test_what_is_kept_is_what_is_worked_out_anew() -> None:
    """Step after step with more patterns, vectors that come late, another space: always what a fresh matrix says."""
    rng = np.random.default_rng(3)
    templates = [f"tool{i} {verb} <FILE>" for i in range(120) for verb in ("build", "test", "remove")]
    vectors = {template: rng.normal(size=8) for template in templates}
    known: set[str] = set()
    spaces = [0]

    def cosines(first: Sequence[str], second: Sequence[str]) -> Floats:
        void = np.full(8, np.nan)
        rows = [[(vectors[t] + spaces[0]) if t in known else void for t in part] for part in (first, second)]
        return np.array(0.1 * np.array(rows[0]) @ np.array(rows[1]).T, dtype=np.float32)

    similarity = CommandSimilarity(cosines, Scale(0.0, 1.0))
    kept = KeptSimilarity(similarity, lambda: spaces[0])
    kept.CELLS, kept.COLUMNS = 6_000, 300  # full now and then
    for step in range(120):
        query = [templates[i] for i in rng.integers(0, 60, size=rng.integers(1, 7))]
        others = [templates[i] for i in rng.permutation(len(templates))[: rng.integers(1, 120)]]
        known.update(templates[i] for i in rng.integers(0, len(templates), size=4))
        spaces[0] = step // 50
        np.testing.assert_allclose(kept_matrix(kept, query, others), similarity.matrix(query, others), atol=1e-5)
        assert len(kept._rows) * len(kept._columns) <= kept.CELLS
        assert len(kept._columns) <= kept.COLUMNS


def test_kept_pairs_are_not_worked_out_again() -> None:
    """At the next step only the new command is compared; in another space all are."""
    asked: list[tuple[int, int]] = []

    class Counting(CommandSimilarity):
        def compare(self, query: Sequence[str], others: Sequence[str]) -> tuple[Floats, NDArray[np.bool_]]:
            asked.append((len(query), len(others)))
            return super().compare(query, others)

    spaces = ["one"]
    kept = KeptSimilarity(Counting(), lambda: spaces[-1])
    kept_matrix(kept, ["ls", "git push"], ["npm ci", "vim <FILE>", "make"])
    kept_matrix(kept, ["git push", "npm ci"], ["make", "vim <FILE>"])
    kept_matrix(kept, ["git push", "npm ci"], ["make", "vim <FILE>"])
    assert asked == [(2, 3), (1, 2)]
    spaces.append("another")
    kept_matrix(kept, ["git push", "npm ci"], ["make", "vim <FILE>"])
    assert asked[2:] == [(2, 2)]


def test_threads_share_one_similarity() -> None:
    """Concurrent calls give what single ones give."""
    similarity = CommandSimilarity()
    templates = [f"tool{i} {verb} <FILE>" for i in range(300) for verb in ("build", "test", "remove")]
    expected = CommandSimilarity().matrix(templates[:40], templates)
    wrong: list[int] = []

    def work(seed: int) -> None:
        order = np.random.default_rng(seed).permutation(len(templates))
        got = similarity.matrix(templates[:40], [templates[i] for i in order])
        if not np.array_equal(got, expected[:, order]):
            wrong.append(seed)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


TEMPLATES = st.one_of(
    st.sampled_from([command.strip() for commands in JOBS.values() for command in commands.split(";")]),
    st.text(max_size=40),
    st.text(alphabet="ab -|&;<>'\"()\n=./", max_size=40),
)


@settings(max_examples=150, deadline=None)
@given(st.lists(TEMPLATES, min_size=1, max_size=6), st.lists(TEMPLATES, min_size=1, max_size=6))
def test_a_matrix_is_bounded_symmetric_and_one_on_equals(first: list[str], second: list[str]) -> None:
    """Whatever the text: 0..1, 1 for equal templates, and the same in both directions."""
    scores = CommandSimilarity().matrix(first, second)
    assert scores.dtype == np.float32
    assert np.isfinite(scores).all()
    assert scores.min() >= 0.0
    assert scores.max() <= 1.0
    np.testing.assert_allclose(scores, CommandSimilarity().matrix(second, first).T, atol=1e-6)
    for i, template in enumerate(first):
        assert (scores[i, [j for j, other in enumerate(second) if other == template]] == 1.0).all()


# -- workflows


def test_the_same_workflow_has_similarity_one() -> None:
    """Identity is 1.0, over the whole pattern."""
    found = aligned(RELEASE, RELEASE)
    assert found.similarity[0] == pytest.approx(1.0)
    assert (found.start[0], found.end[0]) == (0, 4)


def test_order_matters() -> None:
    """The reversed workflow is far below the threshold; a swap costs too."""
    assert workflow(RELEASE, RELEASE[::-1]) < 0.5
    assert workflow(RELEASE, [RELEASE[1], RELEASE[0], *RELEASE[2:]]) < 0.85


def test_an_extra_step_lowers_a_little() -> None:
    """One step more keeps a workflow close, many push it down steadily."""
    scores = [workflow(RELEASE, [*RELEASE[:2], *["vim <FILE>"] * n, *RELEASE[2:]]) for n in range(12)]
    assert scores[0] > scores[1] > 0.9
    assert (np.diff(scores) <= 0).all()
    assert scores[-1] < 0.8


def test_a_missing_step_costs_its_share() -> None:
    """A command of the query that the pattern lacks counts nothing."""
    scores = [workflow(RELEASE, RELEASE[n:]) for n in range(4)]
    assert scores[0] == pytest.approx(1.0)
    assert (np.diff(scores) < -0.1).all()
    assert scores[1] > 0.7 > scores[2]


def test_looking_around_costs_less_than_a_step_of_the_work() -> None:
    """A query's glance that the pattern lacks lowers the similarity less than a real step."""
    glance = workflow([*RELEASE[:2], "git status", *RELEASE[2:]], RELEASE)
    work = workflow([*RELEASE[:2], "make", *RELEASE[2:]], RELEASE)
    assert work < glance < 1.0


def test_a_short_workflow_is_found_inside_a_long_session() -> None:
    """Anywhere in forty steps, with start and end."""
    filler = ["vim <FILE>", "pytest -q", "ls"] * 13
    for place in (0, 7, 20, 39):
        found = aligned(RELEASE, [*filler[:place], *RELEASE, *filler[place:]])
        assert found.similarity[0] == pytest.approx(1.0)
        assert (found.start[0], found.end[0]) == (place, place + 4)


def test_the_match_spans_gaps_and_substitutions() -> None:
    """start..end covers the aligned steps, an equivalent tool included."""
    pattern = [
        "ls",
        "git switch -c <BRANCH>",
        "git add <FILE>",
        "git diff",
        "git commit -m <STR>",
        "git push",
        "vim <FILE>",
    ]
    found = aligned(RELEASE, pattern)
    assert 0.85 < found.similarity[0] < 1.0
    assert (found.start[0], found.end[0]) == (1, 6)


def test_similarity_is_nearly_symmetric_for_workflows_of_like_length() -> None:
    """Query and pattern may change places when neither is much longer."""
    extra = [*RELEASE[:3], "git status", RELEASE[3]]
    assert workflow(RELEASE, extra) == pytest.approx(workflow(extra, RELEASE), abs=0.12)


def test_the_opposite_workflow_is_unlike() -> None:
    """Doing and undoing are different workflows."""
    up = ["terraform init", "terraform plan", "terraform apply"]
    down = ["terraform init", "terraform plan -destroy", "terraform destroy"]
    assert workflow(up, down) < 0.7


def test_what_undoes_a_step_counts_against_the_match() -> None:
    """A pattern that lacks a step and holds its opposite is less similar than one that just lacks it."""
    query = ["kubectl config use-context <NAME>", "kubectl apply -f <FILE>", "kubectl get pods"]
    undoing = [query[0], "kubectl delete -f <FILE>", query[2]]
    other = [query[0], "kubectl top pods", query[2]]
    assert workflow(query, undoing) < workflow(query, other) - 0.2


def test_the_right_steps_in_the_wrong_order_count_less_than_missing_ones() -> None:
    """Holding a step elsewhere is worse than not holding it."""
    moved = [*RELEASE[1:], RELEASE[0]]
    assert workflow(RELEASE, moved) < workflow(RELEASE, RELEASE[1:])


def test_nothing_in_common_has_no_place() -> None:
    """Unrelated steps stay below the threshold, known or not; with opposites alone there is not even a place."""
    assert workflow(["vim <FILE>", "make"], ["git log", "docker ps"]) < 0.5
    assert workflow(["frobnicate", "mumble"], ["defrobulate", "gargle"]) < 0.65
    found = aligned(["terraform apply"], ["terraform destroy", "tofu destroy"])
    assert (found.similarity[0], found.start[0], found.end[0]) == (0.0, 0, 0)


def test_empty_queries_and_patterns_align_with_nothing() -> None:
    """An empty query, no patterns, and an empty pattern among others."""
    none = np.zeros(0, dtype=np.intp)
    assert align(np.zeros((0, 3), dtype=np.float32), np.arange(3), np.array([0, 3])).similarity.tolist() == [0.0]
    assert align(np.zeros((2, 0), dtype=np.float32), none, np.array([0])).similarity.shape == (0,)
    found = aligned(RELEASE, [], RELEASE, [])
    np.testing.assert_allclose(found.similarity, [0, 1, 0], atol=1e-6)
    assert continuations(np.zeros((0, 3), dtype=np.float32), np.arange(3), np.array([0, 3])).tolist() == [0, 0, 0]
    assert continuations(np.zeros((2, 0), dtype=np.float32), none, np.array([0])).shape == (0,)


MATRICES = st.integers(1, 5).flatmap(
    lambda m: st.lists(
        st.lists(st.sampled_from([0.0, 0.1, 0.3, 0.5, 0.9, 1.0]), min_size=m, max_size=m), min_size=1, max_size=6
    )
)


@settings(max_examples=200, deadline=None)
@given(MATRICES, st.lists(st.lists(st.integers(0, 5), max_size=12), min_size=1, max_size=6), st.data())
def test_a_batch_equals_one_by_one_and_a_plain_dynamic_program(
    columns: list[list[float]], patterns: list[list[int]], data: st.DataObject
) -> None:
    """All patterns at once give what each gives alone, and what the textbook recurrence gives."""
    similarities = np.array(columns, dtype=np.float32).T
    patterns = [[step % similarities.shape[1] for step in pattern] for pattern in patterns]
    weights = np.array(
        data.draw(st.lists(st.sampled_from([0.5, 1.0]), min_size=len(similarities), max_size=len(similarities))),
        dtype=np.float32,
    )
    steps = np.array([step for pattern in patterns for step in pattern], dtype=np.intp)
    offsets = np.cumsum([0, *map(len, patterns)]).astype(np.intp)
    batch = align(similarities, steps, offsets, weights)
    onward = continuations(similarities, steps, offsets)
    assert onward.shape == steps.shape
    for p, pattern in enumerate(patterns):
        alone = np.array(pattern, dtype=np.intp)
        ends = np.array([0, len(pattern)])
        single = align(similarities, alone, ends, weights)
        assert batch.similarity[p] == pytest.approx(single.similarity[0], abs=1e-8)
        assert (batch.start[p], batch.end[p]) == (single.start[0], single.end[0])
        assert 0 <= batch.start[p] <= batch.end[p] <= len(pattern)
        assert batch.similarity[p] == pytest.approx(expected(similarities, pattern, weights / weights.sum()), abs=1e-4)
        np.testing.assert_allclose(
            onward[offsets[p] : offsets[p + 1]], continuations(similarities, alone, ends), atol=1e-6
        )
        newest = RECENCY ** np.arange(len(similarities), dtype=np.float64)[::-1]
        np.testing.assert_allclose(
            onward[offsets[p] : offsets[p + 1]], plain(similarities, pattern, newest / newest.sum())[1], atol=1e-5
        )
    assert batch.similarity.min() >= 0.0
    assert batch.similarity.max() <= 1.0
    assert onward.size == 0 or (onward.min() >= 0.0 and onward.max() <= 1.0)


def plain(similarities: Floats, pattern: list[int], share: NDArray[Any]) -> tuple[float, list[float]]:
    """The recurrence, cell by cell: (best score anywhere, scores that end with the last command on each step)."""
    m, n = len(similarities), len(pattern)
    gap = GAP / m
    best = [[0.0] * (n + 1) for _ in range(m + 1)]
    last = [0.0] * n
    for i in range(m):
        for j in range(n):
            hit = float(similarities[i, pattern[j]] * share[i]) + best[i][j]
            if i == m - 1:
                last[j] = hit
            best[i + 1][j + 1] = max(hit, best[i][j + 1], best[i + 1][j] - gap, 0.0)
    return max(best[m]), last


def expected(similarities: Floats, pattern: list[int], share: NDArray[Any]) -> float:
    """The similarity by its definition, from the plain recurrence."""
    if not pattern:
        return 0.0
    inside = similarities[:, pattern]
    score = plain(np.where(similarities > 0, np.maximum(similarities, SUBSTITUTION), 0), pattern, share)[0]
    anywhere = min(float(share @ inside.max(axis=1)), float((share[:, None] * inside).max(axis=0).sum()))
    disorder = max(anywhere - score, 0.0)
    undone = float(share @ ((inside.min(axis=1) == 0) & (inside.max(axis=1) < COMMON_VERB)))
    return float(max(score - DISORDER * disorder - UNDONE * undone, 0.0) ** POWER)


# -- continuations


def ends(context: Sequence[str], pattern: Sequence[str]) -> Floats:
    """Return how well a context ends on each step of a pattern."""
    return continuations(SIMILARITY.matrix(context, pattern), np.arange(len(pattern)), np.array([0, len(pattern)]))


def test_a_context_ends_where_its_last_command_stands() -> None:
    """The best place is the step that answers the newest command, after the earlier ones."""
    pattern = ["git pull", *RELEASE, "gh pr create"]
    scores = ends(RELEASE[:3], pattern)
    assert int(scores.argmax()) == 3
    assert scores[3] == pytest.approx(1.0)


def test_more_context_in_order_is_a_better_place() -> None:
    """Of two places that answer the last command, the one with the same history wins; a wrong order does not."""
    pattern = ["make", "git push", "git commit -m <STR>", "ls", *RELEASE]
    scores = ends(RELEASE, pattern)
    assert int(scores.argmax()) == 7
    assert scores[1] < 0.6 < scores[7]


def test_the_newest_command_counts_most() -> None:
    """Matching only the newest command beats matching only the oldest."""
    newest = ends(["make", "git push"], ["git push"])[0]
    oldest = ends(["git push", "make"], ["git push", "frobnicate"])[1]
    assert newest > oldest > 0


def test_a_gap_in_the_history_costs_a_little() -> None:
    """A step that the context lacks keeps the place, at a small cost."""
    exact = ends(RELEASE[:3], RELEASE)[2]
    gapped = ends([RELEASE[0], RELEASE[2]], RELEASE)[2]
    assert 0.85 < gapped < exact


def test_patterns_do_not_run_into_each_other() -> None:
    """A history in one pattern does not help the first step of the next."""
    steps = ["git add <FILE>", "git commit -m <STR>"]
    query = SIMILARITY.matrix(steps, steps)
    joined = continuations(query, np.array([0, 1]), np.array([0, 2]))
    apart = continuations(query, np.array([0, 1]), np.array([0, 1, 2]))
    assert joined[1] == pytest.approx(1.0)
    assert apart[1] == pytest.approx(0.625, abs=0.01)


# -- the tables


def test_every_listed_command_reads_as_its_job() -> None:
    """The table means what it says: each example has the job it is listed under, once."""
    owners: dict[tuple[object, ...], str] = {}
    for job, commands in JOBS.items():
        for command in (item.strip() for item in commands.split(";")):
            act = read(command)[0]
            assert " ".join((act.family, act.verb, act.object)).rstrip() == job, command
            key = tuple(sorted(command.split()))
            assert owners.setdefault(key, job) == job, command


def test_a_program_stands_in_one_family_and_a_word_under_one_verb() -> None:
    """No entry of a table contradicts another."""
    for table in (FAMILIES, VERBS):
        words = [word for items in table.values() for word in items.split()]
        assert sorted(set(words)) == sorted(words)


def test_opposites_and_looking_name_verbs_that_exist() -> None:
    """A misspelt verb would be silent: each is a verb of some table."""
    verbs = {job.split()[1] for job in JOBS} | set(VERBS)
    named = {verb for pair in OPPOSITES for side in pair for verb in side.split()} | LOOKING
    assert named <= verbs
    for left, right in OPPOSITES:
        assert not set(left.split()) & set(right.split())


def test_folded_keys_are_shared_by_equivalent_commands() -> None:
    """Candidates are found under the family's key."""
    assert fold("npm install <PKG>") == fold("yarn add <PKG>") == fold("pnpm add <PKG>") == ("js install",)
    assert fold("python -m pytest") == fold("pytest") == ("python test",)
    assert fold("cd <FILE> && make test | tail -n <NUM>") == ("native test",)
    assert fold("cd <FILE>") == ("shell go",)
    assert fold("frobnicate --all <FILE>") == ("frobnicate",)
    assert fold("open_file <FILE>") == ("open_file",)
    assert fold("") == ("",)


@pytest.mark.parametrize(
    ("template", "program", "family", "verb"),
    [
        ("git -C <FILE> status", "git", "vcs", "status"),
        ("docker compose -f <FILE> up -d", "docker-compose", "compose", "up"),
        ("gh pr create --title <STR>", "gh", "forge", "create"),
        ("aws ec2 describe-instances", "aws", "cloud", "show"),
        ("npm run test:unit", "npm", "js", "test"),
        ("./gradlew build", "gradle", "jvm", "build"),
        ("find <FILE> -name <STR> | xargs rm", "find", "file", "find"),
        ("prometheus --version", "prometheus", "prometheus", "version"),
        ("timeout <NUM> pytest", "pytest", "python", "test"),
    ],
)
def test_templates_are_read(template: str, program: str, family: str, verb: str) -> None:
    """Program, family and verb of the first act."""
    act = read(template)[0]
    assert (act.program, act.family, act.verb) == (program, family, verb)


@settings(max_examples=200, deadline=None)
@given(TEMPLATES)
def test_reading_never_fails(template: str) -> None:
    """Any text has one to four acts and at least one key."""
    assert 1 <= len(read(template)) <= 4
    assert fold(template)
    assert all(0 < act.weight <= 1 for act in families.read(template))


@pytest.mark.parametrize("opener", ["<", '"', "'", "(", "| ", "&& ", "-", "a ", "<A", "sudo ", "\n", "\\", "é"])
def test_long_hostile_text_is_read_in_bounded_work(opener: str) -> None:
    """A megabyte of openers: only its beginning is read."""
    assert 1 <= len(read(opener * (1_000_000 // len(opener)))) <= 4


_TOKENS = st.sampled_from(
    [
        "tar",
        "docker",
        "compose",
        "exec",
        "run",
        "ssh",
        "kubectl",
        "sudo",
        "uv",
        "npx",
        "python",
        "-m",
        "--",
        "-x",
        "|",
        "&&",
        "<FILE>",
        "<HOST>",
        "./x.sh",
        "http",
        "POST",
        "git",
        "push",
        "-",
        "*",
        ">",
        "<<EOF",
        "make",
        "$(",
        "=",
    ]
)


@settings(max_examples=300, deadline=None)
@given(st.lists(_TOKENS, min_size=1, max_size=6))
def test_any_template_can_be_read(tokens: list[str]) -> None:
    """Whatever stands in a template, reading what it does raises nothing, and reading again says the same."""
    template = " ".join(tokens)
    assert families.read(template) == families.read(template)
    assert families.fold(template) == families.fold(template)


@pytest.mark.parametrize(
    "program", ["tar", "docker", "ssh", "kubectl", "sudo", "npx", "python", "git", "make", "-", "|"]
)
def test_a_bare_program_can_be_read(program: str) -> None:
    """A program without a word, as process accounting tells of, is read like any other."""
    assert isinstance(families.read(program), list | tuple)
