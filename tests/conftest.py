"""What all tests share."""

import os

import hypothesis

# an example is not wrong because the machine is busy
hypothesis.settings.register_profile("no deadline", deadline=None)
hypothesis.settings.load_profile("no deadline")


def pytest_configure():
    """Give torch one thread, here and in what tests start; it has not been imported yet.

    The cores are taken by the pages that run meanwhile: threads that wait for each other take
    several times the processor time of one, on the small arrays of tests.
    """
    os.environ["OMP_NUM_THREADS"] = "1"
