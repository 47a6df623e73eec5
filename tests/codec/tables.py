"""Densities and tables that the tests of this folder share."""

import numpy as np
import pandas as pd
import pytest

from sklearn_dgm import (
    AutoregressiveDensity,
    BayesianNetworkDensity,
    DensityCodec,
    HistogramDensity,
    MixtureDensity,
)

QUICK = {
    "hidden_layer_sizes": (8,),
    "max_epochs": 2,
    "n_components": 4,
    "dropout": 0.0,
    "random_state": 0,
}


DENSITIES = {
    "histogram": lambda: HistogramDensity(bins=4, alpha=0.01),
    "histogram, counts alone": lambda: HistogramDensity(bins=4),
    "one order": lambda: AutoregressiveDensity(order="given", **QUICK),
    "three orders": lambda: AutoregressiveDensity(n_orders=3, **QUICK),
    "any order": lambda: AutoregressiveDensity(order="any", n_orders=2, **QUICK),
    "gaussian mixture": lambda: AutoregressiveDensity(
        n_orders=2, conditional="gaussian-mixture", **QUICK
    ),
    "latent classes": lambda: MixtureDensity(3, random_state=0),
    "gaussians": lambda: MixtureDensity(3, "gaussian", random_state=0),
    "factors": lambda: MixtureDensity(2, "gaussian", covariance_type="factor", random_state=0),
    "trees": lambda: MixtureDensity(2, "tree", random_state=0),
    "tables": lambda: BayesianNetworkDensity(conditional="table"),
    "networks": lambda: BayesianNetworkDensity("chow-liu", conditional="network", **QUICK),
    "tables and networks": lambda: BayesianNetworkDensity(**QUICK),
}


every_density = pytest.mark.parametrize("name", DENSITIES)


def discrete_table(n, seed, most=100):
    """Whole numbers, few and many, mostly in tens or not; categories, few and many; readings with one decimal."""
    rng = np.random.default_rng(seed)
    group = rng.integers(3, size=n)
    return pd.DataFrame(
        {
            "group": pd.Categorical.from_codes(group, ["u", "v", "w"]),
            "city": rng.choice([f"city {i}" for i in range(40)], n),
            "flag": rng.random(n) < 0.2 + 0.3 * group,
            "few": rng.poisson(3 + group),
            "many": rng.integers(most, size=n) + 100 * group,
            "tens": rng.integers(most, size=n) * 10,
            "reading": np.round(rng.normal(20 + group, 2, n), 1),
        }
    )


def mixed_table(n, seed):
    """Besides, floats with two decimals and with all of them, single values that hold mass, and times."""
    rng = np.random.default_rng(seed)
    table = discrete_table(n, seed)
    table["price"] = np.round(100 * rng.exponential(size=n) + table["few"], 2)
    table["x"] = rng.normal(size=n) + table["few"]
    table["capped"] = np.minimum(table["x"], 5.0)
    table["single"] = rng.normal(size=n).astype(np.float32)
    table["when"] = pd.to_datetime(rng.integers(0, 10**9, n), unit="s")
    return table


def with_gaps(table, seed):
    columns = [name for name, x in table.items() if x.dtype.kind not in "bi"]
    mask = np.random.default_rng(seed).random((len(table), len(columns))) < 0.2
    table = table.copy()
    table[columns] = table[columns].mask(mask)
    return table


def assert_same(decoded, table):
    pd.testing.assert_frame_equal(decoded, table, check_exact=True)
    for name, x in table.select_dtypes("float").items():
        assert np.array_equal(np.signbit(decoded[name])[x.notna()], np.signbit(x)[x.notna()])


_fitted = {}


def codec_of(name, table=discrete_table):
    """A fitted codec, the same for several tests."""
    key = name, table
    if key not in _fitted:
        _fitted[key] = DensityCodec(DENSITIES[name]()).fit(table(600, 0))
    return _fitted[key]
