"""What all tests of this folder need."""

import warnings

import pytest


@pytest.fixture(autouse=True)
def _ignore_unfinished_training():
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The validation likelihood was still rising")
        yield
