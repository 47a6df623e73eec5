"""Rows that validate a member have no part in what it learns, neither before its training nor in an earlier fit."""

import numpy as np
import pandas as pd
import pytest
import torch
from scipy import stats
from skorch.callbacks import Callback

from sklearn_dgm import AutoregressiveDensity, BayesianNetworkDensity
from sklearn_dgm._training.masked import Setting
from sklearn_dgm._training.splits import Splits

NO_STEP = {"lr": 1e-12, "max_epochs": 1, "dropout": 0.2, "hidden_layer_sizes": (4,)}


class SeesRows(Callback):
    """Keep the first column of the rows that members train on."""

    rows = []

    def on_train_begin(self, net, X=None, **kwargs):
        self.rows.append(X.z[:, 0].numpy())


@pytest.fixture
def trained_on():
    """Given a fitted density and its rows, of each training since the last call the flags of the rows that trained."""

    def flags(density, X):
        first = density.schema_.encode(X)[0][:, 0].astype(np.float32)
        found = [np.isin(first, rows) for rows in SeesRows.rows]
        SeesRows.rows.clear()
        return found

    SeesRows.rows.clear()
    return flags


def noise(kind, n_columns, seed=0):
    """Rows of noise, and their true log-densities. The first column tells rows apart."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(900, n_columns))
    if kind == "normal":
        return X, stats.norm.logpdf(X).sum(axis=1)
    frame = pd.DataFrame(X[:, 1:] > 0).add_prefix("sign ")
    frame = frame.astype({"binary": bool, "whole": np.int64}[kind])
    frame.insert(0, "number", X[:, 0])
    return frame, stats.norm.logpdf(X[:, 0]) - (n_columns - 1) * np.log(2)


def rows_of(X, rows):
    return X.iloc[rows] if hasattr(X, "iloc") else X[rows]


def check_optimism(density, X, true, flags):
    """Rows that validate are as likely as fresh ones, beside the truth, which takes most of the variance away."""
    density.fit(rows_of(X, slice(400)))
    trained, *again = flags(density, rows_of(X, slice(400)))
    assert all((other == trained).all() for other in again)
    valid = np.flatnonzero(~trained)
    assert len(valid) == 40
    excess = density.score_samples(X) - true
    error = np.sqrt(excess[valid].var(ddof=1) / 40 + excess[400:].var(ddof=1) / 500)
    found = density.history_[-1]["valid_log_likelihood"] - true[valid].mean()
    assert found == pytest.approx(excess[400:].mean(), abs=4 * error)


@pytest.mark.parametrize("kind", ["normal", "binary", "whole"])
def test_validation_does_not_flatter_the_start_on_noise(kind, trained_on):
    X, true = noise(kind, 300)
    density = AutoregressiveDensity(
        order="given", n_components=1, random_state=0, callbacks=[SeesRows()], **NO_STEP
    )
    check_optimism(density, X, true, trained_on)


@pytest.mark.parametrize("kind", ["normal", "binary"])
def test_validation_does_not_flatter_a_graph_that_was_learnt_on_noise(kind, trained_on):
    X, true = noise(kind, 25)
    density = BayesianNetworkDensity(
        n_components=1, random_state=0, callbacks=[SeesRows()], **NO_STEP
    )
    check_optimism(density, X, true, trained_on)


def table(n=300):
    """Columns of all kinds, some with gaps, that depend on each other."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=n)
    frame = pd.DataFrame(
        {
            "number": x,
            "other": np.where(rng.random(n) < 0.2, np.nan, x + rng.normal(size=n)),
            "count": rng.poisson(np.exp(3 + x / 3)),
            "grade": rng.binomial(9, stats.norm.cdf(x)),
            "city": rng.choice(["Rome", "Oslo", "Lima"], n),
        }
    )
    return frame.assign(town=frame["city"].where(rng.random(n) < 0.9))


@pytest.mark.parametrize("order", ["random", "any"])
@pytest.mark.parametrize("member", [0, 1])
def test_rows_that_validate_leave_no_trace_in_the_start(order, member):
    X = table()
    n_orders = 2 if order == "random" else 1
    density = AutoregressiveDensity(order=order, n_orders=n_orders, random_state=0, **NO_STEP)
    Z = density.fit(X).schema_.encode(X)[0]
    member = min(member, n_orders - 1)

    def start(Z):
        splits = density._split(Z, np.ones(len(Z)), 0.1, 0, torch.device("cpu"))
        splits.order = np.arange(len(Z))
        torch.manual_seed(0)
        return splits.indices(member)[1], density._builder(splits)(member, Setting(0.2))

    valid, module = start(Z)
    other = Z.copy()
    other[valid] = np.random.default_rng(0).permuted(Z, axis=0)[valid]
    changed = start(other)[1]
    if order == "any":
        module, changed = module.members[0], changed.members[0]
    for name, expected in module.state_dict().items():
        torch.testing.assert_close(changed.state_dict()[name], expected)
    assert changed.variables == module.variables


def test_a_column_that_only_rows_of_validation_know():
    X = np.random.default_rng(0).normal(size=(60, 2))
    X[1:, 1] = np.nan
    density = AutoregressiveDensity(n_orders=4, random_state=0, validation_fraction=0.3, **NO_STEP)
    assert np.isfinite(density.fit(X).score_samples(X)).all()


def test_training_that_is_continued_validates_on_the_rows_that_it_did(trained_on):
    X = noise("normal", 3)[0][:400]
    density = AutoregressiveDensity(
        order="given", warm_start=True, callbacks=[SeesRows()], **NO_STEP
    )
    first, again = trained_on(density.fit(X[:380]), X[:380])
    np.testing.assert_array_equal(again, first)
    (second,) = trained_on(density.fit(X[:380]), X[:380])
    assert (~first).sum() == 38
    np.testing.assert_array_equal(second, first)
    # Some more rows change the places of few.
    (third,) = trained_on(density.fit(X), X)
    assert np.sum(third[:380] != first) <= 8


def test_members_share_one_copy_of_the_rows():
    Z = np.random.default_rng(0).normal(size=(50, 3))
    splits = Splits(Z, np.ones(50), 0.2, 0, torch.device("cpu"))
    parts = [part for member in range(3) for part in splits(member)]
    assert {part.every.data_ptr() for part in parts} == {Z.ctypes.data}
    for member in range(3):
        for part, index in zip(splits(member), splits.indices(member), strict=True):
            z, weight = part[torch.tensor([4, 0])]
            np.testing.assert_array_equal(z, Z[index[[4, 0]]].astype(np.float32))
            np.testing.assert_array_equal(part.z, Z[index].astype(np.float32))
            assert weight.shape == (2,)
