"""What a codec is told of a mixture: components as members, column by column."""

import numpy as np
import pytest
from scipy import stats

from sklearn_dgm import DensityCodec, MixtureDensity
from tests.mixture.test_gaussian import TYPES, clusters, holes
from tests.mixture.test_tables import mixed_table, small_table


@pytest.mark.parametrize("component", ["independent", "tree"])
def test_the_code_of_categories_is_as_long_as_the_density_says(component):
    table = small_table()
    density = MixtureDensity(3, component, alpha=1.0, random_state=0)
    codec = DensityCodec(density).fit(table)
    expected = -codec.estimator_.score_samples(table) / np.log(2)
    np.testing.assert_allclose(codec.code_length(table), expected, rtol=1e-8)


@pytest.mark.parametrize("covariance_type", TYPES)
def test_members_compare_as_components_do_though_cells_are_missing(covariance_type):
    X = holes(clusters(d=4), 0.2)
    density = MixtureDensity(3, "gaussian", covariance_type=covariance_type, random_state=0).fit(X)
    Z = density.schema_.encode(X)[0]
    factors = density._factors()
    log_p = np.column_stack([factors.log_prob(k, Z) for k in range(3)])
    expected = density.predict_joint_log_proba(X) - factors.log_weights
    np.testing.assert_allclose(log_p - log_p[:, :1], expected - expected[:, :1], atol=1e-7)


@pytest.mark.parametrize("component", ["independent", "gaussian", "tree"])
def test_members_of_mixed_tables_compare_as_components_do(component):
    table = mixed_table(300)
    density = MixtureDensity(2, component, random_state=0).fit(table)
    Z = density.schema_.encode(table)[0]
    factors = density._factors()
    log_p = np.column_stack([factors.log_prob(k, Z) for k in range(2)])
    expected = density.predict_joint_log_proba(table) - factors.log_weights
    np.testing.assert_allclose(log_p - log_p[:, :1], expected - expected[:, :1], atol=1e-7)


def test_distribution_functions_are_those_of_conditional_normals():
    X = clusters()
    density = MixtureDensity(1, "gaussian").fit(X)
    Z = density.schema_.encode(X[:20])[0]
    mean, covariance = density.means_[0], density.covariances_[0]
    points = np.tile(np.linspace(-2, 2, 5), (20, 1))
    before = []
    for j, conditional in density._factors().visit(0, Z.copy()):
        slopes = np.linalg.solve(covariance[np.ix_(before, before)], covariance[before, j])
        centers = mean[j] + (X[:20][:, before] - mean[before]) @ slopes
        left = covariance[j, j] - covariance[j, before] @ slopes
        column = density.schema_.columns_[j]
        x = points * column.scale + column.location
        expected = stats.norm(centers[:, None], left**0.5).cdf(x)
        np.testing.assert_allclose(conditional.cdf(points), expected, atol=1e-9)
        before.append(j)
    assert before == [0, 1, 2]


def test_cells_of_rounded_numbers_have_about_the_probabilities_that_are_scored():
    x = np.round(np.random.default_rng(0).normal(0, 0.12, 500), 1)[:, None]
    density = MixtureDensity(1, "gaussian").fit(x)
    assert density.schema_.kinds_[0] == "rounded"
    cells = np.unique(x)[:, None]
    z = density.schema_.encode(cells)[0]
    ((_, conditional),) = density._factors().visit(0, z.copy())
    mass = np.diff(conditional.cdf(z + np.array([-0.5, 0.5])), axis=1)[:, 0]
    np.testing.assert_allclose(mass, np.exp(density.score_samples(cells)) * 0.1, rtol=0.02)


def test_atoms_have_steps_in_distribution_functions():
    table = mixed_table(300)
    density = MixtureDensity(1, "gaussian").fit(table)
    Z = density.schema_.encode(table.head(1))[0]
    atom = density.schema_.columns_[1].encoded_atoms[0]
    conditional = dict(density._factors().visit(0, Z.copy()))[1]
    below, beyond = conditional.cdf(np.array([[atom, np.nextafter(atom, np.inf)]]))[0]
    assert beyond - below == pytest.approx(density.tables_[1][0, 0], abs=1e-9)
    assert conditional.cdf(np.array([[-1e6, 1e6]]))[0] == pytest.approx([0, 1])
