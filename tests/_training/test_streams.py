"""Networks that learn from a table which is read a chunk at a time."""

import tracemalloc

import numpy as np
import pandas as pd
import pytest

from sklearn_dgm import (
    AutoregressiveDensity,
    Checkpoint,
    FlowDensity,
    VariationalAutoencoderDensity,
)
from sklearn_dgm._training import streams, trainer
from sklearn_dgm.chunks import TableForm, _shuffling, shuffled_blocks
from tests._training.interrupted import Interrupted, interrupt
from tests._training.toy import ToyDensity
from tests.chunks.tables import Parts, let_samples_be_small

SAMPLE, EPOCH = 600, 500


@pytest.fixture(autouse=True)
def _small(monkeypatch):
    """Let small tables be larger than a sample."""
    let_samples_be_small(monkeypatch, SAMPLE, 800, EPOCH)


def numbers(n_rows, seed=0):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=n_rows)
    return np.column_stack(
        [x, np.sin(2 * x) + 0.2 * rng.normal(size=n_rows), rng.exponential(size=n_rows)]
    )


class Rows:
    """Encoded rows, each of which is its position, as chunks that are made when they are asked for."""

    def __init__(self, n_chunks, n_rows):
        self.n_chunks, self.n_rows = n_chunks, n_rows

    def with_positions(self):
        for k in range(self.n_chunks):
            positions = np.arange(k * self.n_rows, (k + 1) * self.n_rows)
            yield np.repeat(positions[:, None] * 1e-3, 2, axis=1), None, positions


def test_each_pass_gives_every_row_once_in_another_order():
    held_out = np.array([0, 7, 1500, 2999])
    blocks = shuffled_blocks(Rows(6, 500), held_out, 1.0, np.random.default_rng(0), TableForm())
    passes = []
    for _ in range(2):
        parts = []
        while sum(map(len, parts)) < 3000 - len(held_out):
            Z, weight = next(blocks)
            assert (weight == 1).all()
            assert len(Z) <= _shuffling.BUFFER_ROWS
            parts.append(np.rint(Z[:, 0] * 1e3).astype(int))
        passes.append(np.concatenate(parts))
    for order in passes:
        np.testing.assert_array_equal(np.sort(order), np.setdiff1d(np.arange(3000), held_out))
        # Rows that stood beside each other are far apart.
        assert np.median(np.abs(np.diff(order))) > 100
    assert not np.array_equal(*passes)


def test_memory_is_bounded():
    def peak(n_chunks):
        blocks = shuffled_blocks(
            Rows(n_chunks, 500), np.arange(3), 1.0, np.random.default_rng(0), TableForm()
        )
        n_rows = 0
        tracemalloc.start()
        try:
            while n_rows < 500 * n_chunks - 3:
                n_rows += len(next(blocks)[1])
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    assert peak(200) < 1.5 * peak(5)


@pytest.fixture
def trained(monkeypatch):
    """All rows that train, of each member: what streams give."""
    seen = []
    original = streams.StreamedRows.before_pass

    def before_pass(self, index):
        original(self, index)
        assert len(self) == EPOCH == len(index)
        seen.append(self.z.numpy().copy())

    monkeypatch.setattr(streams.StreamedRows, "before_pass", before_pass)
    return seen


def test_no_row_that_validates_trains(trained, monkeypatch):
    X = np.random.default_rng(0).permutation(3000)[:, None] * 1.0
    validating = []
    original = trainer.Trainer._monitor

    def monitor(self, run, train, valid):
        validating.append(valid.z[:, 0].numpy().copy())
        return original(self, run, train, valid)

    monkeypatch.setattr(trainer.Trainer, "_monitor", monitor)
    density = ToyDensity(n_members=2, max_epochs=12, early_stopping=True).fit(Parts(X, 700))
    assert len(trained) == 2 * 12
    for member, valid in enumerate(validating):
        assert len(valid) == SAMPLE // 10
        seen = np.concatenate(trained[12 * member : 12 * (member + 1)])[:, 0]
        assert not np.isin(valid, seen).any()
        # All others, the stream going on where an epoch ended: twice in twelve epochs of 500 rows.
        assert len(np.unique(seen)) == 3000 - len(valid)
        assert np.unique(seen, return_counts=True)[1].min() >= 2
    assert not np.isin(*validating).any()
    assert not hasattr(density, "_streamed")


def test_a_table_of_no_more_rows_than_a_sample_is_fitted_as_one_in_memory(trained):
    X = numbers(SAMPLE)
    streamed, whole = (ToyDensity(max_epochs=3).fit(of) for of in (Parts(X, 100), X))
    np.testing.assert_array_equal(streamed.score_samples(X), whole.score_samples(X))
    assert not trained


def test_weights_count(trained):
    X, weight = numbers(3000), np.repeat([1.0, 0.0, 3.0], 1000)
    X[1000:2000] += 100
    density = ToyDensity(max_epochs=20, lr=0.05).fit(Parts(X, 700), sample_weight=weight)
    assert trained
    whole = ToyDensity(max_epochs=20, lr=0.05).fit(X, sample_weight=weight)
    kept = X[weight > 0]
    assert abs(density.score(kept) - whole.score(kept)) < 0.02 * len(kept)


def test_a_fit_that_is_killed_goes_on_with_the_stream(tmp_path):
    X = Parts(numbers(3000), 700)
    whole = ToyDensity(n_members=2, max_epochs=9).fit(X)
    checkpoint = Checkpoint(tmp_path / "fit", every=2, resume=True)
    parts = ToyDensity(n_members=2, max_epochs=9, callbacks=[checkpoint])
    n_steps = 2 * 9 * 16
    interrupt(parts, X, at=n_steps // 3)
    assert checkpoint.path.exists()
    Interrupted.steps, Interrupted.at = 0, -1
    parts.set_params(net_params={"optimizer": Interrupted}).fit(X)
    np.testing.assert_array_equal(parts.score_samples(X.table), whole.score_samples(X.table))


def test_warm_start_goes_on():
    X = Parts(numbers(3000), 700)
    density = ToyDensity(max_epochs=3, warm_start=True).fit(X)
    schema, before = density.schema_, density.score(X.table)
    assert density.fit(X).schema_ is schema
    assert density.score(X.table) > before
    assert density.n_iter_ == 6


FAST = {"batch_size": 64, "random_state": 0}


@pytest.mark.parametrize(
    "estimator",
    [
        AutoregressiveDensity((16,), n_orders=2, effort="fast", **FAST),
        FlowDensity(hidden_layer_sizes=(16,), max_epochs=12, **FAST),
        VariationalAutoencoderDensity(2, (32,), max_epochs=80, **FAST),
    ],
    ids=lambda estimator: type(estimator).__name__,
)
def test_as_good_as_from_memory(estimator, trained):
    X, held_out = numbers(4000), numbers(2000, seed=1)
    whole = estimator.fit(X).score(held_out) / len(held_out)
    assert not trained
    streamed = estimator.fit(Parts(X, 700)).score(held_out) / len(held_out)
    assert trained
    assert abs(streamed - whole) < 0.05


def test_missing_cells_are_drawn_as_rows_come(trained):
    def mixed(n_rows, seed):
        rng = np.random.default_rng(seed)
        x = rng.normal(size=n_rows)
        kind = np.where(x + 0.5 * rng.normal(size=n_rows) > 0, "a", "b")
        return pd.DataFrame({"x": x, "y": x + 0.3 * rng.normal(size=n_rows), "kind": kind})

    X, held_out = mixed(4000, 0), mixed(2000, 1)
    X = X.mask(np.random.default_rng(2).random(X.shape) < 0.2)
    estimator = AutoregressiveDensity((16,), n_orders=2, effort="fast", max_epochs=12, **FAST)
    whole = estimator.fit(X).score(held_out) / len(held_out)
    streamed = estimator.fit(Parts(X, 700)).score(held_out) / len(held_out)
    assert trained
    assert not any(np.isnan(z).any() for z in trained)
    assert abs(streamed - whole) < 0.05


def test_cells_that_a_chunk_or_a_warm_start_does_not_know_are_drawn(trained):
    X = pd.DataFrame(numbers(4000)[:, :2], columns=["x", "y"])
    X.loc[700:1400, "y"] = np.nan
    density = AutoregressiveDensity(
        (16,), n_orders=2, effort="fast", max_epochs=6, warm_start=True, **FAST
    )
    density.fit(Parts(X, 700))
    alone = X[:300].assign(x=np.nan)
    before = density.score_samples(alone)
    density.fit(Parts(X.assign(y=np.nan), 700))
    assert trained
    assert not any(np.isnan(z).any() for z in trained)
    np.testing.assert_allclose(density.score_samples(alone).mean(), before.mean(), atol=0.1)
