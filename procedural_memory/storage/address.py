"""Addresses of memories that a PostgreSQL server keeps: told from file names, taken apart, shown without secrets."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import quote, unquote

from procedural_memory.errors import InvalidInputError

__all__ = ["Address", "file_of", "is_address", "refuse_address", "shown_place"]

_SCHEMES: Final = ("postgresql://", "postgres://")
_SCHEME: Final = re.compile(
    r"\s*(?:[a-z][a-z0-9+.-]+:)*?(?:([a-z][a-z0-9+.-]+)://|(postgres(?:ql)?(?:\+\w+)?):/)", re.IGNORECASE
)
"""How an address begins; what made a path of one of ours took a slash away."""
_SHOWN: Final = ("host", "port", "dbname", "user", "tenant", "project")
"""What is shown of the options; all others may hold what is secret, or lead to it."""
_HOST: Final = re.compile(r"(?:\[[0-9a-fA-F:.%]*\]|[^\[\]:/@\s]*)(?::\d*)?")
_LONGEST: Final = 200


def is_address(path: object) -> bool:
    """Return whether a path is the address of a memory in PostgreSQL."""
    return isinstance(path, str) and path.lower().startswith(_SCHEMES)


def file_of(path: str | None) -> str | None:
    """Return the file that a store is in; None of one in memory or on a server, which have nothing beside them."""
    return None if is_address(path) else path


def shown_place(path: object) -> str:
    """Return a path as it may be shown: a file name as it is, an address without its password."""
    return str(Address.of(path)) if is_address(path) else str(path)


def refuse_address(name: str, path: object) -> None:
    """Raise where a file is wanted and an address is given; it is not shown, for it may hold a password.

    Raises
    ------
    InvalidInputError
    """
    if found := _SCHEME.match(str(path)):
        raise InvalidInputError(
            f"{name}: must be the name of a file, got an address {found[1] or found[2]}://… (the rest is not shown); "
            "a memory on a server is opened by path='postgresql://…', a string"
        )


@dataclass(frozen=True)
class Address:
    """Where a memory is: a database, and in it a tenant and a project.

    Attributes
    ----------
    tenant, project : str
        Together they name the memory. The project "" is what a tenant has beside all projects.
    """

    tenant: str
    project: str
    _uri: str = field(repr=False)
    _shown: str

    @classmethod
    def of(cls, given: Any) -> Address:
        """Take ``postgresql://user:password@host:port/database?tenant=…&project=…`` apart.

        Raises
        ------
        InvalidInputError
            The address is malformed. The message never holds it, for a slip may put the password anywhere.
        """
        text = str(given)
        base, _, query = text.partition("?")
        rest = base.partition("://")[2]
        userinfo, at, place = rest.rpartition("@")  # a password may hold what it must not
        hosts, slash, database = place.partition("/")
        if not all(_HOST.fullmatch(host) for host in hosts.split(",")):
            raise _malformed("has a host or port that is none; write what is special in a password as %XX")
        if "/" in userinfo or "@" in userinfo:
            raise _malformed("has a user or password with '/' or '@' in it: write them as %2F and %40")
        options: dict[str, str] = {}
        kept = []
        for item in filter(None, query.split("&")):
            name, equals, value = item.partition("=")
            if not equals or not re.fullmatch(r"\w+", name):
                raise _malformed("must have options of the form name=value behind the question mark, with & between")
            if name in options:
                raise _malformed(f"must have the option {name} once")
            options[name] = unquote(value)
            if name not in ("tenant", "project"):
                kept.append(item)
        tenant, project = options.get("tenant", "default"), options.get("project", "")
        for name, value in (("tenant", tenant), ("project", project)):
            if len(value) > _LONGEST or not (value.isprintable() or not value) or (name == "tenant" and not value):
                raise _malformed(f"must have a {name} of 1 to {_LONGEST} printable characters")
        user = userinfo.partition(":")[0] + at
        shown = "&".join(f"{name}={quote(options[name], safe='/')}" for name in _SHOWN if name in options)
        return cls(
            tenant,
            project,
            # The client library knows the scheme in small letters alone.
            "?".join(filter(None, (f"postgresql://{rest}", "&".join(kept)))),
            f"postgresql://{user}{hosts}{slash}{database}{'?' if shown else ''}{shown}",
        )

    def __str__(self) -> str:
        return self._shown

    def parameters(self) -> dict[str, Any]:
        """Return what the driver connects with."""
        import psycopg
        from psycopg.conninfo import conninfo_to_dict

        try:
            return dict(conninfo_to_dict(self._uri))
        except psycopg.Error:  # its message may show any part of the address
            raise _malformed("is not understood by PostgreSQL's client library; see its 'Connection URIs'") from None


def _malformed(reason: str) -> InvalidInputError:
    return InvalidInputError(f"path: the address postgresql://… {reason} (the address itself is not shown)")
