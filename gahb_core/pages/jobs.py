"""Independent jobs, several at once: as processes here, or as a job array through submitit."""

import contextlib
import os
import queue
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

EXECUTORS = ("local", "slurm")
PARENT = "GAHB_PARENT"  # set for processes whose standard input closes when their parent ends
GRACE = 15.0  # seconds that a process has to end: a kernel is given five


class Event(NamedTuple):
    """Something that a job did: `kind` is "start", "line" (it printed `text`) or "end" (`code`)."""

    name: str
    kind: str
    text: str = ""
    code: int = 0


def share_cores(num_jobs: int) -> dict[str, str]:
    """Return the environment of one job of `num_jobs`: its share of the cores, unless it is set."""
    share = str(max(1, (os.cpu_count() or 1) // num_jobs))
    return {"OMP_NUM_THREADS": share, "PYTHONUNBUFFERED": "1", **os.environ}


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
def heed_signals() -> Iterator[None]:
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
                stderr=subprocess.STDOUT, text=True, errors="replace",
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
                for line in process.stdout:
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
    they end when this process does, if they heed signals (`heed_signals`).

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


class _Requeued:
    """A function as a submitit job that is put back in the queue, with its arguments, if preempted.

    The function itself must go on where it stopped: training saves its state, a page is written
    whole or not at all.
    """

    def __init__(self, function: Callable[..., Any]) -> None:
        self.function = function

    def __call__(self, *args: Any) -> Any:
        return self.function(*args)

    def checkpoint(self, *args: Any) -> Any:
        """Return what to submit in place of the preempted job."""
        from submitit.helpers import DelayedSubmission

        return DelayedSubmission(self, *args)


def submit_jobs(
    function: Callable[..., Any],
    arguments: Sequence[tuple],
    folder: Path,
    cluster: str = "slurm",
    **options: Any,
) -> list[Any]:
    """Return the submitit jobs of `function(*args)` for each of `arguments`: one job array.

    Args:
        function: a module-level function; it is preempted and started again with its arguments.
        arguments: one tuple a job.
        folder: logs and results of the jobs, on a disk that every node sees.
        cluster: "slurm"; "local" and "debug" run on this machine (for tests).
        options: submitit's parameters: timeout_min, slurm_partition, gpus_per_node, ...

    Raises:
        ValueError: when `cluster` is "slurm" and this machine has no `sbatch`, or the cluster
            refuses (an unknown partition, GPUs that it does not have), with what it says.
    """
    import submitit  # here, because no chapter needs it

    if cluster == "slurm" and submitit.SlurmExecutor.affinity() < 0:
        raise ValueError("executor slurm needs the command sbatch: run this on a login node")
    executor = submitit.AutoExecutor(folder=folder, cluster=cluster)
    executor.update_parameters(**{"name": "gahb", **options})
    try:
        return executor.map_array(_Requeued(function), *zip(*arguments, strict=True))
    except submitit.core.utils.FailedJobError as error:
        said = [line.strip() for line in str(error).splitlines() if line.strip()]
        raise ValueError(f"the cluster refuses the jobs: {said[-1] if said else error}") from error
