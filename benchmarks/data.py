"""Tables that are read, and what of them takes part."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from sklearn.datasets import load_breast_cancer

from sklearn_dgm import ColumnSchema

# Column to predict, for those who predict.
LABELS = {
    "adult": "income",
    "california_housing": "ocean_proximity",
    "diamonds": "cut",
    "german_credit": "credit_risk",
    "horse_colic": "c23",
    "hypothyroid": "Class",
    "mpg": "origin",
    "mushroom": "class",
    "penguins": "species",
    "soybean": "class",
    "splice": "class",
    "telco_churn": "Churn",
    "tic_tac_toe": "class",
    "titanic": "survived",
}
MAX_DECIMALS = 4
# Rows of MNIST that are learnt from; the others are scored.
N_DIGITS = 50_000


@dataclass(frozen=True)
class Split:
    """Rows of a table in three parts.

    Attributes
    ----------
    name : str
        Name of the table.
    seed : int or None
        What the rows were shuffled with; None for a split that came with the table.
    columns : str
        Number of columns, as it is printed.
    train, valid, test : {ndarray, DataFrame} or None
        The rows.
    gap : str or None
        Why the table does not take part.
    only_ours : bool
        Whether it is in a form that peers do not take.
    """

    name: str
    seed: int | None
    columns: str
    train: Any = None
    valid: Any = None
    test: Any = None
    gap: str | None = None
    only_ours: bool = False


def three_parts(rows, seed, max_rows=None):
    """Shuffle rows, and split them into 70 % training, 15 % validation and 15 % test."""
    n_rows = min(len(rows), max_rows or len(rows))
    order = np.random.default_rng(seed).permutation(len(rows))[:n_rows]
    ends = [int(0.7 * n_rows), int(0.85 * n_rows)]
    take = rows.iloc if isinstance(rows, pd.DataFrame) else rows
    return [take[part] for part in np.split(order, ends)]


def continuous_tables(folder):
    """Names and matrices of numbers; of anomaly benchmarks the normal rows only."""
    for path in sorted((folder / "continuous").glob("*.npz")):
        yield path.stem, np.load(path)["X"].astype(np.float64)
    for stem in ("22_magic.gamma", "40_vowels"):
        path = folder / "adbench" / f"{stem}.npz"
        if path.exists():
            table = np.load(path)
            yield stem.partition("_")[2], table["X"][table["y"] == 0].astype(np.float64)
    yield "breast_cancer", load_breast_cancer().data


def looks_continuous(X, min_distinct, max_share):
    """Which columns have many values, none of them frequent: where values repeat, a density can be raised at will."""
    counts = [np.unique(x, return_counts=True)[1] for x in X.T]
    return np.array([len(c) >= min_distinct and c.max() <= max_share * len(X) for c in counts])


def has_atoms(X):
    """Which columns have single values that hold mass: ours gives these a probability, where peers have a density."""
    columns = ColumnSchema(detect_ties=True).fit(X).columns_
    return np.array([column.kind == "mixed" for column in columns], dtype=bool)


def binary_tables(folder):
    """Names and the three parts that came with them, as booleans."""
    for path in sorted((folder / "debd").glob("*.npz")):
        table = np.load(path)
        yield path.stem, [table[part].astype(bool) for part in ("train", "valid", "test")]


def binarised_mnist(folder):
    """Training and test rows of MNIST, each pixel drawn once with probability grey / 255."""
    grey = np.load(folder / "images" / "mnist_train.npz")["X"]
    grey = grey.reshape(len(grey), -1)
    X = np.random.default_rng(0).random(grey.shape) < grey / 255
    return X[:N_DIGITS], X[N_DIGITS:]


def mixed_tables(folder):
    """Names and tables as pandas reads them; the two files of adult are one table."""
    files = {}
    for path in sorted((folder / "mixed").glob("*.csv.gz")):
        name = path.name.partition(".")[0].removesuffix("_train").removesuffix("_test")
        files.setdefault(name, []).append(path)
    for name, parts in files.items():
        yield name, pd.concat(map(pd.read_csv, parts), ignore_index=True)


def complete_table(frame):
    """Return a table that every peer takes, in which all models have the same sample space and reference measure.

    Missing cells go: while more than a third of the rows have one, the column with most of them goes, then the rows.
    Strings become pandas categories, which declare all values in the table. A float column in which values repeat
    has no density; where it is decimal with few places, it becomes the whole number of its units (39.1 to 391), else
    it goes. So each column left is counted, or is a float column without ties.

    Parameters
    ----------
    frame : DataFrame
        The table as it was read.

    Returns
    -------
    table : DataFrame
        With columns of dtype category, bool, int64 and float64.
    """
    frame = frame.loc[:, frame.nunique() > 0]
    while frame.isna().any(axis=1).mean() > 1 / 3:
        frame = frame.drop(columns=frame.isna().sum().idxmax())
    frame = frame.dropna().reset_index(drop=True)
    columns = {name: _settled(frame[name]) for name in frame}
    return pd.DataFrame({name: x for name, x in columns.items() if x is not None})


def _settled(x):
    """Return a column on its reference measure, None if it has none."""
    if x.dtype.kind in "bi":
        return x
    if x.dtype.kind != "f":
        return x.astype("category")
    if x.nunique() > 0.99 * len(x):
        return x
    for decimals in range(MAX_DECIMALS + 1):
        units = x * 10**decimals
        if np.allclose(units, units.round(), rtol=0, atol=1e-6):
            return units.round().astype(np.int64)
    return None
