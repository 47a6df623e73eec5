"""Tables of smoothed counts against dictionaries, and what columns say of each other against SciPy and plain sums."""

import itertools
import math
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from sklearn_dgm.counts.axes import CategoryAxis
from sklearn_dgm.counts.tables import (
    Table,
    TableCounts,
    choose,
    edge_strength,
    smoothed,
    strides,
)

N_LEVELS = [3, 2, 4, 1]
WEIGHTED = pytest.mark.parametrize("weighted", [False, True])
MISSING = pytest.mark.parametrize("missing", [0.0, 0.2])


def table(n=60, n_levels=N_LEVELS, missing=0.0, seed=0):
    """Codes of columns that depend on the one before them, and weights."""
    rng = np.random.default_rng(seed)
    codes = rng.integers(0, n_levels, (n, len(n_levels)))
    same = rng.random(n) < 0.5
    codes[same, 1] = codes[same, 0] % n_levels[1]
    codes[rng.random(codes.shape) < missing] = -1
    return codes, rng.integers(0, 3, n) + rng.random(n)


def axes(n_levels=N_LEVELS):
    return [CategoryAxis(k) for k in n_levels]


def counted(axes, child, parents, codes, weight, alpha):
    return Table(axes, child, parents, TableCounts.of(axes, child, parents, codes, weight), alpha)


def slow_probability(codes, weight, n_levels, child, parents, alpha):
    """A function of the cells of the column and of its parents, from counts in dictionaries."""
    joint, given_parents, alone = Counter(), Counter(), Counter()
    for row, w in zip(codes.tolist(), weight, strict=True):
        if row[child] >= 0:
            alone[row[child]] += w
            key = tuple(row[i] for i in parents)
            if -1 not in key:
                joint[key, row[child]] += w
                given_parents[key] += w
    k = n_levels[child]

    def probability(value, key):
        if key in given_parents:
            count, total = joint[key, value], given_parents[key]
        else:
            count, total = alone[value], sum(alone.values())
        return (count + alpha / k) / (total + alpha) if total + alpha > 0 else 1 / k

    return probability


@WEIGHTED
@MISSING
@pytest.mark.parametrize("alpha", [0, 0.5, 7])
def test_tables_agree_with_slow_counting(alpha, missing, weighted):
    codes, weight = table(25, missing=missing)
    weight = weight + 0.1 if weighted else np.ones(len(codes))
    for child, parents in [(0, []), (1, [0]), (2, [1, 0]), (0, [3]), (3, [0]), (1, [2, 0, 3])]:
        mine = counted(axes(), child, parents, codes, weight, alpha)
        slow = slow_probability(codes, weight, N_LEVELS, child, parents, alpha)
        for key in itertools.product(*(range(N_LEVELS[i]) for i in parents)):
            p = np.exp([mine.log_mass(v, *key) for v in range(N_LEVELS[child])])
            np.testing.assert_allclose(p, [slow(v, key) for v in range(N_LEVELS[child])])
            assert p.sum() == pytest.approx(1)
        # What has not been seen is as likely as in all rows.
        unknown = [mine.log_mass(v, *[-1] * len(parents)) for v in range(N_LEVELS[child])]
        expected = [slow(v, "unseen" if parents else ()) for v in range(N_LEVELS[child])]
        np.testing.assert_allclose(np.exp(unknown), expected)
        if len(parents) > 1:  # whatever the others are
            p = np.exp(mine.log_mass(np.arange(N_LEVELS[child]), 1, *[-1] * (len(parents) - 1)))
            np.testing.assert_allclose(p, expected)
        cells = math.prod(N_LEVELS[i] for i in parents)
        assert mine.n_params == cells * (N_LEVELS[child] - 1)


@MISSING
def test_counts_of_parts_add_up_to_those_of_all_rows(missing):
    codes, weight = table(80, missing=missing)
    weight = np.floor(weight) + 1
    for child, parents in [(0, []), (2, [1, 0]), (1, [3, 2, 0])]:
        of = [
            TableCounts.of(axes(), child, parents, codes[rows], weight[rows])
            for rows in (slice(None), slice(9), slice(9, 50), slice(50, None))
        ]
        added = of[3] + of[1] + of[2]
        for name in ("keys", "counts"):
            np.testing.assert_array_equal(getattr(added.joint, name), getattr(of[0].joint, name))
        np.testing.assert_array_equal(added.alone, of[0].alone)
        slow = Counter()
        for row, w in zip(codes[:, [*parents, child]].tolist(), weight, strict=True):
            if -1 not in row:
                slow[tuple(row)] += w
        rows, counts = added.merged([np.arange(N_LEVELS[i]) for i in [*parents, child]])
        assert dict(zip(map(tuple, rows.tolist()), counts, strict=True)) == slow
        of_cells = [np.arange(N_LEVELS[i]) // 2 for i in [*parents, child]]
        rows, counts = added.merged(of_cells)
        merged = Counter()
        for row, w in slow.items():
            merged[tuple(cell // 2 for cell in row)] += w
        assert dict(zip(map(tuple, rows.tolist()), counts, strict=True)) == merged


def test_an_unknown_category_has_a_log_mass_of_zero_whatever_its_parents_are():
    codes, weight = table()
    mine = counted(axes(), 0, [1, 2], codes, weight, 0.5)
    assert mine.log_mass(-1, 0, 3) == mine.log_mass(-1, -1, -1) == 0


def test_a_column_that_is_missing_throughout_is_uniform():
    codes, weight = table()
    codes[:, 2] = -1
    for alpha in (0, 0.5):
        mine = counted(axes(), 2, [0], codes, weight, alpha)
        np.testing.assert_allclose(np.exp(mine.log_mass(np.arange(4), 1)), 0.25)


def test_densities_and_draws_of_a_table():
    codes, weight = table()
    Z = codes.astype(float)
    for parents in ([], [0, 2]):
        mine = counted(axes(), 1, parents, codes, weight, 0.5)
        expected = mine.log_mass(codes[:, 1], *codes[:, parents].T)
        np.testing.assert_allclose(mine.log_prob(Z), expected)
        for row in range(5):
            n = 10_000
            given_row = np.repeat(Z[[row]], n, axis=0)
            given_row[:, 1] = np.nan
            drawn = mine.sample(given_row, (np.arange(n) + 0.5) / n)
            p = np.exp(mine.log_mass(np.arange(2), *codes[row, parents]))
            assert set(drawn) <= {0.0, 1.0}
            np.testing.assert_allclose(np.bincount(drawn.astype(int)) / n, p, atol=1 / n)


def test_a_great_number_of_parents_cells_takes_no_more_than_the_rows():
    n_levels = [1000, 1000, 1000, 5]
    codes, weight = table(300, n_levels)
    mine = counted(axes(n_levels), 3, [0, 1, 2], codes, weight, 1.0)
    assert mine.log_p.shape == (301, 5)
    slow = slow_probability(codes, weight, n_levels, 3, [0, 1, 2], 1.0)
    for row in codes[:50]:
        expected = slow(row[3], tuple(row[:3].tolist()))
        assert np.exp(mine.log_mass(row[3], *row[:3])) == pytest.approx(expected)
    assert np.exp(mine.log_mass(2, 5, 5, 999)) == pytest.approx(slow(2, "unseen"))
    assert mine.n_params == 4 * 10**9


def test_tables_that_are_too_large_are_refused():
    n_levels = [2**21] * 3
    with pytest.raises(ValueError, match="tables of 3 parents with 2097152 cells are too large"):
        strides(n_levels)
    assert strides(n_levels[:2]).tolist() == [2**21, 1]
    codes, weight = table(20, n_levels)
    with pytest.raises(ValueError, match="too large"):
        counted(axes([*n_levels, 2]), 3, [0, 1, 2], np.c_[codes, codes[:, 0] % 2], weight, 1.0)


@pytest.mark.parametrize("n_levels", [[], [4], [3, 1, 5], [2, 3, 4, 5]])
def test_strides_number_the_cells(n_levels):
    cells = np.array(list(itertools.product(*map(range, n_levels)))).astype(int)
    np.testing.assert_array_equal(cells @ strides(n_levels), np.arange(math.prod(n_levels)))


def test_smoothing_spreads_its_rows_evenly():
    counts = np.array([[3.0, 1.0, 0.0], [0.0, 0.0, 0.0]])
    np.testing.assert_allclose(np.exp(smoothed(counts, 6)), [[0.5, 0.3, 0.2], [1 / 3] * 3])
    np.testing.assert_allclose(np.exp(smoothed(counts, 0)), [[0.75, 0.25, 0], [1 / 3] * 3])


# Edges.


def slow_strength(codes, weight, n_levels, parent, child, others):
    """From the definition: the sum of p(a, b, c) log p(a, b | c) / p(a | c) p(b | c), less half of the free numbers."""
    abc, ac, bc, c = Counter(), Counter(), Counter(), Counter()
    for row, w in zip(codes.tolist(), weight, strict=True):
        key = tuple(row[i] for i in others)
        if -1 not in (row[parent], row[child], *key):
            abc[row[parent], row[child], key] += w
            ac[row[parent], key] += w
            bc[row[child], key] += w
            c[key] += w
    total = sum(c.values())
    if total == 0:
        return 0.0
    information = sum(
        w / total * math.log(w * c[key] / (ac[a, key] * bc[b, key]))
        for (a, b, key), w in abc.items()
        if w > 0
    )
    n_free = (n_levels[parent] - 1) * (n_levels[child] - 1) * len(c)
    return max(information - n_free / 2 / total, 0.0)


@MISSING
@WEIGHTED
@pytest.mark.parametrize("others", [[], [2], [3], [2, 3]])
def test_the_strength_of_an_edge_is_a_conditional_information(others, weighted, missing):
    codes, weight = table(300, missing=missing)
    weight = weight if weighted else np.ones(len(codes))
    strengths = []
    for parent, child in [(0, 1), (1, 0)]:
        strength = edge_strength(codes, N_LEVELS, weight, parent, child, others)
        assert isinstance(strength, float)
        assert strength == pytest.approx(
            slow_strength(codes, weight, N_LEVELS, parent, child, others)
        )
        strengths.append(strength)
    assert strengths[0] == pytest.approx(strengths[1])
    assert strengths[0] > 0.05
    rest = [i for i in (2, 3) if i not in others]
    for other in rest:
        expected = slow_strength(codes, weight, N_LEVELS, other, 0, others)
        assert edge_strength(codes, N_LEVELS, weight, other, 0, others) == pytest.approx(expected)


def test_edges_without_rows_have_no_strength():
    codes, weight = table()
    codes[:, 2] = -1
    assert edge_strength(codes, N_LEVELS, weight, 0, 1, [2]) == 0
    assert edge_strength(codes[:0], N_LEVELS, weight[:0], 0, 1, []) == 0


def test_many_other_parents_make_no_number_too_large():
    n_levels = [50] * 14
    rng = np.random.default_rng(0)
    codes = rng.integers(0, 50, (200, 14))
    codes[:, 2:] = codes[:, [2]] // 25
    codes[:, 1] = codes[:, 0]
    n_levels[:2], codes[:, :2] = [2, 2], codes[:, :2] % 2
    strength = edge_strength(codes, n_levels, np.ones(200), 0, 1, list(range(2, 14)))
    expected = slow_strength(codes, np.ones(200), n_levels, 0, 1, list(range(2, 14)))
    assert strength == pytest.approx(expected)
    assert strength > 0.5


# Choices.


def test_choices_follow_the_probabilities_and_leave_a_uniform_number():
    p = np.array([0.0, 0.5, 0.0, 0.3, 0.2, 0.0])
    n = 20_000
    uniforms = np.random.default_rng(0).random(n)
    with np.errstate(divide="ignore"):
        log_p = np.tile(np.log(p) - 700, (n, 1))  # need not be normalised
    code, rest = choose(log_p, uniforms)
    counts = np.bincount(code, minlength=6)
    assert (counts[p == 0] == 0).all()
    assert stats.chisquare(counts[p > 0], n * p[p > 0]).pvalue > 1e-3
    for k in np.flatnonzero(p):
        assert stats.kstest(rest[code == k], "uniform").pvalue > 1e-3
    # Nothing is lost: the number can be put together again.
    np.testing.assert_allclose((np.cumsum(p) - p)[code] + rest * p[code], uniforms, atol=1e-12)


@settings(deadline=None, max_examples=100)
@given(
    st.lists(st.sampled_from([0.0, 1e-300, 1e-17, 0.1, 1.0, 3.0]), min_size=1, max_size=6),
    st.sampled_from([0.0, 1e-300, 0.5, 1 - 1e-16, np.nextafter(1, 0)]),
)
def test_a_choice_is_possible_and_what_is_left_is_below_one(p, u):
    if not any(p):
        return
    with np.errstate(divide="ignore"):
        code, rest = choose(np.log([p]), np.array([u]))
    assert p[code[0]] > 0
    assert 0 <= rest[0] < 1
