"""GenerativeClassifier, against Bayes' rule and EM written out in loops and against scikit-learn."""

import pickle
import warnings

import numpy as np
import pandas as pd
import polars as pl
import pytest
import sklearn
from scipy import stats
from scipy.special import logsumexp
from sklearn.base import BaseEstimator, DensityMixin, clone
from sklearn.datasets import load_iris
from sklearn.discriminant_analysis import QuadraticDiscriminantAnalysis
from sklearn.ensemble import IsolationForest
from sklearn.exceptions import ConvergenceWarning
from sklearn.frozen import FrozenEstimator
from sklearn.mixture import GaussianMixture
from sklearn.model_selection import GridSearchCV
from sklearn.neighbors import KernelDensity
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sklearn_dgm import (
    AutoregressiveDensity,
    BaseDensity,
    BayesianNetworkDensity,
    EnsembleDensity,
    GenerativeClassifier,
    HistogramDensity,
    NaiveBayesClassifier,
    TransformedDensity,
    is_density,
    mean_log_likelihood,
)

TABLES = BayesianNetworkDensity("empty", conditional="table")


class Normals(BaseDensity):
    """Independent normal distributions by exact maximum likelihood."""

    def _fit(self, Z, sample_weight):
        self.mean_ = np.average(Z, axis=0, weights=sample_weight)
        self.std_ = np.sqrt(np.average((Z - self.mean_) ** 2, axis=0, weights=sample_weight))

    def _log_density(self, Z):
        return stats.norm.logpdf(Z, self.mean_, self.std_).sum(axis=1)

    def _draw(self, n_samples, rng):
        return rng.normal(self.mean_, self.std_, (n_samples, len(self.mean_)))


def network(**parameters):
    defaults = {"hidden_layer_sizes": (16,), "max_epochs": 8, "order": "given", "dropout": 0.2}
    return AutoregressiveDensity(**{**defaults, "random_state": 0, **parameters})


def iris():
    return load_iris(return_X_y=True)


def two_clusters(n=200, n_labelled=6, seed=0):
    rng = np.random.default_rng(seed)
    truth = np.append([0, 1] * (n_labelled // 2), rng.integers(0, 2, n - n_labelled))
    X = rng.normal(size=(n, 3)) * [1.0, 2.0, 0.5] + 2.0 * truth[:, None]
    return X, truth, np.where(np.arange(n) < n_labelled, truth, -1)


def mixed(n=120, seed=0):
    rng = np.random.default_rng(seed)
    y = rng.choice(["high", "low"], n)
    frame = pd.DataFrame(
        {
            "size": rng.normal(size=n) + 2 * (y == "high"),
            "count": rng.poisson(3 + 3 * (y == "high")),
            "city": pd.Categorical(rng.choice(["Oslo", "Rome"], n), categories=["Rome", "Oslo"]),
            "flag": rng.random(n) < 0.3,
        }
    )
    return frame, y


# Bayes' rule.


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


# One reference measure.


def test_values_that_hold_mass_in_one_class_have_mass_in_all():
    """At 0 one class has half of its rows, the other has none, but a high density around it."""
    rng = np.random.default_rng(0)
    zeros = np.where(np.arange(400) % 2, 0.0, rng.normal(size=400))
    X = np.append(zeros, 0.01 * rng.normal(size=400))[:, None]
    y = np.repeat(["zeros", "none"], 400)
    model = GenerativeClassifier(TABLES).fit(X, y)
    assert model.schema_.kinds_.tolist() == ["mixed"]
    assert [density.schema_.kinds_.tolist() for density in model.estimators_] == [["mixed"]] * 2
    assert model.predict_proba([[0.0]])[0, 1] > 0.99
    assert model.predict([[0.001], [1.0]]).tolist() == ["none", "zeros"]
    grid = np.linspace(-6, 6, 200_001)
    mass = np.exp(model.score_samples([[0.0]]))[0] + np.exp(
        model.score_samples(grid[grid != 0][:, None])
    ).sum() * (grid[1] - grid[0])
    assert mass == pytest.approx(1, abs=1e-3)
    alone = [clone(TABLES).fit(X[y == label]).score_samples([[0.0]])[0] for label in model.classes_]
    assert alone[0] > alone[1]  # what would be compared without one schema


def test_categories_ranges_and_grids_are_those_of_all_classes():
    X = pd.DataFrame({"city": ["Oslo", "Rome"] * 30 + ["Bonn"], "count": [*range(60), 99]})
    y = np.array(["a", "b"] * 30 + ["a"])
    model = GenerativeClassifier(HistogramDensity(alpha=0.1)).fit(X, y)
    assert np.isfinite(model.predict_joint_log_proba(X)).all()
    cells = [(city, count) for city in ("Oslo", "Rome", "Bonn") for count in range(100)]
    of_all = model.predict_joint_log_proba(pd.DataFrame(cells, columns=X.columns))
    np.testing.assert_allclose(np.exp(of_all).sum(axis=0), model.class_prior_)
    # Numbers of one decimal in one class, of two in the other.
    rng = np.random.default_rng(0)
    rounded = np.append(rng.normal(size=200).round(1), rng.normal(size=200).round(2))[:, None]
    model = GenerativeClassifier(TABLES).fit(rounded, np.arange(400) < 200)
    steps = {density.schema_.columns_[0].resolution for density in model.estimators_}
    assert steps == {0.01}


def test_a_schema_is_checked():
    X, y = iris()
    schema = HistogramDensity().learn_schema(X)
    density = HistogramDensity().fit(X[y == 0], schema=schema)
    assert density.schema_ is schema
    assert density.edges_[0][-1] == X[:, 0].max()
    frame = pd.DataFrame(X, columns=list("abcd"))
    for bad, rows in [(schema, frame), (schema, X[:, :3]), ("schema", X)]:
        with pytest.raises(ValueError, match="schema should be what learn_schema of a density"):
            HistogramDensity().fit(rows, schema=bad)
    with pytest.raises(ValueError, match="schema should be what learn_schema of a density"):
        network().fit(X, schema=schema)


def test_a_density_that_takes_tables_and_no_schema_learns_its_own():
    class Own(HistogramDensity):
        def fit(self, X, y=None, sample_weight=None):
            return super().fit(X, y, sample_weight)

    frame, y = mixed()
    model = GenerativeClassifier(Own(bins=4, alpha=0.1)).fit(frame, y)
    assert model.schema_ is None
    assert model.score(frame, y) > 0.75
    assert list(model.sample(5, random_state=0).dtypes) == list(frame.dtypes)


# Unlabelled rows.


def slow_em(X, y, n_steps, unlabelled_weight):
    """Means, standard deviations and shares of two classes, and log-likelihoods."""
    share = np.array([[1.0 * (label == c) for c in (0, 1)] for label in y])
    log_likelihoods = []
    for _ in range(n_steps + 1):
        classes = []
        for c in (0, 1):
            mean = sum(s * x for s, x in zip(share[:, c], X, strict=True)) / share[:, c].sum()
            square = sum(s * (x - mean) ** 2 for s, x in zip(share[:, c], X, strict=True))
            std = np.sqrt(square / share[:, c].sum())
            classes.append((share[:, c].sum() / share.sum(), mean, std))
        joint = np.array(
            [
                [
                    np.log(prior) + stats.norm(mean, std).logpdf(x).sum()
                    for prior, mean, std in classes
                ]
                for x in X
            ]
        )
        total, weight = 0.0, 0.0
        for i, label in enumerate(y):
            if label >= 0:
                total, weight = total + joint[i, label], weight + 1
            else:
                total = total + unlabelled_weight * logsumexp(joint[i])
                weight += unlabelled_weight
                share[i] = unlabelled_weight * np.exp(joint[i] - logsumexp(joint[i]))
        log_likelihoods.append(total / weight)
    return joint, classes, log_likelihoods


@pytest.mark.parametrize("unlabelled_weight", [1.0, 0.3])
def test_em_step_by_step(unlabelled_weight):
    X, _, y = two_clusters(80)
    model = GenerativeClassifier(Normals(), unlabelled_weight=unlabelled_weight, tol=0)
    for n_steps in (1, 3):
        model.set_params(max_iter=n_steps).fit(X, y)
        joint, classes, log_likelihoods = slow_em(X, y, n_steps, unlabelled_weight)
        np.testing.assert_allclose(model.predict_joint_log_proba(X), joint, rtol=1e-6)
        np.testing.assert_allclose(model.log_likelihoods_, log_likelihoods, rtol=1e-6)
        np.testing.assert_allclose(model.class_prior_, [prior for prior, _, _ in classes])
        assert model.n_iter_ == n_steps
    assert model.class_count_.sum() == pytest.approx(6 + 74 * unlabelled_weight)


def test_the_likelihood_rises_and_labels_become_right():
    X, truth, y = two_clusters(400)
    few = GenerativeClassifier(Normals()).fit(X[:6], y[:6])
    model = GenerativeClassifier(Normals(), tol=1e-9, max_iter=500).fit(X, y)
    assert (np.diff(model.log_likelihoods_) > -1e-9).all()
    assert model.log_likelihoods_[-1] > model.log_likelihoods_[0] + 0.1
    assert model.log_likelihoods_.shape == (model.n_iter_ + 1,)
    assert model.score(X, truth) > few.score(X, truth) + 0.02
    assert few.n_iter_ == 1
    assert few.log_likelihoods_.shape == (0,)


def test_priors_that_are_given_stay_in_em():
    X, _, y = two_clusters()
    model = GenerativeClassifier(Normals(), [0.9, 0.1]).fit(X, y)
    assert model.class_prior_.tolist() == [0.9, 0.1]
    assert model.n_iter_ > 1


def test_unlabelled_rows_without_weight_are_absent():
    X, _, y = two_clusters()
    for density in (KernelDensity(), GaussianMixture(reg_covar=0.1), HistogramDensity(alpha=0.1)):
        absent = GenerativeClassifier(density).fit(X[y >= 0], y[y >= 0])
        model = GenerativeClassifier(density, unlabelled_weight=0).fit(X, y)
        np.testing.assert_array_equal(
            model.predict_joint_log_proba(X), absent.predict_joint_log_proba(X)
        )


def test_em_says_how_it_goes(capsys):
    X, _, y = two_clusters()
    with pytest.warns(ConvergenceWarning, match="max_iter=2 .*; raise max_iter, or tol"):
        GenerativeClassifier(Normals(), max_iter=2, tol=0, verbose=True).fit(X, y)
    printed = capsys.readouterr().out.splitlines()
    assert len(printed) == 3
    assert printed[2].startswith("EM, step 2: ")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        GenerativeClassifier(Normals()).fit(X, y)


def test_networks_go_on_with_their_training():
    X, truth, y = two_clusters(150, 30)
    density = network(max_epochs=40, early_stopping=False)
    model = GenerativeClassifier(density, max_iter=3).fit(X, y)
    steps = model.n_iter_
    for fitted in model.estimators_:
        assert fitted.n_iter_ == 40 + 5 * steps
        assert not fitted.warm_start
        assert fitted.max_epochs == 40
    assert model.log_likelihoods_[1] > model.log_likelihoods_[0]
    assert model.score(X, truth) > 0.8


def test_what_takes_no_weights_takes_no_unlabelled_rows():
    X, _, y = two_clusters()
    model = GenerativeClassifier(GaussianMixture())
    with pytest.raises(ValueError, match=r"GaussianMixture takes no.*unlabelled rows \(-1\) need"):
        model.fit(X, y)
    with pytest.raises(ValueError, match="whole numbers, by which rows are repeated"):
        model.fit(X[:6], y[:6], sample_weight=np.full(6, 0.5))


# Weights.


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


# Draws.


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


# Around it.


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


@pytest.mark.parametrize(
    "around",
    [
        lambda density: TransformedDensity(None, density),
        lambda density: TransformedDensity("passthrough", GridSearchCV(density, {}, cv=2)),
        lambda density: EnsembleDensity([("it", density)], weights="equal"),
        lambda density: EnsembleDensity([("it", TransformedDensity(None, density))], weights=[1]),
    ],
)
def test_classes_have_one_schema_through_other_densities(around):
    frame, y = mixed()
    density = HistogramDensity(bins=4, alpha=0.1)
    y = np.where(np.arange(len(y)) % 3, np.unique(y, return_inverse=True)[1], -1)
    alone = GenerativeClassifier(density, max_iter=1).fit(frame, y)
    model = GenerativeClassifier(around(density), max_iter=1).fit(frame, y)
    np.testing.assert_allclose(model.predict_proba(frame), alone.predict_proba(frame), atol=1e-9)
    assert list(model.sample(5, random_state=0).dtypes) == list(frame.dtypes)


def test_classes_have_one_transformer_where_columns_are_learnt():
    """Zeros are a tenth of one class and none of the other; a density alone would take them for continuous there."""
    rng = np.random.default_rng(0)
    X = rng.lognormal(size=(800, 1)) + np.arange(800)[:, None] % 2
    y = np.arange(800) % 2
    X[(y == 0) & (rng.random(800) < 0.3)] = 0
    density = TransformedDensity(StandardScaler(), network())
    model = GenerativeClassifier(density).fit(X, y)
    assert len({id(fitted.transformer_) for fitted in model.estimators_}) == 1
    kinds = [fitted.estimator_.schema_.kinds_.tolist() for fitted in model.estimators_]
    assert kinds == [["mixed"]] * 2
    assert model.predict_proba([[0.0]])[0, 0] > 0.9
    of_numbers = TransformedDensity(StandardScaler(), KernelDensity())
    model = GenerativeClassifier(of_numbers).fit(X, y)
    means = [fitted.transformer_.mean_[0] for fitted in model.estimators_]
    np.testing.assert_allclose(means, [X[y == 0].mean(), X[y == 1].mean()])
    assert model.schema_ is None


def test_densities_that_would_learn_columns_class_by_class_are_refused():
    class Around(TransformedDensity):
        def fit(self, X, y=None, sample_weight=None):
            return super().fit(X, y, sample_weight)

    X, y = np.random.default_rng(0).normal(size=(60, 2)), np.arange(60) % 2
    for density in (
        Around(None, HistogramDensity()),
        TransformedDensity(None, make_pipeline(StandardScaler(), HistogramDensity())),
        EnsembleDensity([("it", Around(None, HistogramDensity()))]),
    ):
        with pytest.raises(TypeError, match="lets HistogramDensity learn from a part of the rows"):
            GenerativeClassifier(density).fit(X, y)
    for density in (
        TransformedDensity(None, HistogramDensity()),
        EnsembleDensity([("it", HistogramDensity())]),
    ):
        with pytest.raises(ValueError, match="schema should be what learn_schema"):
            density.fit(X, schema=HistogramDensity().learn_schema(X))


@pytest.mark.parametrize("model", [GenerativeClassifier(KernelDensity()), NaiveBayesClassifier()])
def test_unlabelled_rows_have_no_say_in_scores(model):
    X, y = iris()
    few = np.where(np.arange(150) % 5, -1, y)
    model = clone(model).fit(X, few)
    seen = few >= 0
    assert model.score(X, few) == np.mean(model.predict(X[seen]) == y[seen])
    weight = np.arange(150.0)
    expected = np.average(model.predict(X[seen]) == y[seen], weights=weight[seen])
    assert model.score(X, few, weight) == pytest.approx(expected)
    assert np.isnan(model.score(X, np.full(150, -1)))
    outliers = np.where(y == 0, -1, 1)  # where -1 is a class
    both = clone(model).fit(X, outliers)
    assert both.score(X, outliers) == np.mean(both.predict(X) == outliers)
    search = GridSearchCV(model, {}, cv=3).fit(X, few)
    assert search.best_score_ > 0.8


def test_densities_within_that_take_no_weights():
    X, y = iris()
    few = np.where(np.arange(150) % 5, -1, y)
    for density in (
        GaussianMixture(),
        TransformedDensity(StandardScaler(), GaussianMixture()),
        EnsembleDensity([("kernel", KernelDensity()), ("mixture", GaussianMixture())]),
    ):
        with pytest.raises(ValueError, match="GaussianMixture takes no sample_weight, which unlab"):
            GenerativeClassifier(density).fit(X, few)
    GenerativeClassifier(TransformedDensity(StandardScaler(), KernelDensity())).fit(X, few)


def test_rows_of_weight_zero_do_not_make_a_class_of_unlabelled_ones():
    X, y = np.random.default_rng(0).normal(size=(40, 1)), np.repeat([-1, 0, 1, 2], 10)
    weight = np.repeat([1.0, 1.0, 0.0, 0.0], 10)
    model = GenerativeClassifier(KernelDensity()).fit(X, y, sample_weight=weight)
    np.testing.assert_array_equal(model.classes_, [0])
    with pytest.raises(ValueError, match="no class in rows of a positive weight"):
        model.fit(X, y, sample_weight=np.repeat([1.0, 0.0, 0.0, 0.0], 10))
