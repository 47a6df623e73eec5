"""A stream is as long as the density says."""

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone

from sklearn_dgm import (
    DensityCodec,
    HistogramDensity,
)
from sklearn_dgm.codec._blocks import PRECISION, Stack, frequencies
from tests.codec.tables import (
    DENSITIES,
    assert_same,
    codec_of,
    discrete_table,
    every_density,
    mixed_table,
)


@every_density
def test_code_length_is_that_of_the_density(name):
    # Beyond what was fitted, too: tails have their share.
    codec, rows = codec_of(name), discrete_table(300, 1, most=120)
    log_density = codec.estimator_.score_samples(rows)
    schema = codec.estimator_.schema_
    assert set(schema.kinds_) >= {"categorical", "integer"}
    bits = codec.code_length(rows)
    assert bits.shape == (300,)
    if name.startswith("histogram"):  # of which a cell of a continuous column is an interval
        rows, possible = rows.drop(columns="reading"), bits < np.inf
        codec = DensityCodec(DENSITIES[name]()).fit(discrete_table(600, 0).drop(columns="reading"))
        log_density, bits = codec.estimator_.score_samples(rows), codec.code_length(rows)
        possible = bits < np.inf
        assert np.array_equal(possible, log_density > -np.inf)
        np.testing.assert_allclose(bits[possible], -log_density[possible] / np.log(2), rtol=1e-9)
        return
    assert schema.kinds_[-1] == "rounded"
    expected = -(log_density + np.log(schema.columns_[-1].resolution)) / np.log(2)
    # Far out, a cell of 4e-13 is the difference of two probabilities near one, which are known to 1e-16.
    np.testing.assert_allclose(bits, expected, rtol=1e-5)


@pytest.mark.parametrize("name", ["three orders", "tables", "networks", "gaussian mixture"])
def test_narrow_cells_have_the_density_times_their_width(name):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(500, 2)) @ [[1, 2], [0, 1]]
    codec = DensityCodec(DENSITIES[name](), resolution=1e-4).fit(X)
    rows = np.round(X[:200], 4) + 0.0
    expected = -(codec.estimator_.score_samples(rows) + 2 * np.log(1e-4)) / np.log(2)
    # The tables' density has steps, on which some cells lie.
    difference = np.abs(codec.code_length(rows) - expected)
    assert np.quantile(difference, 0.95) < 0.01
    to_the_last_bit = clone(codec).set_params(resolution="auto").fit(X)
    log_width = np.log(np.spacing(np.abs(X[:200]))).sum(axis=1)
    expected = -(to_the_last_bit.estimator_.score_samples(X[:200]) + log_width) / np.log(2)
    difference = np.abs(to_the_last_bit.code_length(X[:200]) - expected)
    assert np.quantile(difference, 0.95) < 0.01


@every_density
@pytest.mark.parametrize("table", [discrete_table, mixed_table])
def test_size_is_what_the_density_says(name, table):
    # Counts alone know no rows but those that were fitted.
    codec, rows = codec_of(name, table), table(*(600, 0) if "alone" in name else (400, 2))
    bits = codec.code_length(rows)
    # A row that is all but impossible costs less than that.
    rows, bits = rows[bits < 800].reset_index(drop=True), bits[bits < 800]
    assert len(bits) > 100
    for n in (1, 20, len(bits)):
        n_bytes = bits[:n].sum() / 8
        assert 0.98 * n_bytes < len(codec.encode(rows[:n])) <= 1.01 * n_bytes + 64


def test_bits_back_are_worth_the_mixture():
    codec, rows = codec_of("three orders"), discrete_table(2000, 1)
    factors = codec.estimator_._factors()
    Z = codec.estimator_.schema_.encode(rows)[0]
    log_p = np.stack([factors.log_prob(k, Z) for k in range(3)])
    # Each row by its best member, and the bits to say which of three.
    without = len(rows) * np.log2(3) - (log_p.max(axis=0).sum()) / np.log(2)
    resolution = codec.estimator_.schema_.columns_[-1].resolution
    without -= len(rows) * np.log2(resolution) + codec.estimator_.schema_.log_det_.sum() / np.log(2)
    assert len(codec.encode(rows)) < without / 8 - 300


def test_columns_that_are_missing_together_cost_once():
    rows = mixed_table(800, 1)
    gone = np.random.default_rng(0).random(len(rows)) < 0.1
    codec = codec_of("tables", mixed_table)
    one, several = rows.copy(), rows.copy()
    one.loc[gone, "city"] = None
    several.loc[gone, ["city", "reading", "price", "x"]] = None
    seen = rows.loc[~gone].reset_index(drop=True)
    cost_of_gaps = len(codec.encode(one)) - len(codec.encode(rows))
    assert cost_of_gaps < 0.5 * len(rows) / 8
    assert len(codec.encode(several)) < len(codec.encode(one))
    assert_same(codec.decode(codec.encode(several)), several)
    assert len(codec.encode(seen)) < len(codec.encode(several))


@every_density
def test_negative_zeros_cost_little(name):
    codec, rows = codec_of(name, mixed_table), mixed_table(300, 1)
    rows.loc[rows["price"] < np.median(rows["price"]), "price"] = 0.0
    plain = codec.encode(rows)
    rows.loc[(rows["price"] == 0) & (rows.index % 3 == 0), "price"] = -0.0
    assert np.signbit(rows["price"]).sum() > 30
    stream = codec.encode(rows)
    assert_same(codec.decode(stream), rows)
    assert len(stream) < len(plain) + 300 / 8 + 20


@pytest.mark.parametrize("n_symbols", [2, 3, 16])
def test_frequencies_are_what_the_coder_uses(n_symbols):
    rng = np.random.default_rng(0)
    p = rng.dirichlet(np.full(n_symbols, 0.05), 3000)
    p[:10, 0] = np.nan
    p[10:20] = 0
    table = frequencies(p.copy())
    used = table.astype(np.float64) + 1
    assert (table == np.floor(table)).all()
    assert (table >= 0).all()
    assert (used.sum(axis=1) == 2**PRECISION).all()
    np.testing.assert_allclose(used[20:] / 2**PRECISION, p[20:], atol=2 * n_symbols / 2**PRECISION)
    symbols = np.array([rng.choice(n_symbols, p=row / row.sum()) for row in used])
    stack = Stack()
    stack.put(symbols, table)
    bits = -np.log2(used[np.arange(3000), symbols] / 2**PRECISION).sum()
    assert len(stack.words()) * 32 < bits + 96
    assert np.array_equal(stack.take(table), symbols)
    assert stack.is_exhausted


def test_bits_that_nobody_has_put_on_a_stack():
    # The first members of a mixture are taken from a stack that has hardly any.
    table = frequencies(np.full((100, 4), 0.25))
    stack = Stack()
    members = stack.take(table)
    stack.put(members, table)
    assert stack.is_exhausted


def test_floats_without_a_grid_are_coded_not_stored():
    rng = np.random.default_rng(0)
    numbers = rng.normal(size=2000)
    for table in (
        pd.DataFrame({"x": numbers}),
        pd.DataFrame(
            {"x": np.where(rng.random(2000) < 0.5, 0.0, numbers), "n": np.arange(2000) % 5}
        ),
    ):
        codec = DensityCodec(HistogramDensity(bins=20, alpha=0.5)).fit(table)
        stream = codec.encode(table)
        assert np.isfinite(codec.code_length(table)).all()
        assert len(stream) <= 1.01 * codec.code_length(table).sum() / 8 + 64
        assert len(stream) < table.to_numpy(dtype=np.float64).nbytes
        pd.testing.assert_frame_equal(codec.decode(stream), table)
