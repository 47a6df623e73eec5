"""Single transformers as changes of variables: rows there, with the log-Jacobian, and back."""

from copy import copy

import narwhals as nw
import numpy as np
from scipy import stats
from scipy.special import boxcox
from sklearn.preprocessing import FunctionTransformer

from sklearn_dgm._sklearn import safe_indexing, scaler_after_powers, without_frames
from sklearn_dgm._state import Stateful
from sklearn_dgm.columns._frames import is_frame, like_frame
from sklearn_dgm.columns._reading import raw_columns
from sklearn_dgm.compose._checks import check_inverse, check_jacobian, reaches_all_numbers
from sklearn_dgm.compose._jacobians import log_abs_det_jacobian, numbers_of

# What an output column is a function of, if not of one column.
SEVERAL = -1
# Shares of QuantileTransformer end there, as in scikit-learn, where a normal quantile would be infinite.
END_OF_SHARES = 1e-7
# By so much of a number may be off what comes back.
CLOSE = 1e-3


class Identity(Stateful):
    """Columns as they are."""

    is_invertible = True
    reaches_all = True

    def fit(self, X):
        """Return the change of variables, which has nothing to learn."""
        return self

    def track(self, columns):
        """Track each output column to the input column it is a function of, `SEVERAL` where it is of several."""
        return columns

    def forward(self, X, log_det):
        """Transform rows and what is known of their log-Jacobian; `-inf` marks rows that are impossible.

        Parameters
        ----------
        X : {ndarray, DataFrame} of shape (n_samples, n_features)
            Rows.
        log_det : ndarray of shape (n_samples, n_features)
            Shares of the columns of X.

        Returns
        -------
        Z : {ndarray, DataFrame} of shape (n_samples, n_features)
            Transformed rows, in the container of X.
        log_det : ndarray of shape (n_samples, n_features)
            Shares of the columns of Z.
        """
        return X, log_det

    def inverse(self, columns):
        """Invert a list of columns of Z to those of X."""
        return columns


class Leaf(Identity):
    """A transformer that is neither a pipeline nor made of blocks of columns."""

    def __init__(self, transformer):
        self.transformer = transformer
        self.mixes = None  # known with the first rows
        self.size = None

    @property
    def is_invertible(self):
        """Whether there is a way back."""
        if isinstance(self.transformer, FunctionTransformer):
            return self.transformer.inverse_func is not None
        return hasattr(self.transformer, "inverse_transform")

    def fit(self, X):
        """Look at the rows of a fit, and check on some of them what the transformer and the registry say."""
        Z, shares = self._transform(X)
        n_samples, n_features = X.shape
        if Z.shape != X.shape:
            raise ValueError(
                f"{self.name} turns {n_features} columns into {Z.shape[1]}, so that rows of X have no density."
            )
        if shares.shape not in ((n_samples, n_features), (n_samples,)):
            raise ValueError(
                f"log_abs_det_jacobian of {self.name} should give an array of shape {(n_samples, n_features)} or "
                f"{(n_samples,)}, got {shares.shape}."
            )
        self._check_possible(X, self.forward(X, np.zeros(X.shape))[1])
        if self.is_invertible:
            check_inverse(self, X)
        if not self._is_known():
            check_jacobian(self, X)
            self.reaches_all = not self.is_invertible or reaches_all_numbers(self, X)
            if self.is_invertible and _are_numbers(X):
                self.size = np.nanmax(np.abs(numbers_of(X)), axis=0)
        return self

    def _is_known(self):
        """Tell whether the Jacobian is that of scikit-learn's class itself, and needs no check."""
        is_function = isinstance(self.transformer, FunctionTransformer)
        return is_of_sklearn(self.transformer) and not is_function

    @property
    def name(self):
        """Name of the transformer in messages."""
        return type(self.transformer).__name__

    def _check_possible(self, X, log_det):
        impossible = np.isinf(log_det).any(axis=1)
        if impossible.any():
            row = int(np.flatnonzero(impossible)[0])
            raise ValueError(
                f"{self.name} cannot take row {row} of the {len(log_det)} to fit, or has a slope of 0 or of infinity "
                f"there: {safe_indexing(X, [row]).to_numpy()[0] if is_frame(X) else X[row]}."
            )

    def track(self, columns):
        """Track each output column to the input column it is a function of, `SEVERAL` where it is of several."""
        return np.full(len(columns), SEVERAL) if self.mixes else columns

    def forward(self, X, log_det):
        """Transform rows and shares; see :meth:`Identity.forward`."""
        Z, shares = self._transform(X)
        if self.mixes is None:
            self.mixes = shares.ndim == 1
        if not self.mixes:
            missing = _missing(X)
            log_det = log_det + np.where(missing, 0.0, shares)
        else:
            missing = np.zeros(X.shape, dtype=bool)
            total = log_det.sum(axis=1) + shares
            log_det = np.repeat(total[:, None] / X.shape[1], X.shape[1], axis=1)
        # Where a slope is infinite, a density would be, too: this is a single point, to which nothing is mapped.
        log_det[(np.isnan(log_det) | np.isposinf(log_det)).any(axis=1)] = -np.inf
        if Z.dtype.kind == "f":
            bad = np.isinf(Z) | (np.isnan(Z) & ~missing)
            if self.size is not None:
                bad |= self._not_recovered(X, Z)
            if bad.any():
                log_det[bad.any(axis=1)] = -np.inf
                Z = np.where(bad, 1.0, Z)  # or the next one would raise
        return self._in_container(Z, X), log_det

    def _not_recovered(self, X, Z):
        """Flag the cells that the inverse does not give back: a square does not know of numbers below 0."""
        x, back = numbers_of(X), np.column_stack(self.inverse(list(Z.T)))
        return np.abs(back - x) > CLOSE * np.abs(x) + CLOSE**2 * self.size

    def _transform(self, X):
        """Transform rows to an array; return it with the shares or totals of the log-Jacobian."""
        X = _as_seen_by(self.transformer, X)
        with np.errstate(all="ignore"):
            shares = np.asarray(log_abs_det_jacobian(self.transformer, X), dtype=np.float64)
            return np.asarray(self.transformer.transform(X)), shares

    def _in_container(self, Z, X):
        if not is_frame(X) or not self.mixes:
            return like_frame(Z, X)
        if hasattr(self.transformer, "get_feature_names_out"):
            names = list(self.transformer.get_feature_names_out())
        else:
            names = [f"{self.name.lower()}{k}" for k in range(Z.shape[1])]
        return like_frame(Z, _renamed(X, names))

    def inverse(self, columns):
        """Invert a list of columns of Z to those of X."""
        with np.errstate(all="ignore"):
            return list(np.asarray(self._invert(np.column_stack(columns))).T)

    def _invert(self, z):
        return self.transformer.inverse_transform(z)


class NumbersLeaf(Leaf):
    """A leaf over float64 numbers: one of scikit-learn's own, in a copy that knows of no frames."""

    def __init__(self, transformer):
        super().__init__(without_frames(copy(transformer)))

    def _transform(self, X):
        with np.errstate(all="ignore"):
            return self._curve(numbers_of(X))

    def _curve(self, x):
        """Return transformed numbers, and the log-slope at each."""
        return self.transformer.transform(x), log_abs_det_jacobian(self.transformer, x)

    def inverse(self, columns):
        """Invert a list of columns of Z to those of X."""
        return super().inverse([np.asarray(column, dtype=np.float64) for column in columns])


class MinMaxLeaf(NumbersLeaf):
    """A line, which goes on where ``clip=True`` would end it."""

    def _curve(self, x):
        z = x * self.transformer.scale_ + self.transformer.min_
        return z, log_abs_det_jacobian(self.transformer, x)

    def _invert(self, z):
        return (z - self.transformer.min_) / self.transformer.scale_


class MaxAbsLeaf(NumbersLeaf):
    """A line through zero, which goes on where ``clip=True`` would end it."""

    def _curve(self, x):
        return x / self.transformer.scale_, log_abs_det_jacobian(self.transformer, x)

    def _invert(self, z):
        return z * self.transformer.scale_


class PowerLeaf(NumbersLeaf):
    """A power curve.

    On a side where a power does not reach all numbers, the curve goes on by a line from the last row of the fit, as
    steep as the one from the first row to the last; towards the zero of Box and Cox it is a line over ``log x``.
    """

    def __init__(self, transformer):
        super().__init__(transformer)
        everywhere = np.full((2, len(transformer.lambdas_)), np.inf)
        self.low, self.high = -everywhere, everywhere
        self.slope = self.slope_of_log = np.ones(len(transformer.lambdas_))

    @property
    def _is_box_cox(self):
        return self.transformer.method == "box-cox"

    def fit(self, X):
        """Look at the range of the rows of a fit, and check."""
        x, power = numbers_of(X), self.transformer.lambdas_
        low, high = np.nanmin(x, axis=0), np.nanmax(x, axis=0)
        z_low, z_high = self._power(np.vstack([low, high]))
        self.slope = _ratio(z_high - z_low, high - low)
        if self._is_box_cox:
            below, above = power > 0, power < 0
            self.slope_of_log = _ratio(z_high - z_low, np.log(high / low))
        else:
            below, above = power > 2, power < 0
        self.low = np.where(below, [low, z_low], -np.inf)
        self.high = np.where(above, [high, z_high], np.inf)
        return super().fit(X)

    def _power(self, x):
        """Apply the power as the transformer has it, which raises where a power is infinite or is none."""
        function = boxcox if self._is_box_cox else stats.yeojohnson
        pairs = zip(x.T, self.transformer.lambdas_, strict=True)
        z = np.column_stack([function(x_j, power) for x_j, power in pairs])
        if not self.transformer.standardize:
            return z
        scaler = scaler_after_powers(self.transformer)
        return (z - scaler.mean_) / scaler.scale_

    def _curve(self, x):
        (low, z_low), (high, z_high) = self.low, self.high
        inside = x.clip(low, high)
        z, log_slope = self._power(inside), log_abs_det_jacobian(self.transformer, inside)
        if self._is_box_cox:
            below = z_low + self.slope_of_log * np.log(x / low)
            log_slope_below = np.log(self.slope_of_log) - np.where(x > 0, np.log(x), np.inf)
        else:
            below, log_slope_below = z_low + self.slope * (x - low), np.log(self.slope)
        z = np.where(x < low, below, np.where(x > high, z_high + self.slope * (x - high), z))
        log_slope = np.where(x > high, np.log(self.slope), log_slope)
        return z, np.where(x < low, log_slope_below, log_slope)

    def _invert(self, z):
        (low, z_low), (high, z_high) = self.low, self.high
        x = self.transformer.inverse_transform(z.clip(z_low, z_high))
        if self._is_box_cox:
            below = low * np.exp((z - z_low) / self.slope_of_log)
        else:
            below = low + (z - z_low) / self.slope
        return np.where(z < z_low, below, np.where(z > z_high, high + (z - z_high) / self.slope, x))


def _ratio(rise, run):
    """Return slopes, 1 where there is no run."""
    return np.where(run > 0, rise / np.where(run > 0, run, 1.0), 1.0)


class QuantileLeaf(NumbersLeaf):
    """Lines between the distinct quantiles, and from end to end where they end.

    What scikit-learn does has jumps at quantiles that repeat, and is constant beyond the ends.
    """

    def _curve(self, x):
        pairs = [_curve_through(x_j, self._knots(j), self._is_normal) for j, x_j in enumerate(x.T)]
        z, log_slope = (np.column_stack(part) for part in zip(*pairs, strict=True))
        return z, log_slope

    def _invert(self, z):
        return np.column_stack(
            [_inverse_curve(z_j, self._knots(j), self._is_normal) for j, z_j in enumerate(z.T)]
        )

    @property
    def _is_normal(self):
        return self.transformer.output_distribution == "normal"

    def _knots(self, j):
        """Return the distinct quantiles of a column and their shares: the mean of equal ones', 0 and 1 at the ends."""
        x, of = np.unique(self.transformer.quantiles_[:, j], return_inverse=True)
        share = np.bincount(of, self.transformer.references_) / np.bincount(of)
        if len(x) == 1:  # a constant column needs a slope, too
            x, share = np.append(x, x + 1), np.zeros(2)
        share[0], share[-1] = 0.0, 1.0
        if self._is_normal:
            share = END_OF_SHARES + (1 - 2 * END_OF_SHARES) * share
        return x, share


def _ends(share, is_normal):
    return stats.norm.ppf(share[[0, -1]]) if is_normal else share[[0, -1]]


def _curve_through(x, knots, is_normal):
    """Return numbers through the curve of a QuantileTransformer, and the log-slope at each."""
    at, share = knots
    segment = np.clip(np.searchsorted(at, x, side="right") - 1, 0, len(at) - 2)
    z = np.interp(x, at, share)
    log_slope = np.log(np.diff(share) / np.diff(at))[segment]
    if is_normal:
        z = stats.norm.ppf(z)
        log_slope = log_slope - stats.norm.logpdf(z)
    (z_low, z_high), slope = _ends(share, is_normal), _end_to_end(knots, is_normal)
    z = np.where(x < at[0], z_low + slope * (x - at[0]), z)
    z = np.where(x > at[-1], z_high + slope * (x - at[-1]), z)
    is_inside = (x >= at[0]) & (x <= at[-1])
    return z, np.where(is_inside, log_slope, np.log(slope))


def _inverse_curve(z, knots, is_normal):
    at, share = knots
    (z_low, z_high), slope = _ends(share, is_normal), _end_to_end(knots, is_normal)
    x = np.interp(stats.norm.cdf(z) if is_normal else z, share, at)
    x = np.where(z < z_low, at[0] + (z - z_low) / slope, x)
    return np.where(z > z_high, at[-1] + (z - z_high) / slope, x)


def _end_to_end(knots, is_normal):
    at, share = knots
    return np.subtract(*_ends(share, is_normal)[::-1]) / (at[-1] - at[0])


def is_of_sklearn(transformer):
    """Tell whether a transformer's class is one of scikit-learn's own, and no subclass of it."""
    return type(transformer).__module__.startswith("sklearn.")


def _renamed(X, names):
    return nw.from_native(X).rename(dict(zip(X.columns, names, strict=True))).to_native()


def _as_seen_by(transformer, X):
    """Return rows in the container and with the names that the transformer was fitted to."""
    if not is_frame(X) or not hasattr(transformer, "n_features_in_"):
        return X
    names = getattr(transformer, "feature_names_in_", None)
    return np.asarray(X) if names is None else _renamed(X, names)


def _are_numbers(X):
    return all(column.values.dtype.kind in "iuf" for column in raw_columns(X))


def _missing(X):
    if not is_frame(X) and X.dtype.kind in "iub":
        return np.zeros(X.shape, dtype=bool)
    return np.column_stack([~column.observed_or_all for column in raw_columns(X)])
