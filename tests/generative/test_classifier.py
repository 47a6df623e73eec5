"""GenerativeClassifier, against Bayes' rule written out and against scikit-learn."""

import pickle

import numpy as np
import pandas as pd
import polars as pl
import pytest
import sklearn
from scipy import stats
from scipy.special import logsumexp
from sklearn.base import BaseEstimator, DensityMixin, clone
from sklearn.discriminant_analysis import QuadraticDiscriminantAnalysis
from sklearn.ensemble import IsolationForest
from sklearn.frozen import FrozenEstimator
from sklearn.mixture import GaussianMixture
from sklearn.model_selection import GridSearchCV
from sklearn.neighbors import KernelDensity
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sklearn_dgm import (
    GenerativeClassifier,
    HistogramDensity,
    NaiveBayesClassifier,
    is_density,
    mean_log_likelihood,
)
from tests.generative.densities import TABLES, Normals, iris, mixed, network, two_clusters


def test_bayes_rule_by_hand():
    X, y = iris()
    names = np.array(["setosa", "versicolor", "virginica"])
    y = np.where(np.arange(150) == 149, 0, y)  # shares that differ
    model = GenerativeClassifier(GaussianMixture(reg_covar=0)).fit(X, names[y])
    joint = np.empty((150, 3))
    for c in range(3):
        rows = X[y == c]
        normal = stats.multivariate_normal(rows.mean(axis=0), np.cov(rows.T, bias=True))
        joint[:, c] = np.log((y == c).mean()) + normal.logpdf(X)
    proba = np.exp(joint) / np.exp(joint).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(model.predict_joint_log_proba(X), joint)
    np.testing.assert_allclose(model.predict_proba(X), proba)
    np.testing.assert_allclose(np.exp(model.predict_log_proba(X)), proba)
    np.testing.assert_allclose(model.score_samples(X), logsumexp(joint, axis=1))
    assert (model.predict(X) == names[joint.argmax(axis=1)]).all()
    np.testing.assert_allclose(model.class_prior_, np.bincount(y) / 150)
    assert model.class_count_.tolist() == np.bincount(y).tolist()
    assert model.score_kind_ == "exact"
    assert is_density(model)


def test_agrees_with_quadratic_discriminant_analysis():
    X, y = iris()
    priors = [0.5, 0.3, 0.2]
    model = GenerativeClassifier(GaussianMixture(reg_covar=1e-12), priors).fit(X, y)
    peer = QuadraticDiscriminantAnalysis(priors=priors).fit(X, y)
    # One divides by n, the other by n - 1.
    assert np.abs(model.predict_proba(X) - peer.predict_proba(X)).max() < 0.02
    assert model.class_prior_.tolist() == priors


@pytest.mark.parametrize(
    ("priors", "message"),
    [
        ([0.5, 0.5], r"priors has shape \(2,\), but there are 3 classes: \[0, 1, 2\]"),
        ([0.5, 0.4, 0.2], "priors should be non-negative and sum to 1"),
        ([1.5, -0.5, 0.0], "priors should be non-negative and sum to 1"),
        ([[1.0], [0.0], [0.0]], "priors has shape"),
        ([np.nan, 0.5, 0.5], "priors contains NaN"),
        (
            {0: 0.5, 1: 0.3, 2: 0.2},
            r"priors should be an array in the order of the classes, \[0, 1, 2\]",
        ),
        ("uniform", "'priors' parameter"),
    ],
)
def test_priors_are_checked(priors, message):
    with pytest.raises(ValueError, match=message):
        GenerativeClassifier(KernelDensity(), priors).fit(*iris())


def test_priors_are_checked_before_densities_are_trained():
    X, y = iris()
    with pytest.raises(ValueError, match="priors has shape"):
        GenerativeClassifier(GaussianMixture(3), [1.0]).fit(X[:51], y[:51])


def test_a_row_that_is_impossible_in_every_class_says_nothing():
    X, y = iris()
    y[:25] = 1
    far = np.full((1, 4), 1e3)
    model = GenerativeClassifier(HistogramDensity(bins=3)).fit(X, y)
    assert np.isneginf(model.predict_joint_log_proba(far)).all()
    assert model.score_samples(far)[0] == -np.inf
    np.testing.assert_allclose(model.predict_proba(far)[0], model.class_prior_)
    assert model.predict(far)[0] == 1
    never = GenerativeClassifier(KernelDensity(), [0.5, 0.5, 0.0]).fit(X, y)
    assert (never.predict_proba(X)[:, 2] == 0).all()


def test_a_class_of_one_row_is_a_class_or_an_error_that_names_it():
    X, y = iris()
    y = np.where(np.arange(150) == 149, "rare", np.array(["a", "b", "c"])[y])
    for density in (KernelDensity(bandwidth=0.05), HistogramDensity(), TABLES, network()):
        model = GenerativeClassifier(density).fit(X, y)
        assert np.isfinite(model.predict_proba(X)).all()
    sharp = GenerativeClassifier(KernelDensity(bandwidth=0.05)).fit(X, y)
    assert sharp.predict(X[149:])[0] == "rare"
    message = r"class 'rare' cannot be fitted to its 1 row\(s\): .*minimum of 2"
    with pytest.raises(ValueError, match=message):
        GenerativeClassifier(GaussianMixture()).fit(X, y)
    single = GenerativeClassifier(KernelDensity()).fit(X[:1], ["only"])
    assert single.predict(X).tolist() == ["only"] * 150


def test_labels_that_fit_has_not_seen():
    X, y = iris()
    model = GenerativeClassifier(KernelDensity()).fit(X[:100], y[:100])
    assert model.score(X, y) <= 2 / 3
    for labels, message in [(2, "y holds 2, which is none"), (-1, "y holds -1, which is no class")]:
        with pytest.raises(ValueError, match=message):
            model.sample(3, labels)
    with pytest.raises(ValueError, match="all its rows are unlabelled"):
        model.fit(X, np.full(150, -1))
    with pytest.raises(ValueError, match="a missing label"):
        model.fit(X, np.where(y == 0, None, y))
    listed = GenerativeClassifier(KernelDensity()).fit(X[:4], ["a", -1, "b", -1])
    assert listed.classes_.tolist() == ["a", "b"]


@pytest.mark.parametrize(
    "density",
    [KernelDensity(), GaussianMixture(random_state=0), Normals(), HistogramDensity(alpha=0.5)],
)
def test_weights_are_repeats_and_nothing_is_absence(density):
    X, truth, y = two_clusters(60)
    y = truth if isinstance(density, GaussianMixture) else y
    weight = np.random.default_rng(1).integers(0, 4, 60)
    weight[:6] = [1, 2, 3, 1, 2, 3]
    weighted = GenerativeClassifier(density).fit(X, y, sample_weight=weight)
    times = np.repeat(np.arange(60), weight)
    repeated = GenerativeClassifier(density).fit(X[times], y[times])
    np.testing.assert_allclose(
        weighted.predict_joint_log_proba(X), repeated.predict_joint_log_proba(X), rtol=1e-6
    )
    np.testing.assert_allclose(weighted.class_prior_, repeated.class_prior_)


def test_the_users_weights_are_left_alone():
    X, _, y = two_clusters()
    weight = np.ones(len(X))
    GenerativeClassifier(KernelDensity(), unlabelled_weight=0.5).fit(X, y, sample_weight=weight)
    assert (weight == 1).all()


def test_a_class_without_weight_is_none():
    X, y = iris()
    model = GenerativeClassifier(KernelDensity()).fit(X, y, sample_weight=1.0 * (y > 0))
    assert model.classes_.tolist() == [1, 2]


def test_draws_follow_classes():
    X, y = iris()
    y = np.array(["a", "b", "c"])[y]
    model = GenerativeClassifier(GaussianMixture(), [0.2, 0.3, 0.5]).fit(X, y)
    drawn = model.sample(3000, random_state=0)
    np.testing.assert_allclose(
        drawn.mean(axis=0),
        [0.2, 0.3, 0.5] @ np.array([X[y == c].mean(axis=0) for c in "abc"]),
        atol=0.1,
    )
    labels = np.random.default_rng(0).choice(["a", "b", "c"], 300)
    assert (model.predict(model.sample(300, labels, random_state=0)) == labels).mean() > 0.95
    assert (model.predict(model.sample(50, "b", random_state=0)) == "b").mean() > 0.9
    assert np.array_equal(model.sample(5, random_state=1), model.sample(5, random_state=1))
    assert not np.array_equal(model.sample(5), model.sample(5))
    for n_samples, labels, message in [
        (0, None, "n_samples should be a positive integer, got 0"),
        (3, ["a", "b"], "y has 2 entries, but n_samples is 3"),
    ]:
        with pytest.raises(ValueError, match=message):
            model.sample(n_samples, labels)


@pytest.mark.parametrize("convert", [lambda frame: frame, pl.from_pandas], ids=["pandas", "polars"])
def test_mixed_frames(convert):
    frame, y = mixed()
    table = convert(frame)
    for density in (HistogramDensity(bins=4, alpha=0.1), TABLES):
        model = GenerativeClassifier(density).fit(table, y)
        assert model.score(table, y) > 0.75
        assert model.feature_names_in_.tolist() == list(frame.columns)
        drawn = model.sample(40, np.repeat(["high", "low"], 20), random_state=0)
        assert type(drawn) is type(table)
        assert list(drawn.dtypes) == list(table.dtypes)
        assert drawn["size"][:20].mean() > drawn["size"][20:].mean() + 0.5
    numbers = convert(frame[["size", "count"]])
    model = GenerativeClassifier(KernelDensity()).fit(numbers, y)
    drawn = model.sample(3, random_state=0)
    assert list(drawn.dtypes) == list(numbers.dtypes)
    assert np.isfinite(model.score_samples(drawn)).all()
    with pytest.raises(ValueError, match="could not convert column 'city'"):
        GenerativeClassifier(KernelDensity()).fit(table, y)


def test_missing_cells_are_left_out_where_the_density_can():
    frame, truth = mixed(200)
    holes = frame.mask(np.random.default_rng(0).random(frame.shape) < 0.2)
    y = truth.astype(object)
    y[::2] = -1
    model = GenerativeClassifier(TABLES).fit(holes, y)
    assert model.classes_.tolist() == ["high", "low"]
    assert (model.predict(holes) == truth).mean() > 0.7
    with pytest.raises(ValueError, match=r"NaN in column 'size', row \d+"):
        GenerativeClassifier(HistogramDensity()).fit(holes[["size"]], truth)


def test_only_what_the_density_can():
    class Silent(DensityMixin, BaseEstimator):
        def fit(self, X, y=None):
            self.n_features_in_ = X.shape[1]
            return self

        def score_samples(self, X):
            return np.zeros(len(X))

    model = GenerativeClassifier(Silent()).fit(*iris())
    assert not hasattr(model, "sample")
    assert model.predict(iris()[0]).shape == (150,)
    assert hasattr(GenerativeClassifier(KernelDensity()), "sample")


@pytest.mark.parametrize(
    ("estimator", "message"),
    [
        (make_pipeline(StandardScaler(), KernelDensity()), "TransformedDensity"),
        (GridSearchCV(make_pipeline(StandardScaler(), KernelDensity()), {}), "TransformedDensity"),
        (FrozenEstimator(KernelDensity()), "one KernelDensity is to be fitted for each class"),
        (IsolationForest(), "should be a density, which IsolationForest is not"),
    ],
)
def test_what_is_no_density_of_the_rows_is_refused(estimator, message):
    with pytest.raises(TypeError, match=message):
        GenerativeClassifier(estimator).fit(*iris())


@pytest.mark.parametrize(
    ("parameters", "change", "message"),
    [
        ({"unlabelled_weight": 1.5}, None, "'unlabelled_weight' parameter"),
        ({"max_iter": 0}, None, "'max_iter' parameter"),
        ({}, lambda X, y: (X, y[:-1]), "inconsistent numbers of samples"),
        ({}, lambda X, y: (X[:0], y[:0]), r"0 sample\(s\)"),
        ({}, lambda X, y: (pd.DataFrame(X).iloc[:0], y[:0]), r"0 sample\(s\)"),
        ({}, lambda X, y: (np.where(X[7, 2] == X, np.nan, X), y), r"NaN in column \d, row \d+"),
        ({}, lambda X, y: (X, X[:, 0] * 0.123), "Unknown label type"),
    ],
)
@pytest.mark.parametrize("density", [KernelDensity(), HistogramDensity()])
def test_bad_input_has_one_clear_error(density, parameters, change, message):
    X, y = iris()
    X, y = change(X, y) if change else (X, y)
    with pytest.raises(ValueError, match=message):
        GenerativeClassifier(density, **parameters).fit(X, y)


def test_a_failed_fit_leaves_the_classifier_as_it_was():
    X, y = iris()
    model = GenerativeClassifier(GaussianMixture(random_state=0)).fit(X, y)
    before, expected = dict(vars(model)), model.predict_proba(X)
    with pytest.raises(ValueError, match="class 7"):
        model.fit(X[:, :2], np.where(np.arange(150) == 3, 7, y))
    assert vars(model).keys() == before.keys()
    assert np.array_equal(model.predict_proba(X), expected)
    fresh = clone(model)
    with pytest.raises(ValueError, match="class 7"):
        fresh.fit(X, np.where(np.arange(150) == 3, 7, y))
    assert not [name for name in vars(fresh) if name.endswith("_")]


def test_a_search_over_the_density_of_each_class():
    X, truth, y = two_clusters(100, 40)
    search = GridSearchCV(
        KernelDensity(), {"bandwidth": [0.3, 1.0, 3.0]}, cv=3, scoring=mean_log_likelihood
    )
    model = GenerativeClassifier(search).fit(X, y)
    assert model.score(X, truth) > 0.8
    assert model.sample(3, random_state=0).shape == (3, 3)
    search = GridSearchCV(HistogramDensity(alpha=0.1), {"bins": [2, 4]}, cv=2)
    model = GenerativeClassifier(search).fit(X, y)
    assert model.estimators_[0].best_estimator_.schema_ is not None
    low, high = (fitted.best_estimator_.schema_.columns_[0] for fitted in model.estimators_)
    assert (low.low, low.high) == (high.low, high.high)


def test_in_pipelines_searches_and_pickles():
    X, y = iris()
    search = GridSearchCV(
        make_pipeline(StandardScaler(), GenerativeClassifier(KernelDensity())),
        {"generativeclassifier__estimator__bandwidth": [0.1, 0.5, 5.0]},
        cv=3,
    ).fit(X, y)
    assert search.best_score_ > 0.9
    copy = pickle.loads(pickle.dumps(search.best_estimator_[-1]))
    assert np.array_equal(copy.predict_proba(X), search.best_estimator_[-1].predict_proba(X))
    model = GenerativeClassifier(network()).set_params(estimator__lr=0.5)
    assert model.estimator.lr == 0.5
    assert clone(model).get_params()["estimator__lr"] == 0.5
    nested = GridSearchCV(GenerativeClassifier(network()), {"estimator__lr": [1e-3, 1e-2]}, cv=2)
    assert nested.fit(X[::3], y[::3]).best_score_ > 0.5


def test_routed_weights():
    X, y = iris()
    weight = 1.0 + (y == 1)
    with sklearn.config_context(enable_metadata_routing=True):
        model = GenerativeClassifier(KernelDensity()).set_fit_request(sample_weight=True)
        model.set_score_request(sample_weight=True)
        GridSearchCV(model, {"priors": [None]}, cv=2).fit(X, y, sample_weight=weight)
        for density in (HistogramDensity(alpha=0.1), KernelDensity()):
            search = GridSearchCV(density, {}, cv=2)
            inner = GenerativeClassifier(search).fit(X, np.where(np.arange(150) % 3, y, -1))
            assert inner.score(X, y) > 0.7
    expected = GenerativeClassifier(KernelDensity()).fit(X, y, sample_weight=weight)
    np.testing.assert_allclose(expected.class_prior_, [0.25, 0.5, 0.25])


def test_jobs_change_nothing():
    X, _, y = two_clusters(80)
    one = GenerativeClassifier(KernelDensity(), max_iter=2).fit(X, y)
    two = GenerativeClassifier(KernelDensity(), max_iter=2, n_jobs=2).fit(X, y)
    np.testing.assert_array_equal(one.predict_proba(X), two.predict_proba(X))


def test_the_users_density_is_left_alone():
    X, _, y = two_clusters()
    density = network()
    before = density.get_params()
    GenerativeClassifier(density, max_iter=1).fit(X, y)
    assert density.get_params() == before
    assert not hasattr(density, "net_")


def test_agrees_with_naive_bayes_of_tables():
    """Naive Bayes by one table for each class and column."""
    frame, y = mixed(400)
    frame = frame[["city", "flag"]]
    ours = GenerativeClassifier(TABLES).fit(frame, y)
    peer = NaiveBayesClassifier().fit(frame, y)
    np.testing.assert_allclose(ours.predict_proba(frame), peer.predict_proba(frame), atol=0.01)
