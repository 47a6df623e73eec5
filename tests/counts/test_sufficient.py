"""Counts that add up: a toy model against a Counter, and what histograms and classifiers make of the protocol."""

from collections import Counter

import numpy as np
import pandas as pd
import pytest

from sklearn_dgm import (
    AveragedOneDependenceClassifier,
    BaseDensity,
    HistogramDensity,
    NaiveBayesClassifier,
    TreeAugmentedNaiveBayesClassifier,
)
from sklearn_dgm.counts.sufficient import CountsMixin


class Categories(CountsMixin, BaseDensity):
    """The first column, by counting."""

    def _settle(self, Z, sample_weight):
        self.n_levels_ = len(self.schema_.columns_[0].categories)

    def _cells(self):
        return [self.n_levels_]

    def _count(self, Z, weight):
        return np.bincount(Z[:, 0].astype(int), weight, self.n_levels_).astype(float)

    def _set_counts(self, counts):
        self._counts = counts

    def _log_density(self, Z):
        with np.errstate(divide="ignore"):
            return np.log(self._counts / self._counts.sum())[Z[:, 0].astype(int)]

    def _draw(self, n_samples, rng):
        shares = self._counts / self._counts.sum()
        return rng.choice(self.n_levels_, (n_samples, 1), p=shares).astype(float)


def words(n, seed=0):
    """Words of few letters, of which the dtype knows all."""
    found = np.random.default_rng(seed).choice(list("abc"), n, p=[0.2, 0.3, 0.5])
    return pd.DataFrame({"word": pd.Categorical(found, categories=list("abc"))})


def test_a_family_of_counts_needs_four_hooks():
    X, weight = words(50), 1 + np.arange(50) % 4
    parts = [slice(0, 20), slice(20, 21), slice(21, 50)]
    expected = Counter()
    for word, w in zip(X["word"], weight, strict=True):
        expected[word] += w
    at_once = Categories().fit(X, sample_weight=weight)
    one_after_another = Categories()
    for rows in parts:
        one_after_another.partial_fit(X[rows], sample_weight=weight[rows])
    apart = [Categories().fit(X[rows], sample_weight=weight[rows]) for rows in parts]
    before = [density._counts.copy() for density in apart]
    as_a_tree = apart[0].merge(apart[1].merge(apart[2]))
    for density in (at_once, one_after_another, as_a_tree):
        assert density._counts.tolist() == [expected[word] for word in "abc"]
    for density, counts in zip(apart, before, strict=True):
        np.testing.assert_array_equal(density._counts, counts)


def test_a_failed_part_counts_nothing():
    density = Categories().fit(words(30))
    with pytest.raises(ValueError, match="non-zero|zero for every row"):
        density.partial_fit(words(5), sample_weight=np.zeros(5))
    assert density._counts.sum() == 30


def classified(n=300):
    rng = np.random.default_rng(1)
    y = rng.integers(0, 3, n)
    codes = (y[:, None] * (rng.random((n, 4)) < 0.5) + rng.integers(0, 2, (n, 4))) % 3
    X = pd.DataFrame(codes, columns=list("abcd"))
    X = X.apply(lambda x: pd.Categorical.from_codes(x, categories=["red", "green", "blue"]))
    X.loc[rng.random(n) < 0.1, "b"] = None
    return X, np.array(["low", "middle", "high"])[y]


@pytest.mark.parametrize(
    "classifier",
    [
        NaiveBayesClassifier(),
        TreeAugmentedNaiveBayesClassifier(),
        AveragedOneDependenceClassifier(min_frequency=90),
    ],
    ids=lambda classifier: type(classifier).__name__,
)
def test_classifiers_of_parts_merge_to_that_of_all_rows(classifier):
    X, y = classified()
    make = type(classifier)
    params = classifier.get_params()
    parts = [make(**params).fit(X[rows], y[rows]) for rows in (slice(0, 120), slice(120, 300))]
    merged, whole = parts[0].merge(parts[1]), make(**params).fit(X, y)
    np.testing.assert_array_equal(merged.class_count_, whole.class_count_)
    np.testing.assert_array_equal(merged._counts.cells, whole._counts.cells)
    np.testing.assert_array_equal(
        merged.predict_joint_log_proba(X), whole.predict_joint_log_proba(X)
    )
    np.testing.assert_array_equal(merged.sample(9, random_state=0), whole.sample(9, random_state=0))
    assert parts[0].class_count_.sum() == 120


def test_merging_says_what_differs():
    X, y = classified()
    fitted = NaiveBayesClassifier().fit(X, y)
    with pytest.raises(
        ValueError, match=r"different classes, \['high', 'low', 'middle'\] and \['high"
    ):
        fitted.merge(NaiveBayesClassifier().fit(X[y != "low"], y[y != "low"]))
    with pytest.raises(TypeError, match="should be a NaiveBayesClassifier, got a TreeAugmented"):
        fitted.merge(TreeAugmentedNaiveBayesClassifier().fit(X, y))
    numbers = X.assign(size=np.random.default_rng(0).normal(size=len(X)))
    one, other = (NaiveBayesClassifier().fit(numbers[k::2], y[k::2]) for k in (0, 1))
    with pytest.raises(
        ValueError, match="different grids in column 'size'; columns of one category"
    ):
        one.merge(other)
    narrow = X.assign(a=X["a"].cat.remove_categories("red"))
    with pytest.raises(ValueError, match="column 'a'"):
        fitted.merge(NaiveBayesClassifier().fit(narrow, y))


def test_weights_count_in_what_is_merged():
    X, weight = words(40), np.random.default_rng(2).random(40)
    whole = HistogramDensity().fit(X, sample_weight=weight)
    parts = [HistogramDensity().fit(X[k::2], sample_weight=weight[k::2]) for k in (0, 1)]
    np.testing.assert_allclose(parts[0].merge(parts[1]).counts_, whole.counts_)
