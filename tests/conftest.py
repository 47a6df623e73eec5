"""What all tests share."""

import os
import signal

import pytest

# Tests look into networks on the CPU, and compare bits. With a device named here, tests/test_accelerator.py has one.
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "")


@pytest.fixture(autouse=True, scope="session")
def _ctrl_c_is_heard():
    """A shell has processes in the background ignore Ctrl-C, which some tests press."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture
def in_double_precision(monkeypatch):
    """Scores of masked networks in double precision throughout, where a test is of how they are put together."""
    from sklearn_dgm.nn.mixture import Mixture

    monkeypatch.setattr(Mixture, "in_mixed_precision", lambda self: self)
