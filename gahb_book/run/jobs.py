"""Independent jobs, several at once, as processes here; `cluster` has those of SLURM."""

import contextlib
import math
import os
import queue
import signal
import subprocess
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

PARENT = "GAHB_PARENT"  # set for processes whose standard input closes when their parent ends
FOREIGN = ("PYTHONPATH", "PYTHONHOME", "PYTHONSTARTUP", "PYTHONOPTIMIZE")  # other packages
GRACE = 15.0  # seconds that a process has to end: a kernel is given five


class Event(NamedTuple):
    """Something that a job did: `kind` is "start", "line" (it printed `text`) or "end" (`code`)."""

    name: str
    kind: str
    text: str = ""
    code: int = 0


def count_cores(groups: Path = Path("/sys/fs/cgroup")) -> int:
    """Return how many cores this process may use: by its affinity, and by its control group.

    Args:
        groups: where the control groups (version 2) are mounted.
    """
    given = getattr(os, "sched_getaffinity", None)
    cores = len(given(0)) if given else os.cpu_count() or 1
    with contextlib.suppress(OSError, ValueError):  # no such groups here, or no limit: "max"
        quota, period = (groups / "cpu.max").read_text().split()
        cores = min(cores, math.ceil(int(quota) / int(period)))
    return max(1, cores)


def share_cores(num_jobs: int) -> dict[str, str]:
    """Return the environment of one job of `num_jobs`: its share of the cores, unless it is set.

    Its packages are those of this Python: what else the environment names for Python is left out.
    """
    share = str(max(1, count_cores() // num_jobs))
    kept = {name: value for name, value in os.environ.items() if name not in FOREIGN}
    return {"OMP_NUM_THREADS": share, **kept, "PYTHONUNBUFFERED": "1", "PYTHONUTF8": "1"}


def _interrupt(*_: object) -> None:
    for which in (signal.SIGTERM, signal.SIGINT):
        signal.signal(which, signal.SIG_IGN)  # once: what ends is not to be broken off
    raise KeyboardInterrupt


def _follow_parent() -> None:
    """Wait until the parent closes our standard input, by ending; then end like it."""
    while os.read(0, 1024):
        pass
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(GRACE)
    os._exit(1)


@contextlib.contextmanager
def term_as_interrupt() -> Iterator[None]:
    """In this block TERM does what Ctrl-C does, and the process ends when its parent does.

    The latter for processes that `run_processes` started: their standard input is a pipe that
    closes with the parent, however it ends.
    """
    before = {which: signal.getsignal(which) for which in (signal.SIGTERM, signal.SIGINT)}
    for which in before:
        signal.signal(which, _interrupt)
    if os.environ.pop(PARENT, None):
        threading.Thread(target=_follow_parent, daemon=True).start()
    try:
        yield
    finally:
        for which, handler in before.items():
            signal.signal(which, handler)


class _Processes:
    """Processes that run at once; what they do comes as `events`."""

    def __init__(self, env: Mapping[str, str]) -> None:
        self.env = {**env, PARENT: "1"}
        self.events: queue.Queue[Event] = queue.Queue()
        self.running: set[subprocess.Popen] = set()
        self.ending, self.guard = False, threading.Lock()

    def _start(self, argv: Sequence[str]) -> subprocess.Popen | None:
        with self.guard:
            if self.ending:
                return None
            process = subprocess.Popen(
                argv, env=self.env, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT, encoding="utf-8", errors="replace",
            )  # fmt: skip
            self.running.add(process)
            return process

    def follow(self, name: str, argv: Sequence[str]) -> None:
        """Run one process to its end."""
        self.events.put(Event(name, "start"))
        code = 127
        try:
            if (process := self._start(argv)) is None:
                return
            with process:
                for line in process.stdout or ():
                    self.events.put(Event(name, "line", line.rstrip("\n")))
            self.running.discard(process)
            code = process.returncode
        except OSError as error:  # the command itself could not be started
            self.events.put(Event(name, "line", str(error)))
        finally:
            self.events.put(Event(name, "end", code=code))

    def end(self) -> None:
        """Ask all to end, and after a while make them."""
        with self.guard:
            self.ending = True
            left = list(self.running)
        for process in left:
            process.terminate()
        deadline = time.monotonic() + GRACE
        for process in left:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(max(0.1, deadline - time.monotonic()))
            process.kill()


def run_processes(
    commands: Mapping[str, Sequence[str]], num_jobs: int, env: Mapping[str, str]
) -> Iterator[Event]:
    """Yield what happens while `commands` (name → argv) run, `num_jobs` at a time.

    A job that fails does not stop the others. Leaving the loop early ends the running ones, and
    they end when this process does, if they heed signals (`term_as_interrupt`).

    Raises:
        ValueError: when `num_jobs` is less than 1.
    """
    if num_jobs < 1:
        raise ValueError(f"num_jobs must be at least 1, not {num_jobs}")
    processes, left = _Processes(env), len(commands)
    with ThreadPoolExecutor(num_jobs) as pool:
        for name, argv in commands.items():
            pool.submit(processes.follow, name, argv)
        try:
            while left:
                event = processes.events.get()
                left -= event.kind == "end"
                yield event
        finally:
            pool.shutdown(wait=False, cancel_futures=True)
            processes.end()
