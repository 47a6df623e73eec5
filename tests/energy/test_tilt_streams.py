"""Tilted densities of tables that are read a chunk at a time."""

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.mixture import GaussianMixture

from sklearn_dgm import (
    Checkpoint,
    DensityOutlierDetector,
    EnergyDensity,
    HistogramDensity,
    MixtureDensity,
)
from sklearn_dgm._training import trainer
from tests._training.interrupted import Interrupted, interrupt
from tests.chunks.tables import Parts, let_samples_be_small, note_rows_that_train
from tests.energy.test_tilt_partial import CLOSED, SMALL, per_row, rows


@pytest.fixture(autouse=True)
def _small(monkeypatch):
    """Let small tables be larger than a sample."""
    let_samples_be_small(monkeypatch, 400, 500, 300)


@pytest.fixture
def trained(monkeypatch):
    """All rows that train: what streams give."""
    return note_rows_that_train(monkeypatch)


@pytest.mark.parametrize("objective", ["self-normalised", "nce"])
def test_as_good_as_from_memory(objective, trained):
    X, held_out = rows(2000), rows(1000, seed=1)
    density = EnergyDensity(
        CLOSED, objective=objective, **SMALL | {"max_epochs": 50}, batch_size=32
    )
    whole = clone(density).fit(X)
    assert not trained
    density.fit(Parts(X, 700))
    assert abs(per_row(density, held_out) - per_row(whole, held_out)) < 0.15
    assert density.is_tilted_
    assert per_row(density, held_out) > density.estimator_.score_samples(held_out).mean() + 0.1
    assert len(np.unique(np.concatenate(trained)[:, 0])) > 1900
    inside = clone(CLOSED).fit(Parts(X, 700)).score_samples(held_out)
    np.testing.assert_array_equal(density.estimator_.score_samples(held_out), inside)


@pytest.mark.parametrize("inside", [CLOSED, HistogramDensity(8, alpha=0.5)], ids=str)
def test_a_small_table_is_fitted_as_one_in_memory_and_seeds_are_kept(inside, trained):
    X = rows(400)
    density = EnergyDensity(inside, **SMALL | {"max_epochs": 3, "early_stopping": False})
    streamed, whole = (clone(density).fit(of) for of in (Parts(X, 90), X))
    np.testing.assert_array_equal(streamed.score_samples(X), whole.score_samples(X))
    assert not trained
    X = rows(900)
    pair = [clone(density).fit(Parts(X, 350)).score_samples(X) for _ in range(2)]
    np.testing.assert_array_equal(*pair)


def test_maps_files_and_weights(tmp_path):
    X, weight = rows(900), np.arange(900) % 3.0
    X.tofile(tmp_path / "X")
    mapped = np.memmap(tmp_path / "X", dtype=X.dtype, mode="r", shape=X.shape)
    frame = pd.DataFrame(X, columns=["a", "b"])
    frame.to_parquet(tmp_path / "X.parquet")
    density = EnergyDensity(CLOSED, **SMALL | {"max_epochs": 2, "early_stopping": False})
    of_map, of_parts, of_file = (
        clone(density).fit(of, sample_weight=weight)
        for of in (mapped, Parts(X, 10**6), tmp_path / "X.parquet")
    )
    np.testing.assert_array_equal(of_map.score_samples(X), of_parts.score_samples(X))
    np.testing.assert_array_equal(of_map.score_samples(X), of_file.score_samples(frame))
    assert list(of_file.sample(2, 0)) == ["a", "b"]
    schema = density.learn_schema(Parts(frame, 300))
    few = clone(density).fit(Parts(frame[:600], 200), schema=schema)
    assert few.schema_.columns_[0].scale == schema.columns_[0].scale


def test_a_fit_that_is_killed_goes_on_with_the_stream(tmp_path):
    X = Parts(rows(900), 350)
    settings = SMALL | {"max_epochs": 4}
    Interrupted.at = -1
    whole = EnergyDensity(CLOSED, net_params={"optimizer": Interrupted}, **settings).fit(X)
    checkpoint = Checkpoint(tmp_path / "fit", every=1, resume=True)
    parts = EnergyDensity(CLOSED, callbacks=[checkpoint], **settings)
    interrupt(parts, X, at=20)
    assert checkpoint.path.exists()
    Interrupted.steps, Interrupted.at = 0, -1
    parts.set_params(net_params={"optimizer": Interrupted}).fit(X)
    np.testing.assert_array_equal(parts.score_samples(X.table), whole.score_samples(X.table))


@pytest.mark.parametrize(
    ("density", "message"),
    [
        (EnergyDensity(GaussianMixture(2)), "GaussianMixture learns from rows in memory alone"),
        (
            EnergyDensity(CLOSED, objective="score-matching"),
            "objective='score-matching' takes gradients at rows in memory",
        ),
        (EnergyDensity(MixtureDensity(2, HistogramDensity())), "closed form"),
    ],
    ids=["of numbers", "score matching", "of densities"],
)
def test_who_learns_from_memory_alone_says_so(density, message):
    density = clone(density)
    with pytest.raises(TypeError, match=message):
        density.fit(Parts(rows(900), 350))
    assert not hasattr(density, "estimator_")


def test_missing_cells_are_refused_by_row():
    X = rows(900)
    X[700, 1] = np.nan
    density = EnergyDensity(CLOSED, **SMALL)
    with pytest.raises(ValueError, match="(?s)1.*row 700"):
        density.fit(Parts(X, 350))
    assert not hasattr(density, "estimator_")


def test_copies_of_rows_that_validate_do_not_train(trained, monkeypatch):
    validating = []
    original = trainer.Trainer._monitor

    def monitor(self, run, train, valid):
        validating.append(valid.z.flatten(1)[:, 0].numpy().copy())  # before what stands beside
        return original(self, run, train, valid)

    monkeypatch.setattr(trainer.Trainer, "_monitor", monitor)
    X = np.random.default_rng(0).permutation(np.repeat(rows(300), 5, axis=0))
    EnergyDensity(CLOSED, **SMALL | {"max_epochs": 12}).fit(Parts(X, 350))
    assert len(validating[0]) > 20
    seen = np.concatenate(trained)[:, 0]
    assert not np.isin(validating[0].astype(np.float32), seen).any()
    assert len(np.unique(seen)) > 200


def test_detectors_read_what_a_tilted_density_reads():
    X = rows(1500)
    detector = DensityOutlierDetector(EnergyDensity(CLOSED, **SMALL | {"max_epochs": 3}))
    assert detector.fit(Parts(X, 350)).predict(Parts(X, 350)).shape == (1500,)
    detector.set_params(estimator__objective="score-matching")
    with pytest.raises(TypeError, match="objective='score-matching' takes gradients at rows in"):
        detector.fit(Parts(X, 350))
