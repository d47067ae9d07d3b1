"""One simple command: which word is the program, a sub-command, a flag, the value of a flag, an argument."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Final, NamedTuple

from procedural_memory.commands.shapes import PLACEHOLDER, Piece, Slot, fill, is_safe, look, piece, unquote
from procedural_memory.commands.tables import (
    ALIASES,
    COMMON_FLAGS,
    CREATES,
    DIGIT_FLAGS,
    DISTINCT,
    FLAGS,
    GROUPS,
    POSITIONAL,
    SUBCOMMANDS,
    WRAPPERS,
    WRITING_FLAGS,
)

__all__ = ["Facts", "Item", "write_command", "write_words"]

MAX_PIECES: Final = 48
"""Parts of one command that a template keeps."""

_ASSIGNMENT: Final = re.compile(r"([A-Za-z_]\w{0,80}(?:\[[^\]]{0,40}\])?\+?=)(.*)", re.DOTALL)
_CLUSTER: Final = re.compile(r"-{1,2}[A-Za-z][\w.:-]{0,60}\??|-[A-Za-z0-9]|-\w{1,12}", re.ASCII)
_LONG_FLAG: Final = re.compile(r"(-{1,2}[A-Za-z][\w.-]{0,60}=)(.*)", re.DOTALL)
_GLUED: Final = re.compile(r"(-[A-Za-z])(.+)", re.DOTALL)
_COUNT: Final = re.compile(r"-\d{1,9}")
_GLUED_COUNT: Final = re.compile(r"(-[A-Za-z])(\d[\d.:,]{0,40}[kKmMgG]?)")
_ENUMERATED: Final = re.compile(r"[A-Za-z][A-Za-z-]{0,19}")
_SUBCOMMAND: Final = re.compile(r"[A-Za-z][\w:,-]{0,40}", re.ASCII)
_ECHO_FLAG: Final = re.compile(r"-[neE]{1,3}")
_TASK: Final = re.compile(r"[a-z]\w{0,40}(?:\.\w{1,40}){1,4}", re.ASCII)  # `mix deps.get`
_WINDOWS_PROGRAM: Final = re.compile(r"(?:\.{1,2}|\.?[\w-]{1,40})(?:\\[\w.-]{1,60}){1,6}", re.ASCII)
_PORT: Final = re.compile(r"(-[A-Za-z]{1,4}:)(\d{1,5})")
_BIN: Final = re.compile(
    r"(?:.*/)?(?:s?bin|Scripts|scripts|libexec)/[\w.+@-]{1,60}|\.{1,2}/[\w./+@-]{1,60}|"
    r"[\w-]{1,30}(?:/[\w.-]{1,30}){1,3}",
    re.ASCII,
)
_PROMPT: Final = re.compile(r"<HOST>|[$#%>]|>>>|\.\.\.|[\w.+-]{1,64}@[\w.-]{1,200}:?\S{0,200}[$#]|PS>")
_PATTERN_FLAGS: Final = frozenset({"-e", "-f", "--regexp", "--expression", "--file", "--from-file"})
_PATTERN_PROGRAMS: Final = frozenset({"grep", "egrep", "rg", "sed", "awk", "jq", "yq", "git grep", "ag"})
_SCRIPTS: Final = frozenset({"manage.py", "setup.py", "runtests.py", "artisan", "runtests"})
_GLUING: Final = frozenset({"gcc", "g++", "cc", "c++", "clang", "clang++", "make", "mysql", "mysqldump", "mariadb"})
# Flags of Windows programs; the name of some is a program of Unix as well, whose `/tmp` is a path.
_SWITCHES: Final = {
    **dict.fromkeys(["dir", "del", "rd", "rmdir", "copy", "move"], re.compile(r"/[A-Za-z?]{1,2}")),
    **dict.fromkeys(
        ["erase", "xcopy", "robocopy", "taskkill", "tasklist", "findstr", "ipconfig", "net", "mklink", "attrib", "reg"],
        re.compile(r"/[A-Za-z?][\w:-]{0,20}", re.ASCII),
    ),
}
# Sub-commands of programs that have too many groups to name.
_DEPTHS: Final = {"aws": 2, "gcloud": 3, "az": 3, "oci": 3, "openstack": 3, "doctl": 3}
_BLOCKS: Final = frozenset({"Where-Object", "ForEach-Object"})


class Item(NamedTuple):
    """One part of a simple command as it was written."""

    kind: str
    """``word``, ``redirect``, ``complete`` (a redirection without target), ``substitution`` or ``heredoc``."""
    text: str
    slots: tuple[Slot, ...] = ()
    glued: bool = False


@dataclass(slots=True)
class Facts:
    """What a command line does, gathered while it is written."""

    programs: list[str] = field(default_factory=list)
    flags: list[str] = field(default_factory=list)
    created: list[str] = field(default_factory=list)
    mentioned: list[str] = field(default_factory=list)


_APART: Final = frozenset({"<HEREDOC>", "<REST>", "<TEXT>"})
_FILE_KINDS: Final = frozenset({"FILE", "TEST"})


class _Writer:
    """Writes one simple command. The state is what the words so far have told about the next one."""

    __slots__ = (
        "_arguments",
        "_class_shift",
        "_collapse_from",
        "_exec",
        "_files",
        "_in_place",
        "_key",
        "_operands",
        "_options",
        "_program_next",
        "_sub_next",
        "_waiting",
        "_waiting_flag",
        "_wrapper",
        "facts",
        "pieces",
    )

    def __init__(self, facts: Facts) -> None:
        self.facts = facts
        self.pieces: list[Piece] = []
        self._key = ""  # program and sub-commands so far
        self._program_next = True
        self._sub_next = False
        self._options = True  # False after `--`
        self._waiting = ""  # class of the flag value that must come next
        self._waiting_flag = ""  # that flag
        self._arguments = 0
        self._class_shift = 0
        self._collapse_from = 0  # pieces before this one are never merged with later ones
        self._wrapper: tuple[str, ...] | None = None  # classes of operands of a wrapper, while inside one
        self._operands = 0
        self._exec = ""  # the command to go back to after `-exec … \;`
        self._files: list[tuple[str, bool]] = []
        self._in_place = False

    def word(self, word: str) -> None:
        """Take the next word."""
        if self._waiting:
            expected, self._waiting = self._waiting, ""
            if not (word[0] == "-" and len(word) > 1 and expected != "STR" and not word[1].isdigit()):
                self._flag_value(word, expected)
                return
        if self._program_next:
            self._program(word)
        elif word[0] == "-" and self._is_flag(word):
            self._flag(word)
        elif word[0] == "/" and (switch := _SWITCHES.get(self._key)) is not None and switch.fullmatch(word):
            self._add(Piece(word))
            self._collapse_from = len(self.pieces)
        elif self._wrapper is not None:
            self._operand(word)
        elif self._sub_next:
            self._subcommand(word)
        else:
            self._argument(word)

    def _known(self) -> bool:
        """Whether all sub-commands are read: what follows is an argument."""
        program = self._key.partition(" ")[0]
        return program in SUBCOMMANDS and self._key.count(" ") >= _DEPTHS.get(program, 1)

    def _is_flag(self, word: str) -> bool:
        """Whether a word that begins with a dash is a flag."""
        key = self._key
        if key == "echo":
            return _ECHO_FLAG.fullmatch(word) is not None
        if len(word) == 1 or word == "--":
            return False
        # After `--` comes a file, or a flag for another program.
        return self._options or not (key.startswith("git ") or (" " not in key and self._table()[:1] == ("FILE",)))

    def _add(self, part: Piece, *, merge: bool = False) -> None:
        pieces = self.pieces
        if merge and len(pieces) > self._collapse_from and len(part.slots) == 1 and part.text not in _APART:
            last = pieces[-1]
            if last.text == part.text and len(last.slots) == 1 and part.text == f"<{part.slots[0].kind}>":
                kind, value = last.slots[0]
                pieces[-1] = Piece(part.text, (Slot(kind, f"{value} {part.slots[0].value}"),))
                return
        pieces.append(part)

    def _remember(self, part: Piece, word: str, *, writes: bool = False) -> None:
        if part.slots and any(slot.kind in _FILE_KINDS for slot in part.slots):
            value = unquote(part.slots[-1].value)
            self._files.append((value, writes))

    def _program(self, word: str) -> None:
        if "=" in word and (match := _ASSIGNMENT.fullmatch(word)) and not word.startswith("=="):
            name, value = match.groups()
            part = _value_piece(value) if value else Piece("")
            self._add(Piece(name + part.text, part.slots))
            return
        if not self._key and _PROMPT.fullmatch(word) and not self.pieces:
            self._add(piece(word) if word == "<HOST>" else Piece(word) if len(word) <= 3 else _host_prompt(word))
            return
        if self._wrapper is not None and word[0] == "-" and len(word) > 1:
            self._flag(word)
            return
        self._wrapper = None
        self._program_next = False
        self._options = True
        self._arguments = self._class_shift = 0
        part, key, is_file = _program_of(word)
        self._add(part)
        if is_file:
            self._remember(Piece("", (Slot("FILE", word),)), word)
        self._start(key)

    def _start(self, key: str) -> None:
        self._key = key
        self._sub_next = key in SUBCOMMANDS or key in GROUPS
        self._collapse_from = len(self.pieces)
        self._enter_wrapper()

    def _enter_wrapper(self) -> None:
        wrapper = WRAPPERS.get(self._key)
        if wrapper is not None:
            self._wrapper = wrapper.operands
            self._operands = 0
            self._program_next = not wrapper.operands
            self._sub_next = False

    def _operand(self, word: str) -> None:
        operands = self._wrapper or ()
        part = piece(word, operands[self._operands])
        self._add(part)
        self._operand_taken()

    def _operand_taken(self) -> None:
        self._operands += 1
        if self._operands >= len(self._wrapper or ()):
            self._program_next = True

    def _subcommand(self, word: str) -> None:
        if _SUBCOMMAND.fullmatch(word) is None and not (self._key == "mix" and _TASK.fullmatch(word)):
            self._sub_next = False
            self._argument(word)
            return
        self._add(Piece(word))
        self._key = f"{self._key} {word}"
        self._sub_next = self._key in GROUPS
        self._collapse_from = len(self.pieces)
        self._enter_wrapper()

    def _table(self) -> tuple[str, ...]:
        key = self._key
        while True:
            found = POSITIONAL.get(key)
            if found is not None:
                return found
            key = key.rpartition(" ")[0]
            if not key:
                return ()

    def _argument(self, word: str) -> None:
        key = self._key
        if word == "--" and self._options:
            self._options = False
            self._add(Piece(word))
            self._collapse_from = len(self.pieces)
            if key.startswith("kubectl exec"):
                self._program_next = True
            return
        if self._exec and word in ("\\;", "+", "';'", '";"', ";"):
            self._add(Piece(word if word != "';'" else "\\;"))
            self.facts.programs.append(self._key)
            self._key, self._exec = self._exec, ""
            self._arguments = 1
            self._collapse_from = len(self.pieces)
            return
        classes = self._table()
        place = self._arguments + self._class_shift
        self._arguments += 1
        if not classes:
            expected = "AUTO"
            if place == 0 and not self._known() and _SUBCOMMAND.fullmatch(word) and word.islower() and len(word) <= 16:
                expected = "LIT"
        else:
            expected = classes[min(place, len(classes) - 1)]
        if not self._options and key.startswith("git "):
            expected = "FILE"
        if expected == "CMD":
            self._program_next, self._wrapper = True, None
            self.facts.programs.append(self._key)
            self._collapse_from = len(self.pieces)
            self.word(word)
            return
        if key in ("python", "php") and place == 0:
            name = word.rpartition("/")[2]
            if name in _SCRIPTS and is_safe(word):
                self._add(Piece(word))
                self._key = name
                self._arguments = 0
                self._sub_next = name in SUBCOMMANDS
                self._collapse_from = len(self.pieces)
                return
        part = piece(word, expected)
        self._add(part, merge=True)
        self._remember(part, word)

    def _flag(self, word: str) -> None:
        self.facts.flags.append(word)
        at = len(self.facts.flags) - 1
        written, waiting = _flag_piece(self._key, word, self._wrapper is not None)
        self.facts.flags[at] = written.text
        self._add(written)
        self._collapse_from = len(self.pieces)
        self._waiting = waiting
        self._waiting_flag = word
        if written.slots:
            self._remember(written, word, writes=word.partition("=")[0] in WRITING_FLAGS)
        if word in _PATTERN_FLAGS and self._key in _PATTERN_PROGRAMS:
            self._class_shift = 1
        if word[1:2] == "i" and self._key == "sed":
            self._in_place = True

    def _flag_value(self, word: str, expected: str) -> None:
        flag = self._waiting_flag
        if expected == "CMD":
            self._exec = self._key
            self._program_next, self._wrapper = True, None
            self._collapse_from = len(self.pieces)
            self.word(word)
            return
        if expected == "MODULE":
            if not is_safe(word) or look(word) not in ("", "FILE", "HOST"):
                self._add(piece(word, "NAME"))
                return
            self._add(Piece(word))
            self._arguments = self._class_shift = 0
            self._program_next, self._wrapper = False, None  # `coverage run -m` no longer waits for a program
            self._start(ALIASES.get(word, word))
            return
        part = piece(word, expected)
        self._add(part)
        self._collapse_from = len(self.pieces)
        self._remember(part, word, writes=flag in WRITING_FLAGS)

    def redirect(self, operator: str, target: str | None) -> None:
        """Take a redirection and the word it is to or from."""
        self._waiting = ""
        if target is None:
            self._add(Piece(operator))
        else:
            part = piece(target, "STR" if operator.endswith("<<<") else "FILE")
            if part.text == "/dev/null":
                self._add(Piece(operator + part.text))
            else:
                self._add(Piece(operator))
                self._add(part)
            if part.slots and operator[-1] in ">|&" and "/dev/" not in target:
                self.facts.created.append(unquote(target))
            elif part.slots and operator.endswith("<"):
                self._remember(part, target)
        self._collapse_from = len(self.pieces)

    def substitution(self, item: Item) -> None:
        """Take a command substitution that is a word of its own."""
        self._waiting = ""
        self._add(Piece(item.text, item.slots, item.glued))
        self._collapse_from = len(self.pieces)
        if self._program_next:
            self._program_next, self._wrapper = False, None
        elif self._wrapper is not None:
            self._operand_taken()
        elif self._sub_next:
            self._sub_next = False
        else:
            self._arguments += 1

    def close(self) -> None:
        """Sort the files into created and mentioned, and note the program."""
        key = self._key
        facts = self.facts
        if key:
            facts.programs.append(key)
        for value, writes in _sorted_files(key, self._files, self._in_place):
            target = facts.created if writes else facts.mentioned
            target.append(value)


def _value_class(key: str, flag: str, wrapped: bool) -> str:
    """Return the class of the value that must follow a flag, "" for none."""
    wrapper = WRAPPERS.get(key)
    if wrapper is not None and wrapped:
        return FLAGS.get(key, {}).get(flag, "AUTO") if flag in wrapper.valued else ""
    expected = _entry(key, flag)
    return "" if expected == "NONE" else expected


def _entry(key: str, flag: str) -> str:
    while key:
        entry = FLAGS.get(key)
        if entry is not None and flag in entry:
            return entry[flag]
        key = key.rpartition(" ")[0]
    return ""


@lru_cache(maxsize=4_096)
def _flag_piece(key: str, word: str, wrapped: bool) -> tuple[Piece, str]:
    """Return the part for a flag and the class of the value that must follow, "" for none."""
    if "<" in word and PLACEHOLDER.search(word):
        return piece(word), ""
    if match := _LONG_FLAG.fullmatch(word):
        name, value = match.groups()
        if not value:
            return Piece(name), ""
        expected = _value_class(key, name[:-1], wrapped) or COMMON_FLAGS.get(name[:-1], "")
        if expected in ("", "AUTO", "LIT"):
            enumerated = _ENUMERATED.fullmatch(value) and is_safe(value)
            part = Piece(value) if enumerated else piece(value, "AUTO" if expected != "LIT" else "LIT")
            if part.text == "<NAME>":
                part = Piece("<VAL>", (Slot("VAL", value),))
        else:
            part = piece(value, expected if expected not in ("CMD", "MODULE") else "STR")
        return Piece(name + part.text, part.slots), ""
    expected = _value_class(key, word, wrapped)
    if expected:
        return Piece(word), expected
    if _COUNT.fullmatch(word):
        if key.partition(" ")[0] in DIGIT_FLAGS and len(word) <= 3:
            return Piece(word), ""
        return Piece("-<NUM>", (Slot("NUM", word[1:]),)), ""
    if match := _PORT.fullmatch(word):
        return Piece(f"{match.group(1)}<NUM>", (Slot("NUM", match.group(2)),)), ""
    if match := _GLUED_COUNT.fullmatch(word):
        name, value = match.groups()
        if name in ("-O", "-W", "-D") or key.startswith("openssl "):
            return Piece(word), ""
        return Piece(f"{name}<NUM>", (Slot("NUM", value),)), ""
    if word[1] != "-" and (match := _GLUED.fullmatch(word)):
        name, value = match.groups()
        expected = _value_class(key, name, wrapped)
        # `-I/usr/include`, `-F:`; letters alone are more flags (`-rn`), except for compilers.
        glued = not value.isalpha() or key in _GLUING
        if glued and expected not in ("", "LIT", "CMD", "MODULE", "AUTO"):
            part = piece(value, expected)
            return Piece(name + part.text, part.slots), ""
        if word[1:].isalpha() and len(word) <= 6:
            last = _value_class(key, "-" + word[-1], wrapped)
            return Piece(word), last
    if _CLUSTER.fullmatch(word) and is_safe(word):
        return Piece(word), "" if _refused(key, word) else COMMON_FLAGS.get(word, "")
    if (match := _GLUED.fullmatch(word)) and word[1] != "-":
        part = piece(match.group(2), "AUTO")
        return Piece(match.group(1) + part.text, part.slots), ""
    return piece(word, "STR"), ""


def _refused(key: str, flag: str) -> bool:
    """Whether the table says that a flag takes no value here, whatever it does elsewhere."""
    return flag in COMMON_FLAGS and _entry(key, flag) == "NONE"


@lru_cache(maxsize=1_024)
def _program_of(word: str) -> tuple[Piece, str, bool]:
    """Return the part for the word that names a program, the key of the program, and whether it is a file by a path."""
    name = unquote(word).rpartition("/")[2]
    literal = is_safe(word) and (
        ("/" not in word and look(word) in ("", "FILE", "STR", "TEST")) or _BIN.fullmatch(word) is not None
    )
    literal = literal or _WINDOWS_PROGRAM.fullmatch(word) is not None
    if literal and "/" not in word and look(word) == "FILE" and word[0] == "~":
        literal = False
    if PLACEHOLDER.search(word):
        part = piece(word)
    elif literal:
        part = Piece(word)
    else:
        part = piece(word, "AUTO")
    key = ALIASES.get(name, name) if literal else part.text
    is_file = literal and "/" in word and not _is_bin(word)
    if is_file:
        key = name if name in _SCRIPTS or name in POSITIONAL or name in SUBCOMMANDS else word
    if key.startswith("python") and key[6:7].isdigit():
        key = "python"
    return part, key, is_file


def _host_prompt(word: str) -> Piece:
    return Piece("<HOST>", (Slot("HOST", word),))


def _value_piece(value: str) -> Piece:
    """Return the part for the value of an assignment."""
    if PLACEHOLDER.fullmatch(value):
        return piece(value)
    return Piece("<VAL>", (Slot("VAL", value),))


def _is_bin(word: str) -> bool:
    return "/bin/" in word or "/sbin/" in word or word.startswith(("bin/", "node_modules/", "./node_modules/"))


def _sorted_files(key: str, files: list[tuple[str, bool]], in_place: bool) -> list[tuple[str, bool]]:
    how = CREATES.get(key) or CREATES.get(key.partition(" ")[0] if key.startswith("cp") else "")
    if in_place or how == "all":
        return [(value, True) for value, _ in files]
    if how == "last" and files:
        return [*files[:-1], (files[-1][0], True)]
    return files


def _written(items: list[Item]) -> str:
    """Return the text of items as it was typed."""
    return " ".join(fill(item.text, item.slots) if item.slots else item.text for item in items)


def _is_last_word(items: list[Item], place: int) -> bool:
    """Return whether no word but the targets of redirections comes after a place."""
    return not any(
        items[i].kind == "word" and items[i - 1].kind != "redirect" for i in range(len(items) - 1, place, -1)
    )


def write_command(items: list[Item], facts: Facts) -> list[Piece]:
    """Return the parts of the template for one simple command, and note in `facts` what it does."""
    writer = _Writer(facts)
    place, count = 0, len(items)
    while place < count:
        if len(writer.pieces) >= MAX_PIECES and not (place == count - 1 and items[place].text == "<REST>"):
            writer.pieces.append(Piece("<REST>", (Slot("REST", _written(items[place:])),)))
            break
        item = items[place]
        place += 1
        if item.kind == "word":
            if item.text == "{" and writer._key in _BLOCKS:  # a PowerShell script block
                end = next((i for i in range(place, count) if items[i].text == "}"), count - 1) + 1
                block = _written(items[place - 1 : end])
                writer.pieces.append(Piece("<CODE>", (Slot("CODE", block),)))
                place = end
                continue
            key = writer._key
            if key in DISTINCT and (writer._options or key[:4] != "git ") and _is_last_word(items, place - 1):
                writer._collapse_from = len(writer.pieces)
            writer.word(item.text)
            if item.glued and len(writer.pieces) > 0:
                writer.pieces[-1] = writer.pieces[-1]._replace(tight_left=True)
        elif item.kind == "redirect":
            target = None
            if place < count and items[place].kind == "word":
                target = items[place].text
                place += 1
            writer.redirect(item.text, target)
        elif item.kind == "substitution":
            writer.substitution(item)
        else:
            writer.pieces.append(Piece(item.text, item.slots))
            writer._collapse_from = len(writer.pieces)
    writer.close()
    return writer.pieces


def write_words(items: list[Item]) -> list[Piece]:
    """Return the parts for words that are no command: the list of a ``for``, the patterns of a ``case``."""
    pieces: list[Piece] = []
    for item in items:
        part = piece(item.text) if item.kind == "word" else Piece(item.text, item.slots)
        if (
            pieces
            and part.slots
            and len(part.slots) == 1
            and pieces[-1].text == part.text
            and len(pieces[-1].slots) == 1
        ):
            kind, value = pieces[-1].slots[0]
            pieces[-1] = Piece(part.text, (Slot(kind, f"{value} {part.slots[0].value}"),))
        else:
            pieces.append(part)
    return pieces
