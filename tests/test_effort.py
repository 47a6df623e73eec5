"""How much a fit is to cost."""

import warnings
from types import SimpleNamespace

import numpy as np
import pytest
from sklearn.exceptions import ConvergenceWarning
from skorch.callbacks import Callback

from sklearn_dgm import AutoregressiveDensity


def settings_of(density, n_train=1000):
    """What a training on so many rows would be given."""
    density.schema_ = density.learn_schema(np.random.default_rng(0).normal(size=(50, 3)))
    parameters = density._training_parameters(SimpleNamespace(n_train=n_train, n_valid=100))
    names = ("max_epochs", "lr", "n_iter_no_change", "least_patience", "lr_falls")
    return tuple(parameters[name] for name in names)


@pytest.mark.filterwarnings("error")
def test_a_fast_fit_ends_as_planned():
    X = np.random.default_rng(0).normal(size=(300, 2))
    X[:, 1] += np.sin(2 * X[:, 0])
    small = {"hidden_layer_sizes": (32,), "random_state": 0}
    fast = AutoregressiveDensity(effort="fast", **small).fit(X)
    assert fast.order_.shape == (2, 2)
    assert max(record["epoch"] for record in fast.history_) <= 30
    balanced = AutoregressiveDensity(**small).fit(X)
    assert balanced.order_.shape == (4, 2)
    assert fast.n_iter_ < balanced.n_iter_


def test_parameters_that_are_given_overrule_the_effort():
    own = {"max_epochs": 7, "lr": 0.5, "n_iter_no_change": 3}
    for effort in ("fast", "balanced", "best"):
        *given, falls = settings_of(AutoregressiveDensity(effort=effort, **own))
        assert given == [7, 0.5, 3, 3]
        assert falls == (effort == "fast")
        X = np.random.default_rng(0).normal(size=(60, 3))
        density = AutoregressiveDensity((4,), effort=effort, n_orders=3, max_epochs=1)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            assert density.fit(X).order_.shape == (3, 3)
    efforts = [settings_of(AutoregressiveDensity(effort=e)) for e in ("fast", "balanced", "best")]
    assert efforts == [
        (30, 6e-3, 10, 10, True),
        (500, 3e-3, 20, 20, False),
        (1000, 3e-3, 40, 20, False),
    ]


def test_the_rate_falls_to_zero_in_the_last_step():
    X = np.random.default_rng(0).normal(size=(100, 2))
    rates = []

    class Rates(Callback):
        def on_batch_end(self, net, training, **kwargs):
            if training:
                rates.append(net.optimizer_.param_groups[0]["lr"])

    settings = {"n_orders": 1, "max_epochs": 4, "early_stopping": False, "callbacks": [Rates()]}
    AutoregressiveDensity((4,), effort="fast", lr=0.01, **settings).fit(X)
    assert rates == sorted(rates, reverse=True)
    assert rates[0] > 0.0095
    assert rates[-1] < 0.001


def test_many_rows_pass_a_few_times_at_a_falling_rate():
    for effort, rows_seen in [("fast", 2**19), ("balanced", 2**20), ("best", 2**22)]:
        density = AutoregressiveDensity(effort=effort)
        for n_train in (50_001, 60_000, 2**16, 10**6):
            max_epochs, lr, *_, falls = settings_of(density, n_train)
            n_rows = max_epochs * min(n_train, 2**16)
            assert rows_seen <= n_rows < rows_seen + n_train
            assert (lr, falls) == (8e-3, True)
        own = AutoregressiveDensity(effort=effort, max_epochs=3, lr=0.1)
        assert settings_of(own, 60_000)[:2] == (3, 0.1)
    assert settings_of(AutoregressiveDensity(), 50_000)[:2] == (500, 3e-3)


@pytest.mark.parametrize(("dropout", "expected"), [("auto", 0.05), (0.3, 0.3)])
def test_many_rows_need_little_dropout(dropout, expected):
    X = np.random.default_rng(0).normal(size=(56_000, 2))
    settings = {"n_orders": 1, "max_epochs": 1, "batch_size": 4096, "random_state": 0}
    density = AutoregressiveDensity((4,), dropout=dropout, **settings).fit(X)
    assert density.dropout_ == expected
    assert density.n_iter_ == 1


def test_another_effort_is_another_shape():
    X = np.random.default_rng(0).normal(size=(60, 2))
    density = AutoregressiveDensity((4,), effort="fast", warm_start=True).fit(X)
    with pytest.raises(ValueError, match="effort='fast'"):
        density.set_params(effort="best").fit(X)
