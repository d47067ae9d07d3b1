"""A private PostgreSQL server from the packages of the system, for tests and measurements."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from uuid import uuid4

__all__ = ["PASSWORD", "Missing", "PostgresServer", "running"]

PASSWORD = "Tr0ub4dor-and-3"
"""Of the role ``guarded``, the one that has to tell a password."""


class Missing(Exception):
    """There is no PostgreSQL here that could be started."""


def _programs() -> Path:
    found = shutil.which("initdb")
    if found is not None:
        return Path(found).resolve().parent
    folders = [path for path in Path("/usr/lib/postgresql").glob("*/bin") if (path / "initdb").exists()]
    if not folders:
        raise Missing("no PostgreSQL server to test with (on Debian: apt install postgresql)")
    return max(folders, key=lambda path: int(path.parent.name))


def _as_other() -> tuple[list[str], int, int]:
    """Return what runs a command as a user that PostgreSQL runs as; it refuses to be root."""
    if os.geteuid() != 0:
        return [], os.geteuid(), os.getegid()
    for name in ("postgres", "nobody"):
        with suppress(KeyError):
            user = pwd.getpwnam(name)
            if shutil.which("setpriv"):
                ids = [f"--reuid={user.pw_uid}", f"--regid={user.pw_gid}", "--clear-groups"]
                return ["setpriv", *ids], user.pw_uid, user.pw_gid
    raise Missing("PostgreSQL refuses to run as root, and no other user (setpriv, postgres or nobody) is at hand")


class PostgresServer:
    """A server on a Unix socket in a folder of its own.

    The database ``memories`` belongs to ``keeper``, a role that is no superuser, so that policies hold for it.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._programs = _programs()
        self._as, user, group = _as_other()
        os.chown(folder, user, group)
        # By the rules of a language: whoever wants the order of bytes has to say so.
        language = ["--locale=C.UTF-8", "--locale-provider=icu", "--icu-locale=en"]
        for options in (language, ["--locale=C.UTF-8"]):
            with suppress(subprocess.CalledProcessError):
                self._run("initdb", "-D", "data", "-U", "root", "-A", "trust", "-E", "UTF8", "--no-sync", *options)
                break
        else:
            raise Missing("initdb failed")
        (folder / "data" / "pg_hba.conf").write_text("local all guarded scram-sha-256\nlocal all all trust\n")
        with open(folder / "data" / "postgresql.conf", "a", encoding="ascii") as file:
            # The machine does not fail, only processes do: nothing has to reach the disk.
            file.write(
                f"listen_addresses = ''\nunix_socket_directories = '{folder}'\nfsync = off\nmax_connections = 60\n"
            )
        self.start()
        self.query("CREATE ROLE keeper LOGIN")
        self.query("CREATE DATABASE memories OWNER keeper")

    def _run(self, program: str, *arguments: str) -> None:
        # What runs on must not keep the pipes of a test open.
        with open(self.folder / "log", "ab") as log:
            subprocess.run(
                [*self._as, str(self._programs / program), *arguments],
                cwd=self.folder,
                stdout=log,
                stderr=log,
                check=True,
                timeout=60,
                env={"PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8"},
            )

    def start(self) -> None:
        """Start it."""
        self._run("pg_ctl", "-D", "data", "-w", "-l", "server.log", "start")

    def kill(self) -> None:
        """End all its processes at once: as after a crash, nothing is put in order."""
        self._run("pg_ctl", "-D", "data", "-m", "immediate", "stop")

    def query(self, sql: str, database: str = "postgres", user: str = "root", **settings: str) -> list[Any]:
        """Execute a statement by itself, and return its rows."""
        import psycopg

        where: dict[str, Any] = {"host": str(self.folder), "dbname": database, "user": user}
        with psycopg.connect(**where, autocommit=True) as db:
            for name, value in settings.items():
                db.execute("SELECT set_config(%s, %s, false)", (name.replace("__", "."), value))
            cursor = db.execute(sql)
            return list(cursor.fetchall()) if cursor.description else []

    def address(self, tenant: str | None = None, project: str = "", user: str = "keeper", rest: str = "") -> str:
        """Return the address of a memory; of one that nobody has used unless a tenant is given."""
        tenant = tenant or f"t{uuid4().hex[:12]}"
        return f"postgresql://{user}@/memories?host={self.folder}&tenant={tenant}&project={project}{rest}"


@contextmanager
def running() -> Iterator[PostgresServer]:
    """Run a server; it and all it kept is gone afterwards.

    Raises
    ------
    Missing
        None can be run here.
    """
    # Short: the path of a socket may have about a hundred characters.
    with tempfile.TemporaryDirectory(prefix="pg-", dir="/tmp") as folder:
        server = PostgresServer(Path(folder))
        try:
            yield server
        finally:
            with suppress(subprocess.CalledProcessError):
                server.kill()
