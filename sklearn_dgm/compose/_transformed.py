"""Densities behind transformers, in the units of the rows that are handed in."""

from copy import copy
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from sklearn.base import clone
from sklearn.compose import ColumnTransformer
from sklearn.preprocessing import MaxAbsScaler, MinMaxScaler, RobustScaler, StandardScaler
from sklearn.utils import get_tags
from sklearn.utils.metaestimators import available_if

from sklearn_dgm._nested.fitting import fit_density, learn_schema, learns_columns
from sklearn_dgm._nested.measures import given_columns, measures_of
from sklearn_dgm._nested.meta import BaseMetaDensity
from sklearn_dgm._nested.rows import draw_rows, fit_quietly
from sklearn_dgm._nested.scores import scores_and_std
from sklearn_dgm._sklearn import HasMethods, StrOptions, safe_indexing
from sklearn_dgm._typing import MatrixLike, RandomState
from sklearn_dgm._validation import check_flag
from sklearn_dgm.columns import MIXED, ColumnSchema, like_frame
from sklearn_dgm.columns._building import fill
from sklearn_dgm.columns._reading import raw_columns
from sklearn_dgm.columns._ties import Grid
from sklearn_dgm.compose._bijections import Chain, bijection_of
from sklearn_dgm.compose._bounds import bounds_behind, within_bounds
from sklearn_dgm.compose._grids import (
    FLAGS,
    StraightInCells,
    all_grids,
    lost_grids,
    spread_over_cells,
)
from sklearn_dgm.compose._leaves import SEVERAL, Identity
from sklearn_dgm.compose._steps import leaves_of, naming_what_has_no_jacobian, split_steps
from sklearn_dgm.tags import (
    SCORE_KINDS,
    common_density_tags,
    get_density_tags,
    last_step,
    score_kind,
    with_density_tags,
)

# Draws that no row of X maps to are drawn again so often, and by so much they may miss (see `_reached`).
MAX_ROUNDS, CLOSE = 100, 1e-3
# Kinds of columns that only a ColumnTransformer can leave out.
OF_CATEGORIES = ("categorical", "binary")
# Transformers whose columns are straight lines, one each.
LINES = (MaxAbsScaler, MinMaxScaler, RobustScaler, StandardScaler)


@dataclass(frozen=True)
class Transformation:
    """What is known of a table on the way to a density.

    Attributes
    ----------
    columns : ColumnSchema
        Of the rows, with the grids to which numbers were rounded, and bounds.
    transformer : estimator, "passthrough" or None
        The fitted transformer.
    bijection : Identity
        The change of variables that it is.
    grids : dict
        Those that are none any longer behind it, by position of the column.
    params : dict
        Parameters of the density that say where transformed columns have bounds.
    of_density : object or None
        What the density is told of transformed columns.
    """

    columns: ColumnSchema
    transformer: Any
    bijection: Identity
    grids: dict[int, Grid]
    params: dict[str, Any] = field(default_factory=dict)
    of_density: Any = None


def _takes_features(density):
    if not hasattr(density, "_density"):
        return hasattr(last_step(density.estimator), "score_features")
    return hasattr(density._density, "score_features") and not (density._source == SEVERAL).any()


def _can_condition(density):
    if not hasattr(density, "_density"):
        return hasattr(last_step(density.estimator), "conditional_sample")
    is_whole = density._bijection.is_invertible and density._bijection.reaches_all
    is_apart = not (density._source == SEVERAL).any()
    passes = _passes_missing(density) and is_whole and is_apart
    return hasattr(density._density, "conditional_sample") and passes


class TransformedDensity(BaseMetaDensity):
    """Density of rows by a density of transformed rows, and by how much the transformation stretches space.

    A :class:`~sklearn.pipeline.Pipeline` of a scaler and a density reports the density of the scaled rows, which is the
    higher the more the scaler shrinks them. This one reports that of the rows that are handed in, by the change of
    variables ``log p(x) = log p(z) + log |det dz / dx|``, and draws such rows. Scores behind different transformers
    compare, so that a search can choose between them.

    Parameters
    ----------
    transformer : estimator, "passthrough" or None
        A transformer that can be inverted and whose Jacobian :func:`~sklearn_dgm.log_abs_det_jacobian` knows: a scaler,
        `PowerTransformer`, `QuantileTransformer`, `PCA` with all components,
        :class:`~sklearn_dgm.compose.DifferentiableFunctionTransformer`, a `ColumnTransformer` or a `Pipeline` of these,
        or one that is registered. With "passthrough" or None rows stay as they are.
    estimator : estimator
        A density, or a search over one. If it is a Pipeline that ends in one, its transformers count as well.

    Attributes
    ----------
    transformer_ : estimator, "passthrough" or None
        The fitted transformer.
    estimator_ : estimator
        The density, fitted to transformed rows.
    score_kind_ : {"exact", "lower bound", "estimate"}
        What `score_samples` returns: as the density has it, but "lower bound" where a function that the user has given
        does not reach all numbers, so that what the density has beyond is lost (as `numpy.exp` reaches none below 0).
    n_features_in_ : int
        Number of columns seen in `fit`.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Their names, where X has string column names.

    See Also
    --------
    log_abs_det_jacobian : The registry of Jacobians.
    sklearn.compose.TransformedTargetRegressor : The same idea for the target of a regression.

    Notes
    -----
    **Measure.** A column that is scaled becomes continuous: of counts behind a scaler the score is a density, not a
    probability, and does not compare with that of a density that counts. Columns that a `ColumnTransformer` passes
    through stay what the density takes them for, with their dtypes and names if X is a DataFrame (an array has one
    dtype for all of them, so name counts in the density's `integer_features`). A cell that the density gives a
    probability, such as a count or a value of a float column that repeats, takes no part in the Jacobian; neither does
    a missing cell, nor a cell that a conditional density is given.

    **Beyond the range of the fit.** Some transformers map all that lies beyond to one point, or reach some numbers
    only. So that the density integrates to one and new rows beyond are not impossible, they are continued:
    `MinMaxScaler(clip=True)` by its own line, as if it did not clip; `QuantileTransformer`, whose distinct quantiles
    are joined by lines, and `PowerTransformer`, on a side where its powers are bounded, from the last row of the fit on
    by a line as steep as the one between both ends (over ``log x`` towards the zero of Box and Cox). Values that are
    outside of a function's domain (numbers up to 0 for Box and Cox) are impossible.

    **Values that repeat**, as rounded ones do, have no density but peaks, and a density can be raised by them at will.
    The networks of this package look for the grid on which numbers were recorded, which is none behind a curve. So
    before one of them this estimator looks for it in X, makes the curve of a column a straight line in each cell of its
    grid, and fits the network to values that are spread evenly over their cells; what is drawn is rounded to the grid.
    Where columns are mixed (PCA), and behind curves of a Pipeline within `estimator`, values are spread, but curves
    stay as they are. Before densities that know of no grids, such as `GaussianMixture`, nothing of this is done; let a
    search choose between curves only if columns do not repeat values.

    **Bounds.** A density of this package that stands directly in `estimator`, or in an ensemble there, is told where
    the columns of X have bounds (such as that one is never negative; see :class:`~sklearn_dgm.columns.ColumnSchema`),
    if its own `bounds` are None: they become those of the transformed column (``estimator_.bounds``), if that is a
    function of this column alone which has a finite value at the bound. In pipelines and searches within `estimator`
    columns have the bounds that transformed values speak for, and behind transformers that mix columns some draws may
    be negative.

    **Training that goes on.** With ``estimator__warm_start=True`` a second `fit` goes on with the training of the
    density, and leaves the transformer as it is.

    **Weights** go to the density, and to each transformer that takes them; rows of weight 0 are left out for all. If
    the density takes none, they must be whole numbers, and rows are repeated.

    **Draws** need a density that has `sample`, and transformers that have an inverse. A column has the dtype of `fit`
    if that can hold what is drawn: integers behind a scaler are drawn as floats by densities that know of no grids.

    **Errors.** `fit` raises a TypeError if no Jacobian of a transformer is known, and a ValueError if a transformer
    loses information, or its inverse or Jacobian is wrong.

    References
    ----------
    .. [1] G. Papamakarios, E. Nalisnick, D. J. Rezende, S. Mohamed, B. Lakshminarayanan, "Normalizing Flows for
       Probabilistic Modeling and Inference", Journal of Machine Learning Research 22 (2021),
       https://jmlr.org/papers/v22/19-1028.html

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklearn.mixture import GaussianMixture
    >>> from sklearn.model_selection import GridSearchCV
    >>> from sklearn.preprocessing import MinMaxScaler, PowerTransformer, StandardScaler
    >>> from sklearn_dgm import TransformedDensity, mean_log_likelihood
    >>> X = load_iris().data
    >>> density = TransformedDensity(StandardScaler(), GaussianMixture(3, random_state=0))
    >>> candidates = {"transformer": [StandardScaler(), MinMaxScaler((0, 1e-3)), PowerTransformer()]}
    >>> search = GridSearchCV(density, candidates, scoring=mean_log_likelihood).fit(X[::-1])
    >>> density.fit(X).sample(2, random_state=0).shape
    (2, 4)
    """

    _n_subtasks = 1

    _parameter_constraints: dict = {
        "transformer": [HasMethods(["fit", "transform"]), StrOptions({"passthrough"}), None],
        "estimator": [HasMethods(["fit", "score_samples"])],
    }

    def __init__(self, transformer: Any, estimator: Any) -> None:
        self.transformer = transformer
        self.estimator = estimator

    def _fit_within(self, X, sample_weight, schema, task):
        with self._naming_what_has_no_jacobian():
            self._learn(X, sample_weight, schema, task.subtask("fit density"))

    def _learn_schema(self, X, sample_weight):
        if not learns_columns(self.estimator):
            return None
        with self._naming_what_has_no_jacobian():
            transformation, Z = self._fit_transformer(X, sample_weight)
        estimator = clone(self.estimator).set_params(**transformation.params)
        of_density = learn_schema(estimator, Z, sample_weight)
        return None if of_density is None else replace(transformation, of_density=of_density)

    def _naming_what_has_no_jacobian(self):
        return naming_what_has_no_jacobian([self.transformer, *split_steps(self.estimator)[0]])

    def _make_schema(self):
        return ColumnSchema(
            integer_features=None,
            standardize=False,
            missing=_allows_missing(self),
            detect_ties=get_density_tags(self.estimator).ties,
            bounds=None,
        )

    def _fit_transformer(self, X, sample_weight):
        """Fit schema and transformer; return them with the rows that the density sees."""
        columns = fit_quietly(self._make_schema(), X, sample_weight)
        transformer = self.transformer
        if hasattr(transformer, "fit"):
            transformer = fit_density(clone(transformer), X, sample_weight)
        bijection, grids = bijection_of(transformer).fit(X), {}
        if columns.detect_ties:
            grids = lost_grids(bijection, X, columns.columns_)
            apart = bijection.track(np.arange(X.shape[1]))
            of_apart = {j: grid for j, grid in grids.items() if j in apart}
            if of_apart:
                bijection = StraightInCells(bijection, X, of_apart)
            leaves = [leaf for step in split_steps(self.estimator)[0] for leaf in leaves_of(step)]
            if any(not isinstance(leaf, LINES) for leaf in leaves):
                grids = all_grids(X, columns.columns_)
        Z = spread_over_cells(X, grids, bijection)
        params = bounds_behind(
            bijection, self.estimator, X, Z, sample_weight, columns.columns_, grids
        )
        return Transformation(columns, transformer, bijection, grids, params), Z

    def _check_schema(self, schema, X):
        is_own = isinstance(schema, Transformation)
        if not is_own or repr(schema.transformer) != repr(self.transformer):
            raise ValueError(
                "schema should be what learn_schema of a density with the same parameters returns."
            )
        self._make_schema().check_alike(schema.columns, X)

    def _continues(self):
        """Tell whether the density goes on with its training, behind the transformer that it knows."""
        density = self.estimator
        while isinstance(density, TransformedDensity):
            density = density.estimator
        last = getattr(self, "estimator_", None)
        return getattr(density, "warm_start", False) and type(last) is type(self.estimator)

    def _learn(self, X, sample_weight, schema, task):
        estimator, Z = clone(self.estimator), None
        if self._continues():
            estimator = copy(self.estimator_).set_params(**estimator.get_params(deep=False))
            schema = self._transformation
        elif schema is None:
            schema, Z = self._fit_transformer(X, sample_weight)
        else:
            self._check_schema(schema, X)
        self._transformation = schema
        self._schema, self._lost = schema.columns, schema.grids
        self._grids = all_grids(X, schema.columns.columns_) if schema.columns.detect_ties else {}
        transformer, outer = schema.transformer, schema.bijection
        if Z is None:
            Z = spread_over_cells(X, schema.grids, outer)
        estimator.set_params(**schema.params)
        estimator = fit_density(estimator, Z, sample_weight, schema.of_density, task)
        steps, self._density = split_steps(estimator)
        inner = Chain([bijection_of(step) for step in steps]).fit(Z)
        self._bijection = Chain([outer, inner])
        self._source = self._bijection.track(np.arange(X.shape[1]))
        self._check_probabilities(inner.forward(Z, np.zeros(Z.shape))[0])
        self.transformer_, self.estimator_ = transformer, estimator

    def _score_kind(self, kind_of=score_kind):
        own = "exact" if self._bijection.reaches_all else "lower bound"
        return max(own, super()._score_kind(kind_of), key=SCORE_KINDS.index)

    def _measures(self):
        """Return the measure of each column, atoms where they are in X; see :func:`measures_of`."""
        of_z = measures_of(self._density)
        if of_z is None:
            return None
        mixed = self._source == SEVERAL
        is_given = mixed.any() and given_columns(self._density)[mixed].all()
        of_x = ["given" if is_given else "continuous"] * len(self._source)
        for place, j in enumerate(self._source):
            if j != SEVERAL:
                of_x[j] = of_z[place]
                if not isinstance(of_z[place], str):
                    columns = [np.zeros(len(of_z[place]))] * len(of_z)
                    columns[place] = np.array(of_z[place])
                    of_x[j] = tuple(np.sort(self._bijection.inverse(columns)[j]).tolist())
        return of_x

    def _check_probabilities(self, Z):
        """Refuse a transformer that mixes columns of which one has a density, and another probabilities or nothing."""
        mixed = self._source == SEVERAL
        given = given_columns(self._density)[mixed]
        if given.any() and not given.all():
            raise ValueError(
                f"{type(self._density).__name__} is conditional on column {np.flatnonzero(mixed)[given][0]} of the "
                "transformed rows, and a transformer mixes columns that are given with others; let a ColumnTransformer "
                "keep them apart."
            )
        found = _have_no_density(self._density, Z)[:, mixed]
        if (found.any(axis=1) & ~found.all(axis=1)).any():
            j = int(np.flatnonzero(mixed)[found.any(axis=0)][0])
            raise ValueError(
                f"{type(self._density).__name__} gives values of column {j} of the transformed rows a probability, "
                "since they repeat or are integers. Such a column has no density after a transformer that mixes "
                "columns; let column_kinds or integer_features say that it is continuous."
            )

    def _check(self, X):
        X = super()._check(X)
        self._schema.encode(X)  # an error of it names the column
        return X

    def _forward(self, X):
        """Return transformed rows, the log-slopes of their cells, and flags of the possible rows."""
        Z, log_slopes = self._bijection.forward(X, np.zeros(X.shape))
        return Z, log_slopes, ~np.isneginf(log_slopes).any(axis=1)

    def _forward_with_jacobian(self, X):
        """Return transformed rows, their log-Jacobian (n_samples, n_features), and flags of the possible ones."""
        Z, log_det, possible = self._forward(X)
        log_det[_have_no_density(self._density, Z)] = 0.0
        return Z, log_det, possible

    def _score_rows(self, X):
        Z, log_det, possible = self._forward_with_jacobian(X)
        std = np.zeros(len(possible))

        def score(Z):
            log_density, std[possible] = scores_and_std(self._density, Z)
            return log_density

        return self._score_possible(score, Z, log_det.sum(axis=1), possible), std

    @available_if(_takes_features)
    def score_features(self, X: MatrixLike) -> MatrixLike:
        """Return the share of each column in the log-density, as the density has it.

        Only there if the density has `score_features`, and no transformer mixes columns.

        Parameters
        ----------
        X : {array-like, DataFrame} of shape (n_samples, n_features)
            Rows to score.

        Returns
        -------
        log_density : {ndarray, DataFrame} of shape (n_samples, n_features)
            Log-densities in nats, in the units of X, with column names and index if X is a DataFrame. The sums of the
            rows are `score_samples(X)`; all cells of an impossible row are `-inf`.
        """
        X = self._check(X)
        Z, log_det, possible = self._forward_with_jacobian(X)
        scores = self._score_possible(self._density.score_features, Z, log_det, possible)
        return like_frame(scores[:, np.argsort(self._source)], X)

    def _score_possible(self, score, Z, log_det, possible):
        """Score the possible rows, plus their log-Jacobian; `-inf` for the others."""
        scores = np.full(log_det.shape, -np.inf)
        if possible.any():
            rows = np.flatnonzero(possible)
            with np.errstate(over="ignore"):  # an infinite distance is an impossible point
                found = np.asarray(score(Z if possible.all() else safe_indexing(Z, rows)))
            scores[rows] = np.where(np.isneginf(found), -np.inf, found + log_det[rows])
        return scores

    def _can_sample(self):
        if not hasattr(self, "_density"):
            return hasattr(last_step(self.estimator), "sample")
        return hasattr(self._density, "sample") and self._bijection.is_invertible

    def _sample_rows(self, n_samples, rng):
        drawn, n_drawn = [], 0
        for _ in range(MAX_ROUNDS):
            drawn.append(self._draw(n_samples, rng))
            n_drawn += len(drawn[-1][0])
            if n_drawn >= n_samples:
                break
        else:
            raise ValueError("Hardly any draw of the density is the image of a row of X.")
        columns = [np.concatenate(parts)[:n_samples] for parts in zip(*drawn, strict=True)]
        return self._as_fitted(self._on_grids(columns))

    def _draw(self, n_samples, rng):
        """Draw n_samples rows of X, as columns; fewer if some draws of the density have no preimage."""
        Z = draw_rows(self._density, n_samples, rng)
        columns = self._invert(Z)
        if self._bijection.reaches_all:
            return columns
        again, _, reached = self._forward(self._as_fitted(columns))
        for drawn, of in zip(raw_columns(Z), raw_columns(again), strict=True):
            if drawn.values.dtype.kind == "f":
                z, back = drawn.spread(drawn.values), of.spread(of.values.astype(np.float64))
                # A column without values has none to miss.
                reached &= np.isnan(z) | (np.abs(back - z) <= CLOSE * (1 + np.abs(z)))
        return [column[reached] for column in columns]

    @available_if(_can_condition)
    def conditional_sample(
        self,
        X: MatrixLike,
        n_samples: int = 1,
        random_state: RandomState = None,
        *,
        return_ess: bool = False,
    ) -> MatrixLike:
        """Draw the missing cells of rows given their observed cells.

        Only there if the density has `conditional_sample`, and each column is transformed by itself, onto all numbers,
        by transformers that take missing cells.

        Parameters
        ----------
        X : {array-like, DataFrame} of shape (n_rows, n_features)
            Rows with missing cells.
        n_samples : int, default=1
            Number of draws of each row.
        random_state : int, RandomState, Generator or None, default=None
            Seed for reproducible rows. With None two calls differ, and no global generator is touched.
        return_ess : bool, default=False
            Whether to return the effective sample sizes, too.

        Returns
        -------
        completed : {ndarray, DataFrame} of shape (n_rows * n_samples, n_features)
            The draws of the first row, then those of the second, ..., in the container and with the column names seen
            in `fit`, and with the index of X, if it has one. Observed cells are as given.
        ess : ndarray of shape (n_rows,)
            Only with ``return_ess=True``: effective sample sizes, as the density has them.

        Raises
        ------
        ValueError
            If a transformer cannot take a row, or the density cannot.
        """
        check_flag(return_ess, "return_ess")
        X = super()._check(X)
        self._schema.with_missing().encode(X)  # an error of it names the column
        Z, _, possible = self._forward(X)
        if not possible.all():
            raise ValueError(f"row {np.flatnonzero(~possible)[0]} of X is impossible.")
        drawn, ess = self._density.conditional_sample(Z, n_samples, random_state, return_ess=True)
        columns = self._on_grids(self._invert(drawn))
        for j, given in enumerate(raw_columns(X)):
            observed = given.observed_or_all.repeat(n_samples)
            made = self._schema.columns_[j].as_fitted(np.asarray(columns[j]))
            cells = given.as_given if made.dtype.kind == "O" else given.values
            are_numbers = {made.dtype.kind, cells.dtype.kind} <= set("iuf")
            are_times = made.dtype.kind == cells.dtype.kind in "mM"
            kind = (
                np.result_type(made, cells) if are_numbers else made.dtype if are_times else object
            )
            columns[j] = made.astype(kind)
            columns[j][observed] = cells.repeat(n_samples)
        completed = self._as_fitted(columns)
        if hasattr(X, "index") and hasattr(completed, "index"):
            completed.index = X.index.repeat(n_samples)
        return (completed, ess) if return_ess else completed

    def _invert(self, Z):
        """Return columns of X that rows of the density come from, NaN where a cell is missing."""
        return self._bijection.inverse([column.spread(column.values) for column in raw_columns(Z)])

    def _on_grids(self, columns):
        """Put columns on their grids, where the row stays possible and the density takes it, too."""
        columns = [self._within_bounds(j, column) for j, column in enumerate(columns)]
        rounded = list(columns)
        for j, grid in self._grids.items():
            x = np.asarray(columns[j], dtype=np.float64)
            on_grid = grid.values(grid.cells(x))
            if j not in self._lost:  # a density that knows the grid misses it by some last bits
                is_close = np.abs(on_grid - x) <= CLOSE**2 * grid.resolution
                on_grid = np.where(is_close, on_grid, x)
            rounded[j] = self._within_bounds(j, on_grid)
            if grid is FLAGS and np.isin(on_grid.clip(0, 1), [0, 1]).all():
                rounded[j] = on_grid.clip(0, 1).astype(bool)
        if not self._lost:
            return rounded
        possible = self._forward(self._as_fitted(rounded))[2]
        if possible.all():
            return rounded
        return [
            x if np.asarray(x).dtype == bool else np.where(possible, x, as_drawn)
            for x, as_drawn in zip(rounded, columns, strict=True)
        ]

    def _within_bounds(self, j, x):
        """Move numbers that last bits put beyond the bounds of their column back."""
        column = self._schema.columns_[j]
        is_told = self._transformation.params and column.is_bounded
        return within_bounds(x, column) if is_told else x

    def _as_fitted(self, columns):
        """Return a list of columns in the container of `fit`."""
        blocks = [
            _block_of(of.as_fitted(np.asarray(column)))
            for of, column in zip(self._schema.columns_, columns, strict=True)
        ]
        return fill(self._schema._template, blocks, len(columns[0]), clip=False)

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        steps, last = split_steps(self.estimator)
        of_density = common_density_tags([last])
        # Transformers are those of the columns of a table.
        of_density.sequences = of_density.sparse = False
        of_density.missing = _allows_missing(self)
        of_density.warm_start_within = True
        takes_all = all(
            isinstance(step, ColumnTransformer) or not leaves_of(step)
            for step in [self.transformer, *steps]
        )
        if not takes_all:
            kinds = of_density.column_kinds
            of_density.column_kinds = tuple(k for k in kinds if k not in OF_CATEGORIES)
        return with_density_tags(tags, of_density)


def _block_of(column):
    if column.dtype.kind == "O":  # or frames could not tell numbers
        column = np.array(column.tolist()) if _all_numbers(column) else column
    return lambda rows: (column[rows], None)


def _all_numbers(column):
    return all(isinstance(value, int | float | np.number) for value in column)


def _have_no_density(density, Z):
    """Flag the cells that have a probability, or are given, and so no Jacobian, of shape (n_samples, n_features)."""
    if isinstance(density, TransformedDensity):
        of_z, source = _have_no_density(density._density, density._forward(Z)[0]), density._source
        mixed = source == SEVERAL
        # Of columns that a transformer mixes, all have a density or none has.
        of_x = np.repeat(of_z[:, mixed].all(axis=1)[:, None], len(source), axis=1)
        of_x[:, source[~mixed]] = of_z[:, ~mixed]
        return of_x
    return _have_mass(density, Z) | given_columns(density)


def _have_mass(density, Z):
    """Flag the cells that have a probability rather than a density."""
    schema = getattr(density, "schema_", None)
    if schema is None:
        return np.zeros(Z.shape, dtype=bool)
    # Without atoms it is the column alone that says so.
    encoded = schema.encode(Z)[0] if MIXED in schema.kinds_ else np.zeros(Z.shape)
    pairs = zip(schema.columns_, encoded.T, strict=True)
    return np.column_stack([column.has_mass(z) for column, z in pairs])


def _allows_missing(density):
    """Tell whether the density and all transformers before it take missing cells."""
    last = split_steps(density.estimator)[1]
    return _passes_missing(density) and get_tags(last).input_tags.allow_nan


def _passes_missing(density):
    """Tell whether all transformers before the density take missing cells."""
    steps = split_steps(density.estimator)[0]
    leaves = [leaf for step in [density.transformer, *steps] for leaf in leaves_of(step)]
    tags = [get_tags(leaf) for leaf in leaves]
    return all(tag.input_tags.allow_nan or tag.no_validation for tag in tags)
