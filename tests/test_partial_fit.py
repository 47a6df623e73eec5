"""What further rows bring that the first ones had not, alike in all densities that count."""

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone, is_classifier

from sklearn_dgm import (
    AveragedOneDependenceClassifier,
    BayesianNetworkDensity,
    HiddenMarkovDensity,
    HistogramDensity,
    MarkovChainDensity,
    MixtureDensity,
    NaiveBayesClassifier,
    RestrictedBoltzmannDensity,
    TreeAugmentedNaiveBayesClassifier,
)

DENSITIES = [
    BayesianNetworkDensity(conditional="table"),
    MixtureDensity(2, random_state=0),
    MixtureDensity(2, "tree", random_state=0),
    MixtureDensity(2, "gaussian", random_state=0),
    NaiveBayesClassifier(),
    TreeAugmentedNaiveBayesClassifier(),
    AveragedOneDependenceClassifier(),
    RestrictedBoltzmannDensity(2, max_iter=1, random_state=0),
]
OF_TABLES = pytest.mark.parametrize("density", DENSITIES, ids=str)


def table(n=120, seed=0):
    rng = np.random.default_rng(seed)
    a = rng.integers(0, 3, n)
    return pd.DataFrame(
        {
            "a": np.array(["x", "y", "z"], dtype=object)[a],
            "b": np.array(["u", "v"], dtype=object)[(a + rng.integers(0, 2, n)) % 2],
            "c": a + rng.normal(size=n),
        }
    )


def learnt(density, *parts):
    density = clone(density)
    for X in parts:
        y = {"y": (np.arange(len(X)) % 2)} if is_classifier(density) else {}
        density.partial_fit(X, **y)
    return density


@OF_TABLES
def test_unknown_categories_are_as_missing_cells(density):
    first, further = table(), table(40, seed=1)
    further["a"] = np.where(np.arange(40) % 4 == 0, "new", further["a"])
    missing = further.assign(a=further["a"].replace("new", None))
    unknown = learnt(density, first, further)
    np.testing.assert_allclose(
        unknown.score_samples(first), learnt(density, first, missing).score_samples(first)
    )
    assert np.isneginf(unknown.score_samples(further[further["a"] == "new"])).all()
    strict = learnt(density.set_params(handle_unknown="error"), first)
    before = strict.score_samples(first)
    y = {"y": np.zeros(40, dtype=int)} if is_classifier(density) else {}
    with pytest.raises(ValueError, match="'a'"):
        strict.partial_fit(further, **y)
    np.testing.assert_array_equal(strict.score_samples(first), before)
    density.set_params(handle_unknown="impossible")


@OF_TABLES
def test_numbers_beyond_the_range_are_learnt_from(density):
    first, further = table(), table(40, seed=1)
    further["c"] = further["c"].max() + np.linspace(5, 10, 40)
    before, after = learnt(density, first), learnt(density, first, further)
    assert np.isfinite(after.score_samples(further)).all()
    assert after.score_samples(further).mean() > before.score_samples(further).mean()


def test_a_histogram_refuses_what_is_outside_its_grid():
    first = table()
    density = HistogramDensity({"c": [-10.0, 0.0, 1.0, 10.0]}).partial_fit(first)
    before = density.score_samples(first)
    for name, value in (("a", "new"), ("c", 11.0)):
        with pytest.raises(ValueError, match=f"'{name}'"):
            density.partial_fit(first.assign(**{name: value}))
        np.testing.assert_array_equal(density.score_samples(first), before)


@pytest.mark.parametrize("density", [MarkovChainDensity(2), HiddenMarkovDensity(2, random_state=0)])
def test_unknown_symbols_of_sequences_are_not_counted_or_raise(density):
    first = ["abab", "ba", "bab"]
    counted = learnt(density, first, ["?"])
    # Of a step that is unknown, the end that follows it is seen.
    assert np.isneginf(counted.score_samples(["a?"])).all()
    assert np.isfinite(counted.score_samples(first)).all()
    strict = learnt(clone(density).set_params(handle_unknown="error"), first)
    with pytest.raises(ValueError, match="'\\?'"):
        strict.partial_fit(["a?"])
    assert np.isfinite(strict.score_samples(first)).all()


def test_numbers_of_sequences_beyond_the_range_are_counted_in_outer_cells():
    rng = np.random.default_rng(0)
    first, further = rng.normal(size=(50, 4)), np.full((20, 4), 9.0)
    for density in (MarkovChainDensity(2), HiddenMarkovDensity(2, "tree", random_state=0)):
        before, after = learnt(density, first), learnt(density, first, further)
        assert after.score_samples(further)[0] > before.score_samples(further)[0]
