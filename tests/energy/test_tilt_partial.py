"""Tilted densities that learn from further rows."""

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.frozen import FrozenEstimator
from sklearn.mixture import GaussianMixture

from sklearn_dgm import EnergyDensity, MixtureDensity

N = 400
SMALL = {"hidden_layer_sizes": (16,), "max_epochs": 15, "n_partition_samples": 20_000}
SMALL |= {"random_state": 0}
CLOSED = MixtureDensity(2, "gaussian", random_state=0)


def rows(n_rows=N, seed=0):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=n_rows)
    return np.column_stack([x, np.sin(2 * x) + 0.2 * rng.normal(size=n_rows)])


def per_row(density, X):
    return density.score(X) / len(X)


@pytest.mark.parametrize("early_stopping", [True, False])
def test_further_rows_are_learnt_from_by_density_and_network(early_stopping):
    held_out, scores = rows(1000, seed=9), []
    density = EnergyDensity(CLOSED, early_stopping=early_stopping, **SMALL)
    reference = clone(CLOSED)
    for seed in range(4):
        density.partial_fit(rows(seed=seed))
        scores.append(per_row(density, held_out))
        reference.partial_fit(rows(seed=seed))
    assert scores[-1] > scores[0]
    # That inside is what it would be by itself.
    inside = density.estimator_.score_samples(held_out)
    np.testing.assert_array_equal(inside, reference.score_samples(held_out))
    if not early_stopping:
        assert density.is_tilted_
        assert scores[-1] > inside.mean()
    assert not hasattr(density, "_is_partial")


@pytest.mark.parametrize("is_frozen", [False, True])
def test_a_density_that_cannot_learn_further_is_kept(is_frozen):
    X = rows()
    inside = (
        FrozenEstimator(clone(CLOSED).fit(X)) if is_frozen else GaussianMixture(2, random_state=0)
    )
    density = EnergyDensity(inside, early_stopping=False, **SMALL).partial_fit(X)
    before, tilts = density.estimator_.score_samples(X), density.score_samples(X)
    density.partial_fit(rows(seed=1))
    np.testing.assert_array_equal(density.estimator_.score_samples(X), before)
    assert not np.array_equal(density.score_samples(X), tilts)


def test_a_tilt_that_was_worth_it_is_not_given_up_for_a_few_rows():
    density = EnergyDensity(CLOSED, **SMALL | {"max_epochs": 40}).fit(rows(4000))
    assert density.is_tilted_
    density.partial_fit(rows(20, seed=1))
    assert density.is_tilted_


def test_the_partition_function_is_that_of_both():
    density = EnergyDensity(CLOSED, early_stopping=False, **SMALL).partial_fit(rows())
    density.partial_fit(rows(seed=1))
    drawn = density.estimator_.sample(100_000, random_state=5)
    log_weight = -density.energy(drawn) - density.estimator_.score_samples(drawn)
    assert density.log_partition_ == pytest.approx(np.log(np.exp(log_weight).mean()), abs=0.03)


def test_a_call_that_fails_leaves_it_as_it_was():
    X = rows()
    density = EnergyDensity(CLOSED, **SMALL).partial_fit(X)
    before, inside = density.score_samples(X), density.estimator_
    for change, error, message in (
        ({"X": X[:, :1]}, ValueError, "features|columns"),
        ({"X": X, "sample_weight": -np.ones(N)}, ValueError, "sample_weight"),
        ({"X": X, "schema": density.schema_}, ValueError, "schema is for the first call"),
        ({"X": [X, X]}, TypeError, "partial_fit takes rows in memory"),
    ):
        with pytest.raises(error, match=message):
            density.partial_fit(**change)
    density.set_params(hidden_layer_sizes=(8,))
    with pytest.raises(ValueError, match="partial_fit continues a model with hidden_layer_sizes"):
        density.partial_fit(X)
    assert density.estimator_ is inside
    np.testing.assert_array_equal(density.score_samples(X), before)


def test_impossible_rows_are_refused():
    X = pd.DataFrame({"kind": np.array(["a", "b"])[np.arange(N) % 2], "x": rows()[:, 0]})
    density = EnergyDensity(MixtureDensity(2, random_state=0), **SMALL)
    schema = density.learn_schema(X)
    density.partial_fit(X, schema=schema)
    new = X.assign(kind=np.where(np.arange(N) == 7, "new", X["kind"]))
    with pytest.raises(ValueError, match="Row 7 is impossible under the density that partial_fit"):
        density.partial_fit(new)
    density.partial_fit(new, sample_weight=(np.arange(N) != 7) * 1.0)
