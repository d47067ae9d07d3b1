"""The project and the branch that a folder belongs to. Needs the standard library alone."""

from __future__ import annotations

import os
from functools import lru_cache

__all__ = ["branch_of", "project_of"]

_HEAD = "ref: refs/heads/"


@lru_cache(maxsize=4096)
def project_of(cwd: str | None) -> str | None:
    """Return the git root of `cwd`, else `cwd`, else None."""
    if cwd is None:
        return None
    folder = os.path.normpath(cwd)
    if os.path.isabs(folder):
        parent = folder
        while True:
            if os.path.exists(os.path.join(parent, ".git")):
                return parent
            above = os.path.dirname(parent)
            if above == parent:
                break
            parent = above
    return folder


def branch_of(project: str | None) -> str | None:
    """Return the git branch that is checked out in a project, None where that cannot be read at once."""
    if project is None:
        return None
    try:
        with open(os.path.join(project, ".git", "HEAD"), encoding="utf-8") as file:
            head = file.read(1_024).strip()
    except (OSError, ValueError):  # none, or a worktree, whose .git is a file
        return None
    return head[len(_HEAD) :] or None if head.startswith(_HEAD) else None
