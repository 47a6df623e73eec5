"""Before its first step, a network is the simple density that it starts from."""

from functools import partial
from itertools import product

import numpy as np
import pandas as pd
import pytest
import torch
from scipy import stats
from sklearn.covariance import ledoit_wolf
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

from sklearn_dgm.nn.better_start import better_regressed
from sklearn_dgm.nn.inputs import RESIDUAL_WEIGHT, Variable
from sklearn_dgm.nn.made import MADE
from sklearn_dgm.nn.masks import complete_adjacency
from sklearn_dgm.nn.moments import moments
from sklearn_dgm.nn.start import start_from
from sklearn_dgm.nn.tied_mixture import gaussian

NUMBER = Variable(None, False)


def started(variables, Z, order=None, weight=None, n_components=8, base="gaussian", regressed=()):
    """A network that starts from some rows."""
    torch.manual_seed(0)
    order = range(len(variables)) if order is None else order
    module = MADE(variables, complete_adjacency(order), (16,), "relu", n_components, base)
    # What the hidden units add is small, and zero here.
    torch.nn.init.zeros_(module.out.weight)
    weight = np.ones(len(Z)) if weight is None else weight
    rows = torch.from_numpy(np.asarray(Z, dtype=float))
    start_from(module, moments(module.inputs, rows, weight), regressed)
    return module.double().eval()


def scores(module, Z):
    with torch.no_grad():
        return module.log_prob_features(torch.from_numpy(np.asarray(Z, dtype=float))).numpy()


def shrunk_gaussian(Z):
    mean, std = Z.mean(axis=0), Z.std(axis=0)
    covariance, _ = ledoit_wolf((Z - mean) / std, assume_centered=True)
    return stats.multivariate_normal(mean, covariance * np.outer(std, std))


@pytest.mark.parametrize("order", [[0, 1, 2, 3], [2, 0, 3, 1]])
def test_numbers_start_from_the_shrunk_gaussian(order):
    rng = np.random.default_rng(0)
    Z = rng.normal(size=(300, 4)) @ rng.normal(size=(4, 4)) + [0, 1, 0, -1]
    expected = shrunk_gaussian(Z).logpdf(Z)
    exact = started([NUMBER] * 4, Z, order, n_components=1)
    np.testing.assert_allclose(scores(exact, Z).sum(axis=1), expected, atol=1e-3)
    for base in ("gaussian", "logistic"):
        close = started([NUMBER] * 4, Z, order, base=base)
        assert np.abs(scores(close, Z).sum(axis=1) - expected).mean() < 0.15


@pytest.mark.parametrize("order", [[0, 1, 2, 3], [2, 0, 3, 1]])
def test_hidden_units_see_what_regressions_leave_of_numbers(order):
    rng = np.random.default_rng(0)
    Z = rng.normal(size=(500, 4)) @ rng.normal(size=(4, 4)) + [0, 1, 0, -1]
    module = started([NUMBER] * 4, Z, order)
    features = module.inputs.features(torch.from_numpy(Z))
    residuals = module.hidden_inputs(features, features)[:, -4:].div(RESIDUAL_WEIGHT).sinh().numpy()
    # The factor of the covariance turns rows in this order into independent standard normals.
    normal = shrunk_gaussian(Z)
    factor = np.linalg.cholesky(normal.cov[np.ix_(order, order)])
    expected = np.linalg.solve(factor, (Z - normal.mean)[:, order].T).T
    assert module.residuals.label.tolist() == [0, 1, 2, 3]
    np.testing.assert_allclose(residuals[:, order], expected, atol=1e-3)


def test_the_start_takes_weights_as_repeats():
    rng = np.random.default_rng(0)
    Z = np.column_stack([rng.normal(size=60), rng.integers(0, 3, 60), rng.integers(0, 2, 60)])
    Z[:, 0] += Z[:, 1]
    variables = [NUMBER, Variable(3, False), Variable(2, False)]
    weight = rng.integers(0, 4, 60)
    weighted = started(variables, Z, weight=weight.astype(float))
    repeated = started(variables, np.repeat(Z, weight, axis=0))
    np.testing.assert_allclose(scores(weighted, Z), scores(repeated, Z), atol=1e-4)


def draw_tree(n, n_levels, rng):
    """Categories, each of which depends on one of the earlier ones."""
    Z = np.zeros((n, 5), dtype=int)
    for j, parent in enumerate([None, 0, 0, 1, 3]):
        table = rng.dirichlet(np.full(n_levels, 0.5), n_levels)
        p = table[Z[:, parent]] if parent is not None else table[:1].repeat(n, axis=0)
        Z[:, j] = (p.cumsum(axis=1) < rng.random((n, 1))).sum(axis=1).clip(max=n_levels - 1)
    return Z


def log_conditional(Z, j, parent):
    """Log-frequencies of a column, or given another one, for each row."""
    joint = pd.Series(1, range(len(Z))).groupby([Z[:, k] for k in (parent, j) if k is not None])
    given = pd.Series(1, range(len(Z))).groupby(Z[:, parent] if parent is not None else Z[:, j] < 0)
    return np.log(joint.transform("sum") / given.transform("sum")).to_numpy()


def best_tree(Z, order, n_levels):
    """The likeliest of all trees in which parents come first, by trying every one (penalised as BIC does)."""

    def value(parents):
        total = sum(log_conditional(Z, j, parent).sum() for j, parent in parents.items())
        n_edges = sum(parent is not None for parent in parents.values())
        return total - n_edges * (n_levels - 1) ** 2 * np.log(len(Z)) / 2

    choices = [[None, *order[:t]] for t in range(len(order))]
    trees = [dict(zip(order, parents, strict=True)) for parents in product(*choices)]
    return max(trees, key=value)


@pytest.mark.parametrize("order", [[0, 1, 2, 3, 4], [3, 0, 4, 2, 1]])
@pytest.mark.parametrize("n_levels", [2, 3])
def test_categories_start_from_the_best_tree_of_their_order(n_levels, order):
    Z = draw_tree(3000, n_levels, np.random.default_rng(n_levels))
    tree = best_tree(Z, order, n_levels)
    assert sum(parent is not None for parent in tree.values()) >= 3
    found = scores(started([Variable(n_levels, False)] * 5, Z, order), Z)
    for j, parent in tree.items():
        expected = log_conditional(Z, j, parent)
        assert np.abs(found[:, j] - expected).mean() < 2e-3
        assert found[:, j].mean() == pytest.approx(expected.mean(), abs=1e-3)


@pytest.mark.parametrize("n_levels", [2, 3])
def test_independent_categories_start_from_their_shares(n_levels):
    Z = np.random.default_rng(0).integers(0, n_levels, (2000, 3))
    module = started([Variable(n_levels, False)] * 3, Z)
    assert not module.skip.start.any()
    np.testing.assert_allclose(scores(module, Z)[:, 2], log_conditional(Z, 2, None), atol=1e-3)


@pytest.mark.parametrize("n_levels", [2, 3])
def test_an_unknown_parent_leaves_the_shares(n_levels):
    Z = np.repeat(np.arange(n_levels), 500)[:, None].repeat(2, axis=1)
    unknown = np.array([[-1, code] for code in range(n_levels)])
    module = started([Variable(n_levels, False)] * 2, Z)
    assert scores(module, Z)[:, 1].min() > -0.02
    np.testing.assert_allclose(scores(module, unknown)[:, 1], -np.log(n_levels), atol=1e-3)


def test_a_constant_parent_says_nothing():
    rng = np.random.default_rng(0)
    for _ in range(30):  # rounding may be of either sign
        Z = np.column_stack([np.zeros(100), rng.integers(0, 3, 100)])
        module = started([Variable(1, False), Variable(3, False)], Z, weight=rng.random(100) + 0.1)
        assert not module.skip.start.any()


def test_categories_with_a_numeric_parent_start_from_bayes_rule():
    rng = np.random.default_rng(0)
    code = rng.choice(3, 2000, p=[0.2, 0.3, 0.5])
    x = np.array([-1.0, 0.5, 2.0])[code] + rng.normal(size=2000)
    for n_levels in (2, 3):
        kept = code < n_levels
        Z = np.column_stack([x, code])[kept]
        found = scores(started([NUMBER, Variable(n_levels, False)], Z), Z)[:, 1]
        peer = LinearDiscriminantAnalysis().fit(Z[:, :1], Z[:, 1]).predict_log_proba(Z[:, :1])
        np.testing.assert_allclose(found, peer[np.arange(len(Z)), code[kept]], atol=0.1)


def test_the_better_of_two_kinds_of_parents_is_taken():
    rng = np.random.default_rng(0)
    code = rng.integers(0, 3, 2000)
    near = np.where(rng.random(2000) < 0.9, code, rng.integers(0, 3, 2000))
    x = 0.1 * code + rng.normal(size=2000)
    Z = np.column_stack([x, near, code])
    module = started([NUMBER, Variable(3, False), Variable(3, False)], Z)
    expected = log_conditional(Z.astype(int), 2, 1)
    np.testing.assert_allclose(scores(module, Z)[:, 2], expected, atol=0.02)


@pytest.mark.parametrize("parent", ["number", "category", "levels"])
def test_numbers_start_from_regressions_on_parents_of_all_kinds(parent):
    rng = np.random.default_rng(0)
    code = rng.integers(0, 3, 3000)
    Z = np.column_stack([code, 2.0 * code + rng.normal(size=3000)])
    variable = {
        "number": NUMBER,
        "category": Variable(3, False),
        "levels": Variable(3, True, 1.0, 0.8),
    }[parent]
    found = scores(started([variable, NUMBER], Z), Z)[:, 1].mean()
    assert found == pytest.approx(-stats.norm.entropy(), abs=0.03)


def correlated_counts(n, rng):
    x = rng.normal(size=n)
    return np.column_stack(
        [x, rng.poisson(np.exp(1 + 0.5 * x)), rng.binomial(6, stats.norm.cdf(x))]
    )


@pytest.mark.parametrize("order", [[0, 1, 2], [2, 1, 0]])
def test_levels_start_better_than_their_shares(order):
    Z = correlated_counts(2000, np.random.default_rng(0))
    levels = [Variable(int(z.max()) + 1, True, float(z.mean()), float(z.std())) for z in Z.T[1:]]
    found = scores(started([NUMBER, *levels], Z, order), Z).mean(axis=0)
    whole = Z.astype(int)
    shares = np.array([log_conditional(whole, j, None).mean() for j in (1, 2)])
    first = order[0]
    for j in (1, 2):
        if j == first:
            assert found[j] == pytest.approx(shares[j - 1], abs=0.02)
        else:
            assert found[j] > shares[j - 1] + 0.1


def test_what_lies_beyond_the_levels_follows_the_regression():
    Z = correlated_counts(2000, np.random.default_rng(0))
    n_levels = int(Z[:, 1].max()) + 1
    level = Variable(n_levels, True, float(Z[:, 1].mean()), float(Z[:, 1].std()))
    module = started([NUMBER, level], Z[:, :2])
    below, above = scores(module, [[2.0, -1.0], [2.0, n_levels]])[:, 1]
    assert above > below + 3


def test_levels_that_are_all_but_determined():
    z = np.random.default_rng(0).integers(0, 9, 1000)
    level = Variable(9, True, 4.0, 2.6)
    found = scores(started([level, level], np.column_stack([z, z])), np.column_stack([z, z]))
    assert found[:, 1].mean() > -0.7
    assert found[:, 1].min() > -3


def test_values_far_out_do_not_set_the_start():
    rng = np.random.default_rng(0)
    Z = rng.normal(size=(1000, 2))
    Z[:, 1] += Z[:, 0]
    far = np.arange(1000) % 100 == 0
    clean = scores(started([NUMBER] * 2, Z, base="logistic"), Z)[~far].mean(axis=0)
    Z[far, 0] = 1e6
    found = scores(started([Variable(None, False, farthest=1e6), NUMBER], Z, base="logistic"), Z)
    # All but one of the eight components are too wide for the bulk, and that one is not in its middle.
    assert found[~far, 0].mean() > clean[0] - np.log(8) - 0.5
    assert found[~far, 1].mean() > clean[1] - 0.3
    assert found[far, 0].min() > -50


def test_columns_of_very_many_categories_are_left_out():
    rng = np.random.default_rng(0)
    Z = np.column_stack([rng.integers(0, 1000, 500), rng.normal(size=500), rng.integers(0, 2, 500)])
    module = started([Variable(1000, False), NUMBER, Variable(2, False)], Z)
    assert not module.skip.start[:, module.inputs.feature_label == 0].any()
    counts = np.bincount(Z[:, 0].astype(int), minlength=1000) + 0.5
    expected = np.log(counts / counts.sum())[Z[:, 0].astype(int)]
    np.testing.assert_allclose(scores(module, Z)[:, 0], expected, atol=1e-4)


def test_codes_that_a_network_does_not_know_are_left_out():
    z = np.array([0, 0, 0, 1, 1, 2, -1, -1, 3])[:, None]
    for whole in (False, True):
        module = started([Variable(3, whole)], z)
        known = scores(module, z[:6])[:, 0]
        assert known[0] - known[3] == pytest.approx(np.log(3.5 / 2.5), abs=1e-4)
        assert known[3] - known[5] == pytest.approx(np.log(2.5 / 1.5), abs=1e-4)


def test_the_shrunk_gaussian_agrees_with_scikit_learn_and_takes_weights_as_repeats():
    rng = np.random.default_rng(0)
    F = rng.normal(size=(40, 6)) @ rng.normal(size=(6, 6)) + 3
    expected, _ = ledoit_wolf(F)
    found = gaussian(F, np.ones(40))
    np.testing.assert_allclose(found.means[0], F.mean(axis=0))
    np.testing.assert_allclose(found.covariance, expected, atol=2e-6)
    weight = rng.integers(1, 4, 40)
    weighted = gaussian(F, weight.astype(float))
    repeated = gaussian(np.repeat(F, weight, axis=0), np.ones(weight.sum()))
    np.testing.assert_allclose(weighted.covariance, repeated.covariance)


@pytest.mark.parametrize("whole", [False, True])
def test_atoms_start_from_their_shares(whole):
    rng = np.random.default_rng(0)
    z = np.round(rng.normal(0, 40, size=(400, 2)))
    z[rng.random(400) < 0.6, 0] = 0
    z[rng.random(400) < 0.3, 0] = 7
    variables = [Variable(None, whole, 0.0, 40.0, (), (0.0, 7.0)), Variable(None, whole, 0.0, 40.0)]
    module = started(variables, z)
    for atom in (0.0, 7.0):
        share = np.mean(z[:, 0] == atom)
        # Whole numbers have some more, from the mixture that all the others come from.
        expected = pytest.approx(share, abs=0.01 if whole else 2e-3)
        assert np.exp(scores(module, [[atom, 0.0]])[0, 0]) == expected


def ratio_of_normals(features, code, shares):
    """Log-probabilities of the codes of rows: their shares, by how the regression changes the normal of the code."""
    F = np.column_stack([features, code]).astype(float)
    mean, std = F.mean(axis=0), F.std(axis=0)
    covariance, _ = ledoit_wolf((F - mean) / std, assume_centered=True)
    covariance *= np.outer(std, std)
    slopes = np.linalg.solve(covariance[:-1, :-1], covariance[:-1, -1])
    expected = mean[-1] + (F - mean)[:, :-1] @ slopes
    spread = np.sqrt(covariance[-1, -1] - covariance[-1, :-1] @ slopes)
    k = np.arange(len(shares))
    weighed = shares * np.exp(
        stats.norm.logpdf(k, expected[:, None], spread)
        - stats.norm.logpdf(k, mean[-1], np.sqrt(covariance[-1, -1]))
    )
    return np.log(weighed / weighed.sum(axis=1, keepdims=True))[np.arange(len(F)), code]


def test_two_values_may_start_from_their_regression_on_all_parents():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(2000, 3))
    code = (x.sum(axis=1) + rng.normal(size=2000) > 0.5).astype(int)
    variables = [NUMBER, NUMBER, NUMBER, Variable(2, False)]
    Z = np.column_stack([x, code])
    expected = ratio_of_normals(x, code, np.bincount(code) / 2000)
    for order in ([0, 1, 2, 3], [2, 0, 1, 3]):
        module = started(variables, Z, order, regressed=[3])
        np.testing.assert_allclose(scores(module, Z)[:, 3], expected, atol=0.01)
    peer = LinearDiscriminantAnalysis().fit(x, code).predict_log_proba(x)
    assert abs(expected.mean() - peer[np.arange(2000), code].mean()) < 0.05
    # A tree follows one of them.
    assert scores(started(variables, Z), Z)[:, 3].mean() < expected.mean() - 0.1


@pytest.mark.parametrize("n_levels", [3, 5])
def test_a_few_whole_numbers_may_start_from_their_regression(n_levels):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(3000, 2))
    code = (x.sum(axis=1) + rng.normal(size=3000) + n_levels / 2).round().clip(0, n_levels - 1)
    Z = np.column_stack([x, code])
    module = started([NUMBER, NUMBER, Variable(n_levels, True)], Z, regressed=[2])
    code = code.astype(int)
    expected = ratio_of_normals(x, code, np.bincount(code) / 3000)
    # The indicators of a number have a shrinkage of their own.
    assert np.abs(scores(module, Z)[:, 2] - expected).mean() < 0.05


@pytest.mark.parametrize("whole_parent", [False, True])
def test_a_few_whole_numbers_may_start_from_a_tree(whole_parent):
    Z = draw_tree(5000, 4, np.random.default_rng(0))
    variables = [Variable(4, whole_parent), *[Variable(4, True)] * 4]
    found = scores(started(variables, Z), Z)
    parents = best_tree(Z, range(5), 4)
    for j in range(5):
        expected = log_conditional(Z, j, parents[j])
        assert np.abs(found[:, j] - expected).mean() < 0.02
    # What lies beyond is as rare as half a row.
    beyond = scores(started(variables, Z), np.array([[0, 4, 0, 0, 0], [0, -1, 0, 0, 0]]))
    assert np.exp(beyond[:, 1]).max() < 1 / 500


def test_rows_choose_the_better_of_two_starts():
    rng = np.random.default_rng(0)
    parents = rng.integers(0, 2, (1500, 6))
    noisy = np.where(rng.random(1500) < 0.9, parents[:, 0], 1 - parents[:, 0])
    graded = (parents.sum(axis=1) + rng.normal(size=1500) > 3).astype(int)
    Z = np.column_stack([parents, noisy, graded, rng.normal(size=1500)]).astype(float)

    def build(n_columns=9):
        torch.manual_seed(0)
        variables = [*[Variable(2, False)] * 8, NUMBER][:n_columns]
        adjacency = complete_adjacency(range(n_columns))
        return MADE(variables, adjacency, (4,), "relu", 1, "gaussian")

    start = moments(build().inputs, torch.from_numpy(Z[:1000]), np.ones(1000))
    held_out = torch.from_numpy(Z[1000:]).float()
    held_out[::5, 2] = torch.nan
    regressed = better_regressed(build, start, held_out, torch.ones(500))
    assert 7 in regressed
    # A column that is another one but for noise has the same in both: no row is worse off by much.
    chosen, tree = build(), build()
    start_from(chosen, start, regressed)
    start_from(tree, start)
    complete = Z[1000:]
    gain = (scores(chosen.eval().double(), complete) - scores(tree.eval().double(), complete)).mean(
        axis=0
    )
    assert gain[7] > 0.1
    assert gain.min() > -0.05
    # Of no weight are rows that would tell otherwise.
    flipped = held_out.clone()
    flipped[:, 7] = 1 - flipped[:, 7]
    both = torch.cat([held_out, flipped])
    assert (
        better_regressed(build, start, both, torch.cat([torch.ones(500), torch.zeros(500)]))
        == regressed
    )
    # Without a number beside them all start from trees.
    start = moments(build(8).inputs, torch.from_numpy(Z[:1000, :8]), np.ones(1000))
    assert not better_regressed(partial(build, 8), start, held_out[:, :8], torch.ones(500))
