"""A real SLURM on this machine: Debian's slurmctld, slurmd and munge on loopback, in a folder."""

import contextlib
import ctypes
import os
import platform
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psutil
from patience import wait_for

NEEDED = ("slurmctld", "slurmd", "munged", "sbatch", "srun", "squeue", "scontrol", "scancel")
MISSING = [name for name in NEEDED if shutil.which(name) is None]
# On a busy machine nothing is given up: no node goes down, no message and no batch is too late. A
# requeued job waits until its credential has expired (two minutes, if nothing is said).
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
SlurmdTimeout=0
MessageTimeout=90
BatchStartTimeout=300
NodeName={host} NodeAddr=127.0.0.1 CPUs=4 State=UNKNOWN
PartitionName=main Nodes=ALL Default=YES MaxTime=INFINITE State=UP
"""


def say(*words: str) -> str:
    """Return what a command of SLURM prints."""
    return subprocess.run(words, capture_output=True, text=True, check=True, timeout=300).stdout


def call(*words: str) -> int:
    """Return the exit code of a command of SLURM."""
    return subprocess.run(words, capture_output=True, timeout=300).returncode


@contextlib.contextmanager
def start_gahb(project: Path, *words: str) -> Iterator[subprocess.Popen]:
    """Hand out `gahb *words`, running; it ends with the block, however that ends."""
    command = [sys.executable, "-m", "gahb_book.cli", "--root", str(project), *words]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def _write_conf(folder: Path) -> str:
    """Write slurm.conf with ports that are free; return the node's name."""
    with socket.socket() as a, socket.socket() as b:
        for s in (a, b):
            s.bind(("127.0.0.1", 0))
        ports = [s.getsockname()[1] for s in (a, b)]
    host = platform.node().partition(".")[0]
    (folder / "slurm.conf").write_text(CONF.format(host=host, folder=folder, ports=ports))
    return host


def _end_with_us() -> None:
    """Ask the kernel to kill this process when its parent ends, however that ends."""
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG


def _start_daemons(folder: Path, stack: contextlib.ExitStack) -> str | None:
    """Start munged, slurmctld and slurmd; return why the node is not idle, or None where it is."""
    key = folder / "munge.key"
    key.write_bytes(os.urandom(1024))
    key.chmod(0o400)
    munge = {"socket": "sock", "pid-file": "pid", "log-file": "log", "seed-file": "seed"}
    options = [f"--{option}={folder}/munge.{end}" for option, end in munge.items()]
    said = stack.enter_context((folder / "said.log").open("wb"))

    def start(*command: str) -> subprocess.Popen:
        daemon = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=said, stderr=said, preexec_fn=_end_with_us
        )
        stack.callback(daemon.wait)
        stack.callback(daemon.kill)
        return daemon

    def ended() -> bool:
        return any(d.poll() is not None for d in daemons)

    daemons = [start("munged", "--foreground", "--force", f"--key-file={key}", *options)]
    wait_for(lambda: (folder / "munge.sock").exists() or ended(), "munge")
    daemons += [start("slurmctld", "-D", "-c"), start("slurmd", "-D", "-c")]
    idle = ["sinfo", "-h", "-o", "%T"]
    wait_for(
        lambda: ended() or subprocess.run(idle, capture_output=True).stdout.strip() == b"idle",
        "the node",
    )
    return (folder / "said.log").read_text(errors="replace") if ended() else None


def _end_jobs(folder: Path) -> None:
    """End all jobs, and all processes that were told of this cluster."""
    with contextlib.suppress(subprocess.SubprocessError):
        subprocess.run(["scancel", "--user", "root"], capture_output=True, timeout=60)
    for process in psutil.process_iter(["name"]):
        with contextlib.suppress(psutil.Error):
            told = process.environ().get("SLURM_CONF") == str(folder / "slurm.conf")
            # slurmstepd has written over its environment
            told = told or any(Path(f.path).is_relative_to(folder) for f in process.open_files())
            if told and process.pid != os.getpid() and process.info["name"] not in NEEDED[:3]:
                process.kill()


@contextlib.contextmanager
def start_cluster() -> Iterator[tuple[str | None, str]]:
    """Hand out the name of a cluster's only node, without GPUs, and ""; or None, and why not.

    The environment tells SLURM's commands of it. A port may be taken between its choice and its
    use: three clusters are tried.
    """
    before, why = os.environ.get("SLURM_CONF"), ""
    try:
        for _ in range(3):
            with contextlib.ExitStack() as stack:
                made = tempfile.mkdtemp(prefix="gahb-slurm-", dir="/tmp")  # a socket's name: short
                stack.callback(shutil.rmtree, made, ignore_errors=True)
                folder = Path(made)
                for name in ("state", "spool"):
                    (folder / name).mkdir()
                host = _write_conf(folder)
                os.environ["SLURM_CONF"] = str(folder / "slurm.conf")
                why = _start_daemons(folder, stack)
                if why is None:
                    stack.callback(_end_jobs, folder)
                    yield host, ""
                    return
        yield None, why
    finally:
        os.environ.pop("SLURM_CONF")
        if before is not None:
            os.environ["SLURM_CONF"] = before
