"""zsh, bash and fish as somebody uses them: what is typed is recorded, and a key brings predictions."""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from terminal import AUTOSUGGESTIONS, PROMPT, terminal

import procedural_memory
from procedural_memory import ProceduralMemoryEngine
from procedural_memory.shells.answering import answer
from procedural_memory.shells.events import socket_of

SHELLS = ["zsh", "bash", "fish"]


def _know(home: Path, *lines: str) -> None:
    """Learn a workflow before the shell starts."""
    with ProceduralMemoryEngine(path=home / "memory.sqlite3", embedder="lexical") as engine:
        for _ in range(15):
            engine.learn_workflow([{"command": line, "cwd": str(home), "exit_code": 0} for line in lines])
        engine.flush()


@pytest.fixture(params=SHELLS)
def shell(request: pytest.FixtureRequest) -> str:
    """Each shell."""
    name: str = request.param
    return name


def test_what_is_typed_is_recorded(shell: str, tmp_path: Path) -> None:
    """Exactly, in order, with exit status, folder, time and shell; not what is typed after a blank."""
    (tmp_path / "folder").mkdir()
    begin = time.time()
    lines = ["true", "false", "cd folder", "echo 'a  b' \"c\" | cat", "sleep 0.3", "echo über"]
    before = "HISTCONTROL=ignorespace" if shell == "bash" else ""
    with terminal(shell, tmp_path, before=before) as used:
        for line in [*lines[:2], " echo hidden", *lines[2:]]:
            used.run(line)
        used.run("export TOKEN=ghp_0123456789abcdefghijABCDEFGHIJ012345")
        steps = used.recorded(7)
    assert [step.command for step in steps[:6]] == lines
    assert [step.exit_code for step in steps[:6]] == [0, 1, 0, 0, 0, 0]
    assert [step.cwd for step in steps[:6]] == [str(tmp_path)] * 3 + [str(tmp_path / "folder")] * 3
    assert "ghp_" not in steps[6].command
    assert len(steps) == 7
    assert {(step.source, step.actor) for step in steps} == {(f"{shell}-hook", "human")}
    assert all(step.timestamp is not None and begin - 1 <= step.timestamp <= time.time() for step in steps)
    took = steps[4].duration_ms
    assert took is not None
    assert 250 <= took < 3_000
    assert b"hidden" not in used.store.read_bytes()


def test_a_folder_is_where_the_command_ran(shell: str, tmp_path: Path) -> None:
    """Also after a change of folder that was not recorded itself."""
    (tmp_path / "folder").mkdir()
    with terminal(shell, tmp_path, before="HISTCONTROL=ignorespace" if shell == "bash" else "") as used:
        used.run("true")
        used.run(" cd folder")
        used.run("echo here")
        steps = used.recorded(2)
    assert [(step.command, step.cwd) for step in steps] == [
        ("true", str(tmp_path)),
        ("echo here", str(tmp_path / "folder")),
    ]


def test_what_another_shell_ran_is_not_recorded_here(tmp_path: Path) -> None:
    """bash shells that share a history; and a failure here ends no shell that fails at once."""
    with terminal("bash", tmp_path, before='PROMPT_COMMAND="history -a; history -n"') as used:
        used.run("echo mine")
        with (tmp_path / "history").open("a") as other:
            other.write("echo theirs\n")
        for _ in range(2):
            used.key("Enter")
            time.sleep(0.3)
        used.run("set -e")
        used.run("false && true")
        used.run("set +e")
        used.run("echo alive")
        commands = [step.command for step in used.recorded(5)]
    assert "echo theirs" not in commands
    assert commands[0] == "echo mine"
    assert commands[-1] == "echo alive"


@pytest.mark.parametrize(
    "before",
    [
        "HISTCONTROL=erasedups",
        "readonly HISTTIMEFORMAT='%F %T '",
        "shopt -u cmdhist",
        "readonly HISTTIMEFORMAT='[%d.%m.] %H:%M:%S  '; shopt -u cmdhist",
        "HISTCONTROL=ignoreboth:erasedups; HISTTIMEFORMAT='%c '",
        "HISTSIZE=3",
        "unset EPOCHREALTIME",  # as in bash 4, where PS0 tells nothing
        "unset EPOCHREALTIME; HISTCONTROL=erasedups",
    ],
)
def test_however_bash_keeps_its_history(tmp_path: Path, before: str) -> None:
    """Lines that take the place of others, that have a time before them, that have each a number of their own."""
    with terminal("bash", tmp_path, before=before) as used:
        for line in ("echo one", "true", "echo 'a  b'", "echo one", "true"):
            used.run(line)
        for line in ("for i in 1 2", "do", "true $i", "done"):
            used.type(line)
            used.key("Enter")
        used.run("echo end")
        commands = [step.command for step in used.recorded(7)]
        assert "readonly variable" not in used.screen()
    loop = "for i in 1 2\ndo\ntrue $i\ndone" if "-u cmdhist" in before else "for i in 1 2; do true $i; done"
    assert commands == ["echo one", "true", "echo 'a  b'", "echo one", "true", loop, "echo end"]


def test_a_line_that_is_deleted_from_the_history_is_not_recorded(tmp_path: Path) -> None:
    """Nor is the one that stands at its end then."""
    with terminal("bash", tmp_path, before="HISTCONTROL=ignorespace") as used:
        used.run("echo one")
        used.run("echo two")
        used.run(" history -d -1")
        used.run("echo three")
        commands = [step.command for step in used.recorded(3)]
    assert commands == ["echo one", "echo two", "echo three"]


@pytest.mark.parametrize("argument", ["ü" * 33_000, "x" * 140_000], ids=["33000", "140000"])
def test_a_long_line_is_recorded(shell: str, tmp_path: Path, argument: str) -> None:
    """Also one that is longer than what a program can be handed; and predictions go on after it."""
    _know(tmp_path, "echo one", "echo two", "echo three")
    long = f"true {argument}"
    take = "bind \\ez 'commandline -r -- (cat ~/pasted); commandline -f execute'" if shell == "fish" else ""
    with terminal(shell, tmp_path, after=take) as used:
        if shell == "fish":  # which takes minutes to show so much that is pasted
            (tmp_path / "pasted").write_text(long)
            used.key("M-z")
        else:
            used.paste(long)
            used.wait(lambda screen: argument[:8] in screen)
            time.sleep(3)
            used.key("Enter")
        used.tmux("clear-history")
        used.wait(lambda screen: screen.endswith(PROMPT), 60)
        used.key("C-l")
        used.wait(lambda screen: screen.strip() == PROMPT)
        used.run("echo one")
        assert [step.command for step in used.recorded(47)][45:] == [long, "echo one"]
        used.key("M-n")
        used.wait(lambda _: used.line() == "echo two")


def test_the_switch_turns_it_off(shell: str, tmp_path: Path) -> None:
    """Nothing is recorded while PROCEDURAL_MEMORY_DISABLE is set."""
    with terminal(shell, tmp_path) as used:
        used.run("true")
        used.run("set -gx PROCEDURAL_MEMORY_DISABLE 1" if shell == "fish" else "export PROCEDURAL_MEMORY_DISABLE=1")
        used.run("echo hidden")
        used.run("set -e PROCEDURAL_MEMORY_DISABLE" if shell == "fish" else "unset PROCEDURAL_MEMORY_DISABLE")
        used.run("echo seen")
        commands = [step.command for step in used.recorded(3)]
    assert "echo hidden" not in commands
    assert "echo seen" in commands


def test_a_key_brings_what_comes_next(shell: str, tmp_path: Path) -> None:
    """Pressed again the next one, at last what was typed; nothing runs by itself."""
    _know(tmp_path, "echo one", "echo two", "echo three")
    with terminal(shell, tmp_path) as used:
        used.run("echo one")
        used.key("M-n")
        used.wait(lambda _: used.line() == "echo two")
        seen = {used.line()}
        for _ in range(8):
            used.key("M-n")
            time.sleep(0.15)
            seen.add(used.line())
        assert "" in seen
        assert len(seen) >= 3
        assert "two\n" not in used.screen().replace("echo two", "")
        while used.line() != "echo two":
            used.key("M-n")
            time.sleep(0.15)
        used.key("Enter")
        used.wait(lambda screen: "\ntwo\n" in screen)


def test_a_key_goes_on_from_what_was_typed(shell: str, tmp_path: Path) -> None:
    """Only lines that begin like it."""
    _know(tmp_path, "echo one", "printf x", "seq 3")
    with terminal(shell, tmp_path) as used:
        used.run("echo one")
        used.type("se")
        used.wait(lambda _: used.line().startswith("se"))  # fish shows more, dim
        used.key("M-n")
        used.wait(lambda _: used.line() == "seq 3")


def test_a_key_finds_all_that_begins_with_what_was_typed(shell: str, tmp_path: Path) -> None:
    """Also what comes after something else; where nothing begins so, it says so and leaves the line alone."""
    _know(tmp_path, "echo one", "echo two", "echo three")
    for number in range(8):
        _know(tmp_path, "echo one", f"printf {number}", f"printf {number}{number}")
    with terminal(shell, tmp_path) as used:
        used.run("echo one")
        used.type("echo th")
        used.wait(lambda _: used.line().startswith("echo th"))
        used.key("M-n")
        used.wait(lambda _: used.line() == "echo three")
        used.key("C-u")
        used.type("nosuch")
        used.wait(lambda _: used.line() == "nosuch")
        used.key("M-n")
        used.wait(lambda screen: "no prediction" in screen)
        used.wait(lambda _: used.line() == "nosuch")


@pytest.mark.parametrize("mode", ["vi", "emacs"])
def test_the_key_works_in_each_mode_of_bash(tmp_path: Path, mode: str) -> None:
    """Also in one that is chosen later."""
    _know(tmp_path, "echo one", "echo two", "echo three")
    with terminal(
        "bash", tmp_path, before="set -o " + ("emacs" if mode == "vi" else "vi"), after=f"set -o {mode}"
    ) as used:
        used.run("echo one")
        used.key("M-n")
        used.wait(lambda _: used.line() == "echo two")


def test_what_can_lose_data_needs_a_second_key(shell: str, tmp_path: Path) -> None:
    """It is shown, and is on the line only after another key."""
    _know(tmp_path, "echo one", "rm -rf build", "echo three")
    with terminal(shell, tmp_path) as used:
        used.run("echo one")
        used.key("M-n")
        screen = used.wait(lambda screen: "can lose data: rm -rf build" in screen)
        assert "Alt-Shift-N" in screen
        assert used.line() == ""
        used.key("M-N")
        used.wait(lambda _: used.line() == "rm -rf build")
        if shell == "zsh":
            used.wait(lambda screen: "can lose data" not in screen)
            for _ in "rm -rf build":
                used.key("BSpace")
            used.key("M-n")
            used.wait(lambda screen: "can lose data" in screen)
            used.key("M-n")  # which shows another line, of which nothing of the kind is to be said
            used.wait(lambda screen: "can lose data" not in screen)


def test_a_key_without_a_memory_does_nothing(shell: str, tmp_path: Path) -> None:
    """No error is shown, and typing goes on."""
    with terminal(shell, tmp_path) as used:
        used.key("M-n")
        time.sleep(1.0)
        used.run("echo fine")
        assert "\nfine" in used.screen()
        assert "rror" not in used.screen()


@pytest.mark.parametrize("beside", [False, True])
def test_a_ghost_on_an_empty_line_of_zsh(tmp_path: Path, beside: bool) -> None:
    """The likeliest line, dim: typing takes it away, the key takes it over; also beside zsh-autosuggestions."""
    if beside and not AUTOSUGGESTIONS.exists():
        pytest.skip("zsh-autosuggestions is not installed")
    _know(tmp_path, "echo one", "echo two", "echo three")
    with terminal("zsh", tmp_path, "--ghost", before=f"source {AUTOSUGGESTIONS}" if beside else "") as used:
        used.run("echo zero")
        used.type("echo one")
        used.key("Enter")
        used.wait(lambda _: used.line() == "echo two")
        used.type("date")
        used.wait(lambda _: used.line() == "date")
        for _ in "date":
            used.key("BSpace")
        used.key("M-n")
        used.wait(lambda _: used.line() == "echo two")
        used.key("Enter")
        used.wait(lambda screen: "\ntwo\n" in screen)
        assert [step.command for step in used.recorded(48)][-3:] == ["echo zero", "echo one", "echo two"]


@pytest.mark.parametrize("key", ["Right", "C-e"])
@pytest.mark.parametrize("beside", [None, "before", "after"])
def test_what_goes_to_the_right_takes_a_ghost_over(tmp_path: Path, key: str, beside: str | None) -> None:
    """On an empty line of zsh; elsewhere these keys move as ever."""
    if beside and not AUTOSUGGESTIONS.exists():
        pytest.skip("zsh-autosuggestions is not installed")
    _know(tmp_path, "echo one", "echo two", "echo three")
    other = {beside: f"source {AUTOSUGGESTIONS}"} if beside else {}
    with terminal("zsh", tmp_path, "--ghost", **other) as used:
        used.run("echo zero")
        used.type("echo one")
        used.key("Enter")
        used.wait(lambda _: used.line() == "echo two")
        used.key(key)
        used.key("x")
        used.wait(lambda _: used.line() == "echo twox")
        used.key("C-a")
        used.key("Right")
        used.key("z")
        used.wait(lambda _: used.line() == "ezcho twox")


def test_a_late_answer_to_the_line_before_leaves_a_ghost_where_it_is(tmp_path: Path) -> None:
    """One of zsh-autosuggestions, which would hide what stands behind an empty line."""
    if not AUTOSUGGESTIONS.exists():
        pytest.skip("zsh-autosuggestions is not installed")
    _know(tmp_path, "echo one", "echo two", "echo three")
    wait = "while [[ ! -e ~/go ]]; do sleep 0.05; done; touch ~/gone"
    late = f"source {AUTOSUGGESTIONS}; ZSH_AUTOSUGGEST_STRATEGY=(late); _zsh_autosuggest_strategy_late() {{ {wait} }}"
    with terminal("zsh", tmp_path, "--ghost", before=late) as used:
        used.run("echo zero")
        used.type("echo one")
        time.sleep(0.5)  # the other one is asked when nothing more is typed
        used.key("Enter")
        used.wait(lambda _: used.line() == "echo two")
        (tmp_path / "go").touch()
        time.sleep(1.0)
        assert used.line() == "echo two"
        assert not (tmp_path / "gone").exists()  # nobody waits for it any more, so it was ended
        used.key("Right")
        used.key("x")
        used.wait(lambda _: used.line() == "echo twox")


@pytest.mark.parametrize(
    ("shell", "options"),
    [
        ("zsh", "setopt ksharrays shwordsplit nounset extendedglob globsubst noclobber"),
        ("bash", "set -u; shopt -s extglob"),
    ],
)
def test_the_users_options_do_not_matter(tmp_path: Path, shell: str, options: str) -> None:
    """Whatever they change in how a shell reads scripts."""
    _know(tmp_path, "echo one", "echo two", "echo three")
    with terminal(shell, tmp_path, before=options, after=options) as used:
        used.run("echo 'a  *  [b]'")
        used.run("echo one")
        used.key("M-n")
        used.wait(lambda _: used.line() == "echo two")
        used.key("Enter")
        used.wait(lambda screen: "\ntwo\n" in screen)
        assert [step.command for step in used.recorded(48)][-3:] == ["echo 'a  *  [b]'", "echo one", "echo two"]
        assert "parameter not set" not in used.screen()
        assert "unbound" not in used.screen()


def test_other_hooks_see_the_exit_status(shell: str, tmp_path: Path) -> None:
    """What a prompt shows of the command before it is what it was."""
    after = {
        "zsh": 'precmd_functions+=(show); show() { print -r -- "was=$?" }',
        "bash": 'PROMPT_COMMAND="$PROMPT_COMMAND; echo was=\\$?"',
        "fish": "function show --on-event fish_prompt; echo was=$status; end",
    }[shell]
    with terminal(shell, tmp_path, after=after) as used:
        used.type("(exit 7)" if shell != "fish" else "fish -c 'exit 7'")
        used.key("Enter")
        used.wait(lambda screen: "was=7" in screen)


def test_it_is_loaded_twice_without_harm(shell: str, tmp_path: Path) -> None:
    """A start-up file that is read again records nothing twice."""
    with terminal(shell, tmp_path) as used:
        used.run(
            {"zsh": "source ~/.zshrc", "bash": "source ~/.bashrc", "fish": "source ~/.config/fish/config.fish"}[shell]
        )
        used.run("echo once")
        used.run("true")
        commands = [step.command for step in used.recorded(3)]
    assert commands.count("echo once") == 1


def test_a_ghost_at_the_right_of_fish(tmp_path: Path) -> None:
    """It is asked for in the background, and is there a moment later."""
    _know(tmp_path, "echo one", "echo two", "echo three")
    with terminal("fish", tmp_path, "--ghost") as used:
        used.run("echo zero")
        used.type("echo one")
        used.key("Enter")
        used.wait(lambda screen: screen.splitlines()[-1].endswith("  echo two"))
        used.key("M-n")
        used.wait(lambda _: used.line().startswith("echo two"))
        used.key("Enter")
        used.wait(lambda screen: "\ntwo\n" in screen)
    # The last line may still have been on its way to the shell that was ended.
    end = time.monotonic() + 20.0
    while list(tmp_path.glob("*.ghost*")) and time.monotonic() < end:
        time.sleep(0.05)
    assert not list(tmp_path.glob("*.ghost*"))


@pytest.mark.parametrize("shell", ["signal.signal(signal.SIGUSR1, lambda *_: sys.exit())", "pass"], ids=["ends", "was"])
def test_a_ghost_that_no_shell_takes_is_not_left_behind(tmp_path: Path, shell: str) -> None:
    """Of a shell that ends with the signal, and of what a shell became, which does not know it."""
    _know(tmp_path, "echo one", "echo two", "echo three")
    program = f"import signal, sys, time; {shell}; print(flush=True); time.sleep(60)"
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        store = str(tmp_path / "memory.sqlite3")
        told = {"_PM_CWD": str(tmp_path), "_PM_RECENT": "echo one\x1f0", "XDG_RUNTIME_DIR": str(tmp_path)}
        hook = [sys.executable, "-m", "procedural_memory.hook", "shell", "suggest", "--unasked", "--store", store]
        try:
            asked = subprocess.run(hook, env=os.environ | told, capture_output=True, timeout=60)
            assert asked.stdout == b"recho two\0"
            subprocess.run([*hook, "--tell", str(process.pid)], env=os.environ | told, check=True, timeout=60)
            assert (process.wait(20) if shell != "pass" else process.poll()) == (0 if shell != "pass" else None)
            assert not list(tmp_path.glob("*.ghost*"))
        finally:
            process.kill()
            subprocess.run(["pkill", "-f", f"shells.answering --store {store}"], timeout=20)


@pytest.mark.parametrize(
    ("options", "wrong"),
    [
        (["zsh", "--key", "N"], "key"),
        (["bash", "--ghost"], "ghost"),
        (["tcsh"], "tcsh"),
        (["zsh", "--key", "ab"], "key"),
    ],
)
def test_what_cannot_be_is_refused(options: list[str], wrong: str) -> None:
    """With the name of the option."""
    command = [sys.executable, "-m", "procedural_memory", "init", *options]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode != 0
    assert wrong in done.stderr
    assert "Traceback" not in done.stderr


def test_a_long_name_gets_another_socket(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A socket may have a hundred bytes; then it is in a folder that is as private."""
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / ("x" * 100)))
    place = Path(socket_of(str(tmp_path / ("y" * 100) / "m.sqlite3")))
    assert len(str(place)) <= 100
    assert place.parent.stat().st_mode & 0o077 == 0
    assert place == Path(socket_of(str(tmp_path / ("y" * 100) / "m.sqlite3")))
    monkeypatch.setenv("XDG_RUNTIME_DIR", "/tmp")
    assert Path(socket_of("/a/m.sqlite3")).parent == Path("/tmp")
    assert socket_of("/a/m.sqlite3") != socket_of("/b/m.sqlite3")
    monkeypatch.setenv("XDG_RUNTIME_DIR", "/no/such/folder")  # left by another login
    assert not socket_of("/a/m.sqlite3").startswith("/no")


def test_it_answers_for_the_memory_that_is_there(tmp_path: Path) -> None:
    """Not for one that was removed; and it keeps nothing of what was asked in its environment."""
    store = tmp_path / "memory.sqlite3"
    _know(tmp_path, "echo one", "echo old", "echo end")
    hook = Path(procedural_memory.__file__).with_name("hook.py")

    def ask() -> str:
        asked = {"_PM_CWD": str(tmp_path), "_PM_RECENT": "echo one\x1f0"}
        environment = os.environ | asked | {"XDG_RUNTIME_DIR": str(tmp_path)}
        command = [sys.executable, "-I", "-S", str(hook), "shell", "suggest", "--store", str(store)]
        return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60).stdout

    try:
        assert "echo old" in ask()
        found = subprocess.run(["pgrep", "-f", f"answering --store {store}"], capture_output=True, text=True)
        for process in found.stdout.split():
            place = Path(f"/proc/{process}/environ")
            assert not place.exists() or b"_PM_RECENT" not in place.read_bytes()
        for file in tmp_path.glob("memory.sqlite3*"):
            file.unlink()
        _know(tmp_path, "echo one", "echo new", "echo end")
        until = time.monotonic() + 20
        while "echo new" not in (answer := ask()):
            assert "echo old" not in answer
            assert time.monotonic() < until
    finally:
        subprocess.run(["pkill", "-f", f"answering --store {store}"])


def test_answers_begin_with_what_was_typed() -> None:
    """Predictions first, then what was run, most often first; never the line itself, a secret or several lines."""
    with ProceduralMemoryEngine(embedder="lexical") as engine:
        for number in range(40):
            engine.learn_workflow(["a", f"b{number % 20} x", f"c{number}"])
        engine.learn_workflow(["login --token ghp_0123456789abcdefghijABCDEFGHIJ012345", "login 'x\ny'", "login me"])
        engine.learn_workflow(["rm -rf build", "rm -rf build", "rm x"])

        def asked(typed: str, *steps: str) -> list[dict[str, str]]:
            question = {"cwd": "/", "steps": [[line, 0] for line in steps], "k": 5, "unasked": False, "typed": typed}
            return answer(engine, question)

        assert {one["line"] for one in asked("b1", "a")} <= {f"b{number} x" for number in (1, *range(10, 20))}
        assert len(asked("b1", "a")) == 5
        assert next(one["line"] for one in asked("c3", "c7")).startswith("c3")
        assert [one["line"] for one in asked("login", "a")] == ["login me"]
        assert asked("login me", "a") == []
        assert asked("rm ", "a") == [{"kind": "d", "line": "rm -rf build"}, {"kind": "r", "line": "rm x"}]
        assert len(asked("", "a")) == 5
        assert engine.lines_beginning("b", 3) == sorted({f"b{number} x" for number in (17, 18, 19)}, reverse=True)


def test_the_answering_process_ends_when_nobody_asks(tmp_path: Path) -> None:
    """Its socket is private and goes with it; a second one leaves the first alone."""
    place = tmp_path / "s.sock"
    command = [
        sys.executable,
        "-c",
        "import sys; from procedural_memory.shells.answering import serve; serve(*sys.argv[1:3], idle=3)",
    ]
    first = subprocess.Popen([*command, str(tmp_path / "m.sqlite3"), str(place)])
    end = time.monotonic() + 20
    while not place.exists():
        assert time.monotonic() < end
        time.sleep(0.02)
    assert place.stat().st_mode & 0o777 == 0o600
    assert subprocess.run([*command, str(tmp_path / "m.sqlite3"), str(place)], timeout=20).returncode == 0
    for question in (b"", b"nonsense", b"[]", b'{"cwd": 3}'):
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(20)
            client.connect(str(place))
            client.sendall(question)
            client.shutdown(socket.SHUT_WR)
            assert client.recv(100) == b""
    assert first.wait(30) == 0
    assert not place.exists()


@pytest.mark.parametrize("first", [True, False])
@pytest.mark.parametrize("options", [(), ("--ghost",)])
def test_what_zsh_autosuggestions_shows_does_not_stay(tmp_path: Path, first: bool, options: tuple[str, ...]) -> None:
    """The key takes the place of a suggestion that stands behind what was typed: no key joins the two."""
    if not AUTOSUGGESTIONS.exists():
        pytest.skip("zsh-autosuggestions is not installed")
    _know(tmp_path, "echo one", "echo two three", "echo end")
    source = f"source {AUTOSUGGESTIONS}"
    with terminal("zsh", tmp_path, *options, before=source * first, after=source * (not first)) as used:
        used.run("echo two three")
        used.run("echo one")
        used.type("echo t")
        used.wait(lambda _: used.line() == "echo two three")  # the other plugin's, dim
        used.key("M-n")
        used.wait(lambda _: "\x1b[90m" not in used.tmux("capture-pane", "-p", "-e").rpartition(PROMPT)[2])
        assert used.line() == "echo two three"
        used.key("Right")
        used.key("C-e")
        time.sleep(0.3)
        assert used.line() == "echo two three"
        used.key("Enter")
        used.recorded(48)
        assert [step.command for step in used.recorded(48)][-1] == "echo two three"


def _held(home: Path, shell: str) -> str:
    """Return what lets the processes that record wait until there is a file ``go``."""
    nice = home / "bin" / "nice"
    nice.parent.mkdir()
    waits = f"while [ -d {home} ] && [ ! -e {home}/go ] && [ $((i += 1)) -lt 999 ]; do sleep 0.1; done"
    nice.write_text(f'#!/bin/sh\n{waits}\nexec {shutil.which("nice")} "$@"\n')
    nice.chmod(0o700)
    return f"set -gx PATH {nice.parent} $PATH" if shell == "fish" else f"export PATH={nice.parent}:$PATH"


@pytest.mark.parametrize("options", [(), ("--ghost",)])
def test_the_background_belongs_to_the_user(shell: str, options: tuple[str, ...], tmp_path: Path) -> None:
    """Jobs and the last of them are the user's, also after the key and while what was run is recorded."""
    if shell == "bash" and options:
        pytest.skip("bash shows none")
    last, none = "$last_pid" if shell == "fish" else "$!", "none= 0 ." if shell == "zsh" else "none= ."
    _know(tmp_path, "true one", "true two", "true three")
    with terminal(shell, tmp_path, *options, before=_held(tmp_path, shell)) as used:
        if shell == "fish":  # which begins a process of its own when it starts
            used.run("set -e last_pid")
        used.run(f"echo none= {last} .")  # before there was any
        used.run(f"echo none= {last} .")
        used.wait(lambda screen: re.findall(r"^none=.*", screen, re.M) == [none, none])
        used.run("sleep 78 &")
        used.run("true one")
        used.key("M-n")
        used.wait(lambda _: used.line().startswith("true two"))
        used.key("C-u")
        used.wait(lambda _: not used.line().startswith("true two"))
        used.run(f"ps -o args= -p {last}")
        used.wait(lambda screen: "\nsleep 78" in screen)
        used.key("C-l")
        used.wait(lambda screen: screen.startswith(PROMPT) and "sleep" not in screen)
        used.run("jobs")
        jobs = used.screen().splitlines()[1:-1]
        assert len([line for line in jobs if re.search(r"sleep 78|hook|nice", line)]) == 1, jobs
        used.run("sleep 0.7 &")
        used.run("true four")
        used.run("kill %1")
        used.run("wait; echo waited")  # for what records it would be long
        used.run("sleep 79 &")
        used.run("true five")
        used.run("disown")
        used.run(f"kill {last} && echo killed")
        used.wait(lambda screen: "\nkilled" in screen)
        if shell != "fish":  # whose wait knows no status
            used.run("sh -c 'sleep 0.3; exit 7' &")
            used.run("true six")
            used.run(f"wait {last}; echo was=$?")
            used.wait(lambda screen: "\nwas=7" in screen)
        (tmp_path / "go").touch()
        steps = used.recorded(60 if shell == "fish" else 62)[45:]
    assert [step.command for step in steps if step.command.startswith("true")][:3] == [
        "true one",
        "true four",
        "true five",
    ]
    assert {step.exit_code for step in steps} == {0}


def test_what_was_typed_last_is_recorded_however_the_terminal_ends(shell: str, tmp_path: Path) -> None:
    """Also with keys that end and stop what runs there; in the order in which it was typed."""
    with terminal(shell, tmp_path, before=_held(tmp_path, shell)) as used:
        for number in range(6):
            used.run(f"true {number}")
            for key in ("C-c", "C-z", "C-c"):
                used.key(key)
            while not used.line().endswith("x"):  # what is typed while such a key is dealt with gets lost
                used.type("x")
                time.sleep(0.2)
            used.key("C-u")
            used.wait(lambda _: "x" not in used.line())
        used.run("true end")
        used.tmux("kill-server")
        time.sleep(0.5)  # nothing tells that what is ended has ended
        (tmp_path / "go").touch()
        commands = [step.command for step in used.recorded(7)]
    assert commands == [*(f"true {number}" for number in range(6)), "true end"]


_SHARED = {
    "new": 'HISTCONTROL=ignorespace; PROMPT_COMMAND="history -a; history -n"',
    "all": 'HISTCONTROL=ignorespace; PROMPT_COMMAND="history -a; history -c; history -r"',
    "once": 'HISTCONTROL=ignoreboth:erasedups; PROMPT_COMMAND="history -n; history -w; history -c; history -r"',
    "alone": "HISTCONTROL=ignoreboth:erasedups",
    "apart": "HISTCONTROL=erasedups:ignorespace",
}


@pytest.mark.parametrize("late", [False, True])
@pytest.mark.parametrize("kind", list(_SHARED))
def test_what_bash_keeps_out_of_its_history_records_nothing(tmp_path: Path, kind: str, late: bool) -> None:
    """Neither the line before it, nor an old one, nor one of another shell that came in meanwhile."""
    (tmp_path / "history").write_text("echo old\necho older\n")
    before, after = ("", _SHARED[kind]) if late else (_SHARED[kind], "")
    if late and "PROMPT_COMMAND" in after:  # behind what is there
        after = after.replace('PROMPT_COMMAND="', 'PROMPT_COMMAND="$PROMPT_COMMAND; ')
    with terminal("bash", tmp_path, before=before, after=after) as used:
        used.run(" false first")  # where something comes last, it is known only now
        used.run("true")
        used.run(" false")
        used.run("echo one")
        with (tmp_path / "history").open("a") as other:
            other.write("echo theirs\n")
        used.run("true two")  # takes theirs in
        used.run(" false")
        used.run(" history -d -1")
        used.run("true")
        used.run(" false")
        used.run("true end")
        steps = used.recorded(5)
    expected = [("true", 0), ("echo one", 0), ("true two", 0), ("true", 0), ("true end", 0)]
    assert [(step.command, step.exit_code) for step in steps] == expected


def test_a_line_of_the_prompt_is_not_recorded(tmp_path: Path) -> None:
    """Which takes the place of another one in the history, so that its length tells nothing."""
    (tmp_path / "history").write_text("echo old\necho older\n")
    swap = 'PROMPT_COMMAND="[[ ! -e ~/swap ]] || { history -d 1; history -s echo theirs; rm ~/swap; }"'
    with terminal("bash", tmp_path, before=f"HISTCONTROL=ignoreboth:erasedups; {swap}") as used:
        used.run("true one")
        (tmp_path / "swap").touch()
        for line in ("true two", " false", "true end"):
            used.run(line)
        steps = used.recorded(3)
    assert [(step.command, step.exit_code) for step in steps] == [("true one", 0), ("true two", 0), ("true end", 0)]


def test_no_part_of_a_command_is_recorded(tmp_path: Path) -> None:
    """A repeated one of several lines, where bash keeps each line by itself and once: whole or not at all."""
    loop = ("for i in 1 2", "do", "true $i", "done")
    with terminal("bash", tmp_path, before="HISTCONTROL=erasedups; shopt -u cmdhist") as used:
        used.run("echo one")
        for _ in range(2):
            for line in loop:
                used.type(line)
                used.key("Enter")
            time.sleep(0.5)
            used.run("echo two")
        used.run("echo end")
        commands = [step.command for step in used.recorded(5)]
    assert set(commands) == {"echo one", "\n".join(loop), "echo two", "echo end"}
    assert [command for command in commands if "\n" not in command] == ["echo one", "echo two", "echo two", "echo end"]


@pytest.mark.parametrize(
    "meddle",
    [
        "PS0='run '",
        "shopt -u promptvars",
        "set -u; shopt -u cmdhist; unset PS2",
        "shopt -u cmdhist",
    ],
)
def test_bash_goes_on_whatever_becomes_of_its_prompts(tmp_path: Path, meddle: str) -> None:
    """Of a line at most its time is lost; a prompt shows no part of the hook."""
    with terminal("bash", tmp_path) as used:
        for line in ("echo one", meddle, "echo two", "echo three"):
            used.run(line)
        commands = [step.command for step in used.recorded(4)]
        assert "_pm_hook:" not in used.screen().replace(meddle, "")
    assert commands == ["echo one", meddle, "echo two", "echo three"]


def test_bash_takes_a_newer_hook_over_an_older_one(tmp_path: Path) -> None:
    """What an earlier version put into a prompt is replaced; else nothing would be recorded from there on."""
    older = "PS0='${_pm_hook:$((_pm_started=${EPOCHREALTIME/[.,]/},0)):0}'"
    with terminal("bash", tmp_path, before=older) as used:
        used.run("echo one")
        used.run("echo two")
        commands = [step.command for step in used.recorded(2)]
    assert commands == ["echo one", "echo two"]


def test_programs_that_bash_starts_get_prompts_without_marks(tmp_path: Path) -> None:
    """A prompt that is handed on stays what it was; an error is trapped no oftener for what records."""
    with terminal("bash", tmp_path, before="export PS2='more> '; shopt -u cmdhist") as used:
        used.run("env | grep -c _pm_more")
        used.run("trap 'echo trapped >> ~/traps' ERR")
        used.run("false")
        used.recorded(3)
        assert "_pm_hook" not in used.screen()
    assert len((tmp_path / "traps").read_text().split()) <= 2
