"""Numbers may start from a mixture of Gaussians with one covariance: its fit, its conditionals, and the choice."""

from functools import partial

import numpy as np
import pytest
import torch
from scipy import special, stats
from sklearn.mixture import GaussianMixture

from sklearn_dgm.nn.better_start import better_mixture
from sklearn_dgm.nn.inputs import Variable
from sklearn_dgm.nn.made import MADE
from sklearn_dgm.nn.masks import complete_adjacency
from sklearn_dgm.nn.moments import mixtures, moments
from sklearn_dgm.nn.start import start_from
from sklearn_dgm.nn.tied_mixture import TiedMixture, tied_mixtures

NUMBER = Variable(None, False)


def two_groups(n, d, rng, distance=4.0):
    group = rng.integers(0, 2, n)
    correlated = rng.normal(size=(n, d)) @ (np.eye(d) + 0.3)
    return correlated + distance / np.sqrt(d) * (group[:, None] - 0.5) * np.resize([1, -2], d)


def log_density(mixture, Z, columns):
    """Log-density of some columns of rows, component by component."""
    covariance = mixture.covariance[np.ix_(columns, columns)]
    of_each = [
        np.reshape(
            stats.multivariate_normal(mean[columns], covariance).logpdf(Z[:, columns]), len(Z)
        )
        for mean in mixture.means
    ]
    return special.logsumexp(np.log(mixture.shares) + np.transpose(of_each), axis=1)


def network(variables, adjacency, n_components=8, base="gaussian"):
    torch.manual_seed(0)
    return MADE(variables, adjacency, (16,), "relu", n_components, base)


def known(Z, weight=None):
    weight = np.ones(len(Z)) if weight is None else weight
    return torch.from_numpy(np.asarray(Z, dtype=float)), weight


def of_size(k, inputs, Z):
    return next(mixture for mixture in mixtures(inputs, *known(Z)) if mixture.n_components == k)


def scores(module, Z):
    with torch.no_grad():
        return module.double().eval().log_prob_features(known(Z)[0]).numpy()


@pytest.mark.parametrize("k", [2, 4, 8])
def test_em_finds_what_another_implementation_finds(k):
    rng = np.random.default_rng(0)
    centres = 6 * rng.permutation(np.eye(8))[:k]
    F = (centres[rng.integers(0, k, 4000)] + rng.normal(size=(4000, 8))) @ (np.eye(8) + 0.2)
    found = next(m for m in tied_mixtures(F, np.ones(4000), 8) if m.n_components == k)
    peer = GaussianMixture(k, covariance_type="tied", n_init=5, random_state=0).fit(F)
    assert log_density(found, F, range(8)).mean() == pytest.approx(peer.score(F), abs=5e-3)
    assert found.shares.sum() == pytest.approx(1)


def test_em_takes_weights_as_repeats():
    rng = np.random.default_rng(0)
    F, weight = two_groups(200, 3, rng), rng.integers(0, 4, 200)
    weighted = tied_mixtures(F, weight.astype(float), 3)
    repeated = tied_mixtures(np.repeat(F, weight, axis=0), np.ones(weight.sum()), 3)
    for one, other in zip(weighted, repeated, strict=True):
        for of_one, of_other in zip(one, other, strict=True):
            np.testing.assert_allclose(of_one, of_other, atol=1e-6)


def test_rows_that_are_alike_or_few_make_a_mixture():
    for F in (np.zeros((50, 2)), np.ones((1, 2)), np.eye(3)):
        for mixture in tied_mixtures(F, np.ones(len(F)), F.shape[1]):
            assert (mixture.shares > 0).all()
            assert np.isfinite(log_density(mixture, F, range(F.shape[1]))).all()


def test_what_is_not_seen_tells_no_component():
    rng = np.random.default_rng(0)
    F = np.column_stack([two_groups(500, 2, rng), np.repeat([-9.0, 9.0], 250)])
    alone = tied_mixtures(F[:, :2], np.ones(500), 2)
    for one, beside in zip(alone, tied_mixtures(F, np.ones(500), 2), strict=True):
        np.testing.assert_allclose(beside.means[:, :2], one.means)
        np.testing.assert_allclose(beside.shares, one.shares)


COMPLETE = [complete_adjacency([0, 1, 2, 3]), complete_adjacency([2, 0, 3, 1])]
SPARSE = np.array([[0, 1, 0, 1], [0, 0, 0, 1], [0, 1, 0, 0], [0, 0, 0, 0]], dtype=bool)


@pytest.mark.parametrize("k", [2, 4])
@pytest.mark.parametrize("adjacency", [*COMPLETE, SPARSE])
def test_before_its_first_step_a_network_has_the_conditionals_of_the_mixture(adjacency, k):
    # Numbers in units of their own, and a sign of a category as a parent.
    rng = np.random.default_rng(0)
    X = two_groups(800, 3, rng)
    variables = [*(Variable(None, False, m, 2.0) for m in (0.5, -1.0, 0.0)), Variable(2, False)]
    Z = np.column_stack([X, rng.random(800) < special.expit(X[:, 0])])
    module = network(variables, adjacency, n_components=k)
    mixture = of_size(k, module.inputs, Z)
    start_from(module, moments(module.inputs, *known(Z))._replace(mixture=mixture))
    torch.nn.init.zeros_(module.out.weight)
    found, features = scores(module, Z), module.inputs.features(known(Z)[0]).numpy()
    for j in range(3):
        parents = np.flatnonzero(adjacency[:, j]).tolist()
        expected = log_density(mixture, features, [*parents, j]) - np.log(2.0)
        if parents:
            expected -= log_density(mixture, features, parents)
        np.testing.assert_allclose(found[:, j], expected, atol=2e-4)


@pytest.mark.parametrize("base", ["gaussian", "logistic"])
@pytest.mark.parametrize("n_components", [3, 8])
def test_components_share_in_the_normals_of_the_mixture(base, n_components):
    Z = two_groups(800, 3, np.random.default_rng(0))
    module = network([NUMBER] * 3, COMPLETE[0][:3, :3], n_components, base)
    mixture = of_size(2, module.inputs, Z)
    start_from(module, moments(module.inputs, *known(Z))._replace(mixture=mixture))
    gap = scores(module, Z).sum(axis=1) - log_density(mixture, Z, range(3))
    assert np.abs(gap).mean() < 0.15
    assert abs(gap.mean()) < 0.05


def test_values_far_out_are_reached_from_a_mixture():
    Z = two_groups(1000, 2, np.random.default_rng(0))
    Z[::100, 0] = 1e5
    variables = [Variable(None, False, farthest=1e5), NUMBER]
    module = network(variables, COMPLETE[0][:2, :2], base="logistic")
    mixture = of_size(2, module.inputs, Z)
    start_from(module, moments(module.inputs, *known(Z))._replace(mixture=mixture))
    found = scores(module, Z)
    assert found[::100, 0].min() > -40
    assert np.delete(found, np.s_[::100], axis=0).mean(axis=0).min() > -5


def chosen(Z, n_valid=500, n_components=8, weight=None):
    """Number of components that rows choose, of which the last ones validate."""
    Z = known(Z)[0]
    build = partial(network, [NUMBER] * Z.shape[1], complete_adjacency(range(Z.shape[1])))
    build = partial(build, n_components, "logistic")
    train, valid = Z[:-n_valid], Z[-n_valid:].float()
    inputs, weight = build().inputs, torch.ones(n_valid) if weight is None else weight
    start = moments(inputs, train, np.ones(len(train)))
    rows = train, np.ones(len(train))
    others = mixtures(inputs, *rows, n_components)
    return better_mixture(build, start, others, (), valid, weight, rows).n_components


def test_rows_choose_several_components_if_they_have_these():
    rng = np.random.default_rng(0)
    groups = two_groups(2500, 6, rng)
    assert chosen(groups) > 1
    assert chosen(groups, n_components=1) == 1
    assert chosen(rng.normal(size=(2500, 6)) @ rng.normal(size=(6, 6))) == 1
    groups[-500::3, 1] = np.nan
    assert chosen(groups) > 1


def test_what_training_tells_soon_needs_no_mixture():
    rng = np.random.default_rng(0)
    x = rng.normal(size=2500)
    curve = np.column_stack([x, x**2 + 0.1 * rng.normal(size=2500), rng.normal(size=2500)])
    inputs = network([NUMBER] * 3, COMPLETE[0][:3, :3]).inputs
    start, several = moments(inputs, *known(curve)), of_size(8, inputs, curve)
    # The mixture follows the curve better than the Gaussian does, and training better still.
    gain = log_density(several, curve, range(3)) - log_density(start.mixture, curve, range(3))
    assert gain.mean() > 0.3
    assert chosen(curve) == 1


def test_rows_of_no_weight_choose_nothing():
    between = np.zeros((500, 6))
    Z = np.concatenate([two_groups(2500, 6, np.random.default_rng(0)), between])
    assert chosen(Z, 1000) == 1
    assert chosen(Z, 1000, weight=torch.cat([torch.ones(500), torch.zeros(500)])) > 1


def test_a_mixture_is_rescaled():
    mixture = TiedMixture(
        np.array([0.3, 0.7]), np.array([[0.0, 1.0], [2.0, -1.0]]), np.eye(2) + 0.5
    )
    location, scale, Z = (
        np.array([5.0, -3.0]),
        np.array([2.0, 0.1]),
        np.array([[0.5, 1.0], [0.0, -2.0]]),
    )
    moved = log_density(mixture.rescaled(location, scale), location + Z * scale, [0, 1])
    np.testing.assert_allclose(moved, log_density(mixture, Z, [0, 1]) - np.log(scale).sum())
