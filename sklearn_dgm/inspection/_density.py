"""Picture of a density over the rows that it should describe."""

from dataclasses import replace
from numbers import Integral
from typing import Any, Self

import numpy as np
from sklearn.pipeline import Pipeline
from sklearn.utils import check_array
from sklearn.utils.validation import check_is_fitted, validate_data

from sklearn_dgm._nested.rows import draw_rows
from sklearn_dgm._sklearn import check_matplotlib_support
from sklearn_dgm._typing import MatrixLike, RandomState
from sklearn_dgm._validation import check_generator
from sklearn_dgm.columns import (
    ColumnSchema,
    check_container,
    is_frame,
    like_frame,
)
from sklearn_dgm.columns._names import Position, position_of
from sklearn_dgm.tags import (
    is_density,
    is_generator,
    last_step,
    require_joint,
    score_kind,
    unwrapped,
)

# More columns than that make a corner grid that nobody can read.
MAX_COLUMNS = 10
# Integer columns with at most so many values are drawn as bars, wider ones as a line.
MAX_LEVELS = 30
MAX_TICK_LABELS = 20
# So many points do not hide each other yet.
MAX_ROWS = 1000
# Contours enclose these shares of the probability.
SHARES = (0.99, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2, 0.1)
ROWS_COLOR, MODEL_COLOR, MODEL_CMAP = "C0", "C1", "Oranges"
ROWS_STYLE = {"color": ROWS_COLOR, "alpha": 0.4}


def _as_last_step_sees(estimator, X):
    """Return rows after the transformers of pipelines, and the names of their columns (None if they have none)."""
    check_container(X)
    estimator = unwrapped(estimator)
    names = [str(label) for label in X.columns] if is_frame(X) else None
    if not isinstance(estimator, Pipeline):
        return X, names
    if len(estimator) > 1:
        transformers = estimator[:-1]
        X = transformers.transform(X)
        try:
            names = transformers.get_feature_names_out()
        except AttributeError:  # a step gives out no names
            names = None
        names = None if names is None else list(names)
    X, names_inside = _as_last_step_sees(estimator[-1], X)
    return X, names_inside or names


def _checked_rows(density, X):
    """Return rows as the density takes them, and the schema that encodes and decodes them."""
    if hasattr(density, "schema_"):
        X = X if is_frame(X) else check_array(X, dtype=None, ensure_all_finite=False)
        schema = density.schema_
    else:
        # Densities without a schema, those of scikit-learn, take every column for continuous.
        X = like_frame(check_array(X, dtype=np.float64), X)
        schema = ColumnSchema(None, None, standardize=False).fit(X)
    validate_data(density, X, reset=False, skip_check_array=True)
    return X, schema


def _values(schema, X):
    """Return the numbers of all columns in their own units, codes of categories; (n_samples, n_features)."""
    location = np.array([column.location for column in schema.columns_])
    scale = np.array([column.scale for column in schema.columns_])
    return schema.encode(X)[0] * scale + location


def _table(schema, values):
    """Return the rows that have these numbers; the inverse of `_values`."""
    location = np.array([column.location for column in schema.columns_])
    scale = np.array([column.scale for column in schema.columns_])
    return schema.decode((values - location) / scale)


def _shown_column(column, name, x):
    """Return a column under the name and with the range that the picture shows."""
    if column.is_categorical:
        return replace(column, label=name)
    return replace(column, label=name, low=float(x.min()), high=float(x.max()))


def _feature_indices(features, names, schema):
    """Return the indices of the columns that `features` names, not too many for one picture.

    They go by the names that the picture shows or by their labels in the table.
    """
    labels = [column.label for column in schema.columns_]
    if features is None:
        features = [Position(j) for j in range(len(names))]
    elif isinstance(features, str | Integral) or (
        isinstance(features, tuple) and features in labels
    ):
        features = [features]
    indices = [
        position_of(feature, names if isinstance(feature, str) else labels, "features")
        for feature in features
    ]
    if not indices or len(set(indices)) < len(indices):
        raise ValueError(f"features should name columns, each of them once, got {features!r}.")
    if len(indices) > MAX_COLUMNS:
        raise ValueError(
            f"{len(indices)} columns are too many for one picture; choose at most {MAX_COLUMNS} of "
            "them with features."
        )
    return indices


def _resolved_names(feature_names, names, n_features):
    """Return the names of all columns: those that are given, those that X has, or "x0", "x1", ..."""
    if feature_names is None:
        return names or [f"x{j}" for j in range(n_features)]
    if len(feature_names) != n_features:
        raise ValueError(
            f"feature_names has {len(feature_names)} entries, but there are {n_features} columns."
        )
    return [str(name) for name in feature_names]


def _has_levels(column):
    """Tell whether a column is drawn level by level: categories, or whole numbers of few levels."""
    is_narrow = column.high - column.low < MAX_LEVELS
    return column.is_categorical or (column.is_counted and is_narrow)


def _levels(column):
    """Return the values of a column of few levels."""
    return np.arange(column.low, column.high + 1, column.scale)


def _limits(column):
    """Return the range of a column that the picture shows."""
    if _has_levels(column):
        return column.low - 0.6, column.high + 0.6
    margin = 0.1 * (column.high - column.low) or 0.5
    return column.low - margin, column.high + margin


def _grid(column, x, n_points):
    """Return the points along a column at which the density is evaluated."""
    if _has_levels(column):
        return _levels(column)
    # Half of the points go where the rows are, so that a long tail leaves no peak unseen.
    n_quantiles = n_points // 2
    even = np.linspace(*_limits(column), n_points - n_quantiles)
    return np.unique(np.concatenate([even, np.quantile(x, np.linspace(0, 1, n_quantiles))]))


def _edges(points):
    """Return the edges of cells around points."""
    if len(points) == 1:
        return points[0] + np.array([-0.5, 0.5])
    middle = (points[1:] + points[:-1]) / 2
    first, last = points[0] - (middle[0] - points[0]), points[-1] + (points[-1] - middle[-1])
    return np.concatenate([[first], middle, [last]])


def _contour_levels(grid, density):
    """Return the levels whose regions of higher density hold the `SHARES` of the probability on the grid."""
    mass = density * np.outer(*(np.diff(_edges(points)) for points in grid))
    descending = np.argsort(density, axis=None)[::-1]
    share = np.cumsum(mass.ravel()[descending]) / mass.sum()
    position = np.searchsorted(share, SHARES).clip(max=len(share) - 1)
    # A region includes the plateau at its level, as a histogram has them.
    levels = density.ravel()[descending[position]] * (1 - 1e-9)
    levels = levels[(levels > 0) & (levels < density.max() * (1 - 1e-6))]
    return np.unique([*(levels if len(levels) else [density.max() / 2]), density.max()])


def _frequencies(column, x):
    """Return the share of each level of a discrete column."""
    return (x[:, None] == _levels(column)).mean(axis=0)


def _bin_edges(column, x):
    """Return the edges for the histogram of a column that is not drawn level by level."""
    low, high = _limits(column)
    span, root = high - low, np.cbrt(len(x))
    # The rule of Freedman and Diaconis gives the bulk of the rows enough bins, however long the tails are.
    bulk = np.subtract(*np.quantile(x, [0.75, 0.25])) or span
    n_bins = int(np.clip(root * max(2, span / bulk / 2), 10, 200))
    if not column.is_counted:
        return np.linspace(low, high, n_bins + 1)
    # A whole width, or the bins would hold unequal numbers of integers.
    width = np.ceil(span / n_bins)
    return np.arange(np.floor(low), high + width, width) - 0.5


def _draw_histogram(ax, x, edges, **style):
    """Draw a histogram whose area is the share of the rows within the edges."""
    heights = np.histogram(x, edges)[0] / (len(x) * np.diff(edges))
    return ax.stairs(heights, edges, **style)


def _draw_bars(ax, column, of_rows, of_model, labels):
    """Draw bars of two sets of probabilities side by side."""
    levels = _levels(column)
    return (
        ax.bar(levels - 0.2, of_rows, width=0.4, label=labels[0], **ROWS_STYLE),
        ax.bar(levels + 0.2, of_model, width=0.4, label=labels[1], color=MODEL_COLOR),
    )


def _jittered(column, x, rng):
    """Spread the values of a column of few levels about, so that points do not hide each other."""
    return x + rng.uniform(-0.3, 0.3, len(x)) if _has_levels(column) else x


def _dress_axis(axis, column):
    """Set the label, limits and ticks of one axis."""
    axis.set_label_text(column.label)
    set_limits = axis.axes.set_xlim if axis.axis_name == "x" else axis.axes.set_ylim
    if column.is_categorical:
        every = -(-len(column.categories) // MAX_TICK_LABELS)
        labels = [str(category) for category in column.categories[::every]]
        # A letter takes about 7 points.
        room = axis.axes.bbox.width / axis.axes.figure.dpi * 72 / 7
        crowded = axis.axis_name == "x" and len(labels) * max(map(len, labels)) > room
        style = {"rotation": 45, "ha": "right", "rotation_mode": "anchor"} if crowded else {}
        axis.set_ticks(_levels(column)[::every], labels, **style)
    elif column.is_counted:
        axis.get_major_locator().set_params(integer=True)
    set_limits(*_limits(column))


def _divided(ax, n_rows, n_columns, figsize):
    """Return a figure and a grid of places for panels in it: in `ax`, or in a new figure."""
    import matplotlib.pyplot as plt

    if ax is None:
        ax = plt.figure(figsize=figsize, layout="constrained")
    if not isinstance(ax, plt.Axes):
        return ax, ax.add_gridspec(n_rows, n_columns)
    spec = ax.get_subplotspec()
    if not ax.axison or spec is None:
        raise ValueError(
            "The ax has been divided by another plot, or does not belong to a grid of subplots; hand in a "
            "new subplot or a figure."
        )
    ax.set_axis_off()
    return ax.figure, spec.subgridspec(n_rows, n_columns)


class DensityDisplay:
    """Picture of a density over the rows that it should describe.

    One column: the density over the histogram of the rows; in a categorical column, or an integer column of few values,
    bars of the probabilities beside bars of the frequencies. Two columns: contours of the density, or a heat map if a
    column is discrete, under the rows. More columns: a corner grid of the rows against rows sampled from the density,
    with histograms on the diagonal and scatter plots below it.

    It is recommended to use :meth:`from_estimator` to create a display. All parameters are stored as attributes.

    Parameters
    ----------
    columns : list of Column
        Names, kinds and ranges of the columns shown.
    rows : ndarray of shape (n_samples, n_columns)
        The rows in the units of the columns; categories are their codes.
    estimator_name : str
        What the legend calls the density.
    grid : list of ndarray, default=None
        Points along each of one or two columns, in the same units.
    density : ndarray of shape (len(grid[0]),) or (len(grid[0]), len(grid[1])), default=None
        The density at the points of the grid.
    sampled : ndarray of shape (n_sampled, n_columns), default=None
        Rows drawn from the density, for the corner grid, which is drawn if they are given.

    Attributes
    ----------
    figure_ : matplotlib Figure or SubFigure
        The figure.
    ax_ : matplotlib Axes
        The axes of one or two columns.
    axes_ : ndarray of shape (n_columns, n_columns)
        The axes of the corner grid; None above the diagonal.
    line_ : matplotlib Line2D
        The density of one column.
    histogram_ : matplotlib StepPatch
        The histogram of the rows below it.
    bars_ : tuple of two matplotlib BarContainer
        Frequencies and probabilities of one discrete column.
    surface_ : matplotlib QuadContourSet or QuadMesh
        The density of two columns.
    points_ : matplotlib PathCollection
        The rows over it.
    colorbar_ : matplotlib Colorbar
        Its values. Which of these artists there are depends on the columns.

    See Also
    --------
    TrainingDisplay : The log-likelihood in the course of training.

    Notes
    -----
    The reference measure is the Lebesgue measure on continuous columns and the counting measure on integer and
    categorical ones. So a categorical column beside a continuous one has for each category a strip whose integral is
    the probability of the category. Columns are of the kinds that the density's `schema_` says, all of them continuous
    for a density without one, such as those of scikit-learn. Rows with a category that the density does not know have
    no place in the picture.

    Contours enclose the regions of highest density that hold 10, 20, ... 90 and 99 percent of the probability on the
    grid, so that peaks and tails are seen alike; where the density is below, nothing is drawn.

    A density in a :class:`~sklearn.pipeline.Pipeline` is shown as it sees the rows, behind the transformers and in
    their units, for it is there that it integrates to one.

    Examples
    --------
    >>> import matplotlib.pyplot as plt
    >>> from sklearn.datasets import load_iris
    >>> from sklearn.neighbors import KernelDensity
    >>> from sklearn_dgm import DensityDisplay
    >>> X = load_iris().data
    >>> display = DensityDisplay.from_estimator(KernelDensity(bandwidth=0.2).fit(X[:, :2]), X[:, :2])
    >>> display.density.shape == tuple(len(points) for points in display.grid)
    True
    >>> display = DensityDisplay.from_estimator(KernelDensity(bandwidth=0.2).fit(X), X)
    >>> display.axes_.shape
    (4, 4)
    >>> plt.close("all")
    """

    def __init__(
        self,
        *,
        columns: Any,
        rows: Any,
        estimator_name: str,
        grid: Any = None,
        density: Any = None,
        sampled: Any = None,
    ) -> None:
        self.columns = columns
        self.rows = rows
        self.estimator_name = estimator_name
        self.grid = grid
        self.density = density
        self.sampled = sampled

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        X: MatrixLike,
        *,
        features: Any = None,
        feature_names: Any = None,
        n_samples: int | None = None,
        grid_resolution: int = 100,
        random_state: RandomState = None,
        ax: Any = None,
    ) -> Self:
        """Draw a fitted density over rows.

        Parameters
        ----------
        estimator : estimator instance
            A fitted density, or a :class:`~sklearn.pipeline.Pipeline` or a search that ends in one.
        X : {array-like, DataFrame} of shape (n_samples, n_features)
            The rows to show, for instance those of `fit`, or others held out.
        features : array-like of str or int, default=None
            Columns to show, by name or index, at most 10 of them; all by default. If columns are left out, the rows are
            shown against sampled rows, for that takes no integral over the others.
        feature_names : array-like of str of shape (n_features,), default=None
            Names of the columns; by default those of a DataFrame, else "x0", "x1", ...
        n_samples : int, default=None
            Number of rows to sample for the corner grid, and of rows of X that are shown at most, chosen at random; by
            default as many as X has, up to 1000. One column shows all rows.
        grid_resolution : int, default=100
            Number of points along each column at which the density is evaluated.
        random_state : int, RandomState, Generator or None, default=None
            Seed of the rows sampled and chosen.
        ax : matplotlib Axes, Figure or SubFigure, default=None
            Where to draw, see :meth:`plot`.

        Returns
        -------
        display : DensityDisplay
            The picture and what it shows.

        Raises
        ------
        TypeError
            If the estimator is not a density.
        ValueError
            If the density is one of some columns given others, there are too many columns, a feature is not a column,
            or X does not fit the estimator.
        """
        check_matplotlib_support(f"{cls.__name__}.from_estimator")
        check_is_fitted(estimator)
        density = last_step(estimator)
        if not (is_density(density) or is_generator(density)):
            raise TypeError(f"{cls.__name__} needs a density, got {type(density).__name__}.")
        require_joint([density], cls.__name__)
        X, names = _as_last_step_sees(estimator, X)
        X, schema = _checked_rows(density, X)
        names = _resolved_names(feature_names, names, len(schema.columns_))
        features = _feature_indices(features, names, schema)
        rows = _values(schema, X)[:, features]
        columns = [
            _shown_column(schema.columns_[j], names[j], x)
            for j, x in zip(features, rows.T, strict=True)
        ]
        if n_samples is None:
            n_samples = min(len(rows), MAX_ROWS)
        rng = check_generator(random_state)
        data = {}
        has_scale = score_kind(density) not in ("unnormalised", "none")
        if has_scale and len(features) == len(schema.columns_) <= 2:
            grid = [
                _grid(column, x, grid_resolution) for column, x in zip(columns, rows.T, strict=True)
            ]
            data["grid"], data["density"] = cls._evaluate(density, schema, features, grid)
        else:
            data["sampled"] = _values(schema, draw_rows(density, n_samples, rng))[:, features]
        if len(rows) > n_samples and len(features) > 1:
            rows = rows[rng.choice(len(rows), n_samples, replace=False)]
        display = cls(columns=columns, rows=rows, estimator_name=type(density).__name__, **data)
        return display.plot(ax=ax)

    @staticmethod
    def _evaluate(density, schema, features, grid):
        """Evaluate the density on a grid; return it and the grid as the dtypes of the table can hold it."""
        shape = tuple(map(len, grid))
        values = np.empty((np.prod(shape), len(grid)))
        values[:, features] = np.stack(np.meshgrid(*grid, indexing="ij"), axis=-1).reshape(
            values.shape
        )
        table = _table(schema, values)
        held = _values(schema, table)[:, features].reshape(*shape, len(grid))
        # Along axis k all other indices are 0.
        held = [
            np.moveaxis(held[..., k], k, 0).reshape(shape[k], -1)[:, 0] for k in range(len(grid))
        ]
        return held, np.exp(density.score_samples(table)).reshape(shape)

    def plot(self, ax: Any = None) -> Self:
        """Draw the picture.

        Parameters
        ----------
        ax : matplotlib Axes, Figure or SubFigure, default=None
            Where to draw. Axes for a corner grid are divided and should be empty. By default a new figure is made.

        Returns
        -------
        display : DensityDisplay
            The display, with its artists.

        Raises
        ------
        ValueError
            If the axes for a corner grid have been divided before, or are not part of a grid of subplots.
        """
        check_matplotlib_support(f"{type(self).__name__}.plot")
        import matplotlib.pyplot as plt

        if self.sampled is not None:
            self._plot_corner(ax)
            return self
        if ax is None:
            _, ax = plt.subplots(layout="constrained")
        elif not isinstance(ax, plt.Axes):
            ax = ax.add_subplot()
        self.ax_, self.figure_ = ax, ax.figure
        if len(self.columns) == 2:
            self._plot_surface()
        else:
            self._plot_curve()
        return self

    def _plot_curve(self):
        (column,), ax, x = self.columns, self.ax_, self.rows[:, 0]
        if _has_levels(column):
            self.bars_ = _draw_bars(
                ax, column, _frequencies(column, x), self.density, ("rows", self.estimator_name)
            )
        else:
            edges = _bin_edges(column, x)
            self.histogram_ = _draw_histogram(ax, x, edges, fill=True, label="rows", **ROWS_STYLE)
            (self.line_,) = ax.plot(
                self.grid[0], self.density, color=MODEL_COLOR, label=self.estimator_name
            )
            ax.set_ylim(bottom=0)
        ax.set_ylabel("probability" if column.is_counted else "density")
        _dress_axis(ax.xaxis, column)
        ax.legend()

    def _plot_surface(self):
        import matplotlib

        ax, (x, y) = self.ax_, self.grid
        discrete = any(map(_has_levels, self.columns))
        if discrete or not self.density.any():
            self.surface_ = ax.pcolormesh(
                _edges(x),
                _edges(y),
                self.density.T,
                cmap=MODEL_CMAP,
                vmin=0,
                vmax=self.density.max() or 1,
            )
            self.colorbar_ = self.figure_.colorbar(self.surface_, ax=ax)
        else:
            levels = _contour_levels(self.grid, self.density)
            colors = matplotlib.colormaps[MODEL_CMAP](np.linspace(0.15, 0.85, len(levels) - 1))
            self.surface_ = ax.contourf(x, y, self.density.T, levels=levels, colors=colors)
            self.colorbar_ = self.figure_.colorbar(
                self.surface_, ax=ax, spacing="uniform", format="%.2g"
            )
        counted = all(column.is_counted for column in self.columns)
        self.colorbar_.set_label("probability" if counted else "density")
        rng = np.random.default_rng(0)
        points = [_jittered(c, v, rng) for c, v in zip(self.columns, self.rows.T, strict=True)]
        self.points_ = ax.scatter(
            *points, s=12, color=ROWS_COLOR, edgecolors="white", linewidths=0.4
        )
        _dress_axis(ax.xaxis, self.columns[0])
        _dress_axis(ax.yaxis, self.columns[1])
        ax.set_title(self.estimator_name)

    def _corner_axes(self, ax):
        """Make the axes of the lower triangle."""
        d = len(self.columns)
        self.figure_, grid = _divided(ax, d, d, figsize=(2.5 + 1.5 * d, 2.5 + 1.5 * d))
        self.axes_ = np.full((d, d), None, dtype=object)
        for i, j in zip(*np.tril_indices(d), strict=True):
            self.axes_[i, j] = self.figure_.add_subplot(grid[i, j])

    def _plot_corner(self, ax):
        self._corner_axes(ax)
        d, rng = len(self.columns), np.random.default_rng(0)
        values = np.concatenate([self.rows, self.sampled])
        colors = np.repeat([ROWS_COLOR, MODEL_COLOR], [len(self.rows), len(self.sampled)])
        # In a shuffled order neither rows nor samples hide the others.
        order = rng.permutation(len(values))
        points = [
            _jittered(column, x, rng)
            for column, x in zip(self.columns, values[order].T, strict=True)
        ]
        for i, j in zip(*np.tril_indices(d), strict=True):
            panel = self.axes_[i, j]
            if i == j:
                self._plot_marginal(panel, j)
            else:
                panel.scatter(points[j], points[i], s=5, c=colors[order], alpha=0.5, linewidths=0)
                _dress_axis(panel.yaxis, self.columns[i])
            _dress_axis(panel.xaxis, self.columns[j])
            if i < d - 1:
                panel.tick_params(labelbottom=False)
                panel.set_xlabel("")
            if 0 < j < i:
                panel.tick_params(labelleft=False)
                panel.set_ylabel("")
        self.figure_.align_ylabels(self.axes_[1:, 0])
        # To the right of the first panel nothing is drawn.
        where = {"loc": "upper left", "bbox_to_anchor": (1.05, 1)} if d > 1 else {}
        self.axes_[0, 0].legend(**where).set_in_layout(d == 1)

    def _plot_marginal(self, ax, j):
        column, x, drawn = self.columns[j], self.rows[:, j], self.sampled[:, j]
        labels = ("rows", f"sampled by {self.estimator_name}")
        if _has_levels(column):
            heights = (_frequencies(column, x), _frequencies(column, drawn))
            _draw_bars(ax, column, *heights, labels)
        else:
            edges = _bin_edges(column, x)
            _draw_histogram(ax, x, edges, fill=True, label=labels[0], **ROWS_STYLE)
            _draw_histogram(ax, drawn, edges, color=MODEL_COLOR, linewidth=1.5, label=labels[1])
        ax.set_yticks([])
