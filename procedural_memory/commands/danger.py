"""Which command lines can lose data or take a machine down.

A line is destructive when a slip in it is hard to take back: recursive or wildcard deletion, discarded work, rewritten
history, dropped tables, wiped disks, deleted infrastructure, a machine switched off. ``rm notes.txt`` is not: removing
a file one names is an everyday step, and a mark on every line is read by nobody. The mark is for showing, never for
blocking.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache
from typing import Final, NamedTuple

from procedural_memory.commands.parse import tokens
from procedural_memory.commands.plain import plain_commands, plain_items
from procedural_memory.commands.scan import Kind
from procedural_memory.commands.shapes import PLACEHOLDER, unquote
from procedural_memory.commands.tables import WRAPPERS

__all__ = ["DANGER_RULES", "DangerRule", "is_destructive"]

_MAX_READ: Final = 65_536
_MAX_WORDS: Final = 256
# Some rules hold two "any words" in a row and so are quadratic in the length of what they read.
_MAX_LINE: Final = 2_048
_MAX_DEPTH: Final = 3


class DangerRule(NamedTuple):
    """One way to lose something.

    Attributes
    ----------
    name : str
    pattern : str
        Matched from the start of a simple command, wrappers such as sudo taken off, words joined by one space. The
        first two letters of each program stand in it as they are.
    example, look_alike : str
        A command that must match and one that must not.
    """

    name: str
    pattern: str
    example: str
    look_alike: str


# Any words before the ones that matter, and a short flag that may stand in a cluster.
_ANY: Final = r" (?:.* )?"


def _short(letter: str) -> str:
    return rf"-(?!-)[A-Za-z]*{letter}[A-Za-z]*(?= |$)"


DANGER_RULES: Final = (
    DangerRule("recursive delete", rf"rm{_ANY}(?:{_short('[rR]')}|--recursive)", "rm -rf build", "rm notes.txt"),
    DangerRule("rimraf", r"rimraf(?= .)", "npx rimraf dist", "npm install rimraf"),
    DangerRule(
        "recursive delete in code",
        r"(?:python[\d.]*|node|ruby|perl) (?:.* )?-\w*[ce] .*(?:rmtree\(|rm_rf\b|rmSync\(|remove_tree\()",
        "python -c \"import shutil; shutil.rmtree('x')\"",
        "python -c 'print(1)'",
    ),
    DangerRule("delete by wildcard", r"rm (?:.*[ /])?(?:\S*[*?]\S*|<GLOB>)(?: |$)", "rm -f *", "rm a.txt"),
    DangerRule("delete the root", rf"rm{_ANY}(?:/|~|\$HOME|/\*)(?: |$)", "rm -f /", "rm /tmp/x.txt"),
    DangerRule("delete what find finds", rf"find{_ANY}-delete\b", "find . -name '*.o' -delete", "find . -name delete"),
    DangerRule(
        "delete in find",
        rf"find{_ANY}-exec(?:dir)? (?:\S*/)?(?:rm|shred|unlink)\b",
        r"find . -exec rm {} \;",
        "find . -exec cat {} +",
    ),
    DangerRule("shred", r"(?:shred|wipe|srm|sdelete)(?= .)", "shred -u key.pem", "shred"),
    DangerRule(
        "Windows delete",
        r"(?i:(?:del|erase|rd|rmdir)\b.* /[sq]\b|Remove-Item\b.* -(?:Recurse|Force)\b|ri\b.* -r|"
        r"(?:Format-Volume|Clear-Disk|Initialize-Disk)\b)",
        "Remove-Item x -Recurse",
        "Remove-Item a.txt",
    ),
    DangerRule(
        "rsync --delete",
        rf"rsync(?!{_ANY}{_short('n')}){_ANY}--(?:delete\S*|remove-source-files)",
        "rsync -a --delete a/ b/",
        "rsync -a a/ b/",
    ),
    DangerRule(
        "discard local work",
        rf"git{_ANY}reset{_ANY}--(?:hard|merge)\b",
        "git reset --hard HEAD~1",
        "git reset HEAD a.py",
    ),
    DangerRule(
        "delete untracked files",
        rf"git{_ANY}clean(?!{_ANY}{_short('n')}){_ANY}(?:{_short('f')}|--force)",
        "git clean -fdx",
        "git clean -n",
    ),
    DangerRule(
        "rewrite a remote",
        rf"git{_ANY}push{_ANY}(?:--force(?!-if)\S*|{_short('f')}|--mirror|--delete|-d|\+\S+|:\S+)",
        "git push --force",
        "git push origin main",
    ),
    DangerRule(
        "throw changes away",
        r"git (?:-\S+ \S+ )*(?:checkout (?:.* )?(?:-f|--force|-- \S|\.(?: |$))|restore "
        r"(?!.*--staged(?!.*--worktree))\S)",
        "git checkout -- .",
        "git checkout main",
    ),
    DangerRule(
        "switch discarding changes",
        rf"git{_ANY}switch{_ANY}(?:-f|--force|--discard-changes)\b",
        "git switch -f main",
        "git switch main",
    ),
    DangerRule(
        "throw changes away elsewhere",
        r"(?:svn|hg|jj|bzr) (?:.* )?(?:revert (?:.* )?(?:-R|--recursive|--all|-a)|(?:update|up|co|checkout) (?:.* )?"
        r"(?:-C|--clean)|purge|strip)(?= |$)",
        "hg update --clean",
        "hg update",
    ),
    DangerRule(
        "delete a branch",
        r"git (?:-\S+ \S+ )*branch (?:.* )?(?:-D|--delete --force|-d -f|-[a-z]*D)\b",
        "git branch -D old",
        "git branch -d merged",
    ),
    DangerRule("drop a stash", r"git (?:-\S+ \S+ )*stash (?:drop|clear)\b", "git stash clear", "git stash pop"),
    DangerRule(
        "rewrite history",
        r"git (?:-\S+ \S+ )*(?:filter-branch|filter-repo|reflog expire|update-ref -d|gc (?:.* "
        r")?--prune=(?:now|all)|worktree remove (?:.* )?(?:-f|--force))",
        "git filter-branch --all",
        "git reflog",
    ),
    DangerRule(
        "delete repository",
        r"(?:gh|glab|hub) (?:repo|release|issue|secret|run|codespace|gist|cache|project) delete\b",
        "gh repo delete x/y",
        "gh repo view x/y",
    ),
    DangerRule("write to a disk", r"dd (?:.* )?of=", "dd if=a.iso of=/dev/sdb", "dd if=/dev/sda"),
    DangerRule(
        "make a file system",
        r"(?:mkfs(?:\.\w+)?|mke2fs|mkswap|wipefs|blkdiscard|sgdisk|sfdisk|cfdisk|newfs|format|"
        r"diskpart)(?= .)",
        "mkfs.ext4 /dev/sdb1",
        "mkfs",
    ),
    DangerRule(
        "partition",
        r"(?:fdisk|parted|gdisk) (?!-l|--list|-s |print)(?:.* )?/dev/",
        "fdisk /dev/sda",
        "fdisk -l /dev/sda",
    ),
    DangerRule(
        "erase a disk",
        rf"diskutil{_ANY}(?:erase\w*|partitionDisk|zeroDisk|secureErase|apfs delete\w*)",
        "diskutil eraseDisk JHFS+ x disk2",
        "diskutil list",
    ),
    DangerRule(
        "volumes",
        r"(?:lvremove|vgremove|pvremove|zpool destroy|zfs destroy|mdadm (?:.* )?--(?:zero-superblock|"
        r"stop)|cryptsetup (?:.* )?(?:luksFormat|erase|luksErase)|btrfs subvolume delete)(?= |$)",
        "lvremove vg/lv",
        "lvs",
    ),
    DangerRule("empty a file", rf"truncate{_ANY}(?:-s|--size)(?![ =]?\+)", "truncate -s 0 app.log", "truncate --help"),
    DangerRule(
        "open or take the whole tree",
        rf"(?:chmod|chown|chgrp){_ANY}(?:{_short('R')}|--recursive){_ANY}(?:/|~|/\*|/(?:etc|usr|var|"
        rf"bin|lib|home|boot|opt)/?)(?= |$)",
        "chmod -R 777 /",
        "chmod -R u+w build",
    ),
    DangerRule(
        "world-writable tree",
        rf"chmod{_ANY}(?:{_short('R')}|--recursive) 0?(?:777|000)(?= )",
        "chmod -R 777 site",
        "chmod 755 run.sh",
    ),
    DangerRule("move away into nothing", r"mv (?:.* )?/dev/null$", "mv a.txt /dev/null", "mv a.txt b.txt"),
    DangerRule(
        "switch off",
        r"(?:shutdown|poweroff|halt|reboot)(?! (?:--help|-h$))(?= |$)|(?:init|telinit) [06]\b|"
        r"systemctl (?:.* )?(?:poweroff|reboot|halt|kexec|rescue|emergency)\b|Stop-Computer|"
        r"Restart-Computer",
        "shutdown -h now",
        "systemctl restart nginx",
    ),
    DangerRule(
        "kill everything",
        r"kill (?:.* )?(?:-9|-KILL|-SIGKILL) (?:.* )?(?:-1|1)$|killall5|pkill (?:.* )?(?:-u|-U) ",
        "kill -9 -1",
        "kill -9 4242",
    ),
    DangerRule("users", r"(?:userdel|deluser|groupdel|delgroup)(?= .)", "userdel -r bob", "useradd bob"),
    DangerRule("crontab", r"crontab (?:.* )?-[a-z]*r", "crontab -r", "crontab -l"),
    DangerRule("shell history", r"history (?:.* )?-c(?= |$)", "history -c", "history"),
    DangerRule(
        "topics", r"kafka-topics(?:\.sh)? (?:.* )?--delete\b|rpk topic delete", "rpk topic delete x", "rpk topic list"
    ),
    DangerRule(
        "firewall",
        r"ip6?tables (?:.* )?(?:-F|--flush|-X)(?= |$)|nft flush ruleset|ufw (?:--force )?reset",
        "iptables -F",
        "iptables -L",
    ),
    DangerRule(
        "Terraform",
        r"(?:terraform|tofu|terragrunt)(?: \S+)*? (?:destroy|apply (?:.* )?-destroy|state rm|"
        r"workspace delete|force-unlock|run-all destroy)(?= |$)",
        "terraform destroy",
        "terraform plan",
    ),
    DangerRule(
        "Pulumi and others",
        r"(?:pulumi (?:.* )?(?:destroy|stack rm)|cdk (?:.* )?destroy|serverless remove|sls remove|sam "
        r"delete|copilot app delete|vagrant destroy|multipass (?:delete|purge)|eksctl delete|kops "
        r"delete|kind delete|minikube delete|k3d cluster delete|doctl (?:.* )?delete)(?= |$)",
        "pulumi destroy",
        "pulumi preview",
    ),
    DangerRule(
        "Kubernetes",
        r"(?:kubectl|oc|k) (?:.* )?(?:delete|drain|replace (?:.* )?--force)(?= |$)",
        "kubectl delete pod x",
        "kubectl get pods",
    ),
    DangerRule("Helm", r"helm (?:.* )?(?:uninstall|delete|del|un)(?= |$)", "helm uninstall x", "helm list"),
    DangerRule(
        "Docker prune", r"(?:docker|podman|nerdctl) (?:.* )?prune\b", "docker system prune -af", "docker system df"
    ),
    DangerRule(
        "Docker volumes",
        r"(?:docker|podman|nerdctl)(?:[ -]compose)? (?:.* )?(?:volume rm|down (?:.* )?(?:-v|"
        r"--volumes)|rm (?:.* )?(?:-[a-z]*f[a-z]*|--force|-[a-z]*v)|rmi (?:.* )?(?:-f|--force)|swarm "
        r"leave (?:.* )?--force)(?= |$)",
        "docker compose down -v",
        "docker compose down",
    ),
    DangerRule(
        "AWS",
        r"aws (?:.* )?(?:s3 rb|s3 rm (?:.* )?--recursive|s3 sync (?:.* )?--delete|\S+ (?:delete|"
        r"terminate|deregister|purge)-\S+)",
        "aws s3 rm s3://b --recursive",
        "aws s3 ls",
    ),
    DangerRule(
        "other clouds",
        r"(?:gcloud|az|oci|ibmcloud|linode-cli|hcloud|scw|heroku|fly|flyctl|vercel|netlify|firebase|"
        r"supabase|wrangler|gsutil|bq)\b(?:.* |.*[:-])(?:delete|destroy|purge|remove|rb|"
        r"firestore:delete|apps:destroy|pg:reset|db reset)(?= |$)|gsutil (?:.* )?rm (?:.* )?-r|bq "
        r"(?:.* )?rm(?= )",
        "gcloud compute instances delete x",
        "gcloud compute instances list",
    ),
    DangerRule(
        "Vault and secrets",
        r"(?:vault (?:kv (?:delete|destroy|metadata delete)|delete|secrets disable)|consul kv delete|"
        r"etcdctl del|nomad job stop (?:.* )?-purge)(?= |$)",
        "vault kv delete secret/x",
        "vault kv get secret/x",
    ),
    DangerRule(
        "databases from the shell",
        r"(?:dropdb|dropuser|mysqladmin (?:.* )?drop|pg_dropcluster|pg_resetwal|influx (?:.* "
        r")?delete)(?= |$)",
        "dropdb shop",
        "createdb shop",
    ),
    DangerRule(
        "empty a cache",
        r"(?:redis-cli|valkey-cli)(?: -\S+(?: [^\s-]\S*)?)* (?i:(?:flushall|flushdb)\b|(?:del|unlink|debug) )",
        "redis-cli FLUSHALL",
        "redis-cli GET x",
    ),
    DangerRule(
        "framework resets",
        r"(?:python[\d.]* )?(?:\S*/)?(?:manage\.py|django-admin) (?:flush|reset_db|sqlflush)|"
        r"(?:rails|rake|bin/rails) db:(?:drop|"
        r"reset|purge|schema:load|migrate:reset)|(?:artisan|php artisan) (?:migrate:fresh|"
        r"migrate:reset|db:wipe)|prisma (?:migrate reset|db push (?:.* )?--force-reset)|(?:alembic|"
        r"flask db) downgrade|(?:sequelize|typeorm|knex|mix|supabase|dbmate|goose)\b.*(?:drop|"
        r"rollback:all|db:reset|db reset|ecto\.(?:drop|reset)|down-to)\b",
        "rails db:drop",
        "rails db:migrate",
    ),
    DangerRule(
        "published packages",
        r"(?:npm|pnpm|yarn) (?:.* )?(?:unpublish|deprecate)\b|cargo yank|gem yank",
        "npm unpublish x",
        "npm publish",
    ),
    DangerRule(
        "remove system packages",
        r"(?:apt|apt-get|aptitude|dnf|yum|zypper) (?:.* )?(?:purge|autoremove|remove|erase)\b|pacman "
        r"-R\S*|brew (?:uninstall|remove) (?:.* )?(?:--force|--zap)|snap remove",
        "apt purge nginx",
        "apt install nginx",
    ),
    DangerRule(
        "remove an environment",
        r"(?:conda|mamba|micromamba) (?:env remove|remove (?:.* )?--all)|pyenv uninstall|rustup "
        r"(?:self uninstall|toolchain uninstall)",
        "conda env remove -n x",
        "conda env list",
    ),
    DangerRule(
        "virtual machines",
        r"virsh (?:destroy|undefine|vol-delete|pool-delete)|VBoxManage (?:unregistervm (?:.* "
        r")?--delete|closemedium (?:.* )?--delete)|qm destroy|lxc delete|adb (?:.* )?(?:uninstall|"
        r"shell (?:pm clear|wipe))|fastboot (?:.* )?(?:erase|format|-w|flashing)",
        "virsh undefine vm1",
        "virsh list",
    ),
    DangerRule(
        "remove backups",
        r"(?:restic|borg|kopia|duplicity) (?:.* )?(?:forget|prune|delete|remove-all-but-n-full|"
        r"snapshot delete)(?= |$)|rclone (?:.* )?(?:purge|delete|sync|cleanup)(?= |$)",
        "restic forget --prune",
        "restic snapshots",
    ),
    DangerRule(
        "Mongo",
        r"mongo\w*\b.*\.(?:drop(?:Database|Index(?:es)?)?|deleteMany|remove)\(",
        "mongosh --eval 'db.dropDatabase()'",
        "mongosh --eval 'db.x.find()'",
    ),
)
"""Rules by what a simple command says."""


@lru_cache(maxsize=1_024)
def _rules_for(letters: str) -> re.Pattern[str]:
    """Return the rules for programs that begin with two letters, in lower case: those that hold these letters.

    To compile all of them takes as long as a prediction.
    """
    patterns = [f"(?:{rule.pattern})" for rule in DANGER_RULES if letters in rule.pattern.lower()]
    return re.compile("|".join(patterns) or r"(?!)", re.DOTALL)


# A statement of its own, or one of several that a database client is given.
_STATEMENT: Final = (
    r"(?:(?:alter\s+table\s+\S+\s+)?drop\s+(?:table|database|schema|view|index|column|user|role|owned|collection)\b"
    r"|truncate\s+(?:table\s+)?[a-z_\"`]\w*\s*(?:;|$|cascade)|delete\s+from\s+[\w.\"`]+\s*(?:;|$|['\"])"
    r"|update\s+[\w.\"`]+\s+set\s(?![^;]*\bwhere\b))"
)
_SQL: Final = re.compile(_STATEMENT, re.IGNORECASE)
_GIVEN_SQL: Final = re.compile(rf"(?:.*[\s;\"'(])?{_STATEMENT}", re.IGNORECASE | re.DOTALL)
_SQL_CLIENTS: Final = frozenset(
    [
        "psql",
        "mysql",
        "mariadb",
        "sqlite3",
        "sqlcmd",
        "duckdb",
        "clickhouse-client",
        "cockroach",
        "snowsql",
        "bq",
        "mycli",
        "pgcli",
    ]
)
_SHELLS: Final = frozenset(
    ["bash", "sh", "zsh", "dash", "fish", "ksh", "eval", "ssh", "su", "pwsh", "powershell", "cmd"]
)
_CLUSTERS: Final = frozenset(["kubectl", "oc", "k"])
# Commands that write nothing: a redirection of theirs empties the file.
_NOTHING: Final[tuple[list[str], ...]] = ([], [":"], ["true"], ["cat", "/dev/null"])
_TRIED_ONLY: Final = re.compile(r"--help|--dry-?run(?:=.*)?|-WhatIf", re.IGNORECASE)
_DISK: Final = re.compile(r"/dev/(?:sd|hd|vd|xvd|nvme|mmcblk|disk|rdisk|mem|kmem|loop)\w*")
_FORK_BOMB: Final = re.compile(r"(\w{1,20}|:)\s?\(\)\s?\{\s?\1\s?\|\s?\1\s?&\s?\}\s?;\s?\1")
_ASSIGNMENT: Final = re.compile(r"[A-Za-z_]\w*\+?=")


def _hidden(match: re.Match[str]) -> str:
    return f"x{match.group(1)}x"


class _Simple(NamedTuple):
    """A simple command."""

    words: list[str]
    """Unquoted. A redirection that wipes a disk or empties a file is the command ``>``."""
    given: str = ""
    """What it reads: a here-document, a here-string, what ``echo`` says before a pipe."""


def _parts(source: str) -> Iterator[tuple[Kind, str]]:
    """Yield the parts of a line, each with its kind; the grammar is loaded for lines alone that are not plain."""
    commands = None if "<<" in source else plain_commands(source)
    if commands is None:
        hidden = PLACEHOLDER.sub(_hidden, source)
        yield from ((kind, source[start:end]) for kind, start, end in tokens(hidden))
        return
    for command, operator in commands:
        for item in plain_items(command):
            yield Kind.WORD if item.kind == "word" else Kind.REDIRECT, item.text
        if operator:
            yield Kind.OPERATOR, operator


def _simple_commands(source: str) -> Iterator[_Simple]:
    """Yield each simple command."""
    words: list[str] = []
    stack: list[list[str]] = []
    redirect = given = emptied = ""
    for kind, text in _parts(source):
        if kind is Kind.WORD:
            word = unquote(text)
            if not redirect:
                words.append(word)
            elif redirect == "<<<":
                given = word
            elif ">" in redirect:
                if _DISK.match(word):
                    yield _Simple([">", word])
                if redirect in (">", ">|") and not word.startswith("/dev/"):
                    emptied = word
            redirect = ""
            continue
        redirect = text if kind is Kind.REDIRECT else ""
        if kind is Kind.OPEN:
            stack.append(words)
            words = []
        elif kind is not Kind.REDIRECT and kind is not Kind.COMMENT:
            if kind is Kind.HEREDOC:
                given = text
            yield _Simple([">", emptied] if emptied and words in _NOTHING else words, given)
            given = " ".join(words[1:]) if text in ("|", "|&") and words[:1] in (["echo"], ["printf"]) else ""
            emptied = ""
            words = stack.pop() if kind is Kind.CLOSE and stack else []
    yield _Simple([">", emptied] if emptied and words in _NOTHING else words, given)
    for words in stack:
        yield _Simple(words)


def _inner(words: list[str]) -> list[str]:
    """Return a simple command without assignments and the programs that only run another."""
    while words:
        if _ASSIGNMENT.match(words[0]):
            words = words[1:]
            continue
        name = words[0].rpartition("/")[2]
        wrapper, length = WRAPPERS.get(name), 1
        for more in (2, 3):
            if len(words) >= more and (longer := WRAPPERS.get(" ".join((name, *words[1:more])))) is not None:
                wrapper, length = longer, more
        if wrapper is None or len(words) == length:
            return [name, *words[1:]]
        place = length
        while place < len(words) and words[place].startswith("-"):
            place += 2 if words[place] in wrapper.valued else 1
        inner = words[place + len(wrapper.operands) :]
        if not inner:
            return [name, *words[1:]]
        words = inner
    return words


@lru_cache(maxsize=4_096)
def is_destructive(command: str) -> bool:
    """Whether a command line, or a template, can lose data or take a machine down. Never raises on a `str`.

    It is seen through sudo, env, pipes, lists, xargs, ``bash -c`` and ssh. Only the first 64 k characters are read.
    """
    return _destructive(command[:_MAX_READ], 0)


def _destructive(command: str, depth: int) -> bool:
    if _FORK_BOMB.search(command) or _SQL.match(command):
        return True
    for written, given in _simple_commands(command.replace("\x00", " ")):
        words = _inner(written[:_MAX_WORDS])
        if not words or any(_TRIED_ONLY.fullmatch(word) for word in words[1:]):
            continue
        program = words[0]
        if program == ">" or (program == "rm" and written[0] in ("xargs", "parallel")):
            return True
        if program in _SHELLS and depth < _MAX_DEPTH:
            if any(_destructive(word, depth + 1) for word in (*words[1:], given) if " " in word):
                return True
            if program == "ssh" and _destructive(" ".join(words[2:]), depth + 1):
                return True
        inner = words[words.index("--") + 1 :] if program in _CLUSTERS and "--" in words else ()
        if inner and depth < _MAX_DEPTH and _destructive(" ".join(inner), depth + 1):
            return True
        if program in _SQL_CLIENTS and any(_GIVEN_SQL.match(word[:_MAX_LINE]) for word in (*words[1:], given)):
            return True
        # A blank within a word separates nothing.
        line = " ".join(word.replace(" ", "\x1f") for word in words)[:_MAX_LINE]
        if _rules_for(program[:2].lower()).match(line):
            return True
    return False
