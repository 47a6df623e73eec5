"""The autoencoder as an estimator, beside principal components, sums over cells and what users do with it."""

import signal
import warnings

import numpy as np
import pandas as pd
import pytest
import torch
from scipy import stats
from scipy.special import logsumexp
from sklearn.decomposition import PCA
from sklearn.exceptions import ConvergenceWarning
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from skorch.callbacks import Callback

from sklearn_dgm import VariationalAutoencoderDensity

QUICK = {"encoder_layer_sizes": (8,), "max_epochs": 3, "random_state": 0}


def fit(X, n_latents=2, sample_weight=None, **params):
    """An autoencoder that has hardly learnt, of which nobody is warned."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        density = VariationalAutoencoderDensity(n_latents, **{**QUICK, **params})
        return density.fit(X, sample_weight=sample_weight)


@pytest.fixture(scope="module")
def numbers():
    """Four columns of equal noise about a plane."""
    rng = np.random.default_rng(0)
    loadings = np.linalg.qr(rng.normal(size=(4, 2)))[0] * [2.0, 1.2]
    return rng.normal(size=(500, 2)) @ loadings.T + 0.5 * rng.normal(size=(500, 4))


@pytest.fixture(scope="module")
def frame():
    """A table of three kinds, whose columns a group determines, with missing cells."""
    rng = np.random.default_rng(1)
    group = rng.integers(2, size=200)
    frame = pd.DataFrame(
        {
            "colour": np.where(rng.random(200) < 0.9, group, 1 - group),
            "number": np.where(rng.random(200) < 0.9, group, 1 - group) * 4 + rng.normal(size=200),
            "count": rng.poisson(2 + 6 * group),
        },
        index=np.arange(200) + 7,
    )
    frame["colour"] = frame["colour"].map({0: "red", 1: "blue"})
    frame.loc[rng.random(200) < 0.2, "number"] = np.nan
    frame.loc[rng.random(200) < 0.2, "colour"] = None
    return frame


@pytest.fixture(scope="module")
def density(frame):
    return fit(frame, max_epochs=20)


def test_a_linear_one_is_close_to_principal_components(numbers):
    params = {"encoder_layer_sizes": (), "max_epochs": 30, "early_stopping": False}
    density = fit(numbers, **params, column_kinds=dict.fromkeys(range(4), "continuous"))
    log_p = density.score_samples(numbers)
    pca = PCA(2).fit(numbers)
    expected = pca.score_samples(numbers)
    # Noise is logistic here, and normal there.
    assert abs(log_p.mean() - expected.mean()) < 0.1
    assert np.corrcoef(log_p, expected)[0, 1] > 0.9
    # Latents span the plane of the principal components, if with other weights of the columns.
    components = pca.transform(numbers)
    latents = np.column_stack([density.transform(numbers), np.ones(500)])
    residual = np.linalg.lstsq(latents, components, rcond=None)[1]
    assert (residual < 0.25 * np.square(components).sum(axis=0)).all()
    assert density.active_latents_.tolist() == [0, 1]


def test_the_cells_of_a_table_sum_to_one():
    rng = np.random.default_rng(0)
    first = rng.integers(2, size=100)
    X = pd.DataFrame(
        {"a": first, "b": first ^ (rng.random(100) < 0.1), "c": rng.integers(3, size=100)}
    )
    X = X.astype("str")
    cells = pd.MultiIndex.from_product([sorted(X[name].unique()) for name in X], names=X.columns)
    cells = cells.to_frame(index=False)
    exact = fit(X, 1)
    assert exact.score_kind_ == "exact"
    assert abs(logsumexp(exact.score_samples(cells))) < 1e-6
    estimated = fit(X, 2, n_importance_samples=4000)
    assert estimated.score_kind_ == "estimate"
    log_p, std = estimated.score_samples(cells, return_std=True)
    assert abs(np.exp(log_p).sum() - 1) < 4 * np.linalg.norm(np.exp(log_p) * std)
    # And so do the cells of some columns.
    of_b = pd.DataFrame({"a": [None] * 2, "b": sorted(X["b"].unique()), "c": [None] * 2})
    assert abs(logsumexp(exact.score_samples(of_b))) < 1e-6
    for value, log_mass in zip(of_b["b"], exact.score_samples(of_b), strict=True):
        is_value = cells["b"] == value
        assert log_mass == pytest.approx(logsumexp(exact.score_samples(cells[is_value])), abs=1e-6)


def test_missing_cells_are_summed_out(frame, density):
    rows = frame.dropna().head(5)
    rows = rows.assign(colour=None)
    parts = [density.score_samples(rows.assign(colour=c)) for c in ("red", "blue")]
    density.set_params(n_importance_samples=4000)
    try:
        summed, std = density.score_samples(rows, return_std=True)
        parts = [density.score_samples(rows.assign(colour=c)) for c in ("red", "blue")]
    finally:
        density.set_params(n_importance_samples=256)
    assert (abs(summed - logsumexp(parts, axis=0)) < 8 * std + 0.01).all()


def test_the_encoder_knows_of_missing_cells_after_complete_rows(numbers):
    """Proposals for rows with cells missing are good, too, so that the bound is close to the score."""
    kinds = dict.fromkeys(range(4), "continuous")
    density = fit(numbers, max_epochs=40, lr=0.01, column_kinds=kinds)
    rows = numbers[:200].copy()
    rows[:, 1:] = np.nan
    diagnostics = density.importance_diagnostics(rows)
    # Of an encoder that has seen complete rows alone it is 0.9 nats less.
    assert (diagnostics["log_density"] - diagnostics["elbo"]).mean() < 0.4
    assert diagnostics["effective_sample_size"].median() > 150


def test_latents_of_rows_and_rows_of_latents(frame, density):
    latents = density.transform(frame)
    assert latents.shape == (200, 2)
    names = density.get_feature_names_out()
    assert names.tolist() == [f"variationalautoencoderdensity{j}" for j in range(2)]
    rows = density.inverse_transform(latents)
    assert list(rows) == list(frame)
    assert rows.dtypes.astype(str).tolist() == frame.dtypes.astype(str).tolist()
    assert set(rows["colour"]) <= {"red", "blue"}
    # Beside means of draws given latents.
    points = np.array([[-1.0, 0.5], [1.0, 0.0]])
    with torch.no_grad():
        h = torch.from_numpy(points).repeat_interleave(20_000, dim=0)
        drawn = density._module.sample_given(h, torch.Generator().manual_seed(0)).numpy()
    drawn = density.schema_.decode(drawn)
    expected = density.inverse_transform(points)
    for i, part in enumerate((drawn[:20_000], drawn[20_000:])):
        error = part["number"].std() / np.sqrt(20_000)
        assert abs(expected["number"].iloc[i] - part["number"].mean()) < 6 * error + 0.05
        assert expected["colour"].iloc[i] == part["colour"].mode()[0]
        assert abs(expected["count"].iloc[i] - part["count"].mean()) < 0.6


def test_latents_of_another_number_are_refused(density):
    with pytest.raises(ValueError, match="X has 3 columns, but there are 2 latents"):
        density.inverse_transform(np.zeros((1, 3)))


def test_in_a_pipeline(numbers):
    pipeline = make_pipeline(StandardScaler(), VariationalAutoencoderDensity(2, **QUICK))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        pipeline.fit(numbers)
    assert pipeline.transform(numbers).shape == (500, 2)


def test_diagnostics(frame, density):
    diagnostics = density.importance_diagnostics(frame)
    log_p, std = density.score_samples(frame, return_std=True)
    assert diagnostics.index.equals(frame.index)
    np.testing.assert_array_equal(diagnostics["log_density"], log_p)
    np.testing.assert_array_equal(diagnostics["std_error"], std)
    assert diagnostics["elbo"].mean() < log_p.mean()
    assert diagnostics["effective_sample_size"].between(1, 256).all()
    # The divergence of independent normals by scipy's entropies and second moments.
    with torch.no_grad():
        mean, scale = density._module.encode(torch.tensor(density._encode(frame)[0]))
    entropy = stats.norm(mean, scale).entropy().sum(axis=1)
    cross = (np.log(2 * np.pi) + mean.numpy() ** 2 + scale.numpy() ** 2).sum(axis=1) / 2
    np.testing.assert_allclose(diagnostics["kl"], cross - entropy, atol=1e-9)


def test_diagnostics_of_lists_and_of_impossible_rows(numbers):
    density = fit(numbers)
    rows = [[0.0, 1.0, 2.0, 1.0], [1e300, 0.0, 0.0, 0.0]]
    diagnostics = density.importance_diagnostics(rows)
    assert diagnostics.index.tolist() == [0, 1]
    assert np.isfinite(diagnostics.iloc[0]).all()
    far = diagnostics.iloc[1]
    assert far["elbo"] == far["log_density"] == -np.inf
    assert far["std_error"] == 0
    assert far[["effective_sample_size", "kl"]].isna().all()


def test_more_samples_after_fit(numbers):
    density = fit(numbers, 2, n_importance_samples=16)
    few, few_std = density.score_samples(numbers[:50], return_std=True)
    density.set_params(n_importance_samples=4096)
    many, many_std = density.score_samples(numbers[:50], return_std=True)
    assert few_std.mean() > 8 * many_std.mean() > 0
    assert abs(np.mean((few - many) / few_std)) < 1


def test_constant_tables():
    for X in (np.full((20, 2), 3.5), np.full((20, 1), "a", dtype=object)):
        density = fit(X)
        assert density.score_samples(X).tolist() == [0] * 20
        assert density.score_kind_ == "exact"


def test_weights_tell_which_latents_are_active():
    """A latent that rows without weight alone vary in is none."""
    rng = np.random.default_rng(0)
    X = rng.integers(2, size=(200, 3)).astype(str)
    X[:100] = "0"
    weight = np.repeat([1.0, 1e-9], 100)
    density = fit(X, 1, max_epochs=1, encoder_layer_sizes=())
    means = density.transform(X)[:, 0]
    assert means.var() > 0.02
    assert means[:100].var() < 1e-12
    density._describe_latents(density._encode(X)[0], np.ones(200))
    assert density.active_latents_.tolist() == [0]
    with pytest.warns(ConvergenceWarning, match="No latent is active"):
        density._describe_latents(density._encode(X)[0], weight)
    assert density.active_latents_.tolist() == []


def test_few_samples_are_warned_of(numbers):
    density = VariationalAutoencoderDensity(2, **QUICK, n_importance_samples=1)
    with pytest.warns(ConvergenceWarning, match="worth 1.0 draws"):
        density.fit(numbers)
    # What one term is off by, it cannot tell.
    assert density.score_kind_ == "estimate"
    assert np.isposinf(density.score_samples(numbers, return_std=True)[1]).all()


class Interrupts(Callback):
    """Press Ctrl-C after some epochs."""

    def __init__(self, n_epochs):
        self.n_epochs = n_epochs

    def on_batch_begin(self, net, **kwargs):
        if len(net.history) > self.n_epochs:
            signal.raise_signal(signal.SIGINT)


def test_an_interrupted_warm_start_is_of_use(numbers):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        density = VariationalAutoencoderDensity(
            2, (8,), max_epochs=9, warm_start=True, random_state=0, callbacks=[Interrupts(3)]
        )
        with pytest.raises(KeyboardInterrupt):
            density.fit(numbers)
        assert density.score_kind_ == "estimate"
        assert len(density.active_latents_)
        n_iter = density.n_iter_
        density.set_params(callbacks=None, max_epochs=2).fit(numbers)
    assert density.n_iter_ > n_iter


def test_a_refit_that_fails_says_why(numbers):
    density = fit(numbers)
    before = density.score_samples(numbers[:5])
    with pytest.raises(ValueError, match="encoder_layer_sizes should be positive integers"):
        density.set_params(encoder_layer_sizes=(0,)).fit(numbers[:, :3])
    np.testing.assert_array_equal(density.score_samples(numbers[:5]), before)
