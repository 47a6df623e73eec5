"""Tables of many kinds of columns behind transformers."""

import numpy as np
import pandas as pd
import polars as pl
import pytest
from sklearn.base import clone
from sklearn.compose import make_column_selector, make_column_transformer
from sklearn.decomposition import PCA
from sklearn.neighbors import KernelDensity
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import (
    MinMaxScaler,
    PowerTransformer,
    StandardScaler,
)

from sklearn_dgm import (
    BayesianNetworkDensity,
    HistogramDensity,
    TransformedDensity,
    log_abs_det_jacobian,
)
from sklearn_dgm.compose import DifferentiableFunctionTransformer
from tests.compose.transformers import (
    ELEMENTWISE,
    Shear,
    line,
    of_floats,
    quantiles,
    skewed,
)


@pytest.mark.parametrize("to", ["pandas", "polars"])
def test_tables_of_mixed_columns(table, to):
    X = table
    if to == "polars":
        X = pl.from_pandas(table).with_columns(pl.col("grade").cast(pl.Enum(["c", "b", "a"])))
    inner = HistogramDensity(bins={"width": 3, "length": 4}, alpha=0.5)
    density = TransformedDensity(of_floats(), inner).fit(X)
    drawn = density.sample(40, random_state=0)
    assert type(drawn) is type(X)
    assert list(drawn.columns) == list(X.columns)
    assert list(drawn.dtypes) == list(X.dtypes)
    assert np.isfinite(density.score_samples(drawn)).all()
    by_hand = table.assign(
        width=np.log(table["width"]),
        length=(table["length"] - table["length"].mean()) / table["length"].std(ddof=0),
    )[["width", "length", "count", "city", "grade", "flag"]]
    expected = clone(inner).fit(by_hand).score_samples(by_hand)
    expected = expected - np.log(table["width"]) - np.log(table["length"].std(ddof=0))
    np.testing.assert_allclose(density.score_samples(X), expected, atol=1e-4)


def test_counts_keep_a_probability(table):
    X = table[["count", "length"]]
    transformer = make_column_transformer((StandardScaler(), ["length"]), remainder="passthrough")
    density = TransformedDensity(transformer, HistogramDensity(alpha=0.1)).fit(X)
    x = np.linspace(20, 80, 20_001)
    total = 0.0
    for count in range(-2, 25):
        rows = pd.DataFrame({"count": count, "length": x})
        total += np.exp(density.score_samples(rows)).sum() * (x[1] - x[0])
    assert total == pytest.approx(1, abs=1e-3)
    assert density.sample(5)["count"].dtype == table["count"].dtype
    scaled = TransformedDensity(StandardScaler(), HistogramDensity(alpha=0.1)).fit(X)
    assert list(scaled.sample(5).dtypes) == [np.dtype(float)] * 2


def test_numbers_that_a_density_counts_need_no_jacobian():
    X = np.random.default_rng(0).poisson(3, (200, 1))
    doubled = DifferentiableFunctionTransformer(
        lambda x: 2 * x, lambda z: z // 2, lambda x: np.full(x.shape, 2.0)
    )
    density = TransformedDensity(doubled, HistogramDensity()).fit(X)
    assert np.exp(density.score_samples(np.arange(20)[:, None])).sum() == pytest.approx(1)
    assert density.sample(5).dtype == X.dtype


def test_values_that_repeat_keep_a_probability():
    rng = np.random.default_rng(0)
    x = np.where(rng.random(400) < 0.3, 0.0, rng.gamma(2, 10, 400))
    X = np.column_stack([x, rng.normal(size=400)])
    inner = BayesianNetworkDensity("empty", conditional="table")
    plain = clone(inner).fit(X)
    assert plain.schema_.kinds_[0] == "mixed"
    density = TransformedDensity(StandardScaler(), inner).fit(X)
    np.testing.assert_allclose(density.score_samples(X), plain.score_samples(X), atol=1e-6)
    nested = TransformedDensity(MinMaxScaler((0, 1e-3)), density).fit(X)
    np.testing.assert_allclose(nested.score_samples(X), plain.score_samples(X), atol=1e-6)


class Sum(Shear):
    """The second column becomes the sum of both."""

    def transform(self, X):
        x = np.asarray(X)
        return np.column_stack([x[:, 0], x[:, 1] + x[:, 0]])

    def inverse_transform(self, Z):
        return np.column_stack([Z[:, 0], Z[:, 1] - Z[:, 0]])


@log_abs_det_jacobian.register
def _(transformer: Sum, X):
    return np.zeros(len(X))


def test_probabilities_and_densities_do_not_mix():
    rng = np.random.default_rng(0)
    counts = rng.poisson(2, (200, 2))
    density = TransformedDensity(Sum(), HistogramDensity()).fit(counts)
    grid = np.stack(np.meshgrid(np.arange(20), np.arange(20)), axis=-1).reshape(-1, 2)
    assert np.exp(density.score_samples(grid)).sum() == pytest.approx(1)
    X = np.column_stack([rng.poisson(2, 200), rng.normal(size=200)])
    inner = HistogramDensity(integer_features=[0])
    with pytest.raises(ValueError, match="column 0 of the transformed rows a probability"):
        TransformedDensity(Sum(), inner).fit(X)
    inner.set_params(integer_features=None)
    assert np.isfinite(TransformedDensity(Sum(), inner).fit(X).score_samples(X)).all()


@pytest.mark.parametrize(
    "columns",
    [
        ["a", "c"],
        [0, 2],
        slice(0, 3, 2),
        [True, False, True],
        lambda X: ["a", "c"],
        make_column_selector("a|c"),
    ],
    ids=["names", "indices", "slice", "mask", "callable", "selector"],
)
def test_column_specifications(columns):
    X = pd.DataFrame(skewed(d=3), columns=list("abc"))
    transformer = make_column_transformer(
        (StandardScaler(), columns), remainder=make_pipeline(PowerTransformer(), StandardScaler())
    )
    density = TransformedDensity(transformer, KernelDensity()).fit(X)
    by_hand = make_pipeline(PowerTransformer(), StandardScaler()).fit(X[["b"]])
    Z = np.column_stack(
        [StandardScaler().fit_transform(X[["a", "c"]]), by_hand.transform(X[["b"]])]
    )
    shares = log_abs_det_jacobian(density.transformer_, X)
    expected = KernelDensity().fit(Z).score_samples(Z) + shares.sum(axis=1)
    np.testing.assert_allclose(density.score_samples(X), expected)
    np.testing.assert_allclose(shares[:, 0], -np.log(X["a"].std(ddof=0)))
    np.testing.assert_allclose(shares[:, 2], -np.log(X["c"].std(ddof=0)))
    np.testing.assert_allclose(shares[:, 1], log_abs_det_jacobian(by_hand, X[["b"]])[:, 0])
    assert density.sample(20, random_state=0).columns.tolist() == list("abc")


def test_two_blocks_that_mix_in_a_frame():
    X = pd.DataFrame(skewed(d=5), columns=list("abcde"))
    transformer = make_column_transformer(
        (PCA(), ["a", "d"]), (PCA(), ["b", "c"]), remainder="passthrough"
    )
    density = TransformedDensity(transformer, HistogramDensity(bins=3, alpha=1)).fit(X)
    names = density.estimator_.feature_names_in_.tolist()
    assert names == ["pca-1__pca0", "pca-1__pca1", "pca-2__pca0", "pca-2__pca1", "e"]
    drawn = density.sample(50, random_state=0)
    assert drawn.columns.tolist() == list("abcde")
    total = log_abs_det_jacobian(density.transformer_, X)
    np.testing.assert_allclose(total, np.zeros(len(X)), atol=1e-12)


def test_shares_of_columns(table):
    inner = BayesianNetworkDensity("chow-liu", conditional="table")
    density = TransformedDensity(of_floats(), inner)
    assert hasattr(density, "score_features")
    scores = density.fit(table).score_features(table)
    assert scores.columns.tolist() == table.columns.tolist()
    assert scores.index.equals(table.index)
    np.testing.assert_allclose(scores.sum(axis=1), density.score_samples(table))
    plain = clone(inner).fit(table)
    np.testing.assert_allclose(
        scores["city"].mean(), plain.score_features(table)["city"].mean(), atol=0.1
    )
    assert not hasattr(TransformedDensity(None, KernelDensity()), "score_features")
    numbers = table[["length", "width"]]
    assert not hasattr(TransformedDensity(PCA(), inner).fit(numbers), "score_features")


def test_missing_cells():
    X = skewed()
    X[::4, 0] = np.nan
    X[1::4, 1] = np.nan
    inner = BayesianNetworkDensity(conditional="table")
    for transformer in (
        StandardScaler(),
        ELEMENTWISE["logarithm"](),
        PowerTransformer(),
        quantiles(),
    ):
        density = TransformedDensity(transformer, inner).fit(X)
        assert np.isfinite(density.score_samples(X)).all()
        nothing = density.score_samples(np.full((1, 2), np.nan))
        np.testing.assert_allclose(nothing, 0, atol=1e-9)
        x, weight = line(np.nanquantile(X[:, 0], np.linspace(0, 1, 60)))
        rows = np.column_stack([x, np.full(len(x), np.nan)])
        assert np.exp(density.score_samples(rows)) @ weight == pytest.approx(1, abs=2e-3)
    frame = pd.DataFrame(X, columns=["a", "b"])
    for refused in (TransformedDensity(PCA(), inner), TransformedDensity(None, KernelDensity())):
        with pytest.raises(ValueError, match="NaN in column 'a', row 0"):
            refused.fit(frame)
    columns = make_column_transformer((StandardScaler(), [1]), remainder="passthrough")
    assert np.isfinite(TransformedDensity(columns, inner).fit(frame).score_samples(frame)).all()
