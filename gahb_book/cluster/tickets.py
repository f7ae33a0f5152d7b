"""How the jobs of a cluster stand: asked of `squeue`, which needs no accounting.

A job that the cluster no longer runs, and that left no result, was ended from outside.
"""

import contextlib
import json
import os
import subprocess
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

LIVING = {
    "PENDING": "pending", "CONFIGURING": "pending", "REQUEUED": "pending", "RESIZING": "pending",
    "REQUEUE_HOLD": "pending", "REQUEUE_FED": "pending", "SPECIAL_EXIT": "pending",
    "RUNNING": "running", "COMPLETING": "running", "SUSPENDED": "running", "STOPPED": "running",
    "SIGNALING": "running", "STAGE_OUT": "running",
}  # fmt: skip


class Ticket(NamedTuple):
    """What is known of a submitted job: what it makes, and where its logs and its result lie."""

    name: str
    job_id: str
    folder: str
    submitted: float

    @property
    def log(self) -> Path:
        """What the job printed; %t, the task, is 0."""
        return Path(self.folder) / f"{self.job_id}_0_log.err"

    @property
    def result(self) -> Path:
        """What submitit leaves at the end."""
        return Path(self.folder) / f"{self.job_id}_0_result.pkl"


class JobState(NamedTuple):
    """How a job stands: "pending", "running", "done", "failed"; why; seconds that it ran."""

    kind: str
    detail: str = ""
    seconds: float = 0.0


def read_tickets(folder: Path) -> list[Ticket]:
    """Return the jobs that were submitted from a folder, the first first; damaged ones are none."""
    tickets = []
    for path in folder.glob("*.job.json"):
        with contextlib.suppress(OSError, ValueError, TypeError):
            tickets.append(Ticket(**json.loads(path.read_text(encoding="utf-8"))))
    return sorted(tickets, key=lambda t: (t.submitted, t.job_id))


def _seconds(text: str) -> float:
    """Return the seconds of SLURM's [days-][hours:]minutes:seconds."""
    days, _, clock = text.rpartition("-")
    total = 0.0
    for part in clock.split(":"):
        total = 60 * total + float(part) if part.isdigit() else 0.0
    return total + 86400 * (int(days) if days.isdigit() else 0)


def ask_cluster(ids: Iterable[str]) -> dict[str, tuple[str, str, float]] | None:
    """Return id → (state, reason, seconds that it ran) of the jobs that the cluster knows.

    None where it does not answer.
    """
    arrays = sorted({i.partition("_")[0] for i in ids})
    command = ["squeue", "-h", "-r", "-t", "all", "-o", "%i|%T|%r|%M"]
    try:  # one question an array: a cluster that no longer knows one refuses the whole
        found = [
            subprocess.run([*command, "-j", array], capture_output=True, text=True, timeout=60)
            for array in arrays
        ]
    except (OSError, subprocess.TimeoutExpired):
        return None
    if any(f.returncode and "Invalid job id" not in f.stderr for f in found):
        return None
    rows = [line.split("|") for f in found for line in f.stdout.splitlines()]
    return {r[0]: (r[1], r[2], _seconds(r[3])) for r in rows if len(r) == 4}


def _read_result(ticket: Ticket) -> str | None:
    """Return why a job that left its result failed, in one line, or None where it did not."""
    from submitit.core.utils import pickle_load

    try:
        outcome, value = pickle_load(ticket.result)
    except Exception as error:
        return f"its result is damaged ({error!r})"
    lines = [line for line in str(value).splitlines() if line.strip()]
    return None if outcome == "success" else (lines or ["it failed"])[-1]


def find_states(tickets: Iterable[Ticket]) -> dict[str, JobState]:
    """Return name → how its job stands."""
    tickets = list(tickets)
    done = {t.name for t in tickets if t.result.exists()}
    left = [t for t in tickets if t.name not in done]
    known = ask_cluster(t.job_id for t in left) if left else {}
    found = {}
    for t in tickets:
        state, reason, seconds = (known or {}).get(t.job_id, ("", "", 0.0))
        if t.name in done:
            why = _read_result(t)
            found[t.name] = JobState("done" if why is None else "failed", why or "")
        elif known is None:
            found[t.name] = JobState("pending", "the cluster does not answer")
        elif state in LIVING:
            found[t.name] = JobState(LIVING[state], "" if reason == "None" else reason, seconds)
        else:
            ended = f"SLURM says {state}" if state else "SLURM no longer knows it"
            why = f"it was ended from outside, without a result ({ended}); see {t.log}"
            found[t.name] = JobState("failed", why, seconds)
    return found


def count_states(standings: Iterable[JobState]) -> str:
    """Return how many jobs stand how, such as "2 pending, 1 running, 0 done, 0 failed"."""
    kinds = [s.kind for s in standings]
    return ", ".join(f"{kinds.count(k)} {k}" for k in ("pending", "running", "done", "failed"))


def format_status(folder: Path) -> str:
    """Return a table of the jobs submitted from the folders below `folder`: how each stands."""
    tickets = [t for kind in sorted(folder.glob("*/")) for t in read_tickets(kind)]
    if not tickets:
        return f"no job was submitted from {os.path.relpath(folder)}"
    width = max(len(t.name) for t in tickets)
    standings = []
    lines = [f"{'name':{width}}  {'job':>9}  state    "]
    for t in tickets:
        (now,) = find_states([t]).values()
        standings.append(now)
        lines.append(f"{t.name:{width}}  {t.job_id:>9}  {now.kind:8} {now.detail or t.log}")
    return "\n".join([*lines, f"jobs: {count_states(standings)}"])
