"""Rows without a label, against EM written out in loops."""

import warnings

import numpy as np
import pytest
from scipy import stats
from scipy.special import logsumexp
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning
from sklearn.mixture import GaussianMixture
from sklearn.model_selection import GridSearchCV
from sklearn.neighbors import KernelDensity
from sklearn.preprocessing import StandardScaler

from sklearn_dgm import (
    EnsembleDensity,
    GenerativeClassifier,
    HistogramDensity,
    NaiveBayesClassifier,
    TransformedDensity,
)
from tests.generative.densities import Normals, iris, network, two_clusters


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


@pytest.mark.parametrize("n_around", [0, 1, 2])
def test_networks_go_on_with_their_training(n_around):
    X, truth, y = two_clusters(150, 30)
    density = network(max_epochs=40, early_stopping=False)
    for _ in range(n_around):
        density = TransformedDensity(StandardScaler(), density)
    model = GenerativeClassifier(density, max_iter=3).fit(X, y)
    steps = model.n_iter_
    for fitted in model.estimators_:
        params = fitted.get_params()
        for _ in range(n_around):
            fitted = fitted.estimator_
        assert fitted.n_iter_ == 40 + 5 * steps
        assert not params["estimator__" * n_around + "warm_start"]
        assert params["estimator__" * n_around + "max_epochs"] == 40
    assert model.log_likelihoods_[1] > model.log_likelihoods_[0]
    assert model.score(X, truth) > 0.8


def test_what_takes_no_weights_takes_no_unlabelled_rows():
    X, _, y = two_clusters()
    model = GenerativeClassifier(GaussianMixture())
    with pytest.raises(ValueError, match=r"GaussianMixture takes no.*unlabelled rows \(-1\) need"):
        model.fit(X, y)
    with pytest.raises(ValueError, match="whole numbers, by which rows are repeated"):
        model.fit(X[:6], y[:6], sample_weight=np.full(6, 0.5))


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
