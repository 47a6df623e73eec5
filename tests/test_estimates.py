"""Estimates carry their errors: marginals of networks where numbers are missing."""

from unittest import SkipTest

import numpy as np
import pandas as pd
import pytest
import torch
from scipy import special, stats
from sklearn.frozen import FrozenEstimator
from sklearn.preprocessing import FunctionTransformer

from sklearn_dgm import (
    AutoregressiveDensity,
    BayesianNetworkDensity,
    EnsembleDensity,
    GenerativeClassifier,
    TransformedDensity,
)
from sklearn_dgm._nested.scores import scored_rows
from sklearn_dgm.nn.common_numbers import common_normals, common_uniforms
from sklearn_dgm.nn.completion import completions
from sklearn_dgm.utils._distribution_checks import check_entropy_of_samples, check_normalized
from tests.toys import Noisy

N_RUNS = 60


@pytest.fixture(scope="module")
def table():
    rng = np.random.default_rng(0)
    x = rng.normal(size=400)
    flag = np.where(x + rng.normal(size=400) > 0, "up", "down")
    y = np.where(flag == "up", x, -2 * x) + rng.normal(0, 0.3, 400)
    return pd.DataFrame({"x": x, "flag": flag, "y": y})


def network(**params):
    return AutoregressiveDensity(
        (16,), max_epochs=5, early_stopping=False, random_state=0, **{"n_orders": 2, **params}
    )


@pytest.fixture(scope="module")
def density(table):
    return network().fit(table)


def without(table, *names):
    gaps = table.copy()
    gaps[list(names)] = None
    return gaps


def test_stated_errors_are_those_of_other_random_numbers(table, density):
    Z = density.schema_.encode(without(table, "x").head(40))[0]
    module, z = density.net_.module_, torch.from_numpy(Z)
    runs, stated = np.empty((2, N_RUNS, len(z)))
    with torch.no_grad():
        for k in range(N_RUNS):
            generator = torch.Generator().manual_seed(k)
            for part in completions(module, z, 128, generator, max_particles=128):
                runs[k, part.rows] = part.log_marginal()
                stated[k, part.rows] = part.log_marginal_std(len(module.members))
    truth = special.logsumexp(runs, axis=0) - np.log(N_RUNS)
    ratio = (runs - truth) / stated
    assert (stated > 0).all()
    assert 0.8 < np.sqrt(np.mean(ratio**2)) < 1.2


def test_scores_are_within_their_stated_errors_of_integrals(table, density):
    gaps = without(table, "x").head(30)
    scores, std = density.score_samples(gaps, return_std=True)
    grid = np.linspace(-8, 8, 4001)
    every = table.head(30).loc[np.repeat(np.arange(30), len(grid))]
    log_p = density.score_samples(every.assign(x=np.tile(grid, 30))).reshape(30, -1)
    exact = special.logsumexp(log_p, axis=1) + np.log(grid[1] - grid[0])
    # Fixed numbers are spread more evenly than random ones, whose errors are stated.
    ratio = (scores - exact) / std
    assert np.sqrt(np.mean(ratio**2)) < 1.2
    assert np.abs(ratio).max() < 4


def test_exact_scores_have_no_error(table, density):
    for rows in (table, without(table, "flag"), without(table, "x", "flag", "y")):
        scores, std = density.score_samples(rows, return_std=True)
        assert (std == 0).all()
        np.testing.assert_array_equal(scores, density.score_samples(rows))
    nothing = without(table, "x", "flag", "y").head(1)
    mixed = pd.concat([nothing, table.head(5), without(table, "y").head(5)])
    scores, std = density.score_samples(mixed, return_std=True)
    np.testing.assert_array_equal(std > 0, np.arange(11) >= 6)
    np.testing.assert_array_equal(scores, density.score_samples(mixed))
    alone = density.score_samples(mixed.tail(1), return_std=True)
    np.testing.assert_allclose(np.ravel(alone), [scores[-1], std[-1]])


def test_columns_that_come_first_in_an_order_cost_no_error(table):
    first = network(order="given", n_orders="auto").fit(table)
    assert (first.score_samples(without(table, "y"), return_std=True)[1] < 1e-12).all()
    assert (first.score_samples(without(table, "x"), return_std=True)[1] > 0).any()


def test_the_kind_of_a_score_is_that_of_rows_like_those_of_fit(table, density):
    assert density.score_kind_ == "exact"
    some = table.copy()
    some.loc[::3, "flag"] = None
    assert network().fit(some).score_kind_ == "exact"
    some.loc[1::3, "y"] = np.nan
    assert network().fit(some).score_kind_ == "estimate"
    weight = some.y.notna().to_numpy().astype(float)
    assert network().fit(some, sample_weight=weight).score_kind_ == "exact"
    assert network(order="any").fit(some).score_kind_ == "exact"
    assert BayesianNetworkDensity(conditional="table").fit(some).score_kind_ == "exact"


def test_rows_at_hand_have_a_kind_of_their_own(table, density):
    gaps = without(table, "y").head(5)
    with_gaps = network().fit(pd.concat([table, gaps]))
    for fitted in (density, with_gaps, FrozenEstimator(with_gaps)):
        for rows, expected in ((table.head(5), "exact"), (gaps, "estimate")):
            scores, kind = scored_rows(fitted, rows)
            assert kind == expected
            np.testing.assert_array_equal(scores, fitted.score_samples(rows))


def test_errors_and_kinds_of_rows_reach_through_what_is_built_on_densities(table, density):
    gaps = without(table, "y").head(5)
    rows = pd.concat([table.head(5), gaps])
    scores, std = density.score_samples(rows, return_std=True)
    apart = TransformedDensity(None, FrozenEstimator(density)).fit(table)
    both = EnsembleDensity([("a", apart), ("b", network(n_orders=3))], weights=[1, 3])
    of_classes = GenerativeClassifier(network()).fit(table, table.x > 0)
    for nested in (apart, both.fit(table), of_classes):
        for few, expected in ((table.head(5), "exact"), (gaps, "estimate")):
            found, kind = scored_rows(nested, few)
            assert kind == expected
            np.testing.assert_array_equal(found, nested.score_samples(few))
    np.testing.assert_array_equal(apart.score_samples(rows, return_std=True), (scores, std))
    # The derivative of the logarithm of a sum, by a difference quotient.
    _, other = both.estimators_
    log_p, errors = zip((scores, std), other.score_samples(rows, return_std=True), strict=True)
    h, mass = 1e-6, np.array([[0.25], [0.75]])
    up, down = (mass * np.exp(np.array(log_p) + by * np.array(errors)) for by in (h, -h))
    slope = (np.log(up.sum(axis=0)) - np.log(down.sum(axis=0))) / (2 * h)
    found, error = both.score_samples(rows, return_std=True)
    np.testing.assert_allclose(found, np.log((up + down).sum(axis=0) / 2))
    np.testing.assert_allclose(error, slope, atol=1e-8)
    assert (error[5:] > 0).all()


def test_rows_without_an_error_are_of_the_kind_that_is_left(table, density):
    """Behind a function that reaches no number below 0 some of the mass of the density is lost."""
    X = np.abs(table[["x", "y"]].to_numpy())
    root = FunctionTransformer(np.sqrt, np.square, check_inverse=False)
    whole = TransformedDensity(root, network()).fit(X)
    X[::5, 0] = np.nan
    gaps = TransformedDensity(root, network()).fit(X)
    assert (whole.score_kind_, gaps.score_kind_) == ("lower bound", "estimate")
    for nested in (gaps, EnsembleDensity([("only", gaps)], weights="equal").fit(X)):
        assert scored_rows(nested, X[1:5])[1] == "lower bound"
        assert scored_rows(nested, X[:1])[1] == "estimate"


class Silent(Noisy):
    """A density that does not tell the errors of its estimates."""

    def score_samples(self, X):
        return super().score_samples(X)


class TooNoisy(Noisy):
    """Its errors are twenty times those that it tells."""

    noise = 1.0


def test_errors_that_are_not_told_are_no_number(table):
    X = table[["x", "y"]].to_numpy()
    members = [("silent", Silent()), ("told", Noisy())]
    for nested in (TransformedDensity(None, Silent()), EnsembleDensity(members, weights="equal")):
        assert np.isnan(nested.fit(X).score_samples(X, return_std=True)[1]).all()
        assert scored_rows(nested, X)[1] == "estimate"
        with pytest.raises(SkipTest, match="its error is not told"):
            check_normalized(nested)


@pytest.mark.parametrize("check", [check_normalized, check_entropy_of_samples])
def test_the_battery_holds_what_is_built_on_estimates_to_their_errors(check):
    check(TransformedDensity(None, Noisy()))
    check(EnsembleDensity([("noisy", Noisy())], weights="equal"))
    with pytest.raises(AssertionError, match="mass|entropy"):
        check(TransformedDensity(None, TooNoisy()))


def test_marginals_say_what_their_scores_are(table, density):
    assert density.marginal(["x", "y"]).score_kind_ == "exact"
    for columns in (["flag", "y"], ["flag"]):
        part = density.marginal(columns)
        assert part.score_kind_ == "estimate"
        scores, std = part.score_samples(table[columns], return_std=True)
        whole, whole_std = density.score_samples(
            without(table, *(set(table) - set(columns))), return_std=True
        )
        np.testing.assert_allclose(scores, whole)
        np.testing.assert_allclose(std, whole_std)
    exact = BayesianNetworkDensity(conditional="table").fit(table).marginal(["y"])
    assert exact.score_kind_ == "exact"
    assert (exact.score_samples(table[["y"]], return_std=True)[1] == 0).all()


def test_common_numbers_are_the_same_in_every_call_and_spread_as_they_say():
    state = torch.get_rng_state()
    for numbers, law in ((common_uniforms, stats.uniform), (common_normals, stats.norm)):
        points = numbers(512, 3)
        assert points.shape == (512, 3)
        assert points.dtype == torch.float64
        assert torch.equal(points, numbers(512, 3))
        numbers.cache_clear()
        assert torch.equal(points, numbers(512, 3))
        for column in points.T.numpy():
            # Closer to the law than random numbers are.
            assert stats.kstest(column, law.cdf).statistic < 0.01
        assert torch.isfinite(numbers(4, 30_000)).all()
    assert torch.equal(state, torch.get_rng_state())
