"""Files: written whole or not at all, changed by one process at a time, known by their content.

What is being written stands beside its place as a part that names its process; parts of processes
that are no more are swept away.
"""

import contextlib
import errno
import hashlib
import os
import platform
import re
import shutil
import tempfile
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

import filelock
import psutil

NO_LOCKS = (errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS)
PATIENCE = 10.0  # seconds: what a process that was told to end may still need
_HOST = re.sub(r"[^A-Za-z0-9]", "-", platform.node())[:16]
_OWNED = re.compile(r"(?:\.(?P<of>.+)\.|gahb-)(?P<pid>\d+)@(?P<host>[A-Za-z0-9-]*)[._]")


class Locked(TimeoutError):
    """What is asked for is being made by another process, which the message names."""


def make_owner() -> str:
    """Return what names this process on this machine, such as "4711@laptop"."""
    return f"{os.getpid()}@{_HOST}"


def make_part(path: Path) -> Path:
    """Return where this process writes what is to become `path`: hidden, beside it."""
    return path.with_name(f".{path.stem}.{make_owner()}.part{path.suffix}")


@contextlib.contextmanager
def atomic_write(path: Path, sync: bool = True) -> Iterator[Path]:
    """Yield a part to write, which takes the place of `path` at the end, or is removed.

    Args:
        path: the file; its folder is made.
        sync: wait until the disk has it.

    Raises:
        OSError: where it cannot be written (a full disk), naming `path`.
    """
    part = make_part(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield part
        if sync:
            with part.open("rb+") as file:
                os.fsync(file.fileno())
        part.replace(path)
    except OSError as error:
        ours = error.filename in (None, str(part)) and (error.errno or type(error) is OSError)
        if not ours:
            raise
        reason = error.strerror or str(error)
        raise OSError(error.errno or 0, f"could not be written: {reason}", str(path)) from error
    finally:
        with contextlib.suppress(OSError):  # it was moved, or its folder is not there
            part.unlink()


def write_safely(path: Path, content: bytes | str, sync: bool = True) -> None:
    """Write a file so that a reader finds the old one or the new one, never half of it.

    Raises:
        OSError: where it cannot be written (a full disk), naming `path`.
    """
    with atomic_write(path, sync) as part:
        part.write_bytes(content.encode() if isinstance(content, str) else content)


def write_if_changed(path: Path, content: bytes) -> bool:
    """Return whether `path` had to be written; one that already holds `content` is not touched."""
    if path.is_file() and path.read_bytes() == content:
        return False
    write_safely(path, content, sync=False)
    return True


def cache_folder() -> Path:
    """Return the user's cache folder of this library; of who has no home, one among temporaries."""
    if cache := os.environ.get("XDG_CACHE_HOME"):
        return Path(cache) / "gahb"
    try:
        return Path.home() / ".cache" / "gahb"
    except RuntimeError:  # neither HOME nor an entry among the users
        return Path(tempfile.gettempdir()) / f"gahb-cache-{os.getuid()}"


def hash_files(paths: Iterable[Path], root: Path) -> str:
    """Return the SHA-256 of the names (relative to `root`) and contents of `paths`, in hex."""
    digest = hashlib.sha256()
    for path in sorted(paths):
        content = hashlib.sha256(path.read_bytes()).hexdigest()
        digest.update(f"{os.path.relpath(path, root)} {content}\n".encode())
    return digest.hexdigest()


def _is_dead(name: str) -> bool:
    """Return whether a name is of a part, or a temporary folder, of a process that is no more."""
    found = _OWNED.match(name)
    if found is None or found["host"] != _HOST:
        return False
    return not psutil.pid_exists(int(found["pid"]))


def remove_orphans(folder: Path) -> list[Path]:
    """Remove the parts and temporary folders that dead processes of this machine left in `folder`.

    Returns what was removed.
    """
    dead = [p for p in folder.iterdir() if _is_dead(p.name)] if folder.is_dir() else []
    for path in dead:
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)
    return dead


@contextlib.contextmanager
def lock(path: Path, what: str, patience: float = PATIENCE) -> Iterator[None]:
    """Hold the lock `path`; it ends with the block, or with the process, however that ends.

    Args:
        path: of the lock, a file that stays; `<stem>.holder` beside it says who holds it.
        what: is locked, for the message.
        patience: seconds to wait for it.

    Raises:
        Busy: where another process keeps it for longer, naming that process.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    held, holder = filelock.FileLock(path), path.with_suffix(".holder")
    try:
        held.acquire(timeout=patience, poll_interval=0.05)
    except filelock.Timeout:
        who = holder.read_text(encoding="utf-8") if holder.is_file() else "another process"
        raise Locked(f"{what} is being made by {who}: wait for it, or end that process") from None
    except OSError as error:
        if error.errno not in NO_LOCKS:
            raise
        raise OSError(
            error.errno,
            "locks do not work on this file system, as on some that come over a network; work on a "
            f"copy of the clone on a local disk ({error.strerror})",
            str(path),
        ) from error
    try:
        since = time.strftime("%Y-%m-%d %H:%M:%S")
        pid, host = os.getpid(), platform.node()
        holder.write_text(f"process {pid} on {host} (since {since})", encoding="utf-8")
        yield
    finally:
        with contextlib.suppress(OSError):
            holder.unlink()
        held.release()
