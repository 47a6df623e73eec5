"""The smallest density of sequences, and containers of all forms."""

import numpy as np
import pandas as pd
import polars as pl
from scipy import stats

from sklearn_dgm.columns import Sequences
from sklearn_dgm.sequence import BaseSequenceDensity
from sklearn_dgm.tags import DensityTags


class IndependentSteps(BaseSequenceDensity):
    """Steps that know nothing of each other: normals, and shares of categories; a geometric length."""

    _density_tags = DensityTags(sequences=True, missing=True)

    def __init__(self, *, length="auto", integer_features=None, column_kinds=None):
        super().__init__(
            length=length, integer_features=integer_features, column_kinds=column_kinds
        )

    def _fit(self, Z, sample_weight):
        weight = np.ones(len(Z)) if sample_weight is None else sample_weight
        of_steps = Z.of_steps(weight)
        self.stop_ = weight.sum() / (weight.sum() + of_steps.sum())
        self.params_ = []
        for column, z in zip(self.schema_.columns_, Z.steps.T, strict=True):
            seen = ~np.isnan(z)
            if column.is_categorical:
                counts = np.bincount(z[seen].astype(int), of_steps[seen])
                self.params_.append(counts / counts.sum())
            else:
                mean = np.average(z[seen], weights=of_steps[seen])
                variance = np.average((z[seen] - mean) ** 2, weights=of_steps[seen])
                self.params_.append((mean, np.sqrt(variance + 1e-6)))

    def _log_prob_steps(self, Z):
        log_p = np.full(len(Z.steps), np.log1p(-self.stop_) if self._ends else 0.0)
        for column, z, params in zip(self.schema_.columns_, Z.steps.T, self.params_, strict=True):
            if column.is_categorical:
                with np.errstate(divide="ignore"):
                    of_code = np.log(np.append(params, 0.0))
                term = of_code[np.where(np.isnan(z), 0, z).astype(int)]
            else:
                with np.errstate(over="ignore"):
                    term = stats.norm.logpdf(z, *params)
            log_p += np.where(np.isnan(z), 0.0, term)
        return log_p, np.full(len(Z), np.log(self.stop_))

    def _draw(self, n_samples, rng):
        lengths = (
            rng.geometric(self.stop_, n_samples) - 1
            if self._ends
            else self._draw_lengths(n_samples, rng)
        )
        columns = [
            rng.choice(len(params), lengths.sum(), p=params)
            if column.is_categorical
            else rng.normal(*params, lengths.sum())
            for column, params in zip(self.schema_.columns_, self.params_, strict=True)
        ]
        return Sequences(np.column_stack(columns).astype(np.float64), lengths)


def frames(library):
    """Return sequences that are frames of a library of mixed columns."""
    return [
        library.DataFrame({"size": [1.5, 2.0], "kind": ["x", "y"]}),
        library.DataFrame({"size": [3.25], "kind": ["x"]}),
        library.DataFrame({"size": [0.5, 1.0, 1.5], "kind": ["y", "x", "y"]}),
    ]


TEXTS = ["abba", "", "ab", "baab"]
CONTAINERS = {
    "list of strings": TEXTS,
    "array of strings": np.array(TEXTS, dtype=object),
    "pandas, strings": pd.Series(TEXTS, name="text"),
    "pandas, objects": pd.Series(TEXTS, dtype=object),
    "polars, strings": pl.Series("text", TEXTS),
    "lists of numbers": [[1.5, 2.0], [3.25], [0.5, 1.0, 1.5]],
    "tuples of words": [("a", "rose"), ("is",), ("a", "rose")],
    "polars, lists": pl.Series("size", [[1.5, 2.0], [3.25], [0.5, 1.0]]),
    "arrays": [np.array([1.5, 2.0]), np.array([3.25]), np.array([])],
    "pandas, arrays": pd.Series([np.array([1.5, 2.0]), np.array([3.25])]),
    "lists of lists": [[[1.5, 2.0], [2.5, 1.0]], [[3.0, 4.0]]],
    "2-D arrays": [np.arange(6.0).reshape(3, 2), np.zeros((0, 2)), np.ones((1, 2))],
    "frames of pandas": frames(pd),
    "frames of polars": frames(pl),
    "3-D array": np.arange(12.0).reshape(2, 3, 2),
    "array": np.arange(6.0).reshape(3, 2),
    "array of strings in columns": np.array([["a", "b"], ["b", "b"]], dtype=object),
    "frame of pandas": pd.DataFrame({"first": [1.5, 2.0], "second": [2.5, 1.0]}),
    "frame of polars": pl.DataFrame({"first": ["x", "y"], "second": ["y", None]}),
}
