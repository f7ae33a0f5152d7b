"""Files: whole or not at all, one process at a time, and nothing left of the dead."""

import contextlib
import os
import resource
import signal
import subprocess
import sys

import numpy as np
import pytest

from gahb_core.files import (
    Locked,
    atomic_write,
    hash_files,
    lock,
    make_part,
    remove_orphans,
    write_if_changed,
    write_safely,
)


@contextlib.contextmanager
def full_disk():
    """In this block no file may grow beyond 4 kB: more is an OSError, as on a full disk.

    A block and no fixture: pytest reports before it tears down, and its report may be a file.
    """
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)


def _dead_process():
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


@pytest.mark.parametrize("old", [None, "old"])
def test_a_full_disk_is_named_and_nothing_is_left(tmp_path, old):
    path = tmp_path / "a" / "net.safetensors"
    if old:
        write_safely(path, old)
    match = r"could not be written: File too large.*net.safetensors"
    with pytest.raises(OSError, match=match), full_disk():
        write_safely(path, b"x" * 10_000)
    assert [p.read_text() for p in path.parent.iterdir()] == ([old] if old else [])


def test_a_full_disk_of_numpy_is_named_too(tmp_path):
    path = tmp_path / "faces.npz"
    noise = np.random.default_rng(0).integers(0, 255, 10_000, np.uint8)
    match = r"could not be written: .*faces.npz"
    with pytest.raises(OSError, match=match), full_disk(), atomic_write(path) as part:
        np.savez_compressed(part, images=noise)
    assert list(tmp_path.iterdir()) == []


def test_errors_of_other_files_are_left_as_they_are(tmp_path):
    with (
        pytest.raises(FileNotFoundError, match="elsewhere"),
        atomic_write(tmp_path / "a"),
    ):
        (tmp_path / "elsewhere").read_bytes()
    with pytest.raises(UnicodeEncodeError), atomic_write(tmp_path / "a") as part:
        part.write_text("half \ud800")
    assert list(tmp_path.iterdir()) == []


def test_two_processes_have_parts_of_their_own(tmp_path):
    code = "import sys, pathlib; from gahb_core.files import make_part; "
    code += "print(make_part(pathlib.Path(sys.argv[1])).name)"
    path = tmp_path / "faces_64.npz"
    command = [sys.executable, "-c", code, str(path)]
    names = {subprocess.check_output(command, text=True).strip() for _ in range(2)}
    names.add(make_part(path).name)
    assert len(names) == 3
    assert all(n.startswith(".faces_64.") and n.endswith(".part.npz") for n in names)


def test_parts_and_folders_of_the_dead_are_swept_and_no_others(tmp_path):
    own = make_part(tmp_path / "a.json")
    dead = str(_dead_process())
    pid = str(os.getpid())
    gone = [own.name.replace(pid, dead), f"gahb-{dead}@{own.name.split('@')[1][:-10]}_x1"]
    kept = [own.name, own.name.replace("@", "@elsewhere-").replace(pid, dead), "a.json", "gahb-1"]
    for name in (gone[0], *kept):
        (tmp_path / name).touch()
    (tmp_path / gone[1] / "deep").mkdir(parents=True)
    assert sorted(p.name for p in remove_orphans(tmp_path)) == sorted(gone)
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted(kept)
    assert remove_orphans(tmp_path / "nowhere") == []


HOLD = """
import sys, pathlib, time
from gahb_core.files import lock
with lock(pathlib.Path(sys.argv[1]), "page a"):
    print("held", flush=True)
    time.sleep(60)
"""


def test_a_lock_names_its_holder_and_ends_with_it(tmp_path):
    path = tmp_path / "locks" / "a.lock"
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(path)], stdout=subprocess.PIPE, text=True
    )
    with holder:
        assert holder.stdout.readline() == "held\n"
        match = f"page a is being made by process {holder.pid} on .* wait for it, or end that"
        with pytest.raises(Locked, match=match), lock(path, "page a", patience=0):
            pass
        holder.kill()
    with lock(path, "page a", patience=5):  # nothing of a killed one is in the way
        pass


def test_files_that_hold_the_same_are_not_touched(tmp_path):
    path = tmp_path / "a" / "b"
    assert write_if_changed(path, b"1")
    before = path.stat().st_mtime_ns
    assert not write_if_changed(path, b"1")
    assert path.stat().st_mtime_ns == before


def test_files_are_known_by_name_and_content(tmp_path):
    (tmp_path / "a").write_text("1")
    (tmp_path / "b").write_text("1")
    one, two = (hash_files([tmp_path / name], tmp_path) for name in "ab")
    assert one != two
    (tmp_path / "a").write_text("2")
    assert hash_files([tmp_path / "a"], tmp_path) != one
