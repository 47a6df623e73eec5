"""Two values are two categories, and a few whole numbers nearly so, whatever dtype a table happens to have."""

import numpy as np
import pandas as pd
import pytest

from sklearn_dgm import AutoregressiveDensity, BayesianNetworkDensity
from sklearn_dgm.columns import ColumnSchema


def quick(**parameters):
    parameters = {"n_orders": 2, "max_epochs": 3, "dropout": 0.2, "random_state": 0} | parameters
    return AutoregressiveDensity((8,), **parameters)


def levels(n, n_levels, d=5, seed=0):
    """Whole numbers in a chain, each of which is mostly that before it."""
    rng = np.random.default_rng(seed)
    Z = rng.integers(0, n_levels, (n, d))
    for j in range(1, d):
        Z[:, j] = np.where(rng.random(n) < 0.8, Z[:, j - 1], Z[:, j])
    return Z


def cast_to(dtype, Z):
    frame = pd.DataFrame(Z).add_prefix("c")
    if dtype == "strings":
        return frame.map("abcdefgh".__getitem__)
    return frame.astype(dtype)


DTYPES = ["int8", "uint8", "float64", "float32", "category", "Int64", "Float64", "string[python]"]


@pytest.mark.parametrize("dtype", [*DTYPES, "bool", "boolean", "object"])
def test_two_values_have_one_likelihood_whatever_their_dtype(dtype):
    Z = levels(300, 2)
    found, expected = (
        quick(n_orders=1, dropout="auto")
        .fit(cast_to(of, Z[:200]))
        .score_samples(cast_to(of, Z[200:]))
        for of in (dtype, "int64")
    )
    np.testing.assert_allclose(found, expected, rtol=1e-9)


@pytest.mark.parametrize("values", [(1, 2), (-1, 1), (0, 255), (-(2**40), 7)])
@pytest.mark.parametrize("dtype", ["int64", "float64"])
def test_the_two_values_may_be_any(values, dtype):
    Z = levels(300, 2)
    X = np.array(values, dtype=dtype)[Z]
    density = quick().fit(X[:200])
    found = density.score_samples(X[200:])
    if dtype == "float64":  # a density in cells that are as wide as the values are apart
        found = found + Z.shape[1] * np.log(values[1] - values[0])
    expected = quick().fit(Z[:200].astype(bool)).score_samples(Z[200:].astype(bool))
    np.testing.assert_allclose(found, expected, rtol=1e-9)
    # Nothing else is possible, nor drawn.
    step = 1 if dtype == "int64" else values[1] - values[0]
    other = X[:3].copy()
    other[:, 1] = values[0] - step, values[1] + step, values[0] + step
    is_possible = np.isfinite(density.score_samples(other))
    assert is_possible.tolist() == [False, False, step == values[1] - values[0]]
    drawn = density.sample(500, random_state=0)
    assert drawn.dtype == X.dtype
    assert set(drawn.ravel()) == set(values)


@pytest.mark.parametrize("gaps", [False, True])
def test_two_values_beside_numbers_and_gaps(gaps):
    rng = np.random.default_rng(0)
    Z = levels(400, 2)
    frame = pd.DataFrame({"x": rng.normal(size=400) + Z[:, 0], "y": rng.normal(size=400)})
    hidden = rng.random(400) < 0.2
    scores = []
    for dtype in ("Int64", "boolean"):
        of = frame.assign(c=pd.array(Z[:, 0], dtype=dtype), d=pd.array(Z[:, 1], dtype=dtype))
        if gaps:
            of.loc[hidden, "c"] = pd.NA
        scores.append(quick(max_epochs=3).fit(of[:300]).score_samples(of[300:]).mean())
    # Gaps among numbers are filled in at first by predictive means, among categories by draws.
    assert scores[0] == pytest.approx(scores[1], abs=0.1 if gaps else 1e-9)


@pytest.mark.parametrize("n_levels", [3, 5])
def test_a_few_whole_numbers_are_about_as_likely_as_categories(n_levels):
    Z = levels(900, n_levels, d=4)
    of_dtype = {
        dtype: quick(n_orders=1, max_epochs=8)
        .fit(cast_to(dtype, Z[:600]))
        .score_samples(cast_to(dtype, Z[600:]))
        for dtype in ("int64", "float64", "category")
    }
    np.testing.assert_allclose(of_dtype["float64"], of_dtype["int64"], rtol=1e-9)
    gap = of_dtype["int64"] - of_dtype["category"]
    # Of whole numbers, others remain possible.
    assert gap.mean() == pytest.approx(0, abs=0.08)


@pytest.mark.parametrize("n_levels", [3, 4])
def test_a_few_whole_numbers_are_distributions(n_levels):
    Z = levels(300, n_levels, d=2)
    density = quick().fit(Z)
    around = np.arange(-60, n_levels + 60)
    grid = np.stack(np.meshgrid(around, around), axis=-1).reshape(-1, 2)
    assert np.exp(density.score_samples(grid)).sum() == pytest.approx(1, abs=1e-4)
    drawn = density.sample(4000, random_state=0)
    shares = np.bincount(Z[:, 0]) / len(Z)
    counts = np.bincount(drawn[(drawn >= 0).all(axis=1), 0], minlength=n_levels)
    np.testing.assert_allclose(counts[:n_levels] / 4000, shares, atol=0.05)


def test_networks_of_bayesian_networks_do_the_same():
    Z = levels(300, 2)
    edges = [(0, 1), (1, 2), (2, 3), (3, 4)]
    scores = [
        BayesianNetworkDensity(
            edges, conditional="network", hidden_layer_sizes=(8,), max_epochs=3, random_state=0
        )
        .fit(Z[:200].astype(dtype))
        .score_samples(Z[200:].astype(dtype))
        for dtype in (np.int64, bool, np.float64)
    ]
    np.testing.assert_allclose(scores[1:], [scores[0]] * 2, rtol=1e-9)


def test_the_schema_counts_two_whole_numbers_from_one_to_the_other():
    X = np.array([[-1, 3, 5], [1, 4, 5], [1, 5, 5]])
    schema = ColumnSchema(bounds=None).fit(X)
    Z, log_det = schema.encode(X)
    np.testing.assert_array_equal(Z, [[0, 0, 0], [1, 1, 0], [1, 2, 0]])
    np.testing.assert_array_equal(schema.decode(Z), X)
    np.testing.assert_array_equal(log_det, 0)
    assert schema.encode(np.array([[0, 3, 5]]))[0][0, 0] == 0.5
