"""A real SLURM on this machine: Debian's slurmctld, slurmd and munge, on loopback, in a folder.

Networks and pages are submitted as arrays, cancelled, requeued, preempted and killed, and end with
the bits of a local run.
"""

import os
import platform
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil
import pytest
from conftest import make_notebook

from gahb_core import checkpoints, cli
from gahb_core.pages import Places, load_results, tickets
from gahb_core.pages.tickets import Standing, ask_cluster, find_standings, read_tickets

NEEDED = ("slurmctld", "slurmd", "munged", "sbatch", "srun", "squeue", "scontrol", "scancel")
MISSING = [name for name in NEEDED if shutil.which(name) is None]
needs_slurm = pytest.mark.skipif(
    bool(MISSING) or os.geteuid() != 0 or "GAHB_SLURM" not in os.environ,
    reason=f"needs GAHB_SLURM=1, root and SLURM (missing: {', '.join(MISSING) or 'none'}): "
    "apt-get install slurmctld slurmd slurm-client munge",
)

CONF = """ClusterName=gahb
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={ports[0]}
SlurmdPort={ports[1]}
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge.sock,cred_expire=15
CredType=cred/munge
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SlurmdParameters=config_overrides
SchedulerParameters=bf_interval=1,sched_interval=1,sched_min_interval=100000,batch_sched_delay=0
KillWait=2
ReturnToService=2
NodeName={host} NodeAddr=127.0.0.1 CPUs=4 State=UNKNOWN
PartitionName=main Nodes=ALL Default=YES MaxTime=INFINITE State=UP
"""


def free_ports(num):
    sockets = [socket.socket() for _ in range(num)]
    for s in sockets:
        s.bind(("127.0.0.1", 0))
    ports = [s.getsockname()[1] for s in sockets]
    for s in sockets:
        s.close()
    return ports


def wait_for(condition, seconds=300):
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < deadline, "it did not come"
        time.sleep(0.2)
    return found


def say(*words):
    return subprocess.run(words, capture_output=True, text=True, check=True, timeout=60).stdout


@pytest.fixture
def slurm(monkeypatch):
    """A cluster of one node without GPUs; its client commands are told of it."""
    folder = Path(tempfile.mkdtemp(prefix="gahb-slurm-", dir="/tmp"))  # a socket's name is short
    for name in ("state", "spool"):
        (folder / name).mkdir()
    key = folder / "munge.key"
    key.write_bytes(os.urandom(1024))
    key.chmod(0o400)
    host = platform.node().partition(".")[0]
    conf = folder / "slurm.conf"
    conf.write_text(CONF.format(host=host, folder=folder, ports=free_ports(2)))
    monkeypatch.setenv("SLURM_CONF", str(conf))
    munge = {"socket": "sock", "pid-file": "pid", "log-file": "log", "seed-file": "seed"}
    options = [f"--{option}={folder}/munge.{end}" for option, end in munge.items()]
    commands = [
        ["munged", "--foreground", "--force", f"--key-file={key}", *options],
        ["slurmctld", "-D", "-c"],
        ["slurmd", "-D", "-c"],
    ]
    with (folder / "said.log").open("wb") as said:
        daemons = [subprocess.Popen(commands[0], stdout=said, stderr=said)]
        wait_for((folder / "munge.sock").exists)
        daemons += [subprocess.Popen(c, stdout=said, stderr=said) for c in commands[1:]]
        try:
            idle = ["sinfo", "-h", "-o", "%T"]
            wait_for(lambda: subprocess.run(idle, capture_output=True).stdout.strip() == b"idle")
            yield host
        finally:
            subprocess.run(["scancel", "--user", "root"], capture_output=True, check=False)
            deadline = time.monotonic() + 15
            while time.monotonic() < deadline and say("squeue", "-h"):
                time.sleep(0.2)
            below = [p for d in daemons for p in psutil.Process(d.pid).children(recursive=True)]
            for process in [*below, *reversed(daemons)]:
                process.kill()
            for daemon in daemons:
                daemon.wait()
    shutil.rmtree(folder, ignore_errors=True)


def gahb(project, *words):
    command = [sys.executable, "-m", "gahb_core.cli", "--root", str(project), *words]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def states(folder):
    """Return name → state of the jobs that were submitted from a folder."""
    return {name: s.kind for name, s in find_standings(read_tickets(folder)).items()}


def job_of(folder, name):
    return next(t.job_id for t in reversed(read_tickets(folder)) if t.name == name)


NAMES = [f"c_alpha/alpha={a}" for a in (1, 2, 3)]


@needs_slurm
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

    words += ["--gpus", "0", "--minutes", "5"]
    monkeypatch.setenv("GAHB_CHECKPOINTS", str(project / "there"))
    folder = project / "_build" / "smoke" / "jobs" / "recipes"
    say("scontrol", "update", f"nodename={slurm}", "state=drain", "reason=test")
    with gahb(project, *words) as first:  # stopped while all wait, and taken up again
        wait_for(lambda: len(read_tickets(folder)) == 3)
        first.send_signal(signal.SIGINT)
        said = first.communicate(timeout=60)[0]
    assert first.returncode == 130
    assert "stopped waiting; the jobs go on. `gahb status` shows them" in said
    jobs = [t.job_id for t in read_tickets(folder)]
    assert cli.main(["--root", str(project), "status", "--profile", "smoke"]) == 0
    status = capsys.readouterr().out
    assert status.endswith("jobs: 3 pending, 0 running, 0 done, 0 failed\n")
    assert all(job in status for job in jobs)

    say("scancel", job_of(folder, NAMES[0]))
    say("scontrol", "update", f"nodename={slurm}", "state=resume")
    with gahb(project, *words) as second:
        wait_for(lambda: states(folder)[NAMES[1]] == "running")
        say("scontrol", "requeue", job_of(folder, NAMES[1]))
        said = second.communicate(timeout=500)[0]
    assert second.returncode == 0
    for name in NAMES:
        assert f"{name}: trained" in said
    now = {t.name: t.job_id for t in read_tickets(folder)}
    assert [now[name] for name in NAMES[1:]] == jobs[1:]  # what waited was not submitted twice
    assert now[NAMES[0]] != jobs[0]  # and what was cancelled was, alone

    monkeypatch.setenv("GAHB_CHECKPOINTS", str(project / "here"))
    for name in NAMES:
        for _ in checkpoints.train(name, "smoke"):
            pass
    assert bits(project / "there") == bits(project / "here")


HOLD = """import pathlib, time
pathlib.Path(f'{name}.started').touch()
while not pathlib.Path(f'{name}.go').exists():
    time.sleep(0.1)"""


def submitted():
    """Return the processes of submitit in which jobs run, not what they started."""
    found = psutil.process_iter(["cmdline"])
    words = ["-m", "submitit.core._submit"]
    return [p for p in found if (p.info["cmdline"] or [])[2:4] == words]


@needs_slurm
def test_pages_are_preempted_killed_and_fail_with_their_reason(slurm, project):
    book = project / "book"
    for name, code in (("kept", HOLD), ("killed", HOLD), ("bad", "1 / 0")):
        text = make_notebook("# P", code, parameters=f"name = '{name}'")
        (book / f"{name}.ipynb").write_text(text)
        with (book / "pages.yml").open("a") as file:
            file.write(f"  - {{name: {name}, notebook: {name}.ipynb}}\n")
    words = ["run", "kept", "killed", "bad", "a_five", "--executor", "slurm", "--gpus", "0"]
    folder = project / "_build" / "jobs" / "pages"
    with gahb(project, *words, "--minutes", "5") as run:
        for name in ("kept", "killed"):
            wait_for((book / f"{name}.started").exists)
        (book / "kept.started").unlink()
        say("scancel", "--signal=USR2", job_of(folder, "kept"))
        task = job_of(folder, "killed").partition("_")[2]
        (process,) = [p for p in submitted() if p.environ().get("SLURM_ARRAY_TASK_ID") == task]
        process.kill()
        wait_for((book / "kept.started").exists)  # in the requeued job
        (book / "kept.go").touch()
        said = run.communicate(timeout=500)[0]
    assert run.returncode == 1
    assert "pages: 2 ok, 0 unchanged, 0 not run, 2 failed" in said
    assert "bad failed: cell 3: ZeroDivisionError: division by zero; see " in said
    assert "killed failed: it was ended from outside, without a result" in said
    assert load_results("a_five", root=project)["a.twice"].value == 10
    assert Places(project).executed("kept").is_file()


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


def test_a_cluster_that_does_not_answer_ends_no_job(tmp_path, monkeypatch):
    monkeypatch.setattr(tickets, "ask_cluster", lambda ids: None)
    ticket = tickets.Ticket("a", "7_0", str(tmp_path), 0.0)
    wanted = {"a": Standing("pending", "the cluster does not answer")}
    assert find_standings([ticket]) == wanted


@pytest.mark.parametrize("content", [b"", b"x", b"\x80\x04."])
def test_a_damaged_result_is_a_failed_job(tmp_path, content):
    ticket = tickets.Ticket("a", "7_0", str(tmp_path), 0.0)
    ticket.result.write_bytes(content)
    (standing,) = find_standings([ticket]).values()
    assert standing.kind == "failed"
    assert "its result is damaged" in standing.detail


def test_damaged_tickets_are_none(tmp_path):
    for i, text in enumerate(("", "{", "[]", '{"name": 1}', "null")):
        (tmp_path / f"{i}.job.json").write_text(text)
    assert read_tickets(tmp_path) == []
