"""Pipelines and column transformers as changes of variables, made of those of single transformers.

The log-Jacobian travels as one share for each column. A transformer that mixes columns spreads its own evenly over
them, so that the sum of a row stays right.
"""

import functools

import narwhals as nw
import numpy as np
from sklearn.compose import ColumnTransformer
from sklearn.frozen import FrozenEstimator
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import (
    FunctionTransformer,
    MaxAbsScaler,
    MinMaxScaler,
    PowerTransformer,
    QuantileTransformer,
)

from sklearn_dgm._sklearn import input_indices, safe_indexing
from sklearn_dgm.columns._frames import is_frame
from sklearn_dgm.compose._jacobians import log_abs_det_jacobian
from sklearn_dgm.compose._leaves import (
    SEVERAL,
    Identity,
    Leaf,
    MaxAbsLeaf,
    MinMaxLeaf,
    NumbersLeaf,
    PowerLeaf,
    QuantileLeaf,
    is_of_sklearn,
)


class Chain(Identity):
    """One after the other."""

    def __init__(self, bijections):
        self.bijections = bijections

    @property
    def is_invertible(self):
        """Whether there is a way back."""
        return all(bijection.is_invertible for bijection in self.bijections)

    @property
    def reaches_all(self):
        """Whether every number is the image of one."""
        return all(bijection.reaches_all for bijection in self.bijections)

    def fit(self, X):
        """Fit each change of variables to the rows that come to it."""
        for bijection in self.bijections:
            X = bijection.fit(X).forward(X, np.zeros(X.shape))[0]
        return self

    def track(self, columns):
        """Track each output column to the input column it is a function of, `SEVERAL` where it is of several."""
        return functools.reduce(lambda found, of: of.track(found), self.bijections, columns)

    def forward(self, X, log_det):
        """Transform rows and shares; see :meth:`Identity.forward`."""
        for bijection in self.bijections:
            X, log_det = bijection.forward(X, log_det)
        return X, log_det

    def inverse(self, columns):
        """Invert a list of columns of Z to those of X."""
        return functools.reduce(lambda found, of: of.inverse(found), self.bijections[::-1], columns)


class Blocks(Chain):
    """Side by side, each on columns of its own, as a ColumnTransformer has them."""

    def __init__(self, transformer):
        names = getattr(transformer, "feature_names_in_", np.arange(transformer.n_features_in_))
        blocks, times_used = [], np.zeros(transformer.n_features_in_, dtype=int)
        for name, step, _ in transformer.transformers_:
            indices = input_indices(transformer, name)
            if indices and not _is(step, "drop"):
                weight = (transformer.transformer_weights or {}).get(name, 1.0)
                blocks.append((name, indices, float(weight), bijection_of(step)))
                times_used[indices] += 1
        for problem, found in (
            ("drops", times_used == 0),
            ("uses more than once", times_used > 1),
        ):
            if found.any():
                raise ValueError(
                    f"ColumnTransformer {problem} column {names[found].tolist()[0]!r}, so that rows of X have no "
                    "density; let each column through once, those that should stay as they are with 'passthrough'."
                )
        self.names, self.indices, self.weights, bijections = zip(*blocks, strict=True)
        super().__init__(bijections)

    def _blocks_of(self, X):
        return [safe_indexing(X, indices, axis=1) for indices in self.indices]

    def fit(self, X):
        """Fit each change of variables to its columns."""
        for bijection, block in zip(self.bijections, self._blocks_of(X), strict=True):
            bijection.fit(block)
        return self

    def track(self, columns):
        """Track each output column to the input column it is a function of, `SEVERAL` where it is of several."""
        pairs = zip(self.bijections, self.indices, strict=True)
        return np.concatenate([of.track(columns[indices]) for of, indices in pairs])

    def forward(self, X, log_det):
        """Transform rows and shares; see :meth:`Identity.forward`."""
        pairs = [
            of.forward(block, log_det[:, indices])
            for of, block, indices in zip(
                self.bijections, self._blocks_of(X), self.indices, strict=True
            )
        ]
        tables, shares = zip(*pairs, strict=True)
        weights = zip(tables, self.weights, strict=True)
        tables = [Z if weight == 1 else Z * weight for Z, weight in weights]
        log_weights = [
            np.full(len(indices), np.log(abs(weight)))
            for indices, weight in zip(self.indices, self.weights, strict=True)
        ]
        return self._beside(tables), np.hstack(shares) + np.concatenate(log_weights)

    def _beside(self, tables):
        if not is_frame(tables[0]):
            return np.hstack(tables)
        renamed = []
        for name, Z, of in zip(self.names, tables, self.bijections, strict=True):
            is_mixed = of.track(np.arange(Z.shape[1])) == SEVERAL
            names = {c: f"{name}__{c}" for c, m in zip(Z.columns, is_mixed, strict=True) if m}
            renamed.append(nw.from_native(Z).rename(names))
        return nw.concat(renamed, how="horizontal").to_native()

    def inverse(self, columns):
        """Invert a list of columns of Z to those of X."""
        found, start = {}, 0
        for of, indices, weight in zip(self.bijections, self.indices, self.weights, strict=True):
            block = columns[start : start + len(indices)]
            block = of.inverse(block if weight == 1 else [z / weight for z in block])
            found.update(zip(indices, block, strict=True))
            start += len(indices)
        return [found[j] for j in range(start)]


LEAVES = {
    MaxAbsScaler: MaxAbsLeaf,
    MinMaxScaler: MinMaxLeaf,
    PowerTransformer: PowerLeaf,
    QuantileTransformer: QuantileLeaf,
}


def bijection_of(transformer):
    """Return the change of variables of a fitted transformer.

    Parameters
    ----------
    transformer : estimator, "passthrough" or None
        A fitted transformer.

    Returns
    -------
    bijection : Identity
        Still to be fitted to rows.
    """
    is_function = isinstance(transformer, FunctionTransformer)
    if transformer is None or _is(transformer, "passthrough"):
        return Identity()
    if is_function and transformer.func is None:
        return Identity()
    if isinstance(transformer, FrozenEstimator):
        return bijection_of(transformer.estimator)
    if isinstance(transformer, Pipeline):
        return Chain([bijection_of(step) for _, step in transformer.steps])
    if isinstance(transformer, ColumnTransformer):
        return Blocks(transformer)
    is_plain = not is_function and is_of_sklearn(transformer)
    return LEAVES.get(type(transformer), NumbersLeaf if is_plain else Leaf)(transformer)


def _is(transformer, word):
    return isinstance(transformer, str) and transformer == word


@log_abs_det_jacobian.register(Pipeline)
@log_abs_det_jacobian.register(ColumnTransformer)
@log_abs_det_jacobian.register(FrozenEstimator)
@log_abs_det_jacobian.register(QuantileTransformer)
def _of_several(transformer, X):
    X = X if is_frame(X) else np.asarray(X)
    bijection = bijection_of(transformer)
    log_det = bijection.forward(X, np.zeros(X.shape))[1]
    source = bijection.track(np.arange(X.shape[1]))
    if (source == SEVERAL).any():
        return log_det.sum(axis=1)
    return log_det[:, np.argsort(source)]
