"""Mixtures of any densities, against closed forms and loops over their components."""

import warnings

import numpy as np
import pandas as pd
import pytest
from scipy.special import logsumexp
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning
from sklearn.frozen import FrozenEstimator
from sklearn.mixture import GaussianMixture
from sklearn.model_selection import GridSearchCV
from sklearn.neighbors import KernelDensity

from sklearn_dgm import (
    AutoregressiveDensity,
    BayesianNetworkDensity,
    EnsembleDensity,
    GenerativeClassifier,
    HistogramDensity,
    MixtureDensity,
    TransformedDensity,
)
from sklearn_dgm._nested.measures import measures_of
from tests.mixture.test_gaussian import clusters, holes
from tests.mixture.test_tables import mixed_table

TABLES = BayesianNetworkDensity("empty", conditional="table")


@pytest.fixture(autouse=True)
def _few_steps_are_meant():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        yield


def start_for(n, k=3, seed=0):
    return np.random.default_rng(seed).dirichlet(np.ones(k), n)


@pytest.mark.parametrize("missing", [False, True])
def test_gaussians_as_components_are_the_closed_form(missing):
    X = clusters()
    X = holes(X) if missing else X
    shared = {"init": start_for(len(X)), "max_iter": 8, "tol": 0.0, "random_state": 0}
    # Without missing cells one step of EM of each component is maximum likelihood.
    component = MixtureDensity(1, "gaussian", reg_covar=1e-6, max_iter=1, tol=1.0)
    general = MixtureDensity(3, component, **shared).fit(X)
    closed = MixtureDensity(3, "gaussian", reg_covar=1e-6, **shared).fit(X)
    if missing:  # a step of a component starts anew here
        assert general.lower_bound_ > closed.lower_bounds_[0][0]
    else:
        np.testing.assert_allclose(general.score_samples(X), closed.score_samples(X), atol=1e-5)
        np.testing.assert_allclose(general.weights_, closed.weights_, atol=1e-6)
        np.testing.assert_allclose(general.predict_proba(X), closed.predict_proba(X), atol=1e-4)
        assert np.diff(general.lower_bounds_[0]).min() > -1e-9


def test_tables_as_components_are_the_closed_form_up_to_smoothing():
    rng = np.random.default_rng(0)
    kind = rng.integers(0, 3, 3000)
    table = np.column_stack([(kind + rng.integers(0, 2, 3000)) % 3 for _ in range(4)]).astype(str)
    shared = {"init": start_for(len(table)), "max_iter": 30, "tol": 0.0}
    general = MixtureDensity(3, TABLES, **shared).fit(table.astype(object))
    closed = MixtureDensity(3, "independent", alpha=0.0, **shared).fit(table.astype(object))
    np.testing.assert_allclose(general.score_samples(table), closed.score_samples(table), atol=2e-2)


@pytest.mark.parametrize("container", [np.array, pd.DataFrame])
def test_a_mixture_of_kernel_densities_is_one_of_all_rows(container):
    X = container(clusters())
    weight = np.random.default_rng(0).integers(0, 3, len(X)).astype(float)
    mixture = MixtureDensity(3, KernelDensity(bandwidth=0.3), random_state=0)
    mixture.fit(X, sample_weight=weight)
    kernel = KernelDensity(bandwidth=0.3).fit(np.asarray(X), sample_weight=weight)
    with np.errstate(divide="ignore"):  # which scikit-learn leaves alone
        expected = kernel.score_samples(np.asarray(X))
    np.testing.assert_allclose(mixture.score_samples(X), expected, atol=1e-6)
    assert measures_of(mixture) == ["continuous"] * 3
    drawn = mixture.sample(5, random_state=0)
    assert type(drawn) is type(X)
    assert not hasattr(mixture, "conditional_sample")
    assert not hasattr(mixture, "bic")


COMPONENTS = [
    HistogramDensity(),
    TABLES,
    MixtureDensity(2, random_state=0),
    EnsembleDensity([("a", MixtureDensity(1)), ("b", TABLES)], weights="equal"),
    AutoregressiveDensity((4,), max_epochs=2, n_orders=1, random_state=0),
]


@pytest.mark.parametrize("component", COMPONENTS, ids=lambda c: type(c).__name__)
def test_scores_and_draws_are_those_of_a_loop_over_components(component):
    table = mixed_table(200).dropna()
    density = MixtureDensity(2, component, random_state=0, max_iter=2).fit(table)
    terms = [
        np.log(weight) + of.score_samples(table)
        for weight, of in zip(density.weights_, density.estimators_, strict=True)
    ]
    np.testing.assert_allclose(density.score_samples(table), logsumexp(terms, axis=0), atol=1e-9)
    joint = density.predict_joint_log_proba(table)
    np.testing.assert_allclose(joint, np.column_stack(terms), atol=1e-9)
    drawn = density.sample(50, random_state=0)
    assert list(drawn.dtypes) == list(table.dtypes)
    assert np.isfinite(density.score_samples(drawn)).all()
    assert len(density.score_samples(table, return_std=True)[1]) == len(table)


@pytest.mark.parametrize("n_columns", [1, 2])
def test_a_mixture_of_tables_integrates_to_one_over_the_pieces_of_its_components(n_columns):
    rng = np.random.default_rng(0)
    X = np.exp(rng.normal(size=(400, n_columns)) + 0.5 * rng.normal(size=(400, 1)))
    component = BayesianNetworkDensity("chow-liu", conditional="table", bins=5)
    density = MixtureDensity(3, component, max_iter=5, random_state=0).fit(X)
    middles, widths = [], []
    for j, column in enumerate(density.schema_.columns_):
        axes = [of._axes[j] for of in density.estimators_]
        inner = np.unique(np.concatenate([axis._piece_edges for axis in axes]))
        # Beyond the last edges are exponential tails, of other rates in each component.
        reaches = [of.reach for axis in axes for of in (axis._lower, axis._upper)]
        tail = np.geomspace(min(reaches) / 20, 40 * max(reaches), 150)
        edges = np.unique(np.concatenate([inner[0] - tail, inner, inner[-1] + tail]))
        edges = edges * column.scale + column.location
        middles.append(edges[:-1] / 2 + edges[1:] / 2)
        widths.append(np.diff(edges))
    grid = np.meshgrid(*middles, indexing="ij")
    area = np.prod(np.meshgrid(*widths, indexing="ij"), axis=0).ravel()
    p = np.exp(density.score_samples(np.stack(grid, axis=-1).reshape(-1, n_columns)))
    assert p @ area == pytest.approx(1.0, abs=1e-3)


def test_missing_cells_and_conditionals_are_those_of_the_components():
    table = mixed_table(400)
    density = MixtureDensity(2, TABLES, random_state=0, max_iter=5).fit(table)
    gaps = table.head(40).copy()
    gaps.iloc[::2, 0] = np.nan
    joint = density.predict_joint_log_proba(gaps)
    of_components = [
        np.log(weight) + of.score_samples(gaps)
        for weight, of in zip(density.weights_, density.estimators_, strict=True)
    ]
    np.testing.assert_allclose(joint, np.column_stack(of_components), atol=1e-9)
    completed, ess = density.conditional_sample(gaps, 3, random_state=0, return_ess=True)
    assert len(completed) == 120
    assert (ess >= 1).all()
    columns = list(table.columns[:2])
    others = gaps.copy()
    for name in table.columns[2:]:
        others[name] = np.nan if table[name].dtype.kind in "if" else None
    np.testing.assert_allclose(
        density.marginal(columns).score_samples(gaps[columns]),
        density.score_samples(others),
        atol=1e-9,
    )


def test_conditionals_of_gaussians_as_components_are_the_closed_form():
    X = clusters(800)
    shared = {"init": start_for(len(X)), "max_iter": 30}
    general = MixtureDensity(3, MixtureDensity(1, "gaussian", reg_covar=1e-6), **shared).fit(X)
    closed = MixtureDensity(3, "gaussian", reg_covar=1e-6, **shared).fit(X)
    gaps = X[:20].copy()
    gaps[:, 1] = np.nan
    np.testing.assert_allclose(
        general.conditional_mean(gaps), closed.conditional_mean(gaps), atol=0.25
    )
    drawn = general.conditional_sample(gaps, 400, random_state=0).reshape(20, 400, -1)
    expected = closed.conditional_mean(gaps)[:, 1]
    np.testing.assert_allclose(drawn[:, :, 1].mean(axis=1), expected, atol=0.25)


@pytest.mark.parametrize("component", [MixtureDensity(1, "gaussian"), KernelDensity(bandwidth=0.3)])
def test_draws_come_from_the_components_as_often_as_these_weigh_in_any_order(component):
    rng = np.random.default_rng(0)
    of_second = np.arange(500) >= 400
    X = np.column_stack([rng.normal(size=500), 20.0 * of_second + rng.normal(size=500)])
    start = np.column_stack([~of_second, of_second]).astype(float)
    density = MixtureDensity(2, component, init=start, random_state=0).fit(X)
    np.testing.assert_allclose(density.weights_, [0.8, 0.2], atol=1e-3)
    drawn = density.sample(2000, random_state=0)
    assert len(np.unique(drawn[:, 0])) == 2000
    for half in np.split(drawn[:, 1] > 10, 2):
        assert half.mean() == pytest.approx(0.2, abs=0.05)
    if hasattr(density, "conditional_sample"):  # the first column tells nothing of the component
        gaps = np.column_stack([np.zeros(20), np.full(20, np.nan)])
        filled = density.conditional_sample(gaps, 100, random_state=0)[:, 1] > 10
        assert filled.mean() == pytest.approx(0.2, abs=0.06)
        np.testing.assert_allclose(density.conditional_mean(gaps)[:, 1], 4.0, atol=1.2)


def test_parameters_reach_the_components():
    density = MixtureDensity(2, KernelDensity(), random_state=0)
    density.set_params(component__bandwidth=3.0)
    assert density.get_params()["component__bandwidth"] == 3.0
    assert clone(density).component.bandwidth == 3.0
    search = GridSearchCV(density, {"component__bandwidth": [0.3, 10.0]}, cv=2).fit(clusters())
    assert search.best_params_["component__bandwidth"] == 0.3
    assert all(of.bandwidth == 0.3 for of in search.best_estimator_.estimators_)
    assert not hasattr(density, "partial_fit")


def test_seeds_of_components_differ_and_come_from_that_of_the_mixture():
    component = AutoregressiveDensity((4,), max_epochs=1, n_orders=1)
    X = clusters(100)
    density = MixtureDensity(2, component, random_state=0, max_iter=1)
    first, second = density.fit(X).estimators_
    assert first.random_state != second.random_state
    np.testing.assert_array_equal(
        density.fit(X).score_samples(X), clone(density).fit(X).score_samples(X)
    )
    assert component.random_state is None


def test_components_see_transformed_rows_within_a_density():
    rng = np.random.default_rng(0)
    from sklearn.preprocessing import StandardScaler

    X = np.exp(clusters() + rng.normal(size=3))
    inner = TransformedDensity(StandardScaler(), KernelDensity(bandwidth=0.5))
    density = MixtureDensity(2, inner, random_state=0, max_iter=3).fit(X)
    assert np.isfinite(density.score_samples(X)).all()
    assert density.sample(3).shape == (3, 3)


def test_it_is_a_density_of_classes():
    X = clusters()
    y = (X[:, 0] > 0).astype(int)
    for component in (HistogramDensity(), KernelDensity(bandwidth=0.3)):
        model = GenerativeClassifier(MixtureDensity(2, component, max_iter=2, random_state=0))
        assert model.fit(X, y).score(X, y) > 0.9


def test_more_components_than_rows_leave_some_without():
    X = np.array([[0.0, 1.0], [5.0, 2.0]])
    density = MixtureDensity(4, KernelDensity(), random_state=0).fit(X)
    assert [of is None for of in density.estimators_] == [False, False, True, True]
    assert np.isfinite(density.score_samples(X)).all()
    assert np.isneginf(density.predict_joint_log_proba(X)[:, 2:]).all()
    assert density.sample(10, random_state=0).shape == (10, 2)


def test_a_component_that_has_no_value_of_a_column_can_be_fitted():
    X = np.random.default_rng(0).normal(size=(30, 3))
    X[0] = 9, np.nan, 9
    X[1] = -9, -9, np.nan
    density = MixtureDensity(3, TABLES, random_state=0, max_iter=5).fit(X)
    assert np.isfinite(density.score_samples(X)).all()


def test_a_warm_start_goes_on():
    X = clusters()
    density = MixtureDensity(3, TABLES, max_iter=3, tol=0.0, warm_start=True, random_state=0).fit(X)
    before = density.lower_bound_
    assert density.fit(X).lower_bounds_[0][0] >= before - 0.05


@pytest.mark.parametrize(
    ("component", "error", "message"),
    [
        (GaussianMixture(2), ValueError, "takes no sample_weight"),
        (FrozenEstimator(KernelDensity()), TypeError, "component is a FrozenEstimator"),
        (HistogramDensity, TypeError, "hand in an instance"),
        ("gauss", ValueError, "component"),
    ],
)
def test_what_can_be_no_component_is_refused(component, error, message):
    with pytest.raises(error, match=message):
        MixtureDensity(2, component).fit(clusters())


def test_columns_are_described_to_the_component():
    with pytest.raises(ValueError, match="column_kinds should stay None"):
        MixtureDensity(2, TABLES, column_kinds={0: "integer"}).fit(clusters())
    kinds = {0: "integer"}
    X = np.random.default_rng(0).integers(0, 5, (50, 2)).astype(float)
    component = BayesianNetworkDensity("empty", conditional="table", column_kinds=kinds)
    density = MixtureDensity(2, component, random_state=0).fit(X)
    assert density.schema_.columns_[0].kind == "integer"
    assert all(of.schema_ is density.schema_ for of in density.estimators_)


def test_named_components_have_no_estimators():
    density = MixtureDensity(2, random_state=0).fit(clusters())
    with pytest.raises(AttributeError, match="estimators_"):
        _ = density.estimators_
