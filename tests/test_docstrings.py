"""Docstrings describe each parameter that a constructor takes, and no other."""

import inspect
import re

import pytest

import sklearn_dgm

ESTIMATORS = [
    value
    for value in (getattr(sklearn_dgm, name) for name in sklearn_dgm.__all__)
    if hasattr(value, "get_params")
]


def described(cls):
    """Names of the parameters that a docstring describes, with what it says of their types and defaults."""
    section = re.search(r"^Parameters\n-+\n(.*?)^\w+\n-+$", inspect.getdoc(cls), re.M | re.S)[1]
    entries = [line for line in section.splitlines() if re.match(r"\w", line)]
    return {
        name: rest
        for names, _, rest in (entry.partition(" : ") for entry in entries)
        for name in names.split(", ")
    }


@pytest.mark.parametrize("cls", ESTIMATORS)
def test_every_parameter_is_described(cls):
    assert list(described(cls)) == list(inspect.signature(cls).parameters)


@pytest.mark.parametrize("cls", ESTIMATORS)
def test_defaults_are_as_described(cls):
    for name, rest in described(cls).items():
        default = inspect.signature(cls).parameters[name].default
        if "default=" in rest:
            shown = rest.split("default=")[1]
            assert eval(shown) == default, name
