"""The hooks in the settings of Claude Code: added without loss, taken out without a trace."""

from __future__ import annotations

import json
import os
import shlex
import stat
import subprocess
from pathlib import Path
from typing import Any

import pytest
from calling import event
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

from procedural_memory.claude.settings import BACKUP, HOOK, command_line, install, installed, uninstall
from procedural_memory.cli import main
from procedural_memory.errors import InvalidInputError, StorageError

EVENTS = ["PostToolUse", "PostToolUseFailure", "SessionEnd", "SessionStart"]
EXISTING: dict[str, Any] = {
    "$schema": "https://json.schemastore.org/claude-code-settings.json",
    "env": {"API_TOKEN": "secret"},
    "permissions": {"allow": ["Bash(npm run lint)"], "deny": []},
    "hooks": {
        "PostToolUse": [
            {"matcher": "Write|Edit", "hooks": [{"type": "command", "command": "npx prettier --write ."}]},
            {"matcher": "Bash", "hooks": [{"type": "command", "command": "log.sh", "timeout": 3}]},
        ],
        "Stop": [{"hooks": [{"type": "command", "command": "say done"}]}],
        "SessionStart": [],
    },
    "model": "opus – größer",
}
UNUSUAL = json.dumps(EXISTING, indent="\t", ensure_ascii=False) + "\n\n"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Where settings are, or will be."""
    return tmp_path / ".claude" / "settings.json"


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """Where steps go."""
    return tmp_path / "data folder" / "memory.sqlite3"


def write(file: Path, text: str) -> None:
    """Write a file of settings."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text, encoding="utf-8")


def test_without_settings_a_file_is_made_and_taken_away(file: Path, store: Path) -> None:
    """It is private, calls the hook for the events, and is gone after uninstalling."""
    assert install(file, store).is_one
    made = json.loads(file.read_text())
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert sorted(made["hooks"]) == EVENTS
    assert [made["hooks"][name][0].get("matcher") for name in EVENTS] == ["Bash", "Bash", None, None]
    assert not file.with_name(file.name + BACKUP).exists()
    uninstall(file)
    assert list(file.parent.iterdir()) == []


def test_what_was_there_stays_and_comes_back_to_the_letter(file: Path, store: Path) -> None:
    """Own hooks are added behind the others; uninstalling gives the very file back."""
    write(file, UNUSUAL)
    file.chmod(0o640)
    install(file, store)
    now = json.loads(file.read_text(encoding="utf-8"))
    assert list(now) == list(EXISTING)
    assert now["hooks"]["PostToolUse"][:2] == EXISTING["hooks"]["PostToolUse"]
    assert len(now["hooks"]["PostToolUse"]) == 3
    assert {**now, "hooks": 0} == {**EXISTING, "hooks": 0}
    assert '\n\t"env"' in file.read_text(encoding="utf-8")
    kept = file.with_name(file.name + BACKUP)
    assert kept.read_text(encoding="utf-8") == UNUSUAL
    assert stat.S_IMODE(file.stat().st_mode) == stat.S_IMODE(kept.stat().st_mode) == 0o640
    uninstall(file)
    assert file.read_text(encoding="utf-8") == UNUSUAL
    assert not kept.exists()


def test_installing_twice_changes_nothing(file: Path, store: Path) -> None:
    """And with other options the hooks are renewed, not doubled; the first backup stays."""
    write(file, UNUSUAL)
    install(file, store)
    first = file.read_text(encoding="utf-8")
    assert not install(file, store).is_one
    assert file.read_text(encoding="utf-8") == first
    assert install(file, store.with_name("other.sqlite3"), warn=True).is_one
    assert sorted(installed(file)) == sorted([*EVENTS, "PreToolUse"])
    assert all("other.sqlite3" in line for line in installed(file).values())
    assert install(file, store).is_one
    assert file.read_text(encoding="utf-8") == first
    uninstall(file)
    assert file.read_text(encoding="utf-8") == UNUSUAL


def test_what_was_changed_meanwhile_stays(file: Path, store: Path) -> None:
    """Uninstalling takes out what installing added, and nothing else."""
    write(file, UNUSUAL)
    install(file, store)
    now = json.loads(file.read_text(encoding="utf-8"))
    mine = {"type": "command", "command": "mine.sh"}
    now["hooks"]["PostToolUse"][2]["hooks"].append(mine)  # into the very group
    now["model"] = "sonnet"
    write(file, json.dumps(now))
    uninstall(file)
    after = json.loads(file.read_text(encoding="utf-8"))
    assert after["model"] == "sonnet"
    assert after["hooks"]["PostToolUse"][2] == {"matcher": "Bash", "hooks": [mine]}
    assert after["hooks"]["SessionStart"] == []  # it was empty before
    assert "SessionEnd" not in after["hooks"]
    assert installed(file) == {}
    assert not uninstall(file).is_one


@pytest.mark.parametrize(
    "text",
    [
        '{"hooks": ',
        "[]",
        "7",
        '{"hooks": []}',
        '{"hooks": {"PostToolUse": {}}}',
        '{"model": "a", "model": "b"}',
        '// comment\n{"hooks": {}}',
        "[" * 100_000,
    ],
)
def test_what_is_no_settings_is_refused_and_left(file: Path, store: Path, text: str) -> None:
    """The error names the file, and nothing is written."""
    write(file, text)
    for call in (lambda: install(file, store), lambda: uninstall(file), lambda: installed(file)):
        with pytest.raises(InvalidInputError, match=r"settings\.json.*was not changed"):
            call()
    assert file.read_text() == text
    assert [path.name for path in file.parent.iterdir()] == [file.name]


def test_other_encodings_are_refused(file: Path, store: Path) -> None:
    """They are not guessed."""
    file.parent.mkdir()
    file.write_bytes('{"model": "größer"}'.encode("latin-1"))
    with pytest.raises(InvalidInputError, match="UTF-8"):
        install(file, store)


def test_empty_files_and_odd_groups_are_taken_as_they_are(file: Path, store: Path) -> None:
    """What this package does not know in a list of hooks is left alone."""
    write(file, "")
    install(file, store)
    uninstall(file)
    assert file.read_text() == ""
    odd = json.dumps({"hooks": {"PostToolUse": [7, {"hooks": 3}, {"hooks": [None, {"type": "http", "url": "x"}]}]}})
    write(file, odd)
    install(file, store)
    uninstall(file)
    assert file.read_text() == odd


def test_links_are_followed_and_stay(file: Path, store: Path, tmp_path: Path) -> None:
    """The file behind the link is changed; a link to nothing gets its file, links in a circle are refused."""
    real = tmp_path / "dotfiles" / "claude.json"
    write(real, UNUSUAL)
    file.parent.mkdir()
    file.symlink_to(real)
    install(file, store)
    assert file.is_symlink()
    assert sorted(installed(real)) == EVENTS
    uninstall(file)
    assert file.is_symlink()
    assert real.read_text(encoding="utf-8") == UNUSUAL
    assert [path.name for path in real.parent.iterdir()] == ["claude.json"]
    real.unlink()
    install(file, store)
    assert file.is_symlink()
    assert sorted(installed(real)) == EVENTS
    file.unlink()
    file.symlink_to(file)
    with pytest.raises(StorageError):
        install(file, store)


def test_a_folder_that_cannot_be_written_is_told(tmp_path: Path, store: Path) -> None:
    """A file where the folder should be."""
    (tmp_path / ".claude").write_text("")
    with pytest.raises(StorageError):
        install(tmp_path / ".claude" / "settings.json", store)


_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(), lambda v: st.lists(v) | st.dictionaries(st.text(), v)
)
_HOOKS = st.dictionaries(st.sampled_from([*EVENTS, "Stop", "Other"]), st.lists(_VALUES))


@settings(max_examples=60, deadline=None)
@given(rest=st.dictionaries(st.text(), _VALUES), hooks=st.none() | _HOOKS, indent=st.sampled_from([None, 1, 4]))
def test_any_settings_come_back(
    tmp_path_factory: pytest.TempPathFactory, rest: dict[str, Any], hooks: dict[str, Any] | None, indent: int | None
) -> None:
    """Whatever stood there: installing keeps it, uninstalling gives it back to the letter."""
    before = {**rest, **({} if hooks is None else {"hooks": hooks})}
    file = tmp_path_factory.mktemp("any") / "settings.json"
    text = json.dumps(before, indent=indent)
    file.write_text(text, encoding="utf-8")
    if not isinstance(before.get("hooks", {}), dict):
        return
    install(file, Path("/nowhere/memory.sqlite3"))
    now = json.loads(file.read_text(encoding="utf-8"))
    for name, groups in (hooks or {}).items():
        assert now["hooks"][name][: len(groups)] == groups
    assert {k: v for k, v in now.items() if k != "hooks"} == {k: v for k, v in before.items() if k != "hooks"}
    uninstall(file)
    assert file.read_text(encoding="utf-8") == text


def test_the_line_works_in_a_shell_and_ends_well_without_the_package(store: Path, tmp_path: Path) -> None:
    """Folders with blanks and quotes are no trouble; where the package or its Python is gone, the agent goes on."""
    odd = tmp_path / 'it\'s a "folder" $HOME' / "memory.sqlite3"
    line = command_line(odd)
    told = json.dumps(event("post_tool_use", tmp_path)).encode()
    ended = subprocess.run(["sh", "-c", line], input=told, capture_output=True, check=False)
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, b"", b"")
    assert len(list(Path(f"{odd}.spool").iterdir())) == 1
    for gone in (
        line.replace(shlex.quote(str(HOOK)), "/nowhere/procedural_memory/hook.py"),
        command_line(odd, python="/nowhere/python"),
    ):
        ended = subprocess.run(["sh", "-c", gone], input=told, capture_output=True, check=False)
        assert ended.returncode == 0
        assert ended.stdout == b""


def test_the_command_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`claude install`, `status` and `uninstall`, for the user and for a project; a dry run changes nothing."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.delenv("CLAUDE_CONFIG_DIR", raising=False)
    path = ["--path", str(tmp_path / "memory.sqlite3")]

    def call(*arguments: str) -> Any:
        result = CliRunner().invoke(main, ["claude", *arguments, "--json"])
        assert result.exit_code == 0, result.output
        return json.loads(result.stdout)

    assert call("install", "--dry-run", *path)["changed"] is True
    assert list(tmp_path.iterdir()) == []
    shown = CliRunner().invoke(main, ["claude", "install", "--project", "--dry-run", *path])
    assert '+    "SessionEnd": [' in shown.output
    user, project = tmp_path / "home" / ".claude" / "settings.json", tmp_path / ".claude" / "settings.json"
    assert call("install", *path) == {"file": str(user), "changed": True, "dry_run": False, "events": EVENTS}
    assert (tmp_path / "memory.sqlite3").exists()
    assert call("install", "--project", "--warn", *path)["events"] == sorted([*EVENTS, "PreToolUse"])
    status = call("status", *path)
    assert status["settings"][str(user)] == EVENTS
    assert len(status["settings"][str(project)]) == 5
    assert (status["recorded"], status["waiting"], status["trouble"]) == (0, 0, [])
    line = json.loads(user.read_text())["hooks"]["PostToolUse"][0]["hooks"][0]["command"]
    told = json.dumps(event("post_tool_use", tmp_path)).encode()
    subprocess.run(["sh", "-c", line], input=told, check=True, env={**os.environ})
    assert call("status", *path)["recorded"] == 1
    assert call("uninstall")["changed"] is True
    assert call("uninstall", "--project")["changed"] is True
    assert call("uninstall", "--local")["changed"] is False
    assert not user.exists()
    assert not project.exists()
    shown = CliRunner().invoke(main, ["claude", "status", *path])
    assert "1 steps recorded by the hooks" in shown.output
    (tmp_path / "no").write_text("this is no database, and was never one")
    shown = CliRunner().invoke(main, ["claude", "status", "--path", str(tmp_path / "no")])
    assert "no memory of this version that can be read; see doctor" in shown.output
    shown = CliRunner().invoke(main, ["claude", "status", "--path", str(tmp_path / "none")])
    assert "none: not there yet" in shown.output
    user.write_text("{")
    refused = CliRunner().invoke(main, ["claude", "install", *path])
    assert refused.exit_code == 1
    assert "must be JSON" in refused.output
