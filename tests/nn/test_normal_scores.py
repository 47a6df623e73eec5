"""Numbers as normal scores and back, against empirical distribution functions."""

import numpy as np
import pytest
import torch
from scipy import stats

from sklearn_dgm.nn.normal_scores import NormalScores, knots_of

RNG = np.random.default_rng(0)
HEAPED = np.where(RNG.random(2000) < 0.3, 0.0, RNG.gamma(2.0, 3.0, 2000))
COUNTS = RNG.poisson(4.0, 2000).astype(float)


def fitted(*columns, whole=None, n_knots=4000, weight=None):
    z = np.column_stack(columns)
    scores = NormalScores([False] * z.shape[1] if whole is None else whole, n_knots)
    scores.learn(z, np.ones(len(z)) if weight is None else weight)
    return scores, torch.from_numpy(z)


def uniforms(z, seed=1):
    return torch.from_numpy(np.random.default_rng(seed).random(z.shape))


def test_knots_are_the_empirical_distribution_function():
    values, below, upto = knots_of(COUNTS, np.ones(2000), True, 100)
    assert np.allclose(below, [(v > COUNTS).mean() for v in values])
    assert np.allclose(upto, [(v >= COUNTS).mean() for v in values])


@pytest.mark.parametrize("whole", [False, True])
def test_weights_are_repeats(whole):
    z, weight = np.array([3.0, 1.0, 2.0, 7.0]), np.array([2.0, 1.0, 3.0, 1.0])
    repeated = np.repeat(z, weight.astype(int))
    given = knots_of(z, weight, whole, 10)
    assert np.allclose(given, knots_of(repeated, np.ones(7), whole, 10))


@pytest.mark.parametrize("z", [HEAPED, COUNTS, RNG.normal(size=500)], ids=["heap", "counts", "all"])
def test_scores_are_standard_normal_whatever_the_column(z):
    scores, rows = fitted(z)
    found = scores.scores(rows, uniforms(rows)).numpy()[:, 0]
    assert stats.kstest(found, "norm").pvalue > 0.05


def test_values_come_back_from_their_scores():
    scores, rows = fitted(HEAPED, COUNTS, whole=[False, True])
    back = scores.values(scores.scores(rows, uniforms(rows)))
    assert torch.equal(back[:, 1], rows[:, 1])
    is_zero = rows[:, 0] == 0
    assert torch.equal(back[is_zero, 0], rows[is_zero, 0])
    assert torch.allclose(back, rows, rtol=1e-9, atol=1e-9)


def test_normals_become_draws_of_the_column():
    scores, _ = fitted(HEAPED, COUNTS, whole=[False, True])
    drawn = scores.values(torch.from_numpy(RNG.normal(size=(20_000, 2)))).numpy()
    assert (drawn[:, 0] == 0).mean() == pytest.approx((HEAPED == 0).mean(), abs=0.01)
    positive = drawn[drawn[:, 0] > 0, 0]
    assert stats.ks_2samp(positive, HEAPED[HEAPED > 0]).pvalue > 0.01
    seen, counts = np.unique(COUNTS, return_counts=True)
    found = [(drawn[:, 1] == value).sum() for value in seen]
    assert sum(found) == 20_000
    assert stats.chisquare(found, counts / 2000 * 20_000).pvalue > 0.001


def test_between_single_values_it_is_a_straight_line():
    z = np.array([0.0, 1.0, 4.0, 9.0])
    scores, _ = fitted(z)
    shares = np.linspace(0.01, 0.99, 50)
    drawn = scores.values(torch.from_numpy(stats.norm.ppf(shares))[:, None])[:, 0]
    assert np.allclose(drawn, np.interp(shares, [0.125, 0.375, 0.625, 0.875], z))
    x = torch.tensor([[0.5], [2.5], [8.0]], dtype=torch.float64)
    lower, upper = scores.shares(x)
    assert torch.equal(lower, upper)
    assert np.allclose(lower[:, 0], np.interp(x[:, 0], z, [0.125, 0.375, 0.625, 0.875]))


def test_numbers_beyond_those_seen_have_the_farthest_scores():
    scores, rows = fitted(HEAPED)
    beyond = torch.tensor([[-5.0], [1e6]], dtype=torch.float64)
    found = scores.scores(beyond, torch.full((2, 1), 0.5, dtype=torch.float64))
    seen = scores.scores(rows, uniforms(rows))
    assert found[1] >= seen.max() - 1e-9
    assert found[0] <= seen.min()
    assert scores.values(torch.tensor([[-30.0], [30.0]])).flatten().tolist() == [0.0, HEAPED.max()]


def test_few_knots_are_close():
    z = RNG.gamma(2.0, 3.0, 5000)
    scores, rows = fitted(z, n_knots=100)
    assert scores.knots.shape == (3, 1, 100)
    lower, _ = scores.shares(rows)
    assert np.abs(lower[:, 0].numpy() - (stats.rankdata(z) - 0.5) / 5000).max() < 0.01


def test_values_that_repeat_are_among_few_knots():
    rng = np.random.default_rng(2)
    z = np.where(rng.random(5000) < 0.3, 40.0, rng.normal(40, 10, 5000))
    for of_column in (z, z * 0.1 + 1 / 3, z / 7):
        scores, rows = fitted(of_column, n_knots=100)
        atom = np.unique(of_column[z == 40])
        drawn = scores.values(torch.from_numpy(rng.normal(size=(20_000, 1)))).numpy()
        assert np.isin(drawn, atom).mean() == pytest.approx(0.3, abs=0.02)
        assert torch.equal(
            scores.values(scores.scores(rows, uniforms(rows)))[z == 40], rows[z == 40]
        )


def test_columns_of_fewer_values_do_not_mind_the_padding():
    both, rows = fitted(COUNTS, HEAPED, whole=[True, False])
    alone, _ = fitted(COUNTS, whole=[True])
    assert all(
        torch.equal(two[:, :1], one)
        for two, one in zip(both.shares(rows), alone.shares(rows[:, :1]), strict=True)
    )
