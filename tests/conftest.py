"""What all tests share."""

import os
import subprocess
from pathlib import Path

import hypothesis
import pytest

# an example is not wrong because the machine is busy
hypothesis.settings.register_profile("no deadline", deadline=None)
hypothesis.settings.load_profile("no deadline")


def changed_rooms(base):
    """Return the rooms of both packages that were changed since a commit."""
    command = ["git", "diff", "--name-only", base, "--"]
    done = subprocess.run(command, cwd=Path(__file__).parent, check=True, capture_output=True)
    paths = [Path(line).parts for line in done.stdout.decode().splitlines()]
    inside = [p for p in paths if p[0] in ("gahb_core", "gahb_book") and len(p) > 1]
    return {parts[1].removesuffix(".py") for parts in inside}


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items):
    """Mark tests of `verify` as touched where their room was changed since GAHB_BASE."""
    base = os.environ.get("GAHB_BASE")
    rooms = changed_rooms(base) if base else set()
    for item in items:
        if item.get_closest_marker("verify") and item.path.stem.split("_")[1] in rooms:
            item.add_marker(pytest.mark.touched)


def pytest_configure():
    """Give torch one thread, here and in what tests start; it has not been imported yet.

    The cores are taken by the pages that run meanwhile: threads that wait for each other take
    several times the processor time of one, on the small arrays of tests.
    """
    os.environ["OMP_NUM_THREADS"] = "1"
