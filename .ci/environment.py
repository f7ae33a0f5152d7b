"""Make or renew the environment .venv from requirements.txt; do nothing when it is current.

Needs Python 3.11 or later and nothing else. A stamp in .venv holds the hash of what it was made from.
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


def is_current() -> bool:
    """Return whether .venv was made from what is there now, and its Python still starts."""
    if not STAMP.is_file() or STAMP.read_text() != wanted():
        return False
    return subprocess.run([PYTHON, "-c", "import gahb_core"], check=False).returncode == 0


def main() -> int:
    """Bring .venv up to date; return 0, or 1 after saying what to do."""
    if sys.version_info < (3, 11):
        print(f"Python 3.11 or later is needed, and this is {sys.version.split()[0]}: install it, "
              "then `make PYTHON=/path/to/python3.11 book`", file=sys.stderr)  # fmt: skip
        return 1
    if is_current():
        print("environment: .venv is current")
        return 0
    began = time.monotonic()
    print("environment: installing requirements.txt into .venv (minutes, the first time)", flush=True)
    STAMP.unlink(missing_ok=True)
    if not PYTHON.exists():
        subprocess.run([sys.executable, "-m", "venv", VENV], check=True)
    pip = [PYTHON, "-m", "pip", "install", "--disable-pip-version-check", "-r", "requirements.txt"]
    if subprocess.run(pip, cwd=ROOT, stdin=subprocess.DEVNULL, check=False).returncode:
        print("environment: pip failed, see above. Mend the cause (network? disk?) and run make again; "
              "`make clean-env` starts anew", file=sys.stderr)  # fmt: skip
        return 1
    STAMP.write_text(wanted())
    print(f"environment: ready after {time.monotonic() - began:.0f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
