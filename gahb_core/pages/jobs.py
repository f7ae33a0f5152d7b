"""Independent jobs, several at once: as processes here, or as a job array through submitit."""

import os
import queue
import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

EXECUTORS = ("local", "slurm")


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


def _follow(
    name: str, argv: Sequence[str], env: Mapping[str, str], events: queue.Queue, running: set
) -> None:
    """Run one process to its end and put what it does into `events`."""
    events.put(Event(name, "start"))
    try:
        process = subprocess.Popen(
            argv, env=dict(env), stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace",
        )  # fmt: skip
        running.add(process)
        with process:
            for line in process.stdout:
                events.put(Event(name, "line", line.rstrip("\n")))
        running.discard(process)
        events.put(Event(name, "end", code=process.returncode))
    except OSError as error:  # the command itself could not be started
        events.put(Event(name, "line", str(error)))
        events.put(Event(name, "end", code=127))


def run_processes(
    commands: Mapping[str, Sequence[str]], num_jobs: int, env: Mapping[str, str]
) -> Iterator[Event]:
    """Yield what happens while `commands` (name → argv) run, `num_jobs` at a time.

    A job that fails does not stop the others. Leaving the loop early ends the running ones.

    Raises:
        ValueError: when `num_jobs` is less than 1.
    """
    if num_jobs < 1:
        raise ValueError(f"num_jobs must be at least 1, not {num_jobs}")
    events: queue.Queue[Event] = queue.Queue()
    running: set[subprocess.Popen] = set()
    left = len(commands)
    with ThreadPoolExecutor(num_jobs) as pool:
        for name, argv in commands.items():
            pool.submit(_follow, name, argv, env, events, running)
        try:
            while left:
                event = events.get()
                left -= event.kind == "end"
                yield event
        finally:
            pool.shutdown(wait=False, cancel_futures=True)
            for process in list(running):
                process.terminate()


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
        ValueError: when `cluster` is "slurm" and this machine has no `sbatch`.
    """
    import submitit  # here, because no chapter needs it

    if cluster == "slurm" and submitit.SlurmExecutor.affinity() < 0:
        raise ValueError("executor slurm needs the command sbatch: run this on a login node")
    executor = submitit.AutoExecutor(folder=folder, cluster=cluster)
    executor.update_parameters(**{"name": "gahb", **options})
    return executor.map_array(_Requeued(function), *zip(*arguments, strict=True))
