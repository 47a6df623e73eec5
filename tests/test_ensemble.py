"""EnsembleDensity: a mixture of densities of any kind."""

import pickle
import warnings

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import polars as pl
import pytest
from scipy import optimize, stats
from scipy.special import logsumexp
from sklearn import config_context
from sklearn.base import clone
from sklearn.compose import make_column_transformer
from sklearn.datasets import load_iris, load_wine
from sklearn.exceptions import NotFittedError
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LinearRegression
from sklearn.mixture import GaussianMixture
from sklearn.model_selection import GridSearchCV, KFold, LeaveOneOut, ShuffleSplit
from sklearn.neighbors import KernelDensity
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

from sklearn_dgm import (
    AutoregressiveDensity,
    BayesianNetworkDensity,
    CalibrationDisplay,
    DensityDisplay,
    EnsembleDensity,
    HistogramDensity,
    TransformedDensity,
    is_density,
)
from sklearn_dgm.ensemble._stacking import stacking_weights
from sklearn_dgm.tags import DensityTags


def smooth_and_counted(**parameters):
    members = [
        ("kernel", KernelDensity(bandwidth=0.4)),
        ("mixture", GaussianMixture(2)),
        ("histogram", HistogramDensity(bins=4, integer_features=None)),
    ]
    return EnsembleDensity(members, **{"random_state": 0, **parameters})


def quick_network(**parameters):
    defaults = {"hidden_layer_sizes": (16,), "n_orders": 1, "max_epochs": 3, "dropout": 0.0}
    return AutoregressiveDensity(**{**defaults, **parameters})


@pytest.fixture(autouse=True)
def _ignore_unfinished_training():
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The validation likelihood was still rising")
        yield


@pytest.fixture(scope="module")
def X():
    return load_iris().data


@pytest.fixture(scope="module")
def fitted(X):
    return smooth_and_counted().fit(X)


@parametrize_with_checks(
    [
        smooth_and_counted(cv=2),
        EnsembleDensity(
            [
                ("histogram", HistogramDensity(alpha=1)),
                ("tree", BayesianNetworkDensity("chow-liu", conditional="table")),
            ],
            weights="equal",
        ),
    ]
)
def test_scikit_learn_checks(estimator, check):
    check(estimator)


def held_out(members, X, folds):
    """Held-out log-densities, one fit and one row at a time."""
    scores = np.full((len(X), len(members)), np.nan)
    for train, test in folds.split(X):
        for k, (_, member) in enumerate(members):
            density = clone(member).fit(X[train])
            for row in test:
                scores[row, k] = density.score_samples(X[[row]])[0]
    return scores


def test_stacking_is_the_maximum_of_the_held_out_likelihood(X):
    members = [
        ("kernel", KernelDensity(bandwidth=0.4)),
        ("wide", KernelDensity(bandwidth=1.0)),
        ("mixture", GaussianMixture(2, random_state=0)),
    ]
    folds = KFold(3, shuffle=True, random_state=1)
    ensemble = EnsembleDensity(members, cv=folds).fit(X)
    scores = held_out(members, X, folds)
    np.testing.assert_allclose(ensemble.cv_log_likelihood_, scores.mean(axis=0))

    def loss(weights):
        return -logsumexp(scores + np.log(weights.clip(1e-300)), axis=1).mean()

    best = optimize.minimize(
        loss,
        np.full(3, 1 / 3),
        method="SLSQP",
        bounds=[(0, 1)] * 3,
        constraints={"type": "eq", "fun": lambda weights: weights.sum() - 1},
        options={"ftol": 1e-12},
    )
    assert loss(ensemble.weights_) <= best.fun + 1e-5
    np.testing.assert_allclose(ensemble.weights_, best.x, atol=0.01)
    assert -loss(ensemble.weights_) >= ensemble.cv_log_likelihood_.max()


def test_stacking_with_weights_is_stacking_of_repeated_rows():
    rng = np.random.default_rng(0)
    scores, repeats = rng.normal(size=(100, 3)), rng.integers(1, 4, 100)
    np.testing.assert_allclose(
        stacking_weights(scores, repeats * 0.1),
        stacking_weights(np.repeat(scores, repeats, axis=0)),
    )


def test_rows_that_no_member_thinks_possible_have_no_say():
    scores = np.random.default_rng(0).normal(size=(50, 2))
    scores[::3, 0] = -np.inf
    weights = stacking_weights(scores)
    assert weights.sum() == pytest.approx(1)
    assert (weights > 0).all()
    nowhere = np.full((5, 2), -np.inf)
    np.testing.assert_array_equal(stacking_weights(np.concatenate([scores, nowhere])), weights)
    np.testing.assert_array_equal(stacking_weights(nowhere), [0.5, 0.5])


def test_a_useless_member_loses_its_weight():
    scores = np.random.default_rng(0).normal(size=(200, 3)) * 0.1
    scores[:, 2] -= 1e4
    np.testing.assert_allclose(stacking_weights(scores)[2], 0, atol=1e-12)
    identical = stacking_weights(np.zeros((10, 4)))
    np.testing.assert_allclose(identical, 0.25)


def test_a_histogram_with_impossible_rows(fitted, X):
    kernel, mixture, histogram = fitted.cv_log_likelihood_
    assert histogram == -np.inf
    assert np.isfinite([kernel, mixture]).all()
    assert fitted.weights_.min() >= 0
    assert fitted.weights_.sum() == pytest.approx(1)
    assert np.isfinite(fitted.score_samples(X)).all()
    far = X.max() + np.full((1, 4), 1e6)
    assert EnsembleDensity([("histogram", HistogramDensity())]).fit(X).score_samples(far) == -np.inf


def test_the_density_is_the_weighted_mean_of_the_members(fitted, X):
    densities = [np.exp(member.score_samples(X)) for member in fitted.estimators_]
    np.testing.assert_allclose(
        fitted.score_samples(X), np.log(fitted.weights_ @ densities), rtol=1e-10
    )
    assert fitted.score(X) == pytest.approx(fitted.score_samples(X).sum())
    weight = np.arange(len(X)) % 3
    assert fitted.score(X, sample_weight=weight) == pytest.approx(
        fitted.score(np.repeat(X, weight, axis=0))
    )


def test_it_integrates_to_one(X):
    x = np.linspace(-20, 30, 200_001)[:, None]
    ensemble = smooth_and_counted().fit(X[:, [0]])
    assert np.trapezoid(np.exp(ensemble.score_samples(x)), x[:, 0]) == pytest.approx(1, abs=1e-4)


def test_samples_come_from_the_density(X):
    ensemble = smooth_and_counted(weights=[1, 2, 3]).fit(X[:, [0]])
    drawn = ensemble.sample(4000, random_state=0)
    x = np.linspace(-20, 30, 200_001)
    mass = np.exp(ensemble.score_samples(x[:, None])) * (x[1] - x[0])
    cdf = np.cumsum(mass) - mass / 2
    assert stats.kstest(drawn[:, 0], lambda at: np.interp(at, x, cdf)).pvalue > 0.001


def test_members_draw_by_their_weights_and_in_random_order():
    rows = np.random.default_rng(0).normal(size=(50, 1))
    near, far = (FrozenEstimator(KernelDensity().fit(rows + shift)) for shift in (0, 1000))
    ensemble = EnsembleDensity([("near", near), ("far", far)], weights=[1, 3]).fit(rows)
    is_far = ensemble.sample(4000, random_state=0)[:, 0] > 500
    assert is_far.mean() == pytest.approx(0.75, abs=0.03)
    assert is_far[:2000].mean() == pytest.approx(0.75, abs=0.04)
    counts = [(ensemble.sample(20, random_state=seed) > 500).sum() for seed in range(200)]
    assert np.var(counts) == pytest.approx(20 * 0.75 * 0.25, rel=0.3)


def test_seeds(fitted, X):
    assert np.array_equal(fitted.sample(20, random_state=1), fitted.sample(20, random_state=1))
    assert not np.array_equal(fitted.sample(20, random_state=1), fitted.sample(20, random_state=2))
    assert not np.array_equal(fitted.sample(20), fitted.sample(20))
    parallel = clone(fitted).set_params(n_jobs=2).fit(X)
    assert np.array_equal(parallel.score_samples(X), fitted.score_samples(X))
    assert np.array_equal(parallel.weights_, fitted.weights_)


def test_members_without_a_seed_get_one(X):
    def starts(**parameters):
        members = [("mixture", GaussianMixture(5, init_params="random", max_iter=1, **parameters))]
        fits = [EnsembleDensity(members, weights="equal", random_state=n).fit(X) for n in (1, 1, 2)]
        return [fit.score_samples(X) for fit in fits]

    first, same, other = starts()
    assert np.array_equal(first, same)
    assert not np.array_equal(first, other)
    first, _, other = starts(random_state=3)
    assert np.array_equal(first, other)


def test_given_and_equal_weights(X):
    equal = smooth_and_counted(weights="equal").fit(X)
    np.testing.assert_allclose(equal.weights_, 1 / 3)
    assert not hasattr(equal, "cv_log_likelihood_")
    given = smooth_and_counted(weights=[3, 1, 0]).fit(X)
    np.testing.assert_allclose(given.weights_, [0.75, 0.25, 0])
    # A member without weight is not even asked.
    assert np.isfinite(given.score_samples(X + 100)).all()
    assert given.sample(50).shape == (50, 4)
    refitted = smooth_and_counted().fit(X).set_params(weights="equal").fit(X)
    assert not hasattr(refitted, "cv_log_likelihood_")


@pytest.mark.parametrize("weights", [[1, 2], [1, -1, 1], [0, 0, 0], [1, np.nan, 1]])
def test_weights_that_are_none(X, weights):
    with pytest.raises(ValueError, match="weights should be"):
        smooth_and_counted(weights=weights).fit(X)


def test_members_are_named_set_and_dropped(X):
    ensemble = smooth_and_counted(weights=[1, 2, 1])
    ensemble.set_params(kernel__bandwidth=2.0, mixture="drop").fit(X)
    assert ensemble.named_estimators_["kernel"].bandwidth == 2.0
    assert ensemble.named_estimators_["mixture"] == "drop"
    assert len(ensemble.estimators_) == 2
    np.testing.assert_allclose(ensemble.weights_, 0.5)
    assert ensemble.get_params()["kernel__bandwidth"] == 2.0
    assert ensemble.get_params()["histogram"] is dict(ensemble.estimators)["histogram"]


@pytest.mark.parametrize(
    ("estimators", "error", "message"),
    [
        ([], ValueError, "at least one density"),
        ([("a", "drop")], ValueError, "at least one density"),
        ([KernelDensity()], ValueError, "list of tuples"),
        ([("a", KernelDensity()), ("a", KernelDensity())], ValueError, "not unique"),
        ([("cv", KernelDensity())], ValueError, "conflict"),
        ([("a__b", KernelDensity())], ValueError, "__"),
        ([("a", KernelDensity)], TypeError, "class KernelDensity"),
        ([("a", LinearRegression())], TypeError, "'a' should be a density, LinearRegression"),
        ([("a", make_pipeline(StandardScaler(), KernelDensity()))], ValueError, "'a' is a Pipe"),
        ("kernel", ValueError, "'estimators' parameter"),
    ],
    ids=str,
)
def test_what_is_no_list_of_densities(X, estimators, error, message):
    with pytest.raises(error, match=message):
        EnsembleDensity(estimators).fit(X)


def test_parameters_are_checked(X):
    with pytest.raises(ValueError, match="'weights' parameter"):
        smooth_and_counted(weights="stackng").fit(X)
    with pytest.raises(ValueError, match="hold out each row exactly once"):
        smooth_and_counted(cv=ShuffleSplit(3)).fit(X)
    assert smooth_and_counted(cv=LeaveOneOut()).fit(X[:12]).weights_.shape == (3,)
    for call in ("score_samples", "score"):
        with pytest.raises(NotFittedError):
            getattr(smooth_and_counted(), call)(X)
    with pytest.raises(NotFittedError):
        smooth_and_counted().sample()
    with pytest.raises(ValueError, match="n_samples should be a positive integer"):
        smooth_and_counted().fit(X).sample(0)


def test_bad_rows_are_told_in_one_error(fitted, X):
    frame = pd.DataFrame(X, columns=list("abcd"))
    for bad, message in ((np.nan, "NaN in column 'b', row 3"), (np.inf, "infinity.*column 'b'")):
        broken = frame.copy()
        broken.loc[3, "b"] = bad
        with pytest.raises(ValueError, match=message):
            smooth_and_counted().fit(broken)
    with pytest.raises(ValueError, match="0 sample"):
        smooth_and_counted().fit(frame[:0])
    with pytest.raises(ValueError, match="n_samples=1"):
        smooth_and_counted().fit(X[:1])
    with pytest.raises(ValueError, match="expecting 4 features"):
        fitted.score_samples(X[:, :3])
    with pytest.raises(ValueError, match="could not convert column 'b' to numbers"):
        smooth_and_counted().fit(frame.assign(b="text"))


def test_a_failed_fit_leaves_the_ensemble_as_it_was(X):
    ensemble = smooth_and_counted().fit(X)
    expected = ensemble.score_samples(X)
    with pytest.raises(ValueError, match="infinity"):
        ensemble.fit(np.full((20, 2), np.inf))
    np.testing.assert_array_equal(ensemble.score_samples(X), expected)
    fresh = smooth_and_counted()
    with pytest.raises(ValueError, match="infinity"):
        fresh.fit(np.full((20, 2), np.inf))
    assert not [name for name in vars(fresh) if name.endswith("_")]


def test_measures_that_cannot_be_mixed():
    counts = np.random.default_rng(0).poisson(3, (100, 2))
    members = [("kernel", KernelDensity()), ("histogram", HistogramDensity(alpha=0.1))]
    for weights in ("equal", "stacking"):
        ensemble = EnsembleDensity(members, weights=weights)
        with pytest.raises(
            ValueError, match="column 0 is continuous for 'kernel' and counted for 'histogram'"
        ):
            ensemble.fit(counts)
    assert np.isfinite(
        ensemble.set_params(histogram__integer_features=None).fit(counts).score(counts)
    )
    capped = pd.DataFrame({"x": np.random.default_rng(0).normal(size=200).clip(max=0.5)})
    members = [("network", quick_network()), ("histogram", HistogramDensity(alpha=0.1))]
    ensemble = EnsembleDensity(members, weights="equal", random_state=0)
    with pytest.raises(ValueError, match="column 'x' is continuous with mass at 0.5 for 'network'"):
        ensemble.fit(capped)
    kinds = {"x": "continuous"}
    assert ensemble.set_params(network__column_kinds=kinds).fit(capped).score_kind_ == "exact"


def test_the_weakest_kind_of_score(X):
    class Bound(HistogramDensity):
        _density_tags = DensityTags(score_kind="lower bound")

    members = [("bound", Bound(alpha=1)), ("kernel", KernelDensity())]
    assert EnsembleDensity(members).fit(X).score_kind_ == "lower bound"


def test_measures_behind_transformers():
    frame = mixed()[["x", "count"]]
    blocks = make_column_transformer(
        (StandardScaler(), ["x"]), remainder="passthrough", verbose_feature_names_out=False
    )
    behind = TransformedDensity(blocks, HistogramDensity(bins=4, alpha=0.1))
    with pytest.raises(ValueError, match="column 'count' is continuous for 'kernel' and counted"):
        EnsembleDensity([("kernel", KernelDensity()), ("behind", behind)]).fit(frame)
    both = [("counted", HistogramDensity(bins=4, alpha=0.1)), ("behind", behind)]
    assert EnsembleDensity(both).fit(frame).weights_.sum() == pytest.approx(1)


def test_atoms_behind_transformers():
    rng = np.random.default_rng(5)
    X = np.where(rng.random((400, 1)) < 0.4, 3.0, rng.normal(size=(400, 1)))
    network = AutoregressiveDensity((8,), n_orders=1, max_epochs=2, random_state=0)
    behind = TransformedDensity(StandardScaler(), network)
    with pytest.raises(ValueError, match="with mass at 3 for 'behind' and continuous for 'mix'"):
        EnsembleDensity([("behind", behind), ("mix", GaussianMixture())]).fit(X)
    both = EnsembleDensity([("behind", behind), ("network", network)], weights="equal").fit(X)
    assert np.isfinite(both.score_samples([[3.0]]))


def test_members_that_take_no_weights_behind_transformers(X):
    weight = np.random.default_rng(0).random(len(X))
    members = [("kernel", KernelDensity()), ("mixture", GaussianMixture(random_state=0))]
    behind = [members[0], ("mixture", TransformedDensity(StandardScaler(), members[1][1]))]
    plain, scaled = (
        EnsembleDensity(of, random_state=0).fit(X, sample_weight=weight) for of in (members, behind)
    )
    np.testing.assert_allclose(plain.score_samples(X), scaled.score_samples(X), atol=1e-3)


def test_weights_may_not_empty_a_fold(X):
    members = [("kernel", KernelDensity())]
    with pytest.raises(ValueError, match="leaves a fold of cv no rows to fit to; use fewer folds"):
        EnsembleDensity(members, cv=KFold(2)).fit(X, sample_weight=np.arange(len(X)) < 20)


def test_sample_exists_where_members_can():
    class NoSample(HistogramDensity):
        sample = property()

    members = [("kernel", KernelDensity()), ("other", NoSample())]
    assert not hasattr(EnsembleDensity(members), "sample")
    assert hasattr(smooth_and_counted(), "sample")
    assert is_density(smooth_and_counted())


def mixed(n=240):
    rng = np.random.default_rng(2)
    city = rng.choice(["Oslo", "Rome"], n)
    return pd.DataFrame(
        {"x": rng.normal(size=n) + (city == "Oslo"), "city": city, "count": rng.poisson(3, n)}
    )


def as_polars(frame):
    return pl.DataFrame({name: x.tolist() for name, x in frame.items()})


@pytest.mark.parametrize("convert", [lambda frame: frame, as_polars], ids=["pandas", "polars"])
def test_mixed_frames(convert):
    frame = convert(mixed())
    members = [
        ("histogram", HistogramDensity(alpha=0.1, bins=4)),
        ("network", BayesianNetworkDensity("chow-liu", conditional="table")),
    ]
    ensemble = EnsembleDensity(members, random_state=0).fit(frame)
    assert np.isfinite(ensemble.score_samples(frame)).all()
    drawn = ensemble.sample(40, random_state=0)
    assert type(drawn) is type(frame)
    assert list(drawn.columns) == ["x", "city", "count"]
    assert list(drawn.dtypes) == list(frame.dtypes)
    assert np.isfinite(ensemble.score_samples(drawn)).all()
    assert ensemble.schema_.kinds_.tolist() == ["continuous", "categorical", "integer"]


def test_pictures_know_its_columns(X):
    members = [("histogram", HistogramDensity(alpha=0.1, bins=4))]
    ensemble = EnsembleDensity(members, weights="equal").fit(mixed())
    picture = DensityDisplay.from_estimator(ensemble, mixed(), features=["city", "x"])
    assert [column.kind for column in picture.columns] == ["categorical", "continuous"]
    CalibrationDisplay.from_estimator(ensemble, mixed(), random_state=0)
    numbers = smooth_and_counted(weights="equal").fit(X[:, :1])
    assert DensityDisplay.from_estimator(numbers, X[:, :1]).columns[0].kind == "continuous"
    plt.close("all")


@pytest.mark.parametrize("convert", [lambda frame: frame, as_polars], ids=["pandas", "polars"])
def test_frames_of_numbers_reach_all_members(convert, X, fitted):
    frame = convert(pd.DataFrame(X, columns=list("abcd"), index=np.arange(len(X)) + 7))
    ensemble = smooth_and_counted().fit(frame)
    np.testing.assert_array_equal(ensemble.score_samples(frame), fitted.score_samples(X))
    assert ensemble.feature_names_in_.tolist() == list("abcd")
    drawn = ensemble.sample(30, random_state=0)
    assert type(drawn) is type(frame)
    np.testing.assert_allclose(np.asarray(drawn), fitted.sample(30, random_state=0))
    if isinstance(drawn, pd.DataFrame):
        assert drawn.index.tolist() == list(range(30))
    with pytest.raises(ValueError, match="feature names"):
        ensemble.score_samples(frame[list("bacd")])


def test_missing_cells_where_all_members_take_them(X):
    holes = np.where(np.random.default_rng(0).random(X.shape) < 0.1, np.nan, X)
    members = [(name, BayesianNetworkDensity(name, conditional="table")) for name in ("empty",)]
    members.append(("tree", BayesianNetworkDensity("chow-liu", conditional="table")))
    ensemble = EnsembleDensity(members).fit(holes)
    assert ensemble.__sklearn_tags__().input_tags.allow_nan
    assert np.isfinite(ensemble.score_samples(holes)).all()
    assert not smooth_and_counted().__sklearn_tags__().input_tags.allow_nan


def test_weights_of_rows_reach_those_that_take_them(X):
    weight = (np.arange(len(X)) % 4).astype(float)
    ensemble = smooth_and_counted(weights="equal").fit(X, sample_weight=weight)
    kept = weight > 0
    kernel, mixture, histogram = ensemble.estimators_
    expected = KernelDensity(bandwidth=0.4).fit(X[kept], sample_weight=weight[kept])
    np.testing.assert_allclose(kernel.score_samples(X), expected.score_samples(X))
    expected = HistogramDensity(bins=4).fit(X[kept], sample_weight=weight[kept])
    np.testing.assert_allclose(histogram.score_samples(X), expected.score_samples(X))
    expected = GaussianMixture(2, random_state=mixture.random_state).fit(X[kept])
    np.testing.assert_allclose(mixture.score_samples(X), expected.score_samples(X))
    for bad, message in ((-weight, "[Nn]egative"), (0 * weight, "zero")):
        with pytest.raises(ValueError, match=message):
            smooth_and_counted().fit(X, sample_weight=bad)


def test_weights_are_repeats_where_copies_stay_together(X):
    weight = np.arange(len(X)) % 3
    repeats = np.repeat(np.arange(len(X)), weight)
    fold = np.arange(len(X)) % 7 % 3

    def fit(rows, sample_weight=None):
        cv = [(np.flatnonzero(fold[rows] != k), np.flatnonzero(fold[rows] == k)) for k in range(3)]
        members = [(str(b), KernelDensity(bandwidth=b)) for b in (0.2, 0.5)]
        return EnsembleDensity(members, cv=cv).fit(X[rows], sample_weight=sample_weight)

    weighted, repeated = fit(np.arange(len(X)), weight), fit(repeats)
    np.testing.assert_allclose(weighted.weights_, repeated.weights_, rtol=1e-6)
    np.testing.assert_allclose(weighted.cv_log_likelihood_, repeated.cv_log_likelihood_)


def test_routed_weights(X):
    with config_context(enable_metadata_routing=True):
        ensemble = smooth_and_counted().set_fit_request(sample_weight=True)
        ensemble.set_score_request(sample_weight=True)
        search = GridSearchCV(ensemble, {"weights": ["equal", "stacking"]}, cv=2)
        search.fit(X, sample_weight=np.arange(len(X)))
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()


def test_in_searches_pipelines_and_pickles(fitted, X):
    search = GridSearchCV(smooth_and_counted(), {"kernel__bandwidth": [0.2, 50.0]}, cv=3).fit(X)
    assert search.best_params_ == {"kernel__bandwidth": 0.2}
    pipeline = make_pipeline(StandardScaler(), smooth_and_counted()).fit(X)
    Z = StandardScaler().fit_transform(X)
    np.testing.assert_allclose(
        pipeline.score_samples(X), smooth_and_counted().fit(Z).score_samples(Z)
    )
    np.testing.assert_array_equal(
        pickle.loads(pickle.dumps(fitted)).score_samples(X), fitted.score_samples(X)
    )
    nested = EnsembleDensity([("inner", smooth_and_counted()), ("kernel", KernelDensity())])
    nested.set_params(inner__kernel__bandwidth=0.3)
    assert np.isfinite(nested.fit(X).score(X))
    members = [
        ("frozen", FrozenEstimator(KernelDensity().fit(X))),
        ("search", GridSearchCV(KernelDensity(), {"bandwidth": [0.2, 0.4]})),
    ]
    ensemble = EnsembleDensity(members, random_state=0).fit(X)
    assert ensemble.sample(3).shape == (3, 4)


def test_it_is_not_below_its_best_member_on_rows_to_come():
    X = StandardScaler().fit_transform(load_wine().data[:, [0, 6, 9, 12]])
    train, test = X[::2], X[1::2]
    members = [(f"kernel {b}", KernelDensity(bandwidth=b)) for b in (0.2, 0.5, 1.5)]
    members.append(("mixture", GaussianMixture(3)))
    ensemble = EnsembleDensity(members, random_state=0).fit(train)
    best = max(member.score_samples(test).mean() for member in ensemble.estimators_)
    assert ensemble.score_samples(test).mean() > best - 0.01
