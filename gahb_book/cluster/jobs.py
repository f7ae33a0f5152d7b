"""Jobs of a cluster: submitted once, as an array through submitit, and followed to their end.

`<folder>/<kind>/<name>.job.json` says which job makes what, so that a front end that was stopped
takes up what it had submitted. How a job stands is asked of `squeue`, which needs no accounting; a
job that the cluster no longer runs and that left no result was killed.
"""

import contextlib
import hashlib
import io
import json
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from gahb_book.cluster.tickets import (
    JobState,
    Ticket,
    count_states,
    find_states,
    read_tickets,
)
from gahb_core.files import lock, make_owner, write_safely

EXECUTORS = ("local", "slurm")
POLL = 2.0  # seconds between two questions to the cluster
LAG = 10.0  # seconds that a shared disk may take to show what a node wrote
HEARTBEAT = 60.0  # seconds between two lines that count what is pending and running


def _take_requeue_as_done() -> None:
    """Let submitit's answer to a preemption succeed also where SLURM ends its `scontrol requeue`.

    That command runs inside the job that it puts back, and SLURM ends the job with all in it: as
    often as not the command is gone before it can return.
    """
    from submitit import JobEnvironment

    which = getattr(signal, f"SIG{JobEnvironment.USR_SIG}")
    answer = signal.getsignal(which)
    if not callable(answer):  # not a job of SLURM
        return

    def requeue(*args: Any) -> None:
        try:
            answer(*args)
        except subprocess.CalledProcessError as error:
            if error.returncode != -signal.SIGTERM:  # refused: the job goes on, and says so
                raise
            sys.exit(-1)  # as submitit after a requeue

    signal.signal(which, requeue)


class _Requeued:
    """A function as a submitit job that is put back in the queue, with its arguments, if preempted.

    The function itself must go on where it stopped: training saves its state, a page is written
    whole or not at all.
    """

    def __init__(self, function: Callable[..., Any]) -> None:
        self.function = function

    def __call__(self, *args: Any) -> Any:
        _take_requeue_as_done()
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
    *,
    requeues: int = 3,
    **options: Any,
) -> list[Any]:
    """Return the submitit jobs of `function(*args)` for each of `arguments`: one job array.

    Args:
        function: a module-level function; it is preempted and started again with its arguments.
        arguments: one tuple a job.
        folder: logs and results of the jobs, on a disk that every node sees.
        cluster: "slurm"; "local" and "debug" run on this machine (for tests).
        requeues: how often a job that used up its time goes on as a new one.
        options: submitit's parameters: timeout_min, slurm_partition, gpus_per_node, ...

    Raises:
        ValueError: when `cluster` is "slurm" and this machine has no `sbatch`, or the cluster
            refuses (an unknown partition, GPUs that it does not have), with what it says.
    """
    import submitit  # here, because no chapter needs it

    more = {}
    if cluster == "slurm":
        if not (shutil.which("sbatch") and shutil.which("srun")):
            raise ValueError("executor slurm needs the command sbatch: run this on a login node")
        more = {"slurm_max_num_timeout": requeues}
    executor = submitit.AutoExecutor(folder=folder, cluster=cluster, **more)
    executor.update_parameters(**{"name": "gahb", **options})
    try:
        with contextlib.redirect_stderr(io.StringIO()):  # it shows what sbatch says, as we do
            return executor.map_array(_Requeued(function), *zip(*arguments, strict=True))
    except submitit.core.utils.FailedJobError as error:
        said = [line.strip() for line in str(error).splitlines() if line.strip()]
        why = said[-1] if said else error
        if "gpus_per_node" in options and re.search("node configuration|gres|gpu", str(why), re.I):
            why = f"{why} (--gpus 0 asks for none, --partition names another part)"
        raise ValueError(f"the cluster refuses the jobs: {why}") from error


def _ticket_path(folder: Path, name: str) -> Path:
    plain = re.sub(r"[^\w.=,+-]", "-", name)[:80]
    return folder / f"{plain}-{hashlib.sha256(name.encode()).hexdigest()[:8]}.job.json"


@contextlib.contextmanager
def _undisturbed() -> Iterator[None]:
    """Let Ctrl-C wait until the block ends: what is submitted must be written down."""
    which = {signal.SIGINT, signal.SIGTERM}
    before = signal.pthread_sigmask(signal.SIG_BLOCK, which)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def submit_once(
    function: Callable[..., Any], arguments: dict[str, tuple], folder: Path, **options: Any
) -> list[Ticket]:
    """Return the jobs that make `arguments` (name → of `function`): those at it, or new ones.

    Raises:
        Busy: while another front end submits.
        ValueError: as `submit_jobs`.
    """
    with lock(folder / "submit.lock", "the submission of jobs", patience=60):
        known = {t.name: t for t in read_tickets(folder) if t.name in arguments}
        standings = find_states(known.values())
        living = {n: t for n, t in known.items() if standings[n].kind in ("pending", "running")}
        new = [name for name in arguments if name not in living]
        if new:
            place = folder / f"{time.strftime('%Y%m%d-%H%M%S')}-{make_owner().partition('@')[0]}"
            with _undisturbed():
                jobs = submit_jobs(function, [arguments[n] for n in new], place, **options)
                for name, job in zip(new, jobs, strict=True):
                    ticket = Ticket(name, str(job.job_id), str(place.resolve()), time.time())
                    content = json.dumps(ticket._asdict(), indent=1) + "\n"
                    write_safely(_ticket_path(folder, name), content)
                    living[name] = ticket
    return [living[name] for name in arguments]


def follow_jobs(
    tickets: Sequence[Ticket], say: Callable[[str], None], poll: float = POLL
) -> Iterator[tuple[Ticket, JobState]]:
    """Yield each job when it has ended, with how it stands and the seconds that it was seen to run.

    Every change is said, and now and then how many are pending, running and done. A job without a
    result counts as killed when the cluster has not run it for `LAG` seconds.
    """
    last: dict[str, JobState] = {}
    gone: dict[str, float] = {}
    ran: dict[str, float] = {}
    ended: dict[str, JobState] = {}
    spoke = time.monotonic()
    for t in tickets:
        say(f"  {t.name}: job {t.job_id}, log {t.log}")
    while len(ended) < len(tickets):
        left = [t for t in tickets if t.name not in ended]
        for t, now in zip(left, find_states(left).values(), strict=True):
            ran[t.name] = max(now.seconds, ran.get(t.name, 0.0))
            if now.kind == "failed" and not t.result.exists():
                if time.monotonic() - gone.setdefault(t.name, time.monotonic()) < LAG:
                    continue
            elif now.kind in ("pending", "running"):
                gone.pop(t.name, None)
            if (now.kind, now.detail) != last.get(t.name, JobState(""))[:2]:
                last[t.name] = JobState(now.kind, now.detail)
                say(f"  {t.name}: {now.kind}{f' ({now.detail})' if now.detail else ''}")
            if now.kind in ("done", "failed"):
                ended[t.name] = now
                yield t, now._replace(seconds=ran[t.name])
        if time.monotonic() - spoke > HEARTBEAT:
            spoke = time.monotonic()
            known = last | ended
            say("  " + count_states(known.get(t.name, JobState("pending")) for t in tickets))
        if len(ended) < len(tickets):
            time.sleep(poll)


def make_parting(tickets: Sequence[Ticket], command: str) -> str:
    """Return what to say when the front end is stopped while jobs go on."""
    ids = " ".join(sorted({t.job_id.partition("_")[0] for t in tickets}))
    return (
        f"stopped waiting; the jobs go on. `gahb status` shows them, `{command}` waits again, "
        f"`scancel {ids}` ends them"
    )


def run_on_cluster(
    function: Callable[..., Any],
    arguments: dict[str, tuple],
    folder: Path,
    cluster: str,
    say: Callable[[str], None],
    **options: Any,
) -> Iterator[tuple[str, JobState]]:
    """Yield name → how its job ended, for `function(*args)` of every name of `arguments`.

    Jobs that are at it already are waited for and not submitted again. Where the caller stops
    early, the jobs go on.
    """
    if cluster != "slurm":  # submitit's own, on this machine, for tests
        jobs = submit_jobs(function, list(arguments.values()), folder, cluster, **options)
        for name, job in zip(arguments, jobs, strict=True):
            error = job.exception()
            lines = [line for line in str(error).splitlines() if line.strip()]
            yield name, JobState("done") if error is None else JobState("failed", lines[-1])
        return
    began, tickets = time.time(), []
    try:
        tickets = submit_once(function, arguments, folder, **options)
        for ticket, standing in follow_jobs(tickets, say):
            yield ticket.name, standing
    except KeyboardInterrupt:  # also right after the submission
        known = (t for t in read_tickets(folder) if t.name in arguments and t.submitted >= began)
        if tickets := tickets or list(known):
            say(make_parting(tickets, "the same command"))
        raise
