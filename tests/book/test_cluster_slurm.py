"""A real SLURM on this machine: Debian's slurmctld, slurmd and munge, on loopback, in a folder.

Networks and pages are submitted as arrays, cancelled, requeued, preempted and killed, and end with
the bits of a local run.
"""

import contextlib
import json
import os
import shutil
import signal
import time
from pathlib import Path

import numpy as np
import psutil
import pytest
from patience import PATIENCE, wait_for
from PIL import Image
from projects import make_notebook
from slurm import MISSING, call, say, start_cluster, start_gahb

from gahb_book import cli
from gahb_book.cluster import jobs, tickets
from gahb_book.cluster.tickets import JobState, ask_cluster, find_states, read_tickets
from gahb_book.places import Places
from gahb_book.report import load_results

needs_slurm = pytest.mark.skipif(
    bool(MISSING) or os.geteuid() != 0,
    reason=f"needs root and SLURM (missing: {', '.join(MISSING) or 'none'}): "
    "apt-get install slurmctld slurmd slurm-client munge",
)


@pytest.fixture(scope="module")
def slurm():
    """A cluster of one node without GPUs: the name of the node."""
    with start_cluster() as (node, why):
        if node is None:
            pytest.skip(f"SLURM's daemons do not start here: {why}")
        yield node


def states(folder):
    """Return name → state of the jobs that were submitted from a folder."""
    return {name: s.kind for name, s in find_states(read_tickets(folder)).items()}


def job_of(folder, name):
    return next(t.job_id for t in reversed(read_tickets(folder)) if t.name == name)


NAMES = [f"c_alpha/alpha={a}" for a in (1, 2)]


@needs_slurm
@pytest.mark.verify
def test_networks_end_with_the_bits_of_a_local_run(slurm, project, monkeypatch, capsys):
    def bits(folder):
        return [(folder / "smoke" / f"{n}.safetensors").read_bytes() for n in NAMES]

    words = ["train", *NAMES, "--profile", "smoke", "--device", "cpu", "--executor", "slurm"]
    for wrong in (["--gpus", "1"], ["--gpus", "0", "--partition", "nowhere"]):
        assert cli.main(["--root", str(project), *words, *wrong]) == 2
        error = capsys.readouterr().err
        assert error.startswith("gahb: the cluster refuses the jobs: sbatch: error: ")
        assert error.count("\n") == 1
        assert ("--gpus 0 asks for none" in error) == ("1" in wrong)

    words += ["--gpus", "0", "--minutes", "60"]
    monkeypatch.setenv("GAHB_CHECKPOINTS", str(project / "there"))
    folder = project / "_build" / "smoke" / "jobs" / "recipes"
    say("scontrol", "update", f"nodename={slurm}", "state=drain", "reason=test")
    with start_gahb(project, *words) as first:  # stopped while all wait, and taken up again
        wait_for(lambda: len(read_tickets(folder)) == 2, "the submission", first)
        first.send_signal(signal.SIGINT)
        said = first.communicate(timeout=PATIENCE)[0]
    assert first.returncode == 130
    assert "stopped waiting; the jobs go on. `gahb status` shows them" in said
    jobs = [t.job_id for t in read_tickets(folder)]
    assert cli.main(["--root", str(project), "status", "--profile", "smoke"]) == 0
    status = capsys.readouterr().out
    assert status.endswith("jobs: 2 pending, 0 running, 0 done, 0 failed\n")
    assert all(job in status for job in jobs)

    say("scancel", job_of(folder, NAMES[0]))
    say("scontrol", "update", f"nodename={slurm}", "state=resume")
    with start_gahb(project, *words) as second:
        wait_for(lambda: states(folder)[NAMES[1]] in ("running", "done"), "the job", second)
        wait_for(lambda: call("scontrol", "requeue", job_of(folder, NAMES[1])) == 0, "the requeue")
        said = second.communicate(timeout=PATIENCE)[0]
    assert second.returncode == 0
    for name in NAMES:
        assert f"{name}: trained" in said
    now = {t.name: t.job_id for t in read_tickets(folder)}
    assert now[NAMES[1]] == jobs[1]  # what waited was not submitted twice
    assert now[NAMES[0]] != jobs[0]  # and what was cancelled was, alone

    monkeypatch.setenv("GAHB_CHECKPOINTS", str(project / "here"))
    with start_gahb(project, *words[: words.index("--executor")]) as local:  # as fresh as a job
        local.communicate(timeout=PATIENCE)
    assert local.returncode == 0
    assert bits(project / "there") == bits(project / "here")


HOLD = """import pathlib, time
pathlib.Path(f'{name}.started').touch()
while not pathlib.Path(f'{name}.go').exists():
    time.sleep(0.1)"""


def process_of(job):
    """Return submitit's process in which a task of this cluster runs, not what it started."""
    conf, task = os.environ["SLURM_CONF"], job.partition("_")[2]
    for process in psutil.process_iter(["cmdline"]):
        if (process.info["cmdline"] or [])[2:4] == ["-m", "submitit.core._submit"]:  # not srun
            with contextlib.suppress(psutil.Error):
                told = process.environ()
                if (told.get("SLURM_CONF"), told.get("SLURM_ARRAY_TASK_ID")) == (conf, task):
                    return process
    return None


def slow_scontrol(folder):
    """Make a `scontrol` that never returns by itself: SLURM ends it with the job it puts back."""
    folder.mkdir()
    command = folder / "scontrol"
    command.write_text(f'#!/bin/sh\n{shutil.which("scontrol")} "$@"\nsleep 300\n')
    command.chmod(0o755)


@needs_slurm
@pytest.mark.verify
def test_pages_are_preempted_killed_and_fail_with_their_reason(slurm, project, monkeypatch):
    book = project / "book"
    slow_scontrol(project / "slow")
    monkeypatch.setenv("PATH", f"{project / 'slow'}{os.pathsep}{os.environ['PATH']}")
    for name, code in (("kept", HOLD), ("killed", HOLD), ("bad", "1 / 0")):
        text = make_notebook("# P", code, parameters=f"name = '{name}'")
        (book / f"{name}.ipynb").write_text(text)
        with (book / "pages.yml").open("a") as file:
            file.write(f"  - {{name: {name}, notebook: {name}.ipynb}}\n")
    words = ["run", "kept", "killed", "bad", "a_five", "--executor", "slurm", "--gpus", "0"]
    folder = project / "_build" / "jobs" / "pages"
    with start_gahb(project, *words, "--minutes", "60") as run:
        for name in ("kept", "killed"):
            wait_for((book / f"{name}.started").exists, name, run)
        (book / "kept.started").unlink()
        say("scancel", "--signal=USR2", job_of(folder, "kept"))
        process_of(job_of(folder, "killed")).kill()
        wait_for((book / "kept.started").exists, "kept, again", run)  # in the requeued job
        (book / "kept.go").touch()
        said = run.communicate(timeout=PATIENCE)[0]
    assert run.returncode == 1
    assert "pages: 2 ok, 0 unchanged, 0 not run, 2 failed" in said
    assert "bad failed: cell 3: ZeroDivisionError: division by zero; see " in said
    assert "killed failed: it was ended from outside, without a result" in said, said
    assert load_results("a_five", root=project)["a.twice"].value == 10
    assert Places(project).executed("kept").is_file()


DENOISER = "def denoiser(y, sigma=None):\n    return 0.6 * y + 0.4 * y.roll(1, -1)\n"


@needs_slurm
@pytest.mark.verify
def test_a_report_is_that_of_a_local_run_and_says_why_there_is_none(
    slurm, project, tmp_path, monkeypatch
):
    """Named from the folder of the command, as a person would: the job begins there, too."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.py").write_text(DENOISER)
    (tmp_path / "broken.py").write_text("raise RuntimeError('no weights here')\n")
    (tmp_path / "images").mkdir()
    shades = np.random.default_rng(0).integers(60, 190, (4, 8, 8, 3), dtype=np.uint8)
    for i, pixels in enumerate(shades):
        Image.fromarray(pixels).save(tmp_path / "images" / f"{i}.png")
    given = ["--images", "images", "--num-samples", "0", "--device", "cpu"]
    there = ["--executor", "slurm", "--gpus", "0", "--minutes", "60"]
    said = {}
    for name, words in {
        "there": ["mine:denoiser", *given, *there, "--out", "there"],
        "here": ["mine.py:denoiser", *given, "--out", "here"],
        "broken": ["broken.py:denoiser", *given, *there, "--out", "broken"],
    }.items():
        with start_gahb(project, "examine", *words) as run:
            said[name] = (run.communicate(timeout=PATIENCE)[0], run.returncode)
    assert said["there"][1] == said["here"][1] == 0, said
    assert f"mine:denoiser: {Path('there') / 'report.html'}" in said["there"][0]
    assert (tmp_path / "there" / "report.html").is_file()
    a, b = (json.loads((tmp_path / n / "report.json").read_text()) for n in ("there", "here"))
    own = ("name", "seconds", "cpu_seconds")
    assert {k: v for k, v in a.items() if k not in own} == {
        k: v for k, v in b.items() if k not in own
    }
    assert said["broken"][1] == 1
    assert "cannot: RuntimeError: no weights here" in said["broken"][0]


# --- without a cluster ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("squeue", "wanted"),
    [
        ("echo '7_0|RUNNING|None|1-02:03:04'", {"7_0": ("RUNNING", "None", 93784.0)}),
        ("echo '7_1|PENDING|Priority|0:00'", {"7_1": ("PENDING", "Priority", 0.0)}),
        ("echo 'slurm_load_jobs error: Invalid job id specified' >&2; exit 1", {}),
        ("echo 'Unable to contact slurm controller' >&2; exit 1", None),
    ],
)
def test_the_cluster_is_asked(tmp_path, monkeypatch, squeue, wanted):
    command = tmp_path / "squeue"
    command.write_text(f"#!/bin/sh\n{squeue}\n")
    command.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    assert ask_cluster(["7_0", "7_1"]) == wanted


def test_stopped_as_soon_as_it_is_submitted_it_says_that_the_jobs_go_on(tmp_path, monkeypatch):
    def interrupted(function, arguments, folder, **options):
        folder.mkdir()
        for name, when in (("old", 1.0), ("new", time.time())):
            ticket = tickets.Ticket(name, f"7_{name}", str(tmp_path), when)
            (folder / f"{name}.job.json").write_text(json.dumps(ticket._asdict()))
        raise KeyboardInterrupt

    said = []
    monkeypatch.setattr(jobs, "submit_once", interrupted)
    found, folder = {"old": (), "new": ()}, tmp_path / "jobs"
    with pytest.raises(KeyboardInterrupt):
        list(jobs.run_on_cluster(print, found, folder, "slurm", said.append))
    assert [line.partition(";")[0] for line in said] == ["stopped waiting"]
    assert "`scancel 7` ends them" in said[0]


def test_a_cluster_that_does_not_answer_ends_no_job(tmp_path, monkeypatch):
    monkeypatch.setattr(tickets, "ask_cluster", lambda ids: None)
    ticket = tickets.Ticket("a", "7_0", str(tmp_path), 0.0)
    wanted = {"a": JobState("pending", "the cluster does not answer")}
    assert find_states([ticket]) == wanted


@pytest.mark.parametrize("content", [b"", b"x", b"\x80\x04."])
def test_a_damaged_result_is_a_failed_job(tmp_path, content):
    ticket = tickets.Ticket("a", "7_0", str(tmp_path), 0.0)
    ticket.result.write_bytes(content)
    (standing,) = find_states([ticket]).values()
    assert standing.kind == "failed"
    assert "its result is damaged" in standing.detail


def test_damaged_tickets_are_none(tmp_path):
    for i, text in enumerate(("", "{", "[]", '{"name": 1}', "null")):
        (tmp_path / f"{i}.job.json").write_text(text)
    assert read_tickets(tmp_path) == []
