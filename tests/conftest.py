"""What all tests share."""

import signal

import pytest


@pytest.fixture(autouse=True, scope="session")
def _ctrl_c_is_heard():
    """A shell has processes in the background ignore Ctrl-C, which some tests press."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
