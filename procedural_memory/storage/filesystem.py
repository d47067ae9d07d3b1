"""What kind of file system a file lies on. SQLite's write-ahead log wants one that no other machine writes to."""

from __future__ import annotations

import os
import re
from pathlib import Path

__all__ = ["network_file_system"]

_MOUNTS = Path("/proc/self/mountinfo")
_NETWORK = re.compile(
    r"9p|afs|beegfs|ceph|cifs|coda|davfs|gfs2?|glusterfs|gpfs|lustre|ncpfs|nfs4?|ocfs2|orangefs|panfs|pvfs2|smb3|smbfs"
    r"|vboxsf|virtiofs|vmhgfs|fuse\.(ceph|davfs|gcsfuse|glusterfs|goofys|rclone|s3fs|smbnetfs|sshfs|vmhgfs).*"
)
"""Of networks, and of folders that a virtual machine shares with its host."""


def network_file_system(path: str | os.PathLike[str], mounts: Path | None = None) -> str | None:
    """Return the kind of the network file system that a path lies on; None where it is none, or that is not known.

    Parameters
    ----------
    path : str or path
        Need not exist.
    mounts : path, optional
        The list of mounts as Linux writes it; other systems have none.
    """
    try:
        lines = (mounts or _MOUNTS).read_text(encoding="utf-8", errors="surrogateescape").splitlines()
    except OSError:
        return None
    target = Path(os.path.realpath(path))
    longest, kind = -1, ""
    for line in lines:
        before, found, after = line.partition(" - ")
        fields = before.split(" ")
        if not found or len(fields) < 5:
            continue
        point = Path(re.sub(r"\\([0-7]{3})", lambda octal: chr(int(octal[1], 8)), fields[4]))
        # Of mounts on the same place the last one is seen.
        if len(point.parts) >= longest and (target == point or point in target.parents):
            longest, kind = len(point.parts), after.split(" ")[0]
    return kind if _NETWORK.fullmatch(kind) else None
