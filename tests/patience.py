"""Waiting in tests, until something is true."""

import subprocess
import time
from collections.abc import Callable
from typing import Any

PATIENCE = 600  # seconds: ends what hangs, on a machine however busy


def wait_for(
    condition: Callable[[], Any], what: str, during: subprocess.Popen | None = None
) -> Any:
    """Return what `condition` gives as soon as that is true; fail where it never is.

    Also as soon as the process `during` has ended, with what it said.
    """
    deadline = time.monotonic() + PATIENCE
    while not (found := condition()):
        assert time.monotonic() < deadline, f"{what} did not come"
        if during is not None and during.poll() is not None:
            raise AssertionError(f"{what} did not come: {during.communicate()[0]}")
        time.sleep(0.1)
    return found
