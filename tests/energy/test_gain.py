"""When a gain is clear: the usual test of a mean, and weights and copies that it takes for what they are."""

import numpy as np
import pytest
from scipy import stats

from sklearn_dgm.energy._gain import is_clear


def thresholds(*args, **kwargs):
    """How much has to be added to gains for them to be clear, by bisection."""
    gains, *others = args
    low, high = -10.0, 10.0
    for _ in range(40):
        middle = (low + high) / 2
        low, high = (low, middle) if is_clear(gains + middle, *others, **kwargs) else (middle, high)
    return high


@pytest.fixture
def gains():
    return np.random.default_rng(0).normal(size=20)


def test_a_gain_of_two_standard_errors_is_clear(gains):
    expected = 2 * stats.sem(gains) - gains.mean()
    assert thresholds(gains, np.ones(20)) == pytest.approx(expected)
    assert thresholds(gains, np.ones(20), np.arange(20)) == pytest.approx(expected)
    both = 2 * np.hypot(stats.sem(gains), 0.3) - gains.mean()
    assert thresholds(gains, np.ones(20), std_error=0.3) == pytest.approx(both)


def test_copies_say_no_more_than_one_row(gains):
    copied, groups = np.repeat(gains, 5), np.repeat(np.arange(20), 5)
    of_one = thresholds(gains, np.ones(20))
    assert thresholds(copied, np.ones(100), groups) == pytest.approx(of_one)
    assert thresholds(gains, np.full(20, 5.0), np.arange(20)) == pytest.approx(of_one)


def test_weights_are_numbers_of_rows(gains):
    counts = np.arange(20) % 4 + 1
    repeated, groups = np.repeat(gains, counts), np.repeat(np.arange(20), counts)
    assert thresholds(gains, counts) == pytest.approx(thresholds(repeated, np.ones(len(repeated))))
    alone = thresholds(gains, counts, np.arange(20))
    assert alone == pytest.approx(thresholds(repeated, np.ones(len(repeated)), groups))
    assert alone > thresholds(gains, counts) + 0.1


def test_what_one_row_says_is_never_clear():
    assert not is_clear(np.ones(1), np.ones(1))
    assert not is_clear(np.ones(9), np.ones(9), np.zeros(9, dtype=int))
    assert is_clear(np.ones(9), np.ones(9))
    assert not is_clear(np.zeros(9), np.ones(9))
