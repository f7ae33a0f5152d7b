"""Make or renew the environment .venv from requirements.txt; do nothing when it is current.

Needs Python 3.11.5 or later, as packages of the lock do, and nothing else. A stamp in .venv holds
the hash of what made it.
"""

import hashlib
import os
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
VENV = ROOT / ".venv"
PYTHON = VENV / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
STAMP = VENV / ".made-from"


def wanted() -> str:
    """Return the hash of the lock file, the project's metadata and where the project lies."""
    digest = hashlib.sha256(str(ROOT).encode())
    for name in ("requirements.txt", "pyproject.toml"):
        digest.update((ROOT / name).read_bytes())
    return digest.hexdigest()


def ours() -> dict[str, str]:
    """Return the environment without what would bring other packages, or install elsewhere."""
    foreign = {"PYTHONPATH", "PYTHONHOME", "PIP_USER", "PIP_TARGET", "PIP_PREFIX", "PIP_ROOT"}
    return {name: value for name, value in os.environ.items() if name not in foreign}


def is_current() -> bool:
    """Return whether .venv was made from what is there now, and its Python still starts."""
    if not STAMP.is_file() or STAMP.read_text() != wanted():
        return False
    starts = [PYTHON, "-c", "import gahb_core, gahb_book"]
    return subprocess.run(starts, check=False, env=ours()).returncode == 0


def complain(text: str) -> int:
    """Say what is wrong and what to do, and return the exit code 1."""
    print(f"environment: {text}", file=sys.stderr)
    return 1


def main() -> int:
    """Bring .venv up to date; return 0, or 1 after saying what to do."""
    if sys.version_info < (3, 11, 5):  # this runs under whatever Python make finds
        version = sys.version.split()[0]
        cure = "3.11.5 is needed; `make PYTHON=/path/to/python3.11 book`"
        return complain(f"Python {version} is too old, {cure}")
    if is_current():
        print("environment: .venv is current")
        return 0
    began = time.monotonic()
    print("environment: installing requirements.txt into .venv (minutes, at first)", flush=True)
    STAMP.unlink(missing_ok=True)
    venv = [sys.executable, "-m", "venv", VENV]
    if not PYTHON.exists() and subprocess.run(venv, check=False, env=ours()).returncode:
        return complain("no .venv could be made; on Debian or Ubuntu: apt install python3-venv")
    pip = [PYTHON, "-m", "pip", "install", "--disable-pip-version-check", "-r", "requirements.txt"]
    quiet = {"cwd": ROOT, "stdin": subprocess.DEVNULL, "env": ours()}
    if subprocess.run(pip, check=False, **quiet).returncode:
        return complain("pip failed, see above (network? disk?); mend it and run make again")
    STAMP.write_text(wanted())
    print(f"environment: ready after {time.monotonic() - began:.0f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
