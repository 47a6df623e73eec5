"""Bayesian blocks of many samples at once, against the definition and against one sample at a time."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sklearn_dgm import HistogramDensity, NaiveBayesClassifier
from sklearn_dgm.counts import blocks
from sklearn_dgm.counts.blocks import best_partitions, cells_between, merged_cells


def cells_of(values, counts=None):
    counts = np.ones(len(values)) if counts is None else counts
    return cells_between(values, counts, [(0, len(values))])[0]


def slow_fitness(edges, counts, cuts, false_alarm=0.05):
    penalty = 4 - math.log(73.53 * false_alarm * sum(counts) ** -0.478)
    total = 0.0
    for a, b in itertools.pairwise([0, *cuts, len(counts)]):
        n = sum(counts[a:b])
        total += n * math.log(n / (edges[b] - edges[a])) - penalty
    return total


@settings(deadline=None, max_examples=30)
@given(st.lists(st.integers(2, 9), min_size=1, max_size=6), st.integers(0, 99))
def test_each_sample_has_the_partition_of_the_highest_fitness(lengths, seed):
    rng = np.random.default_rng(seed)
    samples = []
    for n in lengths:
        x = np.sort(np.where(rng.random(n) < 0.5, rng.normal(size=n), 1e-3 * rng.normal(size=n)))
        samples.append(cells_of(x, rng.integers(1, 9, n) * rng.choice([1.0, 0.3])))
    for (edges, counts), found in zip(samples, best_partitions(samples), strict=True):
        cuts = [
            c for k in range(len(counts)) for c in itertools.combinations(range(1, len(counts)), k)
        ]
        best = max(slow_fitness(edges, counts, c) for c in cuts)
        chosen = np.searchsorted(edges, found)
        np.testing.assert_array_equal(edges[chosen], found)
        assert (chosen[0], chosen[-1]) == (0, len(counts))
        assert slow_fitness(edges, counts, chosen[1:-1].tolist()) == pytest.approx(best, abs=1e-9)


def test_samples_of_any_lengths_are_partitioned_as_each_alone(monkeypatch):
    monkeypatch.setattr(blocks, "NUMBERS_AT_ONCE", 300)
    rng = np.random.default_rng(0)
    samples = [cells_of(np.sort(rng.gamma(0.3, size=n))) for n in rng.integers(1, 200, 60)]
    for sample, found in zip(samples, best_partitions(samples), strict=True):
        np.testing.assert_array_equal(found, best_partitions([sample])[0])
    assert best_partitions([]) == []


@pytest.mark.parametrize("scale", [1e-300, 1.0, 1e300])
def test_cells_lie_between_distinct_values(scale):
    values = scale * np.array([1.0, 2.0, 4.0, 5.0, 9.0])
    (left, first), (right, rest) = cells_between(values, np.arange(5.0), [(0, 3), (3, 5)])
    np.testing.assert_allclose(left / scale, [1, 1.5, 3, 4])
    np.testing.assert_allclose(right / scale, [5, 7, 9])
    assert (first.tolist(), rest.tolist()) == ([0, 1, 2], [3, 4])
    edges, counts = merged_cells(left, first, 2)
    np.testing.assert_allclose(edges / scale, [1, 1.5, 4])
    assert counts.tolist() == [0, 3]


@pytest.mark.parametrize("start", [1.0, 0.1 + 0.2, 5e-324, 1e16])
def test_cells_of_neighbouring_floats_have_a_width(start):
    values = [start]
    for _ in range(4):
        values.append(np.nextafter(values[-1], np.inf))
    edges, counts = cells_of(np.array([*values, 2 * start + 1]))
    assert (np.diff(edges) > 0).all()
    assert counts.sum() == 6


@pytest.mark.parametrize("estimator", [NaiveBayesClassifier(), HistogramDensity("blocks")])
def test_a_wide_table_takes_few_rounds(estimator, monkeypatch):
    """However many columns and bins: the dynamic program goes over the cells of all of them."""
    rounds, last_blocks = [], blocks._last_blocks

    def counted(samples, *args):
        rounds.append(len(samples))
        return last_blocks(samples, *args)

    monkeypatch.setattr(blocks, "_last_blocks", counted)
    rng = np.random.default_rng(0)
    estimator.fit(rng.normal(size=(60, 40)), rng.integers(2, size=60))
    assert len(rounds) <= 3
    assert sum(rounds) >= 40
