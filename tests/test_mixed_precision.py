"""Scores of masked networks: as exact as they say, and the same in any batch."""

import pickle
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.datasets import load_breast_cancer, load_iris, load_wine

from sklearn_dgm import AutoregressiveDensity, BayesianNetworkDensity

QUICK = {
    "hidden_layer_sizes": (32, 32),
    "max_epochs": 10,
    "early_stopping": False,
    "random_state": 0,
}


def counts(n=600, seed=0):
    """Return whole numbers, categories, prices with many zeros, and columns that nearly determine each other."""
    rng = np.random.default_rng(seed)
    x, kind = rng.normal(size=n), rng.choice(list("abc"), n)
    return pd.DataFrame(
        {
            "x": x,
            "nearly x": 1000 + 50 * x + 0.01 * rng.normal(size=n),
            "kind": pd.Categorical(kind),
            "count": rng.poisson(np.exp(1 + 0.5 * x)),
            "income": 1000 * rng.integers(10, 90, n) + rng.integers(0, 3, n),
            "price": np.where(rng.random(n) < 0.3, 0.0, rng.lognormal(size=n)),
            "flag": rng.random(n) < 0.3,
        }
    )


TABLES = {
    "iris": lambda: load_iris().data,
    "wine": lambda: load_wine().data,
    "breast_cancer": lambda: load_breast_cancer().data,
    "counts": counts,
}


@pytest.fixture(scope="module", params=list(TABLES))
def fitted(request):
    X = TABLES[request.param]()
    return AutoregressiveDensity(n_orders=3, **QUICK).fit(X), X


def encoded(density, X):
    """Return encoded rows, and the log-Jacobians of these."""
    Z, log_det = density.schema_.encode(X)
    return torch.from_numpy(Z), log_det


def test_scores_are_close_to_those_in_double_precision(fitted):
    density, X = fitted
    z, log_det = encoded(density, X)
    with torch.no_grad():
        expected = density._module.log_prob(z).numpy()
        shares = density._module.log_prob_features(z).numpy()
    error = np.abs(density.score_samples(X) - log_det - expected)
    assert 0 < error.max() < 2e-5
    assert (error > 1e-12).mean() > 0.9
    found = np.asarray(density.score_features(X)) - density.schema_.log_det_features(z.numpy())
    np.testing.assert_allclose(found, shares, rtol=0, atol=2e-5)
    np.testing.assert_allclose(found.sum(axis=1), expected, rtol=0, atol=2e-5)


def test_a_row_has_the_same_score_in_any_batch(fitted, request):
    if request.config.pluginmanager.hasplugin("tests.last_bits"):
        pytest.skip("products on this processor depend on the place of a row")
    density, X = fitted
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(X).sample(2600, replace=True, random_state=0).reset_index(drop=True)
    for i in range(0, 2600, 9):
        frame.iloc[i, 0] *= rng.choice([30, -1000, 1e6])
    together, shares = density.score_samples(frame), density.score_features(frame).to_numpy()
    for n in [1, 2, 511, 513, 1025, 2600, *rng.integers(1, 2600, 5)]:
        chosen = rng.permutation(2600)[:n]
        rows = frame.iloc[chosen]
        assert np.array_equal(density.score_samples(rows), together[chosen])
        assert np.array_equal(density.score_features(rows).to_numpy(), shares[chosen])


def test_a_warm_start_scores_with_its_new_weights():
    X = load_iris().data
    density = AutoregressiveDensity(n_orders=2, warm_start=True, **QUICK).fit(X)
    before = density.score_samples(X)
    density.set_params(lr=1e-2).fit(X)
    z, log_det = encoded(density, X)
    with torch.no_grad():
        expected = density._module.log_prob(z).numpy() + log_det
    assert np.abs(before - expected).max() > 1e-2
    np.testing.assert_allclose(density.score_samples(X), expected, rtol=0, atol=2e-5)


def test_rows_with_missing_cells_leave_the_others_as_they_are():
    frame = counts(300)
    density = AutoregressiveDensity(n_orders=2, **QUICK).fit(frame)
    gaps = frame.copy()
    gaps.loc[::3, "kind"] = None
    gaps.loc[1::3, "x"] = np.nan
    complete = gaps.notna().all(axis=1)
    scores, std = density.score_samples(gaps, return_std=True)
    assert np.array_equal(scores[complete], density.score_samples(frame[complete]))
    assert (std[complete] == 0).all()
    # A missing category is summed out of scores of complete rows.
    rows = frame[::3]
    of_kinds = [
        density.score_samples(rows.assign(kind=pd.Categorical([k] * len(rows), list("abc"))))
        for k in "abc"
    ]
    np.testing.assert_allclose(scores[::3], np.logaddexp.reduce(of_kinds), rtol=0, atol=2e-5)
    features = density.score_features(gaps)
    assert np.array_equal(
        features[complete].to_numpy(), density.score_features(frame[complete]).to_numpy()
    )


@pytest.mark.parametrize("column", ["flag", "kind"])
def test_predictions_of_few_values_are_conditionals_of_the_scores(column):
    frame = counts(300)
    density = AutoregressiveDensity(n_orders=2, **QUICK).fit(frame)
    prediction = density.predict_column(frame, column)
    values = prediction.categories
    scores = np.stack(
        [
            density.score_samples(
                frame.assign(**{column: pd.Series([v] * 300).astype(frame[column].dtype)})
            )
            for v in values
        ],
        axis=1,
    )
    expected = np.exp(scores - np.logaddexp.reduce(scores, axis=1)[:, None])
    np.testing.assert_allclose(prediction.probabilities, expected, rtol=1e-4, atol=1e-9)


def test_networks_beside_tables():
    frame = counts(400)
    edges = [("kind", "x"), ("x", "nearly x"), ("x", "count"), ("kind", "flag")]
    density = BayesianNetworkDensity(edges, **QUICK).fit(frame)
    kinds = {data["conditional"] for _, data in density.graph_.nodes(data=True)}
    assert kinds == {"network", "table"}
    z, log_det = encoded(density, frame)
    with torch.no_grad():
        expected = density._module.log_prob(z).numpy() + log_det
    error = np.abs(density.score_samples(frame) - expected)
    assert 0 < error.max() < 2e-5


def groups_far_apart(n=2000, seed=0):
    rng = np.random.default_rng(seed)
    points = rng.choice([0.0, 20.0, 37.5, 100.0], n) + 1e-3 * rng.normal(size=n)
    return np.column_stack([points, rng.normal(size=n)])


def levels_that_determine_each_other(n=1500, seed=0):
    level = np.random.default_rng(seed).integers(0, 40, n)
    return np.column_stack(
        [level, level, level + np.random.default_rng(seed + 1).integers(0, 2, n)]
    )


def knots_close_together(n=2000, seed=0):
    rng = np.random.default_rng(seed)
    x = rng.integers(0, 12, n) + 1e-5 * rng.normal(size=n)
    return np.column_stack([x, np.sin(x) + 0.1 * rng.normal(size=n), rng.normal(size=n)])


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize(
    "table", [groups_far_apart, levels_that_determine_each_other, knots_close_together]
)
def test_what_single_precision_cannot_hold(table):
    X = table()
    density = AutoregressiveDensity((32,), n_orders=2, max_epochs=4, random_state=0).fit(X)
    z, log_det = encoded(density, table(seed=7))
    with torch.no_grad():
        expected = density._module.log_prob(z).numpy() + log_det
    np.testing.assert_allclose(density.score_samples(table(seed=7)), expected, atol=3e-5, rtol=0)


def test_products_that_the_user_lets_be_less_exact(fitted):
    density, X = fitted
    expected = density.score_samples(X)
    torch.set_float32_matmul_precision("medium")
    try:
        assert density._module.in_mixed_precision() is density._module
        np.testing.assert_allclose(density.score_samples(X), expected, atol=3e-5)
    finally:
        torch.set_float32_matmul_precision("highest")
    with torch.autocast("cpu"):
        np.testing.assert_allclose(density.score_samples(X), expected, atol=3e-5)


BACKENDS_OF_THE_USER = """
import sys, pickle, torch
density, X, expected = pickle.load(sys.stdin.buffer)
torch.backends.cuda.matmul.fp32_precision = "tf32"
print(abs(density.score_samples(X) - expected).max() < 1e-4)
print(density._module.in_mixed_precision() is density._module)
"""


@pytest.mark.skipif(
    not hasattr(torch.backends.cuda.matmul, "fp32_precision"), reason="a torch of before"
)
def test_settings_of_one_backend(fitted):
    # They cannot be taken back, so that they need a process of their own.
    density, X = fitted
    given = pickle.dumps((density, X, density.score_samples(X)))
    command = [sys.executable, "-c", BACKENDS_OF_THE_USER]
    done = subprocess.run(command, input=given, capture_output=True, check=True)
    assert done.stdout.split() == [b"True", b"True"]


def test_weights_that_are_loaded_count():
    X = load_iris().data
    densities = [AutoregressiveDensity(**{**QUICK, "random_state": seed}) for seed in (0, 1)]
    first, second = (density.set_params(order="given").fit(X) for density in densities)
    before, expected = first.score_samples(X), second.score_samples(X)
    first._module.load_state_dict(second._module.state_dict())
    np.testing.assert_allclose(first.score_samples(X), expected, atol=1e-4)
    assert np.abs(before - expected).max() > 0.01


def test_no_rows_and_only_rows_far_out(fitted):
    density, X = fitted
    z, _ = encoded(density, X)
    mixed = density._module.in_mixed_precision()
    assert mixed.log_prob(z[:0]).shape == (0,)
    assert mixed.log_prob_features(z[:0]).shape == (0, z.shape[1])
    far = z[:3] + 1e6
    with torch.no_grad():
        torch.testing.assert_close(mixed.log_prob(far), density._module.log_prob(far))


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_gaps_elsewhere_change_no_bit_of_a_row():
    X = counts(300)[["x", "kind", "flag"]]
    gaps = X.copy()
    gaps.loc[0, "kind"] = None
    density = BayesianNetworkDensity(hidden_layer_sizes=(8,), max_epochs=3, random_state=0).fit(X)
    for question in ("score_samples", "score_features"):
        whole, with_gap = (np.asarray(getattr(density, question)(table)) for table in (X, gaps))
        np.testing.assert_allclose(with_gap[1:], whole[1:], rtol=1e-14)


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_complete_rows_are_scored_once_beside_rows_with_gaps(monkeypatch):
    X = counts(300)[["x", "kind", "flag"]]
    X.loc[7, "kind"] = None
    density = BayesianNetworkDensity([("kind", "x"), ("x", "flag")], **QUICK).fit(X.drop(7))
    n_asked, in_chunks = [], BayesianNetworkDensity._in_chunks
    monkeypatch.setattr(
        BayesianNetworkDensity,
        "_in_chunks",
        lambda self, f, Z: n_asked.append(len(Z)) or in_chunks(self, f, Z),
    )
    for question, n_times in (("score_samples", 1), ("score_features", X.shape[1])):
        n_asked.clear()
        getattr(density, question)(X)
        assert sum(n_asked) <= 299 + n_times * (1 + 3)  # the row, and with each kind
