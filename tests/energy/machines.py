"""Small machines and tables that the tests share."""

import numpy as np

from sklearn_dgm.columns import ColumnSchema
from sklearn_dgm.energy._machine import BinaryUnits, BoltzmannMachine
from sklearn_dgm.energy._visible import VisibleUnits


def units_of(X, **kinds):
    """Visible units that stand for a table, and its encoded rows."""
    schema = ColumnSchema(detect_ties=True, missing=True, column_kinds=kinds.get("kinds")).fit(X)
    Z = schema.encode(X)[0]
    return VisibleUnits(schema.columns_, Z, np.ones(len(Z))), Z


def random_machine(units, n_hidden, scale=0.7, seed=0):
    """A machine with normal parameters."""
    rng = np.random.default_rng(seed)
    return BoltzmannMachine(
        units,
        rng.normal(0, scale, (units.n_features, n_hidden)),
        rng.normal(0, scale, units.n_features),
        rng.normal(0, scale, n_hidden),
        rng.uniform(1, 3, units.n_numbers),
    )


def binary_machine(n_visible, n_hidden, scale=0.7, seed=0):
    """A machine of binary units alone."""
    return random_machine(BinaryUnits(n_visible), n_hidden, scale, seed)


def mixed_table(n=300, seed=0):
    """Rows of a flag, a category of three, a number, counts of many values, and a number with an atom at zero."""
    rng = np.random.default_rng(seed)
    flag, color = rng.random(n) < 0.4, rng.choice(["red", "green", "blue"], n)
    number = rng.normal(3, 2, n) + 2 * flag
    count = rng.poisson(30, n) + 5 * flag
    rain = np.where(rng.random(n) < 0.4, 0.0, rng.normal(2, 1, n))
    X = np.empty((n, 5), dtype=object)
    for j, column in enumerate((flag, color, number, count, rain)):
        X[:, j] = column.tolist()
    return X
