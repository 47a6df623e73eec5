"""Counts of pairs of cells against loops over rows, and what columns say of each other against SciPy."""

import itertools

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scipy import stats
from sklearn.metrics import mutual_info_score

from sklearn_dgm.counts import pairs as _pairs
from sklearn_dgm.counts.pairs import (
    PairCounter,
    blocks_of,
    compact,
    mutual_information,
    starts_of,
)
from tests.counts.test_tables import MISSING, N_LEVELS, WEIGHTED, table


@pytest.fixture(autouse=True, params=[1, 20, 2**16], ids="{} pairs at once".format)
def pairs_at_once(request, monkeypatch):
    monkeypatch.setattr(_pairs, "PAIRS_AT_ONCE", request.param)
    return request.param


def blocks_of_pairs(codes, n_levels, weight):
    counter = PairCounter(codes, n_levels, weight)
    return [counter.counts(block) for block in blocks_of(n_levels)]


def pair_counts(codes, n_levels, weight):
    """Counts of all pairs, put together from blocks."""
    starts = starts_of(n_levels)
    counts = np.full((starts[-1], starts[-1]), np.nan)
    for block, of_block in zip(
        blocks_of(n_levels), blocks_of_pairs(codes, n_levels, weight), strict=True
    ):
        own, later = (
            slice(starts[block.start], starts[block.stop]),
            slice(starts[block.start], None),
        )
        counts[later, own] = of_block.T
        counts[own, later] = of_block
    return counts


def slow_pairs(codes, weight, n_levels):
    starts = starts_of(n_levels)
    counts = np.zeros((starts[-1], starts[-1]))
    for row, w in zip(codes, weight, strict=True):
        cells = [starts[j] + c for j, c in enumerate(row) if c >= 0]
        counts[np.ix_(cells, cells)] += w
    return counts


@settings(
    deadline=None, max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.integers(1, 30), st.lists(st.integers(1, 5), min_size=1, max_size=5), st.integers(0, 99))
def test_pairs_of_cells_are_counted(n, n_levels, seed):
    rng = np.random.default_rng(seed)
    complete = rng.integers(0, n_levels, (n, len(n_levels)))
    with_holes = np.where(rng.random(complete.shape) < 0.3, -1, complete)
    for codes in (complete, with_holes, with_holes * 0 - 1):
        for weight in (np.ones(n), rng.random(n), rng.integers(0, 3, n) * 1.0):
            counts = pair_counts(codes, n_levels, weight)
            np.testing.assert_allclose(counts, slow_pairs(codes, weight, n_levels), atol=1e-12)
            assert (counts >= 0).all()


def test_counts_of_pairs_are_never_below_zero():
    for seed in range(50):
        rng = np.random.default_rng(seed)
        code = rng.integers(0, 6, 40)
        counts = pair_counts(np.stack([code, code // 2], axis=1), [6, 3], rng.random(40))
        assert (counts >= 0).all()


@MISSING
@WEIGHTED
def test_mutual_information_is_that_of_scipy(weighted, missing):
    codes, weight = table(80, missing=missing)
    weight = weight if weighted else np.ones(len(codes))
    information = mutual_information(blocks_of_pairs(codes, N_LEVELS, weight), N_LEVELS)
    assert information.shape == (4, 4)
    for i, j in itertools.permutations(range(4), 2):
        joint = np.zeros((N_LEVELS[i], N_LEVELS[j]))
        seen = (codes[:, [i, j]] >= 0).all(axis=1)
        np.add.at(joint, tuple(codes[seen][:, [i, j]].T), weight[seen])
        expected = sum(map(stats.entropy, (joint.sum(axis=0), joint.sum(axis=1))))
        expected -= stats.entropy(joint.ravel())
        assert information[i, j] == pytest.approx(expected, abs=1e-9)
        if not weighted:
            score = mutual_info_score(codes[seen, i], codes[seen, j])
            assert information[i, j] == pytest.approx(score, abs=1e-9)


def test_mutual_information_within_each_class():
    tables = [table(seed=seed) for seed in range(3)]
    pairs = [blocks_of_pairs(codes, N_LEVELS, weight) for codes, weight in tables]
    of_each = [mutual_information(p, N_LEVELS) for p in pairs]
    together = map(np.stack, zip(*pairs, strict=True))
    np.testing.assert_allclose(mutual_information(together, N_LEVELS), of_each)


def test_columns_that_are_never_observed_together_say_nothing():
    codes = np.array([[0, -1], [1, -1], [-1, 0], [-1, 1]])
    information = mutual_information(blocks_of_pairs(codes, [2, 2], np.ones(4)), [2, 2])
    assert information[0, 1] == information[1, 0] == 0


def test_blocks_are_all_columns_in_turn_and_no_larger_than_they_may_be(pairs_at_once):
    n_levels = [3, 1, 50, 2, 2, 7]
    blocks, starts = blocks_of(n_levels), starts_of(n_levels)
    assert [j for block in blocks for j in range(6)[block]] == list(range(6))
    for block in blocks:
        n_rows = starts[block.stop] - starts[block.start]
        is_small = n_rows * (starts[-1] - starts[block.start]) <= pairs_at_once
        assert is_small or block.stop == block.start + 1


@pytest.mark.parametrize(
    ("counts", "dtype"),
    [([0.0, 255.0], "u1"), ([256.0], "u2"), ([2.0**40], "u8"), ([0.5, 3.0], "f8"), ([], "u1")],
)
def test_whole_counts_take_few_bytes(counts, dtype):
    held = compact(np.array(counts))
    assert held.dtype == np.dtype(dtype)
    assert held.tolist() == counts
