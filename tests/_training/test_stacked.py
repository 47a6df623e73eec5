"""Networks that train as one stack become what they become one by one."""

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.exceptions import ConvergenceWarning
from skorch.callbacks import Callback

from sklearn_dgm import AutoregressiveDensity
from sklearn_dgm._training import stacked
from sklearn_dgm._training.splits import Splits
from sklearn_dgm.nn.stack import MADEStack

SMALL = {"hidden_layer_sizes": (16, 12), "n_orders": 3, "dropout": 0.2, "max_epochs": 5}
SMALL["random_state"] = 0
RECORDED = ["train_log_likelihood", "valid_log_likelihood"]


@pytest.fixture(scope="module")
def X():
    rng = np.random.default_rng(0)
    x = rng.normal(size=200)
    columns = {"x": x, "n": rng.poisson(np.exp(0.3 * x) * 40), "kind": rng.choice(list("abc"), 200)}
    return pd.DataFrame({**columns, "y": x + 0.3 * rng.normal(size=200)})


@pytest.fixture(autouse=True)
def n_stacks(monkeypatch):
    """Count the stacks that are made for training."""
    made, original = [], MADEStack.__init__

    def init(self, members):
        made.append(len(members))
        original(self, members)

    monkeypatch.setattr(MADEStack, "__init__", init)
    return made


class Nothing(Callback):
    """With a callback, networks train one by one."""


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"dropout": "auto"},  # which is chosen in the first order
        {"early_stopping": False},
        {"batch_size": 64, "activation": "silu", "conditional": "gaussian-mixture"},
    ],
)
def test_same_as_one_by_one(X, settings, n_stacks):
    together = AutoregressiveDensity(**{**SMALL, **settings}).fit(X)
    assert max(n_stacks) > 1
    n_stacks.clear()
    one_by_one = AutoregressiveDensity(**{**SMALL, **settings}, callbacks=[Nothing()]).fit(X)
    assert not n_stacks
    assert together.dropout_ == one_by_one.dropout_
    scores = [density.score_samples(X) for density in (together, one_by_one)]
    np.testing.assert_allclose(*scores, atol=1e-3)
    records = [pd.DataFrame(d.history_).drop(columns="duration") for d in (together, one_by_one)]
    pd.testing.assert_frame_equal(*records, atol=1e-3)


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_same_with_weights_and_missing_cells(X, n_stacks):
    rng = np.random.default_rng(1)
    gaps = X.mask(rng.random(X.shape) < 0.1)
    weight = rng.random(len(X)) * 2
    together = AutoregressiveDensity(**SMALL).fit(gaps, sample_weight=weight)
    assert max(n_stacks) > 1
    one_by_one = AutoregressiveDensity(**SMALL, callbacks=[Nothing()])
    one_by_one.fit(gaps, sample_weight=weight)
    scores = [density.score_samples(X) for density in (together, one_by_one)]
    np.testing.assert_allclose(*scores, atol=1e-2)


def test_members_stop_one_by_one(X):
    settings = {**SMALL, "max_epochs": 200, "n_iter_no_change": 3, "lr": 0.02}
    density = AutoregressiveDensity(**settings).fit(X)
    records = pd.DataFrame(density.history_)
    n_epochs = records.groupby("member").size()
    assert n_epochs.nunique() > 1
    assert n_epochs.max() < 200
    for _, of_member in records.groupby("member"):
        assert of_member["epoch"].tolist() == list(range(1, len(of_member) + 1))
        best = np.flatnonzero(of_member["best"])[-1:] + 1 if of_member["best"].any() else 0
        assert len(of_member) - best == 3
    assert records["member"].is_monotonic_increasing


def test_the_weights_are_the_best(X):
    settings = {"max_epochs": 60, "lr": 0.002, "n_iter_no_change": 4}
    density = AutoregressiveDensity(**{**SMALL, **settings}).fit(X)
    records = pd.DataFrame(density.history_)
    Z, log_det = density.schema_.encode(X)
    splits = Splits(Z, np.ones(len(Z)), 0.1, density._split_seed, torch.device("cpu"))
    # Of the others the start was the best.
    trained = records[records.groupby("member")["best"].transform("any")]
    assert len(trained)
    for k, of_member in trained.groupby("member"):
        assert not of_member["best"].iloc[-1]
        _, valid = splits.indices(k)
        found = density.net_.module_.members[k].log_prob(torch.from_numpy(Z[valid])).detach()
        expected = of_member[RECORDED[1]].max()
        assert found.mean().item() + log_det[valid].mean() == pytest.approx(expected, abs=1e-3)


def test_of_large_batches_few_train_together(X, n_stacks):
    many = pd.concat([X] * 4)
    for batch_size, sizes in [(128, [3]), (256, [2, 1]), (257, [1, 1, 1])]:
        n_stacks.clear()
        settings = {**SMALL, "max_epochs": 1, "batch_size": batch_size}
        with pytest.warns(ConvergenceWarning):
            AutoregressiveDensity(**settings).fit(many)
        # A stack is copied once, for the average of its weights.
        assert sorted(n_stacks, reverse=True) == sorted(2 * sizes, reverse=True)


def test_a_member_that_diverges_leaves_the_others(X, monkeypatch):
    expected = AutoregressiveDensity(**SMALL).fit(X)
    original = stacked.StackNet.get_loss

    def get_loss(self, y_pred, y_true, *args, **kwargs):
        if len(y_pred) == 3:
            y_pred = y_pred * torch.tensor([1.0, np.nan, 1.0])[:, None]
        return original(self, y_pred, y_true, *args, **kwargs)

    monkeypatch.setattr(stacked.StackNet, "get_loss", get_loss)
    with pytest.warns(ConvergenceWarning, match="infinite or NaN in epoch 1"):
        density = AutoregressiveDensity(**SMALL).fit(X)
    for k, same in enumerate([True, False, True]):
        z = torch.from_numpy(density.schema_.encode(X)[0])
        found, before = (
            d.net_.module_.members[k].log_prob(z).detach() for d in (density, expected)
        )
        assert torch.allclose(found, before, atol=1e-3) == same
        assert found.isfinite().all()


def test_ctrl_c_keeps_what_was_reached(X, monkeypatch):
    original, calls = stacked.StackNet.begin_epoch, []

    def begin_epoch(self):
        calls.append(1)
        if len(calls) == 4:
            raise KeyboardInterrupt
        original(self)

    monkeypatch.setattr(stacked.StackNet, "begin_epoch", begin_epoch)
    density = AutoregressiveDensity(**SMALL, warm_start=True)
    with pytest.raises(KeyboardInterrupt):
        density.fit(X)
    assert density.n_iter_ == 9
    assert np.isfinite(density.score_samples(X)).all()
    density.fit(X)
    assert density.n_iter_ == 9 + 3 * SMALL["max_epochs"]


def test_what_is_seen_of_many_rows_is_computed_batch_by_batch(X, monkeypatch):
    expected = AutoregressiveDensity(**SMALL).fit(X).score_samples(X)
    monkeypatch.setattr(stacked, "MAX_SEEN", 0)
    found = AutoregressiveDensity(**SMALL).fit(X).score_samples(X)
    np.testing.assert_allclose(found, expected, atol=1e-4)
