"""The energy that tilts a density: closed forms, enumeration, quadrature, and what it refuses."""

import os
import signal
import warnings
from dataclasses import replace
from datetime import date, timedelta
from itertools import product

import numpy as np
import pandas as pd
import pytest
import torch
from scipy import stats
from sklearn.ensemble import IsolationForest
from sklearn.exceptions import ConvergenceWarning
from sklearn.frozen import FrozenEstimator
from sklearn.mixture import GaussianMixture
from sklearn.neighbors import KernelDensity
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from skorch.callbacks import Callback
from torch import nn

from sklearn_dgm import (
    BayesianNetworkDensity,
    DensityCodec,
    DensityOutlierDetector,
    EnergyDensity,
    EnsembleDensity,
    FlowDensity,
    GenerativeClassifier,
    HistogramDensity,
    MixtureDensity,
    compare_densities,
    mean_log_likelihood,
)
from sklearn_dgm.columns import ColumnSchema
from sklearn_dgm.energy import _tilted
from sklearn_dgm.energy._gradients import gradients_of
from sklearn_dgm.energy._tilted_partition import all_outcomes
from sklearn_dgm.utils.estimator_checks import check_density_estimator

QUICK = {"hidden_layer_sizes": 16, "max_epochs": 5, "random_state": 0}


@pytest.fixture(autouse=True)
def _training_may_be_short():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        yield


def fit(X, estimator=None, *, sample_weight=None, **params):
    return EnergyDensity(estimator, **{**QUICK, **params}).fit(X, sample_weight=sample_weight)


def standard(n_rows, n_columns=1, seed=0):
    """Rows whose means are 0 and whose variances are 1, to the last bits."""
    X = np.random.default_rng(seed).normal(size=(n_rows, n_columns))
    return (X - X.mean(axis=0)) / X.std(axis=0)


def standard_normal():
    """A frozen density, the standard normal one of a single column."""
    return FrozenEstimator(GaussianMixture(1, reg_covar=0, random_state=0).fit(standard(500)))


class Quadratic(nn.Module):
    """The tilt ``a x + b x^2`` of a single column that is encoded as it is."""

    width = 1

    def __init__(self, a, b):
        super().__init__()
        self.coefficients = nn.Parameter(torch.tensor([a, b], dtype=torch.float64))

    def tilt(self, z):
        return z[..., 0] * self.coefficients[0] + z[..., 0] ** 2 * self.coefficients[1]


def with_tilt(density, module):
    """Give a fitted density another tilt, and estimate its partition function."""
    density.net_.module_ = module
    density._learn_partition(0)
    density.score_kind_ = density._score_kind()
    return density


@pytest.fixture
def normal(monkeypatch):
    """A standard normal density, tilted to another normal one, which is known: its mean and standard deviation."""
    monkeypatch.setattr(_tilted, "CLOSE", 0.0)
    density = fit(standard(300), standard_normal())
    a, b = 0.6, -0.3
    return with_tilt(density, Quadratic(a, b)), a / (1 - 2 * b), (1 - 2 * b) ** -0.5


def test_a_tilted_normal_density_is_another_one(normal):
    density, mean, std = normal
    log_partition = mean**2 / (2 * std**2) + np.log(std)
    error = density.log_partition_ - log_partition
    assert 0 < density.log_partition_std_error_ < 1e-3
    assert abs(error) < 1e-3
    x = np.linspace(-3, 3, 50)[:, None]
    scores, errors = density.score_samples(x, return_std=True)
    np.testing.assert_allclose(scores + error, stats.norm.logpdf(x[:, 0], mean, std), atol=1e-6)
    np.testing.assert_array_equal(errors, density.log_partition_std_error_)
    assert density.score_kind_ == "estimate"
    energy = -stats.norm.logpdf(x[:, 0]) - 0.6 * x[:, 0] + 0.3 * x[:, 0] ** 2
    np.testing.assert_allclose(density.energy(x), energy, atol=1e-6)


def test_stated_errors_are_those_of_other_draws(normal):
    density, mean, std = normal
    density.n_partition_samples = 2000
    found, stated = [], []
    for seed in range(100):
        density._learn_partition(seed)
        found.append(density.log_partition_)
        stated.append(density.log_partition_std_error_)
    ratio = (np.array(found) - mean**2 / (2 * std**2) - np.log(std)) / stated
    assert 0.8 < np.sqrt(np.mean(ratio**2)) < 1.2


def test_the_effective_share_and_the_largest_weight_are_those_of_normals(normal):
    density, mean, std = normal
    x = np.linspace(-9, 9, 20_001)
    p, q = stats.norm.pdf(x, mean, std), stats.norm.pdf(x)
    share = 1 / np.sum(p**2 / q * (x[1] - x[0]))
    assert density.effective_sample_share_ == pytest.approx(share, rel=0.01)
    assert density.largest_weight_ == pytest.approx(np.max(p / q), rel=0.01)


def test_draws_follow_the_tilted_density(normal):
    density, mean, std = normal
    assert 0.3 < density.acceptance_rate_ < 1
    drawn = density.sample(20_000, random_state=0)[:, 0]
    assert stats.kstest(drawn, stats.norm(mean, std).cdf).pvalue > 1e-3
    edges = stats.norm(mean, std).ppf(np.linspace(0.05, 0.95, 19))
    counts = np.bincount(np.searchsorted(edges, drawn))
    assert stats.chisquare(counts).pvalue > 1e-3
    assert len(np.unique(drawn)) > 0.98 * len(drawn)


def test_a_single_draw_follows_the_tilted_density_too(normal, monkeypatch):
    density, mean, std = normal
    monkeypatch.setattr(density, "_proposed_at_once", lambda: 1)
    # So low a bound, that every second proposal is taken twice or more.
    bound = density.log_partition_ - np.log(2)
    density._partition = replace(density._partition, log_bound=bound)
    density.acceptance_rate_ = 2.0
    drawn = [density.sample(random_state=seed)[0, 0] for seed in range(600)]
    assert abs(np.mean(drawn) - mean) < 4 * std / np.sqrt(600)
    assert stats.kstest(drawn, stats.norm(mean, std).cdf).pvalue > 1e-3


def test_no_more_draws_than_needed_estimate_the_partition_function(monkeypatch):
    density = fit(standard(300), standard_normal(), n_partition_samples=10_000)
    monkeypatch.setattr(_tilted, "ROWS_AT_ONCE", 1000)
    n_drawn = []
    propose = density._propose
    monkeypatch.setattr(density, "_propose", lambda n, rng: n_drawn.append(n) or propose(n, rng))
    with_tilt(density, Quadratic(0.1, 0.0))
    assert n_drawn[-1:] == [1000]
    few = len(n_drawn)
    assert density.log_partition_std_error_ < 3e-3
    with_tilt(density, Quadratic(1.0, 0.0))
    assert 1 < few < len(n_drawn) - few == 10
    assert density.log_partition_std_error_ > 3e-3


def test_whatever_the_network_the_density_integrates_to_one():
    X = np.random.default_rng(0).normal(size=(300, 2))
    for objective in ("self-normalised", "nce"):
        density = fit(X, GaussianMixture(2), objective=objective)
        module = density.net_.module_
        with torch.no_grad():
            for parameter in module.parameters():
                parameter.copy_(0.5 * torch.randn(parameter.shape, dtype=torch.float64))
        with_tilt(density, module)
        x = np.linspace(-7, 7, 281)
        points = np.array(list(product(x, x)))
        scores, std = density.score_samples(points, return_std=True)
        assert np.exp(scores).sum() * (x[1] - x[0]) ** 2 == pytest.approx(1, abs=3 * std[0])
        assert std[0] < 0.01


@pytest.fixture(scope="module")
def categories():
    rng = np.random.default_rng(0)
    a = rng.integers(3, size=800)
    b = np.where(rng.random(800) < 0.7, a, rng.integers(3, size=800))
    return pd.DataFrame({"a": np.array(list("xyz"))[a], "b": np.array(list("uvw"))[b]})


def test_a_table_of_categories_is_enumerated(categories, monkeypatch):
    independent = BayesianNetworkDensity("empty", conditional="table")
    density = fit(categories, independent, objective="nce", max_epochs=40, lr=0.01)
    every = pd.DataFrame(list(product("xyz", "uvw")), columns=["a", "b"])
    scores, std = density.score_samples(every, return_std=True)
    assert np.exp(scores).sum() == pytest.approx(1, abs=1e-12)
    assert density.score_kind_ == "exact"
    assert not std.any()
    assert density.log_partition_std_error_ == 0
    # The columns depend on each other, which the histogram does not know.
    gain = density.score(categories) - density.estimator_.score(categories)
    assert gain > 0.2 * len(categories)
    counts = categories.value_counts().reindex(pd.MultiIndex.from_frame(every))
    drawn = density.sample(5000, random_state=0).value_counts()
    expected = 5000 * np.exp(scores)
    assert (
        stats.chisquare(drawn.reindex(counts.index), expected / expected.sum() * 5000).pvalue > 1e-3
    )
    monkeypatch.setattr(_tilted, "all_outcomes", lambda *_: None)
    exact = density.log_partition_
    density._learn_partition(0)
    assert 0 < density.log_partition_std_error_ < 4e-3
    assert abs(density.log_partition_ - exact) < 3 * density.log_partition_std_error_


def test_few_outcomes_are_all_of_them():
    table = np.array([["a", "u"], ["b", "v"], ["a", "w"]], dtype=object)
    columns = ColumnSchema().fit(table).columns_
    assert all_outcomes(columns, 6).tolist() == [[a, b] for a in range(2) for b in range(3)]
    assert all_outcomes(columns, 5) is None
    table[:, 1] = 1, 2, 3
    assert all_outcomes(ColumnSchema().fit(table).columns_, 100) is None


def test_outcomes_without_all_of_the_mass_are_not_enumerated(categories):
    rare = MixtureDensity(1, handle_unknown="rare")
    density = fit(categories, rare, max_epochs=40, lr=0.03)
    assert density.score_kind_ == "estimate"
    unknown = density.score_samples(pd.DataFrame({"a": ["never"], "b": ["u"]}))
    assert np.isfinite(unknown).all()


TRUE_BASES = {
    "normal": (lambda rng, n: rng.normal(size=(n, 3)), GaussianMixture(1)),
    "clusters": (
        lambda rng, n: rng.normal(size=(n, 2)) + 4 * rng.integers(2, size=(n, 1)),
        GaussianMixture(2, random_state=0),
    ),
    "categories": (
        lambda rng, n: rng.choice([1.0, 2.0, 3.0], (n, 3), p=[0.2, 0.5, 0.3]),
        HistogramDensity(categorical_features=[0, 1, 2], alpha=1.0),
    ),
}


@pytest.mark.parametrize("name", TRUE_BASES)
@pytest.mark.parametrize("n_rows", [60, 600])
def test_it_does_not_lose_where_there_is_nothing_to_gain(name, n_rows):
    draw, base = TRUE_BASES[name]
    rng = np.random.default_rng(1)
    density = fit(draw(rng, n_rows), base, max_epochs=60)
    held_out = draw(rng, 20_000)
    loss = density.estimator_.score_samples(held_out) - density.score_samples(held_out)
    assert loss.mean() < 0.01


def test_copies_of_rows_feign_no_gain():
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(60, 4))
    held_out = rng.normal(size=(4000, 4))
    weights = [(np.repeat(rows, 5, axis=0), None), (rows, np.full(60, 5))]
    for X, weight in weights:
        density = fit(X, GaussianMixture(1), sample_weight=weight, max_epochs=100, lr=0.01)
        loss = density.estimator_.score_samples(held_out) - density.score_samples(held_out)
        assert loss.mean() < 0.01


def test_categories_repeat_without_being_copies(categories):
    """Were all rows of an outcome kept together, the network would be tried on outcomes that it has not seen."""
    independent = BayesianNetworkDensity("empty", conditional="table")
    density = fit(categories, independent, max_epochs=40, lr=0.01)
    assert density.is_tilted_


def test_numbers_far_from_zero_are_as_good_as_others():
    X = np.random.default_rng(0).normal(size=(600, 1)) ** 3 / 20
    gains = []
    for offset in (0.0, 1.7e9):
        rows = X + offset
        density = fit(rows, GaussianMixture(1), max_epochs=30, lr=0.01)
        gains.append(density.score_samples(rows) - density.estimator_.score_samples(rows))
    assert gains[0].mean() > 0.1
    assert gains[1].mean() == pytest.approx(gains[0].mean(), rel=0.2)


def test_without_a_gain_it_is_the_density_that_it_started_from():
    X = standard(200, 2)
    density = fit(X, GaussianMixture(1), lr=1e-12)
    np.testing.assert_array_equal(density.score_samples(X), density.estimator_.score_samples(X))
    assert density.score_kind_ == "exact"
    assert not density.is_tilted_
    assert density.log_partition_ == 0
    assert (density.effective_sample_share_, density.acceptance_rate_) == (1, 1)


def test_objectives_agree_on_the_truth():
    base = standard_normal()
    truth = stats.norm(0.8, 0.7)
    X, held_out = (truth.rvs((3000, 1), random_state=k) for k in (1, 2))
    x = held_out[:500]
    for objective in ("self-normalised", "nce", "score-matching"):
        density = fit(X, base, objective=objective, max_epochs=40, lr=0.01)
        found = density.score_samples(x)
        error = found - truth.logpdf(x[:, 0])
        if objective == "score-matching":
            error -= error.mean()
        assert np.abs(error).mean() < (0.15 if objective == "score-matching" else 0.06), objective
        assert density.score_kind_ == (
            "unnormalised" if objective == "score-matching" else "estimate"
        )
        drawn = density.sample(2000, random_state=0)[:, 0]
        assert abs(drawn.mean() - 0.8) < 0.08


@pytest.mark.parametrize("container", [np.asarray, lambda X: pd.DataFrame(X, columns=["a", "b"])])
def test_gradients_do_not_depend_on_dtypes(container, monkeypatch):
    found = []
    gradients = EnergyDensity._gradients
    monkeypatch.setattr(
        EnergyDensity, "_gradients", lambda *args: found.append(gradients(*args)) or found[-1]
    )
    whole = np.rint(20 * standard(200, 2)).astype(np.int64)
    bases = (
        GaussianMixture(2, random_state=0),
        MixtureDensity(2, "gaussian", column_kinds={0: "continuous", 1: "continuous"}),
    )
    for base in bases:
        for dtype in (np.float64, np.int64, np.float32):
            X = container((whole + 10_000).astype(dtype))
            fit(X, base, objective="score-matching", max_epochs=1)
        exact, *others = found[-3:]
        assert np.abs(exact).mean() > 0.3
        for other in others:
            np.testing.assert_allclose(other, exact, atol=1e-3)


def test_dates_are_too_coarse_for_gradients():
    days = np.random.default_rng(0).integers(40, size=60)
    frame = pd.DataFrame({"day": [date(2020, 1, 1) + timedelta(int(n)) for n in days]})
    kinds = {"day": "continuous"}
    with pytest.raises(ValueError, match="column 'day' is too coarse .* float64"):
        fit(frame, MixtureDensity(2, "gaussian", column_kinds=kinds), objective="score-matching")


def test_gradients_are_those_of_normals():
    density = GaussianMixture(1, reg_covar=0, random_state=0).fit(standard(200, 2))
    Z = standard(50, 2, seed=3)
    found = gradients_of(density.score_samples, Z)
    np.testing.assert_allclose(found, -Z @ density.precisions_[0], atol=1e-5)


@pytest.fixture(scope="module")
def unnormalised():
    density = EnergyDensity(GaussianMixture(), objective="score-matching", **QUICK)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return density.fit(standard(200, 2))


CONSUMERS = {
    "score": lambda d, X: d.score(X),
    "mean_log_likelihood": lambda d, X: mean_log_likelihood(d, X),
    "compare_densities": lambda d, X: compare_densities([("a", d), ("b", GaussianMixture())], X),
    "EnsembleDensity": lambda d, X: EnsembleDensity([("a", d)]).fit(X),
    "GenerativeClassifier": lambda d, X: GenerativeClassifier(d).fit(X, X[:, 0] > 0),
    "DensityCodec": lambda d, X: DensityCodec(d).fit(X),
    "EnergyDensity": lambda d, X: EnergyDensity(d).fit(X),
}


@pytest.mark.parametrize("name", CONSUMERS)
def test_whatever_compares_scores_refuses_those_of_score_matching(unnormalised, name):
    with pytest.raises((TypeError, ValueError), match="unnormalised|DensityCodec|EnergyDensity"):
        CONSUMERS[name](unnormalised, standard(200, 2))


def test_scores_of_score_matching_rank_rows(unnormalised):
    X = standard(200, 2)
    assert not hasattr(unnormalised, "log_partition_")
    np.testing.assert_allclose(unnormalised.score_samples(X), -unnormalised.energy(X))
    assert not unnormalised.score_samples(X, return_std=True)[1].any()
    detector = DensityOutlierDetector(unnormalised).fit(X)
    assert detector.predict([[9.0, -9.0]]) == [-1]


def test_score_matching_keeps_the_contract():
    density = EnergyDensity(
        GaussianMixture(4), objective="score-matching", hidden_layer_sizes=8, max_epochs=3, lr=0.03
    )
    reasons = {
        "check_samples_agree_with_density (counts)": "counts are continuous for the density inside",
        "check_entropy_of_samples (counts)": "counts are continuous for the density inside",
        "check_impossible_points": "scikit-learn's mixture warns of an overflow far away",
        "check_units": "k-means, from which scikit-learn's mixture starts, is in the units of some columns",
        "check_weights_equal_repeats": "minibatches of weighted rows are not those of repeated rows",
    }
    check_density_estimator(density, expected_failed_checks=reasons, on_skip=None)


def test_score_matching_takes_smooth_columns_alone(categories):
    X = np.random.default_rng(0).normal(size=(100, 2))
    counts = pd.DataFrame({"x": X[:, 0], "count": np.arange(100) % 7})
    with pytest.raises(ValueError, match="column 'count' is counted for MixtureDensity"):
        fit(counts, objective="score-matching")
    with pytest.raises(ValueError, match="column 'a' is counted"):
        fit(categories, objective="score-matching")
    with pytest.raises(ValueError, match="smooth density, which KernelDensity is not"):
        fit(X, KernelDensity(kernel="tophat", bandwidth=1e-9), objective="score-matching")


def test_missing_cells_are_refused():
    frame = pd.DataFrame({"x": np.arange(50.0) ** 1.5, "y": ["a", "b"] * 25})
    density = fit(frame)
    for column in ("x", "y"):
        gaps = frame.copy()
        gaps.loc[3, column] = None
        with pytest.raises(ValueError, match=f"column '{column}', row 3 .a missing value"):
            density.score_samples(gaps)
        with pytest.raises(ValueError, match=f"column '{column}', row 3 .a missing value"):
            fit(gaps)


def test_what_cannot_be_tilted_is_refused():
    X = np.random.default_rng(0).normal(size=(60, 2))
    given = FlowDensity(given=[0])
    with pytest.raises(ValueError, match="EnergyDensity needs a density of all columns"):
        fit(X, given)
    with pytest.raises(TypeError, match="estimator should be a density, which IsolationForest"):
        fit(X, IsolationForest())
    with pytest.raises(
        TypeError, match="sample, which Pipeline has not; put .* TransformedDensity"
    ):
        fit(X, make_pipeline(StandardScaler(), GaussianMixture()))
    with pytest.raises(ValueError, match="hidden_layer_sizes should be positive"):
        fit(X, hidden_layer_sizes=(16, 0))
    with pytest.raises(ValueError, match="'objective' parameter of EnergyDensity"):
        fit(X, objective="likelihood")


def test_an_impossible_row_has_no_standard_error():
    X = np.random.default_rng(0).normal(size=(400, 1)) ** 3
    density = fit(X, HistogramDensity(bins=20, alpha=0.1), max_epochs=30, early_stopping=False)
    scores, std = density.score_samples([[0.0], [1e6]], return_std=True)
    assert scores[1] == -np.inf
    assert std.tolist() == [density.log_partition_std_error_, 0.0]
    assert std[0] > 0


def test_a_refit_that_fails_says_why():
    X = standard(100, 2)
    density = fit(np.c_[X, X], GaussianMixture(1))
    scores = density.score_samples(np.c_[X, X])
    with pytest.raises(ValueError, match="hidden_layer_sizes should be positive"):
        density.set_params(hidden_layer_sizes=(16, 0)).fit(X)
    np.testing.assert_array_equal(density.score_samples(np.c_[X, X]), scores)


class CtrlC(Callback):
    """What it is as if the user pressed after two epochs."""

    def on_epoch_end(self, net, **kwargs):
        if len(net.history) == 2:
            os.kill(os.getpid(), signal.SIGINT)


@pytest.mark.parametrize("warm_start", [False, True])
def test_ctrl_c_keeps_what_is_a_gain_with_a_warm_start_alone(warm_start, monkeypatch):
    X = standard(200, 2)
    density = EnergyDensity(
        GaussianMixture(1), **QUICK, lr=1e-12, warm_start=warm_start, callbacks=[CtrlC()]
    )
    n_learnt = []
    learn = EnergyDensity._learn_partition
    monkeypatch.setattr(
        EnergyDensity, "_learn_partition", lambda *args: n_learnt.append(1) or learn(*args)
    )
    with pytest.raises(KeyboardInterrupt):
        density.fit(X)
    assert bool(n_learnt) == hasattr(density, "net_") == warm_start
    assert not getattr(density, "is_tilted_", False)


def test_frames_come_back_from_densities_of_numbers():
    frame = pd.DataFrame({"x": np.random.default_rng(0).normal(size=100), "n": np.arange(100)})
    density = fit(frame, GaussianMixture(2))
    drawn = density.sample(20, random_state=0)
    assert drawn.dtypes.equals(frame.dtypes)
    assert np.isfinite(density.score_samples(drawn)).all()


def test_a_warm_start_goes_on_with_the_network_alone():
    X = np.random.default_rng(0).normal(size=(400, 2)) ** 3
    density = fit(X, GaussianMixture(1), warm_start=True)
    base, scores, n_epochs = density.estimator_, density.score_samples(X), density.n_iter_
    density.set_params(max_epochs=30).fit(X)
    assert density.estimator_ is base
    assert density.n_iter_ > n_epochs
    assert density.score_samples(X).mean() > scores.mean() + 0.05
    density.set_params(objective="nce")
    with pytest.raises(ValueError, match="warm_start continues a model with objective"):
        density.fit(X)


def test_weights_reach_the_density_and_the_network():
    rng = np.random.default_rng(0)
    X = np.r_[rng.normal(-2, 0.5, (300, 1)), rng.normal(2, 0.5, (300, 1))]
    weight = np.repeat([1.0, 9.0], 300)
    held = fit(X, standard_normal(), sample_weight=weight, max_epochs=30, lr=0.01)
    right = np.mean(held.sample(4000, random_state=0) > 0)
    assert abs(right - 0.9) < 0.05
