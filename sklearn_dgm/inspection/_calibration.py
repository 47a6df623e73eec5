"""Picture of the probability integral transform: are values where a density says they are likely."""

from typing import Any, Literal, Self

import numpy as np
from scipy import stats
from sklearn.utils import check_array
from sklearn.utils.validation import check_is_fitted

from sklearn_dgm._nested.rows import draw_rows
from sklearn_dgm._sklearn import check_matplotlib_support
from sklearn_dgm._typing import MatrixLike, RandomState
from sklearn_dgm._validation import check_count, check_generator
from sklearn_dgm.columns._names import Position
from sklearn_dgm.inspection._density import (
    MODEL_COLOR,
    ROWS_STYLE,
    _as_last_step_sees,
    _checked_rows,
    _divided,
    _feature_indices,
    _resolved_names,
    _values,
)
from sklearn_dgm.tags import is_density, last_step, require_joint

# Draws are so many times the rows that their own randomness can be left out of account.
DRAWS_PER_ROW, MIN_DRAWS = 20, 10_000
COVERAGE = 0.95
PANELS_PER_ROW = 4
GIVEN = (None, "before", "others")


def _of_draws(x, drawn, rng):
    """Return the share of a column's draws below each value, and a random part of those that equal it."""
    drawn = np.sort(drawn)
    below, not_above = (np.searchsorted(drawn, x, side) for side in ("left", "right"))
    # The value itself is one of the equal ones, so that ranks are uniform whatever the number of draws.
    return (below + rng.random(len(x)) * (not_above - below + 1)) / (len(drawn) + 1)


def _marginal(density, schema, X, features, n_samples, rng):
    drawn = _values(schema, draw_rows(density, n_samples, rng))
    own = _values(schema, X)
    return np.column_stack([_of_draws(own[:, j], drawn[:, j], rng) for j in features])


def _given_before(density, X, features):
    if not hasattr(density, "normal_scores"):
        raise TypeError(
            f"given='before' needs a density with normal_scores, such as AutoregressiveDensity with order='given'; "
            f"{type(density).__name__} has none."
        )
    return stats.norm.cdf(np.asarray(density.normal_scores(X)))[:, features]


def _given_others(density, schema, X, features, rng):
    if not hasattr(density, "predict_column"):
        raise TypeError(
            "given='others' needs a density with predict_column, such as AutoregressiveDensity or "
            f"BayesianNetworkDensity; {type(density).__name__} has none."
        )
    Z = schema.encode(X)[0]
    found = []
    for j in features:
        column = schema.columns_[j]
        prediction = density.predict_column(X, Position(j))
        if column.is_categorical:
            of_values = np.arange(len(column.categories))
        else:
            x = prediction.values
            of_values = column.encoded(column.clock.numbers(x) if column.clock else x)
        below, same = (
            np.sum(prediction.probabilities * flags, axis=1)
            for flags in (of_values < Z[:, [j]], of_values == Z[:, [j]])
        )
        found.append(below + rng.random(len(Z)) * same)
    return np.column_stack(found).clip(0, 1)


class CalibrationDisplay:
    """Histograms of the probability integral transform of held-out rows, one for each column.

    The transform of a value is the probability that the density gives to smaller ones [1]_. If the density is right, it
    is uniform on [0, 1], and the histogram is flat: of twenty bins one or so is outside the band. A hump in the middle
    says that the density is too wide, a trough that it is too narrow, a slope that it lies too low or too high.

    It is recommended to use :meth:`from_estimator` or :meth:`from_predictions` to create a display. All parameters are
    stored as attributes.

    Parameters
    ----------
    transforms : ndarray of shape (n_samples, n_columns)
        Numbers between 0 and 1, NaN where a cell is missing.
    feature_names : list of str
        Names of the columns.
    estimator_name : str, default=None
        What the figure calls the density.
    n_bins : int, default=10
        Number of bins of a histogram.

    Attributes
    ----------
    figure_ : matplotlib Figure or SubFigure
        The figure.
    axes_ : ndarray of shape (n_columns,)
        The axes of the panels.
    histograms_ : list of matplotlib StepPatch
        The histograms, as densities.
    bands_ : list of matplotlib Polygon
        Where the height of a bin is with a probability of 95 percent if the density is right.
    pvalues_ : ndarray of shape (n_columns,)
        Of the tests of Kolmogorov and Smirnov that the transforms are uniform; NaN of a column without values.

    See Also
    --------
    DensityDisplay : The density itself.
    sklearn_dgm.metrics.classifier_two_sample_test : Whether sampled rows can be told from real ones.

    Notes
    -----
    Where values repeat, as categories and counts do, the transform is spread at random between the probability of
    smaller values and that of no larger ones [2]_, which makes it uniform, too. Categories have the order of their
    codes.

    A density whose columns are calibrated one by one may still be wrong about their dependence. ``given="others"`` and
    ``given="before"`` look at conditional distributions; and only the transforms of the latter are independent of
    each other.

    A density in a :class:`~sklearn.pipeline.Pipeline` is shown as it sees the rows, behind the transformers.

    References
    ----------
    .. [1] A. P. Dawid, "Present position and potential developments: some personal views: statistical theory: the
       prequential approach", Journal of the Royal Statistical Society A 147 (1984), https://doi.org/10.2307/2981683
    .. [2] C. Czado, T. Gneiting, L. Held, "Predictive model assessment for count data", Biometrics 65 (2009),
       https://doi.org/10.1111/j.1541-0420.2009.01191.x

    Examples
    --------
    >>> import matplotlib.pyplot as plt
    >>> from sklearn.datasets import load_iris
    >>> from sklearn.neighbors import KernelDensity
    >>> from sklearn_dgm import CalibrationDisplay
    >>> X = load_iris().data
    >>> wide = KernelDensity(bandwidth=1.0).fit(X[::2])
    >>> display = CalibrationDisplay.from_estimator(wide, X[1::2], random_state=0)
    >>> display.transforms.shape, bool((display.pvalues_ < 0.05).any())
    ((75, 4), True)
    >>> plt.close("all")
    """

    def __init__(
        self,
        *,
        transforms: Any,
        feature_names: list[Any],
        estimator_name: str | None = None,
        n_bins: int = 10,
    ) -> None:
        self.transforms = transforms
        self.feature_names = feature_names
        self.estimator_name = estimator_name
        self.n_bins = n_bins

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        X: MatrixLike,
        *,
        given: Literal["before", "others"] | None = None,
        features: Any = None,
        feature_names: Any = None,
        n_samples: int | None = None,
        n_bins: int = 10,
        random_state: RandomState = None,
        ax: Any = None,
    ) -> Self:
        """Draw the calibration of a fitted density.

        Parameters
        ----------
        estimator : estimator instance
            A fitted density, or a :class:`~sklearn.pipeline.Pipeline` or a search that ends in one.
        X : {array-like, DataFrame} of shape (n_samples, n_features)
            Rows that the density was not fitted to. To those that it was fitted to, any density that overfits looks
            right.
        given : {None, "before", "others"}, default=None
            Which distribution of a column is looked at: its marginal one, for any density, by rows that are sampled;
            that given the columns before, for densities that have `normal_scores`, exactly; or that given all other
            columns, for densities that have `predict_column`.
        features : array-like of str or int, default=None
            Columns to show, by name or index, at most 10 of them; all by default.
        feature_names : array-like of str of shape (n_features,), default=None
            Names of the columns; by default those of a DataFrame, else "x0", "x1", ...
        n_samples : int, default=None
            Number of rows to sample for ``given=None``; by default 20 times as many as X has, and 10,000 at least, so
            that their own randomness is small.
        n_bins : int, default=10
            Number of bins of a histogram.
        random_state : int, RandomState, Generator or None, default=None
            Seed of the rows sampled, and of transforms that are spread at random.
        ax : matplotlib Axes, Figure or SubFigure, default=None
            Where to draw, see :meth:`plot`.

        Returns
        -------
        display : CalibrationDisplay
            The picture and what it shows.

        Raises
        ------
        TypeError
            If the estimator is not a density, or cannot condition in the way that `given` says.
        ValueError
            If the density is one of some columns given others, there are too many columns, a feature is not a column,
            or X does not fit the estimator.
        """
        check_matplotlib_support(f"{cls.__name__}.from_estimator")
        check_is_fitted(estimator)
        density = last_step(estimator)
        if not is_density(density):
            raise TypeError(f"{cls.__name__} needs a density, got {type(density).__name__}.")
        require_joint([density], cls.__name__)
        if given not in GIVEN:
            raise ValueError(f"given should be one of {GIVEN}, got {given!r}.")
        X, names = _as_last_step_sees(estimator, X)
        X, schema = _checked_rows(density, X)
        names = _resolved_names(feature_names, names, len(schema.columns_))
        features = _feature_indices(features, names, schema)
        rng = check_generator(random_state)
        if given == "before":
            transforms = _given_before(density, X, features)
        elif given == "others":
            transforms = _given_others(density, schema, X, features, rng)
        else:
            n_samples = max(DRAWS_PER_ROW * len(X), MIN_DRAWS) if n_samples is None else n_samples
            transforms = _marginal(density, schema, X, features, n_samples, rng)
        # Of a missing cell there is no transform.
        transforms[np.isnan(_values(schema, X)[:, features])] = np.nan
        return cls.from_predictions(
            transforms,
            feature_names=[names[j] for j in features],
            estimator_name=type(density).__name__,
            n_bins=n_bins,
            ax=ax,
        )

    @classmethod
    def from_predictions(
        cls,
        transforms: Any,
        *,
        feature_names: Any = None,
        estimator_name: str | None = None,
        n_bins: int = 10,
        ax: Any = None,
    ) -> Self:
        """Draw transforms that were computed elsewhere.

        Parameters
        ----------
        transforms : array-like of shape (n_samples, n_columns)
            Probabilities of values smaller than those observed, between 0 and 1; NaN where there is none.
        feature_names : array-like of str of shape (n_columns,), default=None
            Names of the columns; by default "x0", "x1", ...
        estimator_name : str, default=None
            What the figure calls the density.
        n_bins : int, default=10
            Number of bins of a histogram.
        ax : matplotlib Axes, Figure or SubFigure, default=None
            Where to draw, see :meth:`plot`.

        Returns
        -------
        display : CalibrationDisplay
            The picture and what it shows.

        Raises
        ------
        ValueError
            If a transform is not between 0 and 1, `n_bins` is not a positive integer, or there are too few names.
        """
        check_count(n_bins, "n_bins")
        transforms = check_array(
            transforms, dtype=np.float64, ensure_all_finite="allow-nan", input_name="transforms"
        )
        if ((transforms < 0) | (transforms > 1)).any():
            raise ValueError("transforms should be between 0 and 1.")
        names = _resolved_names(feature_names, None, transforms.shape[1])
        display = cls(
            transforms=transforms, feature_names=names, estimator_name=estimator_name, n_bins=n_bins
        )
        return display.plot(ax=ax)

    def plot(self, ax: Any = None) -> Self:
        """Draw the picture.

        Parameters
        ----------
        ax : matplotlib Axes, Figure or SubFigure, default=None
            Where to draw. Axes for several columns are divided and should be empty. By default a new figure is made.

        Returns
        -------
        display : CalibrationDisplay
            The display, with its artists.

        Raises
        ------
        ValueError
            If axes for several columns have been divided before, or are not part of a grid of subplots.
        """
        check_matplotlib_support(f"{type(self).__name__}.plot")
        import matplotlib.pyplot as plt

        d = self.transforms.shape[1]
        if d == 1 and isinstance(ax, plt.Axes):
            self.figure_, panels = ax.figure, [ax]
        else:
            n_columns = min(d, PANELS_PER_ROW)
            n_rows = -(-d // n_columns)
            size = (1.0 + 2.6 * n_columns, 0.6 + 2.4 * n_rows)
            self.figure_, grid = _divided(ax, n_rows, n_columns, figsize=size)
            panels = [self.figure_.add_subplot(grid[divmod(j, n_columns)]) for j in range(d)]
        if self.estimator_name and not isinstance(ax, plt.Axes):
            self.figure_.suptitle(self.estimator_name)
        self.axes_ = np.array(panels, dtype=object)
        self.histograms_: list[Any] = []
        self.bands_: list[Any] = []
        self.pvalues_ = np.full(d, np.nan)
        for j in range(d):
            self._plot_panel(j)
            if j % PANELS_PER_ROW:
                self.axes_[j].set_ylabel("")
        return self

    def _plot_panel(self, j):
        ax, u = self.axes_[j], self.transforms[:, j]
        u = u[~np.isnan(u)]
        n, edges = len(u), np.linspace(0, 1, self.n_bins + 1)
        to_density = self.n_bins / max(n, 1)
        low, high = stats.binom(n, 1 / self.n_bins).interval(COVERAGE)
        band = ax.axhspan(low * to_density, high * to_density, color=MODEL_COLOR, alpha=0.25, lw=0)
        ax.axhline(1, color=MODEL_COLOR)
        counts = np.histogram(u, edges)[0]
        self.bands_.append(band)
        self.histograms_.append(ax.stairs(counts * to_density, edges, fill=True, **ROWS_STYLE))
        title = self.feature_names[j]
        if n:
            self.pvalues_[j] = stats.kstest(u, "uniform").pvalue
            title += f", p = {self.pvalues_[j]:.2g}"
        ax.set(title=title, xlim=(0, 1), xlabel="probability below the value", ylabel="density")
        ax.set_ylim(bottom=0)
