"""Scores of densities whose own `score` means different things, comparisons, and two-sample metrics."""

import numpy as np
import pandas as pd
import polars as pl
import pytest
import sklearn
from scipy import stats
from scipy.spatial.distance import cdist
from sklearn.decomposition import PCA
from sklearn.ensemble import IsolationForest
from sklearn.exceptions import NotFittedError
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.mixture import GaussianMixture
from sklearn.model_selection import GridSearchCV, KFold, cross_val_score, cross_validate
from sklearn.neighbors import KernelDensity
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sklearn_dgm import EnsembleDensity, HistogramDensity, TransformedDensity
from sklearn_dgm.metrics import (
    bits_per_dim,
    classifier_two_sample_test,
    compare_densities,
    energy_distance,
    maximum_mean_discrepancy,
    mean_log_likelihood,
    nearest_record_distances,
    neg_bits_per_dim,
)


@pytest.fixture
def X():
    return np.random.default_rng(0).normal([10, -3], [5, 0.1], (60, 2))


def test_a_sum_and_a_mean_become_the_same(X):
    """One Gaussian, as a mixture of one component and as a kernel over one row."""
    mixture = GaussianMixture(covariance_type="spherical", reg_covar=0).fit(X)
    std = np.sqrt(mixture.covariances_[0])
    kernel = KernelDensity(bandwidth=std).fit(mixture.means_)
    expected = stats.norm(X.mean(axis=0), std).logpdf(X).sum(axis=1).mean()
    assert mean_log_likelihood(mixture, X) == pytest.approx(expected)
    assert mean_log_likelihood(kernel, X) == pytest.approx(expected)
    assert isinstance(mean_log_likelihood(kernel, X), float)


def test_one_impossible_row_makes_the_mean_impossible():
    density = HistogramDensity(bins=2).fit([[0.0], [1.0]])
    assert mean_log_likelihood(density, [[0.1], [0.2]]) == pytest.approx(0)
    assert mean_log_likelihood(density, [[0.1], [5.0]]) == -np.inf


def test_pipeline_is_scored_behind_its_transformers(X):
    pipeline = make_pipeline(StandardScaler(), KernelDensity()).fit(X)
    Z = (X - X.mean(axis=0)) / X.std(axis=0)
    expected = KernelDensity().fit(Z).score(Z) / len(Z)
    assert mean_log_likelihood(pipeline, X) == pytest.approx(expected)
    assert mean_log_likelihood(FrozenEstimator(pipeline), X) == pytest.approx(expected)


def test_search_and_cross_validation_take_it(X):
    grid = {"kerneldensity__bandwidth": [0.01, 0.5, 100.0]}
    pipeline = make_pipeline(StandardScaler(), KernelDensity())
    search = GridSearchCV(pipeline, grid, scoring=mean_log_likelihood, error_score="raise").fit(X)
    assert search.best_params_ == {"kerneldensity__bandwidth": 0.5}
    scores = cross_val_score(
        search, X, scoring=mean_log_likelihood, cv=KFold(3), error_score="raise"
    )
    for score, (train, test) in zip(scores, KFold(3).split(X), strict=True):
        refitted = search.best_estimator_.fit(X[train])
        assert score == pytest.approx(refitted.score_samples(X[test]).mean())


def test_metadata_routing_is_no_obstacle(X):
    with sklearn.config_context(enable_metadata_routing=True):
        scores = cross_validate(
            KernelDensity().set_fit_request(sample_weight=True),
            X,
            scoring=mean_log_likelihood,
            params={"sample_weight": np.ones(len(X))},
            error_score="raise",
        )
    assert np.isfinite(scores["test_score"]).all()


def test_weights_count_as_repeats(X):
    density = KernelDensity().fit(X)
    weight = np.arange(len(X)) % 3
    assert mean_log_likelihood(density, X, sample_weight=weight) == pytest.approx(
        mean_log_likelihood(density, np.repeat(X, weight, axis=0))
    )
    with pytest.raises(ValueError, match="zero"):
        mean_log_likelihood(density, X, sample_weight=np.zeros(len(X)))
    with pytest.raises(ValueError, match="[Nn]egative"):
        mean_log_likelihood(density, X, sample_weight=-np.ones(len(X)))


def test_an_impossible_row_of_weight_zero_is_left_out():
    density = HistogramDensity(bins=2).fit([[0.0], [1.0]])
    assert mean_log_likelihood(density, [[0.1], [5.0]], sample_weight=[1, 0]) == pytest.approx(0)


@pytest.mark.parametrize(
    ("estimator", "message"),
    [
        (LinearRegression(), "LinearRegression has no score_samples"),
        (make_pipeline(StandardScaler()), "Pipeline has no score_samples"),
        (IsolationForest(), "IsolationForest is not"),
        (make_pipeline(PCA(), IsolationForest()), "Pipeline with IsolationForest is not"),
        (
            GridSearchCV(IsolationForest(), {}, scoring=lambda *args: 0.0),
            "GridSearchCV with IsolationForest is not",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_is_no_density_is_refused(X, estimator, message):
    with pytest.raises(TypeError, match=message):
        mean_log_likelihood(estimator.fit(X, X[:, 0]), X)


@pytest.mark.parametrize("estimator", [KernelDensity(), GridSearchCV(KernelDensity(), {})])
def test_unfitted(X, estimator):
    with pytest.raises(NotFittedError):
        mean_log_likelihood(estimator, X)


def test_standard_error(X):
    density = KernelDensity().fit(X)
    scores = density.score_samples(X)
    mean, error = mean_log_likelihood(density, X, return_std_error=True)
    assert mean == mean_log_likelihood(density, X)
    assert error == pytest.approx(stats.sem(scores))
    weight = np.arange(len(X)) + 1.0
    _, error = mean_log_likelihood(density, X, sample_weight=weight, return_std_error=True)
    rng = np.random.default_rng(0)
    picks = rng.integers(len(X), size=(4000, len(X)))
    means = np.average(scores[picks], axis=1, weights=weight[picks])
    assert error == pytest.approx(means.std(), rel=0.1)
    _, scaled = mean_log_likelihood(density, X, sample_weight=weight / 99, return_std_error=True)
    assert scaled == pytest.approx(error)


def test_no_standard_error_of_one_row_or_of_impossible_ones(X):
    density = HistogramDensity(bins=2).fit([[0.0], [1.0]])
    for rows in ([[0.5]], [[0.5], [5.0]]):
        assert np.isnan(mean_log_likelihood(density, rows, return_std_error=True)[1])


class Estimated(KernelDensity):
    """A density whose partition function might be an estimate."""

    log_partition_std_error_ = 0.25


def test_the_error_of_a_constant_is_in_the_standard_error(X):
    density = Estimated().fit(X)
    over_rows = stats.sem(density.score_samples(X))
    for wrapped in (
        density,
        GridSearchCV(Estimated(), {"bandwidth": [1.0]}).fit(X),
        TransformedDensity(StandardScaler(with_std=False), Estimated()).fit(X),
        EnsembleDensity([("a", Estimated())]).fit(X),
    ):
        _, error = mean_log_likelihood(wrapped, X, return_std_error=True)
        assert error == pytest.approx(np.hypot(over_rows, 0.25))
    _, bits = bits_per_dim(density, X, return_std_error=True)
    assert bits == pytest.approx(np.hypot(over_rows, 0.25) / (2 * np.log(2)))


def test_the_error_of_a_constant_is_in_comparisons(X):
    members = {"plain": KernelDensity(), "a": Estimated(), "b": Estimated()}
    frame = compare_densities(members, X, random_state=0, baseline="a")
    expected = np.hypot(frame.loc["plain", "std_error"], 0.25)
    assert frame.loc[["a", "b"], "std_error"].tolist() == pytest.approx([expected] * 2)
    errors = frame.loc[["plain", "a", "b"], "difference_std_error"]
    # The scores of all three are the same, but those of the baseline alone surely are.
    assert errors.tolist() == pytest.approx([0.25, 0, np.hypot(0.25, 0.25)])


def test_bits_per_dim(X):
    density = KernelDensity().fit(X)
    nats, error = mean_log_likelihood(density, X, return_std_error=True)
    bits, error_of_bits = bits_per_dim(density, X, return_std_error=True)
    assert bits == pytest.approx(-nats / (2 * np.log(2)))
    assert error_of_bits == pytest.approx(error / (2 * np.log(2)))
    assert neg_bits_per_dim(density, X) == pytest.approx(-bits)
    one = make_pipeline(PCA(1), KernelDensity()).fit(X)
    assert bits_per_dim(one, X) == pytest.approx(-mean_log_likelihood(one, X) / np.log(2))
    grid = {"bandwidth": [0.01, 0.5, 100.0]}
    by_bits, by_nats = (
        GridSearchCV(KernelDensity(), grid, scoring=scoring).fit(X)
        for scoring in (neg_bits_per_dim, mean_log_likelihood)
    )
    assert by_bits.best_params_ == by_nats.best_params_
    impossible = HistogramDensity(bins=2).fit([[0.0], [1.0]])
    assert bits_per_dim(impossible, [[5.0]]) == np.inf
    with pytest.raises(TypeError, match="bits_per_dim needs a density"):
        bits_per_dim(IsolationForest().fit(X), X)


DENSITIES = {
    "narrow": KernelDensity(bandwidth=0.3),
    "wide": KernelDensity(bandwidth=3.0),
    "normal": GaussianMixture(),
}


def test_compare_densities(X):
    folds = KFold(4, shuffle=True, random_state=1)
    frame = compare_densities(DENSITIES, X, folds)
    scores = {}
    for name, density in DENSITIES.items():
        scores[name] = np.empty(len(X))
        for train, test in folds.split(X):
            scores[name][test] = density.fit(X[train]).score_samples(X[test])
    best = max(scores, key=lambda name: scores[name].mean())
    assert frame.index[0] == best
    assert frame["log_likelihood"].is_monotonic_decreasing
    for name, values in scores.items():
        row = frame.loc[name]
        assert row["log_likelihood"] == pytest.approx(values.mean())
        assert row["std_error"] == pytest.approx(stats.sem(values))
        assert row["difference"] == pytest.approx((values - scores[best]).mean())
        expected = stats.sem(values - scores[best])
        assert row["difference_std_error"] == pytest.approx(expected)
        assert row["n_impossible"] == 0
    against = compare_densities(list(DENSITIES.items()), X, folds, baseline="wide")
    assert against.loc["wide", ["difference", "difference_std_error"]].tolist() == [0, 0]
    expected = frame["log_likelihood"] - frame.loc["wide", "log_likelihood"]
    assert against["difference"].tolist() == pytest.approx(expected.tolist())


def test_a_small_difference_is_seen_where_means_are_uncertain(X):
    near = {str(bandwidth): KernelDensity(bandwidth=bandwidth) for bandwidth in (1.0, 1.1)}
    frame = compare_densities(near, X, random_state=0, baseline="1.0")
    row = frame.loc["1.1"]
    assert row["difference_std_error"] < 0.5 * row["std_error"]
    assert row["difference"] < -2 * row["difference_std_error"]


def test_compare_densities_is_seeded(X):
    members = {"mixture": GaussianMixture(3, init_params="random"), "normal": GaussianMixture()}
    first, same, parallel, other = (
        compare_densities(members, X, random_state=seed, n_jobs=n_jobs)
        for seed, n_jobs in ((0, None), (0, None), (0, 2), (1, None))
    )
    assert first.equals(same)
    assert first.equals(parallel)
    assert not first.equals(other)


def test_compare_densities_counts_impossible_rows(X):
    members = {
        "histogram": HistogramDensity(bins=3),
        "other": HistogramDensity(bins=3),
        "normal": GaussianMixture(),
    }
    frame = compare_densities(members, X, random_state=0)
    assert frame.index[0] == "normal"
    impossible = frame.loc["histogram"]
    assert impossible["n_impossible"] > 0
    assert impossible["log_likelihood"] == impossible["difference"] == -np.inf
    assert np.isnan(impossible["difference_std_error"])
    assert compare_densities(members, X, random_state=0, baseline="other").loc[
        "histogram", "difference"
    ] == pytest.approx(0)


def test_what_cannot_be_compared(X):
    with pytest.raises(ValueError, match="column 'n' is continuous for 'kernel' and counted for"):
        compare_densities(
            {"kernel": KernelDensity(), "histogram": HistogramDensity(alpha=1)},
            pd.DataFrame({"n": np.arange(20) % 5}),
        )
    with pytest.raises(ValueError, match="'scaled' is a Pipeline"):
        compare_densities({"scaled": make_pipeline(StandardScaler(), KernelDensity())}, X)
    with pytest.raises(TypeError, match="'forest' should be a density"):
        compare_densities({"forest": IsolationForest()}, X)
    with pytest.raises(ValueError, match="baseline is 'kernl'"):
        compare_densities({"kernel": KernelDensity()}, X, baseline="kernl")
    with pytest.raises(ValueError, match="empty"):
        compare_densities({}, X)
    with pytest.raises(ValueError, match="different names"):
        compare_densities([("a", KernelDensity()), ("a", KernelDensity())], X)
    with pytest.raises(ValueError, match="NaN in column 1, row 2"):
        compare_densities({"kernel": KernelDensity()}, np.array([[1, 1], [2, 2], [3, np.nan]]))


def samples(n=40, m=30, shift=0.5, seed=0):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(n, 2)), rng.normal([shift, 0], [1, 2], (m, 2))


def standardised(*tables):
    pooled = np.concatenate(tables)
    return [(table - pooled.mean(axis=0)) / pooled.std(axis=0) for table in tables]


def test_energy_distance_by_its_definition():
    x, y = samples()
    a, b = standardised(x, y)
    squared = 2 * cdist(a, b).mean() - cdist(a, a).mean() - cdist(b, b).mean()
    assert energy_distance(x, y).statistic == pytest.approx(np.sqrt(squared))
    a, b = a[:, 0], b[:, 0]
    expected = stats.energy_distance(a, b)
    assert energy_distance(x[:, :1], y[:, :1]).statistic == pytest.approx(expected)
    assert energy_distance(x, x).statistic == pytest.approx(0, abs=1e-4)


def test_maximum_mean_discrepancy_by_its_definition():
    x, y = samples()
    a, b = standardised(x, y)
    for bandwidth in ("median", 0.7):
        pairs = cdist(np.concatenate([a, b]), np.concatenate([a, b]))
        width = np.median(pairs[np.triu_indices(70, 1)]) if bandwidth == "median" else bandwidth

        def kernel(p, q, width=width):
            return np.exp(-(np.sum((p - q) ** 2)) / (2 * width**2))

        xx = np.mean([kernel(p, q) for i, p in enumerate(a) for j, q in enumerate(a) if i != j])
        yy = np.mean([kernel(p, q) for i, p in enumerate(b) for j, q in enumerate(b) if i != j])
        xy = np.mean([kernel(p, q) for p in a for q in b])
        found = maximum_mean_discrepancy(x, y, bandwidth=bandwidth).statistic
        assert found == pytest.approx(xx + yy - 2 * xy)


@pytest.mark.parametrize("metric", [energy_distance, maximum_mean_discrepancy])
def test_permutations(metric):
    x, y = samples(shift=0)[0], samples(seed=1)[0]
    pvalues = [
        metric(*np.split(np.random.default_rng(seed).normal(size=(30, 2)), 2), random_state=0)
        for seed in range(200)
    ]
    pvalues = np.array([found.pvalue for found in pvalues])
    assert stats.kstest(pvalues, "uniform").pvalue > 0.001
    assert metric(x, y + 1, random_state=0).pvalue == pytest.approx(1 / 201)
    first, same = (metric(x, y, random_state=0) for _ in range(2))
    assert first == same
    with sklearn.config_context(working_memory=0.001):
        assert metric(x, y, random_state=0) == pytest.approx(first)
    assert np.isnan(metric(x, y, n_permutations=0).pvalue)
    with pytest.raises(ValueError, match="'n_permutations' parameter"):
        metric(x, y, n_permutations=-1)


def test_a_table_of_copies():
    x = np.repeat([[1.0, 2.0]], 5, axis=0)
    assert energy_distance(x, x, random_state=0) == (0, 1)
    assert maximum_mean_discrepancy(x, x, random_state=0) == (0, 1)
    assert classifier_two_sample_test(x, x, random_state=0) == (0.5, 0.5, 1)
    with pytest.raises(ValueError, match="two rows at least"):
        maximum_mean_discrepancy(x, x[:1])


def mixed(n, odds, seed):
    rng = np.random.default_rng(seed)
    city = rng.choice(["Oslo", "Rome"], n, p=[odds, 1 - odds])
    return pd.DataFrame({"x": rng.normal(size=n), "city": city, "count": rng.poisson(3, n)})


def as_polars(frame):
    return pl.DataFrame({name: x.tolist() for name, x in frame.items()})


METRICS = [
    energy_distance,
    maximum_mean_discrepancy,
    lambda x, y, **options: classifier_two_sample_test(
        x, y, classifier=LogisticRegression(), **options
    ),
]


@pytest.mark.parametrize("metric", METRICS, ids=["energy", "mmd", "classifier"])
@pytest.mark.parametrize("convert", [lambda frame: frame, as_polars], ids=["pandas", "polars"])
def test_categories_are_seen(metric, convert):
    real, same, other = (convert(mixed(150, *of)) for of in ((0.5, 0), (0.5, 1), (0.9, 2)))
    assert metric(real, same, random_state=0).pvalue > 0.05
    assert metric(real, other, random_state=0).pvalue < 0.01
    reordered = other[["count", "x", "city"]]
    assert metric(real, reordered, random_state=0) == metric(real, other, random_state=0)


def test_two_categories_are_at_distance_one():
    real = pd.DataFrame({"a": ["u", "v"], "b": ["p", "p"]})
    found = nearest_record_distances(real, pd.DataFrame({"a": ["w", "u"], "b": ["p", "q"]}))
    np.testing.assert_allclose(found.to_train, [1, 1])


@pytest.mark.parametrize(
    "metric", [*METRICS, nearest_record_distances], ids=["energy", "mmd", "classifier", "nearest"]
)
def test_tables_that_do_not_match(metric):
    frame = mixed(20, 0.5, 0)
    with pytest.raises(ValueError, match=r"(real|train) and sampled should have the same columns"):
        metric(frame, frame.rename(columns={"x": "y"}))
    with pytest.raises(TypeError, match="of one library; got those of pandas and polars"):
        metric(frame, pl.from_pandas(frame))
    with pytest.raises(ValueError, match="same columns; got 2 and 1"):
        metric(np.zeros((5, 2)), np.zeros((5, 1)))
    with pytest.raises(ValueError, match="0 sample"):
        metric(frame, frame[:0])
    holes = frame.assign(x=np.nan)
    if metric is not METRICS[2]:
        with pytest.raises(ValueError, match="sampled contains NaN in column 'x', row 0"):
            metric(frame, holes)


def test_classifier_two_sample_test_by_a_single_split():
    x, y = samples(60, 60)
    a, b = standardised(x, y)
    Z, label = np.concatenate([a, b]), np.repeat([0, 1], 60)
    train, test = np.arange(120) % 2 == 0, np.arange(120) % 2 == 1
    split = [(np.flatnonzero(train), np.flatnonzero(test))]
    found = classifier_two_sample_test(x, y, classifier=LogisticRegression(), cv=split)
    fitted = LogisticRegression().fit(Z[train], label[train])
    scores = fitted.predict_proba(Z[test])[:, 1]
    assert found.auc == pytest.approx(roc_auc_score(label[test], scores))
    assert found.accuracy == pytest.approx(fitted.score(Z[test], label[test]))
    u = stats.mannwhitneyu(
        scores[label[test] == 1], scores[label[test] == 0], alternative="greater"
    )
    assert found.pvalue == pytest.approx(u.pvalue)
    # Of several folds it is twice the mean.
    back = [split[0][::-1]]
    swapped = classifier_two_sample_test(x, y, classifier=LogisticRegression(), cv=back)
    both = classifier_two_sample_test(x, y, classifier=LogisticRegression(), cv=split + back)
    assert both.pvalue == pytest.approx(min(1, found.pvalue + swapped.pvalue))
    assert both.auc == pytest.approx((found.auc + swapped.auc) / 2)


def test_classifier_two_sample_test_keeps_its_level():
    pvalues = [
        classifier_two_sample_test(
            *np.split(np.random.default_rng(seed).normal(size=(60, 2)), 2),
            classifier=LogisticRegression(),
            cv=5,
            random_state=seed,
        ).pvalue
        for seed in range(50)
    ]
    assert np.mean(np.array(pvalues) < 0.1) <= 0.1


def test_the_default_classifier_takes_missing_cells():
    real, drawn = mixed(120, 0.5, 0), mixed(120, 0.5, 1)
    drawn.loc[::2, "x"] = np.nan
    drawn.loc[::3, "city"] = None
    first, same = (classifier_two_sample_test(real, drawn, random_state=0) for _ in range(2))
    assert first == same
    assert first.pvalue < 0.01
    with pytest.raises(ValueError, match="'classifier' parameter"):
        classifier_two_sample_test(real, drawn, classifier="forest")


def test_nearest_record_distances_by_search():
    train, drawn = samples()
    holdout = samples(seed=1)[0]
    a, b, c = standardised(train, drawn, holdout)
    found = nearest_record_distances(train, drawn, holdout)
    np.testing.assert_allclose(found.to_train, cdist(b, a).min(axis=1))
    np.testing.assert_allclose(found.to_holdout, cdist(b, c).min(axis=1))
    closer = cdist(b, a).min(axis=1) < cdist(b, c).min(axis=1)
    assert found.closer_to_train == pytest.approx(closer.mean())
    alone = nearest_record_distances(train, drawn)
    assert alone.to_holdout is alone.closer_to_train is alone.holdout_copies is None


def test_fresh_rows_are_as_close_as_the_numbers_of_rows_say():
    rng = np.random.default_rng(0)
    train, holdout, fresh = (rng.normal(size=(n, 3)) for n in (900, 300, 3000))
    found = nearest_record_distances(train, fresh, holdout)
    assert found.expected_share == 0.75
    assert found.closer_to_train == pytest.approx(0.75, abs=0.05)
    few = rng.integers(2, size=(1000, 2))
    found = nearest_record_distances(few[:300], few[400:], few[300:400])
    assert found.closer_to_train == pytest.approx(found.expected_share)
    assert found.train_copies == found.holdout_copies == 600


def test_copies_are_counted():
    rng = np.random.default_rng(0)
    train, holdout = rng.normal(1e3, 5, (50, 8)), rng.normal(1e3, 5, (50, 8))
    drawn = np.concatenate([train[:7], holdout[:3], rng.normal(1e3, 5, (20, 8))])
    found = nearest_record_distances(train, drawn, holdout)
    assert (found.train_copies, found.holdout_copies) == (7, 3)


def test_a_few_rows_are_told_apart():
    rng = np.random.default_rng(0)
    far = rng.normal(size=(20, 2)), rng.normal(100, 1, (20, 2))
    assert classifier_two_sample_test(*far, random_state=0).pvalue < 0.01
    with pytest.raises(ValueError, match="StratifiedKFold has both"):
        classifier_two_sample_test(*far, cv=KFold(5))


def test_what_scikit_learn_draws_can_be_compared():
    """An array, whatever the rows of the fit were, or a tuple of rows and components."""
    frame = pd.DataFrame(np.random.default_rng(0).normal(size=(60, 2)), columns=["a", "b"])
    drawn = KernelDensity().fit(frame).sample(50, random_state=0)
    expected = energy_distance(frame.to_numpy(), drawn, random_state=0)
    assert energy_distance(frame, drawn, random_state=0) == expected
    with pytest.raises(TypeError, match="sampled is a tuple"):
        energy_distance(frame, GaussianMixture().fit(frame).sample(50))


@pytest.mark.parametrize(
    ("estimators", "message"),
    [
        ([KernelDensity()], "list of tuples"),
        ([("a", KernelDensity(), 3)], "list of tuples"),
        ({"a": "drop"}, "'a' should be a density, got 'drop'"),
        ({"a": None}, "'a' should be a density, got None"),
    ],
)
def test_lists_that_are_none(estimators, message):
    with pytest.raises((TypeError, ValueError), match=message):
        compare_densities(estimators, np.zeros((9, 1)))


def test_polars_tables_of_other_dtypes():
    rng = np.random.default_rng(0)
    real = pl.DataFrame(
        {"count": rng.poisson(3, 60), "flag": rng.random(60) < 0.3, "city": ["Oslo", "Rome"] * 30}
    )
    other = real.with_columns(
        pl.col("count").cast(pl.Float64),
        pl.col("flag").cast(pl.Int8),
        pl.col("city").cast(pl.Categorical),
    )
    same = energy_distance(real, real, random_state=0)
    found = energy_distance(real, other, random_state=0)
    assert found.statistic == pytest.approx(same.statistic, abs=1e-4)
    assert found.pvalue == same.pvalue
    with pytest.raises(ValueError, match="column 'city' has dtype .* in real, .* in sampled"):
        energy_distance(real, other.with_columns(pl.lit(1.0).alias("city")))


def test_errors_name_the_table_and_its_row():
    X = np.random.default_rng(0).normal(size=(60, 2))
    holes = X.copy()
    holes[7, 1] = np.nan
    with pytest.raises(ValueError, match="sampled contains NaN in column 1, row 7"):
        energy_distance(X, holes)
    with pytest.raises(ValueError, match="sampled: Found array with 0 sample"):
        energy_distance(X, X[:0])
    with pytest.raises(ValueError, match="holdout contains infinity .* in column 0, row 3"):
        nearest_record_distances(X, X, np.where(np.arange(60)[:, None] == 3, np.inf, X))
    with pytest.raises(ValueError, match="column 1, row 7"):
        compare_densities({"histogram": HistogramDensity()}, holes, random_state=0)
    with pytest.raises(ValueError, match="'bandwidth' parameter of KernelDensity must be"):
        compare_densities({"kernel": KernelDensity(bandwidth=-1)}, X)
    with pytest.raises(ValueError, match=r"sampled has 1 row\(s\), fewer than there are folds: 2"):
        classifier_two_sample_test(X, X[:1])
