"""Parameters of training: spelled out by each estimator, stored and described once."""

import inspect

import pytest
from sklearn.base import clone

from sklearn_dgm import AutoregressiveDensity, BayesianNetworkDensity
from sklearn_dgm._training.base import NeuralMixin
from sklearn_dgm._training.parameters import describe_training, handed_on

FAMILIES = [AutoregressiveDensity, BayesianNetworkDensity]


@pytest.mark.parametrize("family", FAMILIES)
def test_every_parameter_is_stored_as_it_is(family):
    values = {name: object() for name in inspect.signature(family).parameters}
    assert values.keys() >= NeuralMixin._parameter_constraints.keys()
    density = family(**values)
    assert vars(density) == values
    assert clone(family(lr=0.5)).lr == 0.5


@pytest.mark.parametrize("family", FAMILIES)
def test_help_shows_the_defaults_of_the_family(family):
    described = inspect.getdoc(family)
    assert "$" not in described
    defaults = inspect.signature(family).parameters
    for name in NeuralMixin._parameter_constraints:
        default = defaults[name].default
        shown = f'"{default}"' if isinstance(default, str) else default
        assert f"\n{name} : " in described
        line = described.split(f"\n{name} : ")[1].splitlines()[0]
        assert line.endswith(f"default={shown}")
    assert f"leaves about {family._n_steps} of an epoch" in described


def test_a_class_without_a_docstring_stays_without():
    class Silent(AutoregressiveDensity):
        pass

    Silent.__doc__ = None
    assert describe_training(Silent).__doc__ is None


def test_subclasses_hand_on_what_is_not_their_own():
    class Child(AutoregressiveDensity):
        def __init__(self, depth=1, lr=0.1, random_state=None):
            super().__init__(**handed_on(locals(), "depth"))
            self.depth = depth

    child = Child(depth=3, random_state=7)
    assert child.get_params() == {"depth": 3, "lr": 0.1, "random_state": 7}
    assert (child.n_orders, child.random_state) == ("auto", 7)
