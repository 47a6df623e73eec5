"""Several densities that judge rows together, whatever the units of each."""

import numpy as np
from sklearn.base import BaseEstimator, clone
from sklearn.pipeline import Pipeline
from sklearn.utils import get_tags
from sklearn.utils.validation import check_is_fitted

from sklearn_dgm._callbacks import UNTOLD
from sklearn_dgm._nested.fitting import fit_density, seeded, weights_for
from sklearn_dgm._nested.held_out import some_folds
from sklearn_dgm._nested.rows import TableView
from sklearn_dgm._sklearn import num_samples, safe_indexing
from sklearn_dgm._state import Stateful
from sklearn_dgm._subsets import some_of
from sklearn_dgm._validation import check_generator, check_weights
from sklearn_dgm.columns import like_frame
from sklearn_dgm.columns._bulk import standard_deviation
from sklearn_dgm.outlier._kernels import ColumnKernelDensity, TableKernelDensity
from sklearn_dgm.outlier._smoothing import noisy_for
from sklearn_dgm.tags import is_density, require_normalised, unwrapped

N_FOLDS = 5
# Enough for a median and two quartiles; on small tables all folds together.
ENOUGH_HELD_OUT = 200
# More rows of a fold cost time, and say the same.
MOST_HELD_OUT = 5000
# Scores of equal rows differ by rounding.
LEAST_SCALE = 1e-9

# Of the default committee, chosen with its members on tables that are in no benchmark.
DEFAULT_WEIGHTS = (0.4, 0.4, 0.2)


def default_members():
    """Return names and densities of the committee where none is given."""
    return [
        ("neighbours", TableKernelDensity(n_left_out=4)),
        ("correlated", TableKernelDensity("full")),
        ("columns", ColumnKernelDensity()),
    ]


def is_committee(estimator):
    """Tell whether the parameter of a detector asks for a committee, and not for one density alone."""
    return estimator is None or isinstance(estimator, list)


class Committee(Stateful, BaseEstimator):
    """Weighted mean of the scores of several densities, each standardised by what it says of held-out rows.

    Parameters
    ----------
    estimators : list of tuple
        Names and densities.
    weights : array-like of shape (n_members,), default=None
        What each counts for; None is the same for all.
    smoothing : "auto" or float, default="auto"
        Noise in the rows that members are fitted to.
    random_state : int, RandomState, Generator or None, default=None
        Seed of the folds, of the noise, and of members whose own is None.

    Attributes
    ----------
    estimators_ : list of estimators
        The members, fitted to all rows.
    location_, scale_ : ndarray of shape (n_members,)
        Median and distance of the quartiles of the log-densities of held-out rows.
    """

    def __init__(self, estimators, weights=None, smoothing="auto", random_state=None):
        self.estimators = estimators
        self.weights = weights
        self.smoothing = smoothing
        self.random_state = random_state

    def fit(self, X, y=None, sample_weight=None, *, task=UNTOLD):
        """Fit each member, once without some folds of the rows and once to all."""
        densities = [density for _, density in self.estimators if is_density(density)]
        require_normalised(densities, "A committee of DensityOutlierDetector")
        rng = check_generator(self.random_state)
        if sample_weight is not None:
            sample_weight = check_weights(X, sample_weight)
            kept = np.flatnonzero(sample_weight)
            X, sample_weight = safe_indexing(X, kept), sample_weight[kept]
        self._view = TableView.of([density for _, density in self.estimators], X)
        members = [seeded(density, rng) for _, density in self.estimators]
        folds = folds_for_scale(X, rng)
        self.estimators_, located = [], []
        for (name, _), member in zip(self.estimators, members, strict=True):
            held_out = [
                self._scores(
                    self._fit_member(
                        clone(member), X, sample_weight, rng, train, task.subtask(name)
                    ),
                    safe_indexing(X, test),
                )
                for train, test in folds
            ]
            fitted = self._fit_member(member, X, sample_weight, rng, None, task.subtask(name))
            scores = np.concatenate(held_out) if folds else self._scores(fitted, X)
            self.estimators_.append(fitted)
            located.append(location_and_scale(scores))
        self.location_, self.scale_ = np.array(located).T
        return self

    @property
    def magnitude_(self):
        """Magnitude of the log-densities from which the score is computed, in the units of the score."""
        magnitudes = np.maximum(1.0, np.abs(self.location_)) / self.scale_
        return np.average(magnitudes, weights=self.weights)

    def _fit_member(self, member, X, sample_weight, rng, rows, task):
        if rows is not None:
            X = safe_indexing(X, rows)
            sample_weight = None if sample_weight is None else sample_weight[rows]
        X = noisy_for(member, X, self.smoothing, rng)
        weight = weights_for(member, sample_weight)
        return fit_density(member, self._rows_for(member, X), weight, task=task)

    def _rows_for(self, member, X):
        is_pipeline = isinstance(unwrapped(member), Pipeline)  # which makes numbers itself
        return X if is_pipeline else self._view.rows_for(member, X)

    def _scores(self, member, X):
        return np.asarray(member.score_samples(self._rows_for(member, X)))

    def score_members(self, X):
        """Return standardised log-densities, of shape (n_samples, n_members)."""
        check_is_fitted(self)
        scores = [self._scores(member, X) for member in self.estimators_]
        return (np.column_stack(scores) - self.location_) / self.scale_

    def score_samples(self, X):
        """Return the weighted mean of the standardised log-densities of each row."""
        return np.average(self.score_members(X), axis=1, weights=self.weights)

    def score_features(self, X):
        """Return the share of each column, up to what all rows have in common."""
        shares = [
            np.asarray(unwrapped(member).score_features(self._rows_for(member, X))) / scale
            for member, scale in zip(self.estimators_, self.scale_, strict=True)
        ]
        return like_frame(np.average(shares, axis=0, weights=self.weights), X)


def common_input_tags(estimators):
    """Return the input tags of the columns that all estimators take."""
    first, *others = [get_tags(estimator).input_tags for estimator in estimators]
    for tags in others:
        first.allow_nan = first.allow_nan and tags.allow_nan
        # Those that want numbers are given such.
        first.categorical = first.categorical or tags.categorical
        first.string = first.string or tags.string
    return first


def folds_for_scale(X, rng):
    """Return pairs of training and test rows, as many as hold out enough rows; none where rows are too few."""
    if num_samples(X) < 2 * N_FOLDS:
        return []
    folds = some_folds(N_FOLDS, X, rng, ENOUGH_HELD_OUT)
    return [(train, test[some_of(len(test), MOST_HELD_OUT)]) for train, test in folds]


def location_and_scale(scores):
    """Return the median and interquartile range of the finite values; the range is positive."""
    finite = scores[np.isfinite(scores)]
    if not len(finite):
        return 0.0, 1.0
    low, median, high = np.quantile(finite, [0.25, 0.5, 0.75])
    # Where half of the rows have one score, the others tell what is far. Last bits are no spread.
    for scale in (high - low, standard_deviation(finite)):
        if scale > LEAST_SCALE * max(1.0, abs(median)):
            return median, scale
    return median, 1.0
