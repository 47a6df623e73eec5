"""The estimator around flows: kinds of columns, what is given, normal scores, and how good it is at small tables."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from sklearn.covariance import LedoitWolf
from sklearn.datasets import load_breast_cancer, load_diabetes, load_iris, make_moons

from sklearn_dgm import FlowDensity, get_density_tags
from sklearn_dgm.nn import transforms
from sklearn_dgm.utils._density_checks import check_conditional

QUICK = {"hidden_layer_sizes": (16,), "n_transforms": 2, "max_epochs": 5, "random_state": 0}
# As good as no training.
UNTRAINED = {"max_epochs": 1, "lr": 1e-12, "early_stopping": False, "random_state": 0}
pytestmark = pytest.mark.filterwarnings("ignore:The validation likelihood was still rising")


def moons(n=400, seed=0):
    return make_moons(n, noise=0.1, random_state=seed)[0]


@pytest.mark.parametrize("transform", ["spline", "affine", "bernstein"])
def test_it_starts_from_the_gaussian_with_a_shrunk_covariance(transform):
    X = load_breast_cancer().data[:, :6]
    kinds = dict.fromkeys(range(6), "continuous")
    density = FlowDensity(transform, column_kinds=kinds, **UNTRAINED).fit(X)
    unit = X.std(axis=0)
    U = (X - X.mean(axis=0)) / unit
    truth = stats.multivariate_normal(
        np.zeros(6), LedoitWolf(assume_centered=True).fit(U).covariance_
    )
    expected = truth.logpdf(U) - np.log(unit).sum()
    # Beyond five standard deviations, of a number or of a whitened one, tails are longer.
    variances, directions = np.linalg.eigh(truth.cov)
    whitened = U @ (directions / np.sqrt(variances)) @ directions.T
    close = (np.abs(np.hstack([U, whitened])) < 5).all(axis=1)
    assert close.mean() > 0.95
    np.testing.assert_allclose(density.score_samples(X)[close], expected[close], atol=5e-4)


def test_whitening_comes_last_unless_columns_all_but_determine_each_other():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(3000, 3))
    for noise, is_first in [(1.0, False), (0.01, True)]:
        X = np.column_stack([x, x.sum(axis=1) + noise * rng.normal(size=3000)])
        (flow,) = FlowDensity(**UNTRAINED).fit(X).net_.module_.members
        idle, busy = (flow.last, flow.first) if is_first else (flow.first, flow.last)
        np.testing.assert_array_equal(idle.matrix, np.eye(4))
        assert np.abs(busy.matrix.numpy() - np.eye(4)).max() > 0.1


def test_a_row_off_the_line_of_two_columns_is_not_worse_than_far_out():
    rng = np.random.default_rng(0)
    x = rng.normal(size=3000)
    X = np.column_stack([x, x + 0.001 * rng.normal(size=3000), rng.normal(size=3000)])
    density = FlowDensity(**UNTRAINED).fit(X)
    assert -100 < density.score_samples([[3.0, -3.0, 0.0]])[0] < -20
    back = density.from_normal_scores(density.normal_scores([[3.0, -3.0, 0.0]]))
    np.testing.assert_allclose(back, [[3.0, -3.0, 0.0]], atol=1e-6)


def test_training_learns_what_the_gaussian_misses():
    density = FlowDensity(hidden_layer_sizes=(32, 32), max_epochs=60, random_state=0).fit(moons())
    untrained = FlowDensity(**UNTRAINED).fit(moons())
    test = moons(1000, 1)
    assert density.score(test) / 1000 > untrained.score(test) / 1000 + 0.5
    assert density.score_kind_ == "exact"


def test_normal_scores_are_normal_and_come_back():
    X = pd.DataFrame(moons(1000), columns=["a", "b"])
    density = FlowDensity(hidden_layer_sizes=(32, 32), max_epochs=20, random_state=0).fit(X)
    scores = density.normal_scores(X)
    assert list(scores) == ["a", "b"]
    assert min(stats.kstest(column, "norm").pvalue for column in scores.to_numpy().T) > 1e-3
    assert abs(np.corrcoef(scores.T)[0, 1]) < 0.1
    np.testing.assert_allclose(density.from_normal_scores(scores), X, atol=1e-5)


def test_normal_scores_of_a_student_base_are_normal():
    X = np.random.default_rng(0).standard_t(3, (1000, 2))
    density = FlowDensity(base="student", **QUICK).fit(X)
    scores = density.normal_scores(X)
    np.testing.assert_allclose(density.from_normal_scores(scores), X, rtol=1e-5)
    assert np.abs(scores).max() < 6
    assert min(stats.kstest(column, "norm").pvalue for column in scores.T) > 1e-3


def test_heavy_tails_have_a_student_base():
    rng = np.random.default_rng(0)
    train, test = rng.standard_t(1.5, (2000, 2)), rng.standard_t(1.5, (4000, 2))
    few = {"max_epochs": 10, "batch_size": 90, "random_state": 0}
    of = {
        base: FlowDensity("affine", base=base, **few).fit(train).score(test)
        for base in ("normal", "student")
    }
    assert of["student"] > of["normal"]


@pytest.mark.parametrize("setting", [{"n_flows": 2}, {"given": [0]}])
def test_normal_scores_need_one_flow_of_all_columns(setting):
    density = FlowDensity(**QUICK, **setting).fit(moons())
    with pytest.raises(ValueError, match="n_flows=1 and given=None"):
        density.normal_scores(moons())


def table(n=500, seed=0):
    """Columns of all kinds that depend on each other."""
    rng = np.random.default_rng(seed)
    city = rng.choice(["Oslo", "Rome", "Wien"], n, p=[0.5, 0.3, 0.2])
    heat = np.select([city == "Oslo", city == "Rome"], [5.0, 25.0], 15.0) + rng.normal(size=n)
    visitors = rng.poisson(np.exp(heat / 10))
    price = np.round(visitors / 4 + rng.normal(10, 2, n), 1)
    rain = np.where(rng.random(n) < 0.5, 0.0, rng.exponential(size=n) + heat / 10)
    columns = {"city": city, "heat": heat, "visitors": visitors, "price": price, "rain": rain}
    return pd.DataFrame(columns)


def test_a_table_of_all_kinds_is_taken_as_it_is():
    density = FlowDensity(**QUICK).fit(table())
    kinds = [column.kind for column in density.schema_.columns_]
    assert kinds == ["categorical", "continuous", "integer", "rounded", "mixed"]
    (flow,) = density.net_.module_.members
    assert (flow.numbers, flow.context) == ([1, 2, 3], [0, 4])
    assert density.score_kind_ == "estimate"
    score, std = density.score_samples(table(seed=1), return_std=True)
    assert (std > 0).all()
    assert np.isfinite(score).all()
    drawn = density.sample(200, random_state=0)
    assert (drawn.dtypes == table().dtypes).all()
    assert np.isfinite(density.score_samples(drawn)).all()
    assert 0.3 < (drawn["rain"] == 0).mean() < 0.7
    heat = drawn.groupby("city")["heat"].mean()
    assert heat["Oslo"] < 8 < 20 < heat["Rome"]


def test_categories_and_numbers_sum_and_integrate_to_one():
    frame = table()[["city", "heat"]]
    density = FlowDensity(**QUICK).fit(frame)
    x = np.linspace(-60, 90, 6001)
    total = 0.0
    for city in ("Oslo", "Rome", "Wien"):
        rows = pd.DataFrame({"city": city, "heat": x})
        total += np.exp(density.score_samples(rows)).sum() * (x[1] - x[0])
    assert total == pytest.approx(1, abs=1e-3)
    assert density.score_kind_ == "exact"
    assert not density.score_samples(frame, return_std=True)[1].any()


def test_counts_have_probabilities_and_rounded_numbers_those_of_their_cells():
    frame = table()[["visitors", "price"]]
    density = FlowDensity(**QUICK).fit(frame)
    visitors, price = np.meshgrid(np.arange(-15, 60), np.arange(-10.0, 40.0, 0.1).round(1))
    rows = pd.DataFrame({"visitors": visitors.ravel(), "price": price.ravel()})
    assert 0.1 * np.exp(density.score_samples(rows)).sum() == pytest.approx(1, abs=1e-2)
    drawn = density.sample(100, random_state=0)
    assert np.allclose(drawn["price"], drawn["price"].round(1))


@pytest.mark.parametrize("columns", [["city"], ["rain"], ["visitors"]])
def test_single_columns_of_any_kind(columns):
    frame = table()[columns]
    density = FlowDensity(**QUICK).fit(frame)
    assert np.isfinite(density.score_samples(frame)).all()
    assert density.sample(20, random_state=0).shape == (20, 1)


def test_constants_are_certain():
    density = FlowDensity(**QUICK).fit(np.full((50, 2), 3.0))
    assert density.score(np.full((5, 2), 3.0)) == pytest.approx(0)
    assert (density.sample(4) == 3).all()


def test_given_columns_have_no_density():
    frame = table()
    density = FlowDensity(given=["city", "visitors"], **QUICK).fit(frame)
    assert get_density_tags(density).conditional
    assert not hasattr(density, "sample")
    question = frame.iloc[:5].copy()
    question[["heat", "price", "rain"]] = np.nan
    drawn = density.conditional_sample(question, n_samples=100, random_state=0)
    assert (drawn["city"] == question["city"].repeat(100).to_numpy()).all()
    near = frame["heat"].groupby(frame["city"]).mean()
    assert (abs(drawn.groupby("city")["heat"].mean() - near[question["city"].unique()]) < 2).all()


def test_with_all_columns_given_there_is_nothing_to_learn():
    with pytest.raises(ValueError, match="All columns are given"):
        FlowDensity(given=[0, 1], **QUICK).fit(moons())


def test_what_is_given_is_learnt_from():
    rng = np.random.default_rng(0)
    x = rng.uniform(-3, 3, 1500)
    X = np.column_stack([x, np.sin(x) + 0.1 * rng.normal(size=1500)])
    density = FlowDensity(
        given=[0], hidden_layer_sizes=(32, 32), max_epochs=20, lr=0.01, random_state=0
    ).fit(X[:1000])
    truth = stats.norm(np.sin(X[1000:, 0]), 0.1).logpdf(X[1000:, 1]).mean()
    assert density.score(X[1000:]) / 500 > truth - 0.1


def test_several_flows_are_averaged():
    X = moons()
    density = FlowDensity(n_flows=2, **QUICK).fit(X)
    Z, log_det = density.schema_.encode(X)
    members = [
        density._in_chunks(lambda z, m=member: m.log_prob(z), Z)
        for member in density.net_.module_.members
    ]
    expected = np.logaddexp(*members) - np.log(2) + log_det
    np.testing.assert_allclose(density.score_samples(X), expected)
    assert density.sample(10, random_state=0).shape == (10, 2)


def test_a_code_far_out_costs_the_others_little():
    X = moons()
    spoilt = X.copy()
    spoilt[7, 0] = 99_999.0
    plain = FlowDensity(**QUICK).fit(X).score(moons(seed=1))
    assert FlowDensity(**QUICK).fit(spoilt).score(moons(seed=1)) > plain - 0.1 * len(X)


def test_repeated_values_are_no_peaks():
    density = FlowDensity(**QUICK).fit(load_iris().data)
    assert [column.kind for column in density.schema_.columns_] == ["rounded"] * 4
    assert density.score_kind_ == "estimate"


def test_missing_cells_are_refused_by_name():
    frame = table()
    frame.loc[3, "heat"] = np.nan
    with pytest.raises(ValueError, match="heat"):
        FlowDensity(**QUICK).fit(frame)


def test_without_zuko_an_error_says_what_to_install(monkeypatch):
    monkeypatch.setattr(transforms, "zuko", None)
    with pytest.raises(ImportError, match=r'pip install "sklearn-dgm\[flow\]"'):
        FlowDensity().fit(moons())


def test_a_warm_start_goes_on():
    X = moons()
    density = FlowDensity(warm_start=True, **QUICK).fit(X)
    first = density.score(X)
    assert density.fit(X).score(X) > first
    with pytest.raises(ValueError, match="n_bins"):
        density.set_params(n_bins=4).fit(X)


def test_weights_are_those_of_the_start_too():
    X = load_diabetes().data[:, [2, 3]] * 100
    weight = np.random.default_rng(0).integers(1, 4, len(X))
    kinds = dict.fromkeys(range(2), "continuous")
    weighted = FlowDensity(column_kinds=kinds, **UNTRAINED).fit(X, sample_weight=weight)
    repeated = FlowDensity(column_kinds=kinds, **UNTRAINED).fit(np.repeat(X, weight, axis=0))
    np.testing.assert_allclose(weighted.score_samples(X), repeated.score_samples(X), atol=1e-3)


def test_weights_equal_repeats_in_full_batches():
    X = moons(150)
    weight = np.random.default_rng(0).integers(0, 4, len(X))
    full = {"early_stopping": False, "batch_size": 10_000, "max_epochs": 20}
    density = FlowDensity(**{**QUICK, **full})
    weighted = density.fit(X, sample_weight=weight).score_samples(X)
    ignored = density.fit(X).score_samples(X)
    repeated = density.fit(np.repeat(X, weight, axis=0)).score_samples(X)
    np.testing.assert_allclose(weighted, repeated, atol=2e-3, rtol=1e-3)
    assert np.abs(weighted - ignored).mean() > 0.02


def test_smooth_dependence_is_learnt_nearly_whole():
    """Rotated, no column is a simple function of those before; volumes are kept, so that the truth is known."""
    rng = np.random.default_rng(1)
    x = independent = rng.normal(size=(2000, 3))
    x = x + np.column_stack([0 * x[:, 0], x[:, 0] ** 2 / 2, 0 * x[:, 0]])
    x[:, 2] += np.sin(2 * x[:, 1])
    X = x @ np.linalg.qr(rng.normal(size=(3, 3)))[0]
    truth = stats.norm.logpdf(independent[1500:]).sum(axis=1).mean()
    gaussian = stats.multivariate_normal(X[:1500].mean(axis=0), np.cov(X[:1500].T))
    flow = FlowDensity(**{**QUICK, "hidden_layer_sizes": (32,), "max_epochs": 30}).fit(X[:1500])
    assert gaussian.logpdf(X[1500:]).mean() < truth - 0.3
    assert flow.score(X[1500:]) / 500 == pytest.approx(truth, abs=0.05)


def test_draws_follow_the_density_given_columns():
    check_conditional(FlowDensity(given=[0, 2], **QUICK))


@pytest.mark.parametrize("sizes", [[0], ["a"], (16, 2.5), -3])
def test_hidden_layer_sizes_are_positive_integers(sizes):
    with pytest.raises(ValueError, match="hidden_layer_sizes"):
        FlowDensity(**{**QUICK, "hidden_layer_sizes": sizes}).fit(moons(50))
