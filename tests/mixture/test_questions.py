"""Conditionals, predictions and marginals of mixtures, in closed form, with SciPy."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from sklearn_dgm import DensityImputer, MixtureDensity
from tests.mixture.test_gaussian import TYPES, clusters
from tests.mixture.test_tables import mixed_table, small_table


def conditional(density, row):
    """Weights, means and covariances of the missing numbers of a row, by the textbook."""
    gap = np.isnan(row)
    weights, means, covariances = [], [], []
    for w, m, c in zip(density.weights_, density.means_, _dense(density), strict=True):
        across = c[np.ix_(gap, ~gap)] @ np.linalg.inv(c[np.ix_(~gap, ~gap)])
        weights.append(w * stats.multivariate_normal(m[~gap], c[np.ix_(~gap, ~gap)]).pdf(row[~gap]))
        means.append(m[gap] + across @ (row[~gap] - m[~gap]))
        covariances.append(c[np.ix_(gap, gap)] - across @ c[np.ix_(~gap, gap)])
    return np.array(weights) / np.sum(weights), np.array(means), np.array(covariances)


def _dense(density):
    covariances = density.covariances_
    if density.covariance_type == "tied":
        return [covariances] * len(density.weights_)
    return covariances if covariances.ndim == 3 else [np.diag(c) for c in covariances]


@pytest.fixture(scope="module", params=TYPES)
def density(request):
    X = clusters() * [2.0, 100.0, 0.01] + 3
    return MixtureDensity(
        3, "gaussian", covariance_type=request.param, n_factors=1, random_state=0
    ).fit(X)


ROW = np.array([3.5, np.nan, 3.005])


def test_conditional_means_are_those_of_the_textbook(density):
    weights, means, _ = conditional(density, ROW)
    completed = density.conditional_mean([ROW])
    np.testing.assert_allclose(completed[0, 1], weights @ means[:, 0], rtol=1e-8)
    assert completed[0, 0] == ROW[0]


def test_conditional_draws_follow_the_textbook(density):
    weights, means, covariances = conditional(density, ROW)
    drawn, ess = density.conditional_sample([ROW], 5000, random_state=0, return_ess=True)
    assert ess == np.inf

    def cdf(x):
        return sum(
            w * stats.norm(m[0], c[0, 0] ** 0.5).cdf(x)
            for w, m, c in zip(weights, means, covariances, strict=True)
        )

    assert stats.kstest(drawn[:, 1], cdf).pvalue > 1e-3
    assert (drawn[:, [0, 2]] == ROW[[0, 2]]).all()


def test_two_missing_numbers_are_drawn_together(density):
    row = np.array([np.nan, np.nan, 3.005])
    weights, means, covariances = conditional(density, row)
    drawn = density.conditional_sample([row], 20_000, random_state=0)[:, :2]
    mean = weights @ means
    spread = means - mean
    expected = np.einsum("k,kij->ij", weights, covariances) + (weights * spread.T) @ spread
    np.testing.assert_allclose(
        drawn.mean(axis=0), mean, atol=4 * np.sqrt(np.diag(expected) / 20_000).max()
    )
    scale = np.sqrt(np.diag(expected))
    np.testing.assert_allclose(
        np.cov(drawn.T) / np.outer(scale, scale), expected / np.outer(scale, scale), atol=0.06
    )


def test_predictions_of_numbers_are_the_textbook_though_others_are_missing(density):
    row = np.array([np.nan, np.nan, 3.005])
    weights, means, covariances = conditional(density, row)
    prediction = density.predict_column([row], 0)
    assert prediction.effective_sample_size == np.inf
    np.testing.assert_allclose(prediction.mean(), weights @ means[:, 0], atol=0.02)  # of 2
    median = prediction.quantile(0.5)[0]
    below = sum(
        w * stats.norm(m[0], c[0, 0] ** 0.5).cdf(median)
        for w, m, c in zip(weights, means, covariances, strict=True)
    )
    assert abs(below - 0.5) < 0.02


def test_marginals_answer_as_the_whole(density):
    part = density.marginal([2, 0])
    rows = np.array([[3.005, 3.5], [3.0, 2.0]])
    whole = np.column_stack([rows[:, 1], np.full(2, np.nan), rows[:, 0]])
    np.testing.assert_allclose(part.score_samples(rows), density.score_samples(whole), rtol=1e-12)
    gap = np.array([[3.005, np.nan]])
    drawn, ess = part.conditional_sample(gap, 3, random_state=0, return_ess=True)
    assert ess == np.inf
    expected = density.conditional_sample([[np.nan, np.nan, 3.005]], 3, random_state=0)
    np.testing.assert_array_equal(drawn, expected[:, [2, 0]])
    np.testing.assert_allclose(
        part.conditional_mean(gap)[0, 1], density.conditional_mean([[np.nan, np.nan, 3.005]])[0, 0]
    )


def test_categories_are_predicted_by_bayes_rule():
    table = small_table()
    density = MixtureDensity(3, alpha=1.0, random_state=0).fit(table)
    rows = table.head(20)
    prediction = density.predict_column(rows.drop(columns="B"), "B")
    joint = np.column_stack(
        [np.exp(density.score_samples(rows.assign(B=level))) for level in prediction.categories]
    )
    expected = joint / joint.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(prediction.probabilities, expected)
    gaps = rows.assign(B=None)
    best = prediction.categories[expected.argmax(axis=1)]
    assert (density.conditional_mean(gaps)["B"] == best).all()
    assert (density.conditional_mode(gaps)["B"] == best).all()
    drawn = density.conditional_sample(gaps.head(1), 4000, random_state=0)["B"]
    share = [(drawn == level).mean() for level in prediction.categories]
    np.testing.assert_allclose(share, expected[0], atol=0.03)


@pytest.mark.parametrize("component", ["independent", "gaussian"])
def test_means_of_mixed_tables_are_those_of_draws(component):
    table = mixed_table()
    density = MixtureDensity(2, component, random_state=0).fit(table)
    gaps = table.iloc[[0]].assign(amount=np.nan, count=np.nan, length=np.nan)
    drawn = density.conditional_sample(gaps, 20_000, random_state=0)
    mean = density.conditional_mean(gaps)
    for name in ("length", "amount"):
        error = drawn[name].std() / np.sqrt(len(drawn))
        assert abs(mean[name].iloc[0] - drawn[name].mean()) < 5 * error
    assert mean["count"].iloc[0] == np.rint(drawn["count"].mean())


def test_impossible_rows_have_no_completions():
    density = MixtureDensity(2, alpha=1.0, random_state=0).fit(small_table())
    rows = small_table().head(2).assign(B=None)
    rows.loc[1, "A"] = "never seen"
    for query in (density.conditional_sample, density.conditional_mean, density.conditional_mode):
        with pytest.raises(ValueError, match="Row 1: its observed cells have density 0"):
            query(rows)


def test_it_fills_in_the_cells_of_an_imputer():
    table = mixed_table()
    gaps = table.mask(np.random.default_rng(0).random(table.shape) < 0.2)
    filled = DensityImputer(MixtureDensity(2, random_state=0), random_state=0).fit_transform(gaps)
    assert not pd.DataFrame(filled).isna().any().any()
