"""The road between a user's table and the numbers a model works on.

A :class:`ColumnSchema` learns what kind each column is (continuous, rounded, mixed, integer or categorical), turns rows
into one float64 matrix, and turns such a matrix back into the container, the column names and the dtypes that it was
fitted on. A change of scale changes a density, so the logarithm of the Jacobian travels with every encoding.
"""

import functools
from copy import copy
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sklearn_dgm._state import Stateful
from sklearn_dgm._typing import MatrixLike
from sklearn_dgm.columns._bounds import check_bounds, with_bounds
from sklearn_dgm.columns._building import fill, template_of
from sklearn_dgm.columns._column import CATEGORICAL, CONTINUOUS, INTEGER, MIXED, ROUNDED
from sklearn_dgm.columns._dtypes import check_content
from sklearn_dgm.columns._frames import is_frame
from sklearn_dgm.columns._kinds import check_kinds, is_from_dtype, resolve_kinds
from sklearn_dgm.columns._learning import ColumnLearner, with_ties
from sklearn_dgm.columns._names import by_position, positions_of
from sklearn_dgm.columns._reading import raw_columns
from sklearn_dgm.columns._values import as_float, numbers_of

HANDLE_UNKNOWN = ("impossible", "error", "rare")

# Longer tables are printed without their middle.
FIRST_PRINTED, LAST_PRINTED = 15, 5


class ColumnSchema(Stateful):
    """Kinds and scales of the columns of a table, with the way there and back.

    Categorical columns become codes 0, 1, ... (-1 for a category that was not fitted, -2 for what lies beyond bounds).
    Integer columns are counted from their smallest value (from their median, if that value is far out), in steps of
    one, or, with bounds, from the first to the second of two values, and continuous and mixed columns are standardised
    (by what most of their values are, if a few far out would set the scale), or all of these keep their units. Rounded
    columns become the numbers of the cells of their grid. Times are taken as continuous. A missing cell is NaN.

    With `detect_ties`, numbers or times that are the same in all fitted rows make a column categorical, with this value
    as its one category, whatever its dtype and `column_kinds` say: it has a probability of one, so that the column adds
    0 to a score, all draws have it, and there is nothing to learn. Another value is an unknown category, see
    `handle_unknown`.

    Parameters
    ----------
    categorical_features : "from_dtype", array-like or None, default="from_dtype"
        Columns that hold categories: by dtype (strings, booleans, categories and other objects), or by name, index or
        boolean mask, or none of them. Where an integer is the label of one column and the position of another, it is
        refused.
    integer_features : "from_dtype", array-like or None, default="from_dtype"
        Columns that hold whole numbers and get a probability mass rather than a density: by dtype, or by name, index or
        boolean mask, or none of them (integers are then treated as continuous).
    standardize : bool, default=True
        Whether continuous columns are centred and scaled, integer columns start at 0 and times at the first one, in
        float64. Without it times are counted from 1970.
    missing : bool, default=False
        Whether cells may be missing (NaN, None, NA, NaT, null).
    detect_ties : bool, default=False
        Whether continuous columns of at least 50 rows are looked through for a grid, which makes them rounded, and for
        single values that hold mass, which makes them mixed.
    column_kinds : dict, default=None
        Kinds of columns by name or index; these come before dtypes, the other parameters and what is detected. A column
        without any value is categorical whatever they say, with the missing cell as its one category.
    handle_unknown : {"impossible", "error", "rare"}, default="impossible"
        What a category that was not fitted is: impossible, an error, or as likely as a new one was at the end of the
        fitted rows [1]_ (`Column.unknown_share`, which it is for the density to give).
    bounds : dict, "observed", None or False, default=False
        Where numbers can lie, for densities that keep to it. With None the fitted rows decide: integer and rounded
        columns of two values have just these; other columns without a value below zero have none (but for points in
        time, and for floats with a single 0, where a scaler may have put it); and what lies beyond the smallest and the
        largest value of other integer and rounded columns has at most the probability that a new value had at the end
        of the fitted rows [1]_. "observed" keeps all numbers between the smallest and the largest fitted value. A dict
        gives pairs of a lower and an upper bound by column name or index, in the units of the table, of which both are
        possible values (times of columns of times, or strings of ISO 8601, with a zone where the column has one); None
        leaves a side to the fitted rows, and an infinite number frees it. "observed" may stand for a pair. What lies
        beyond a bound is impossible, whatever `handle_unknown` says. Numbers that are all the same must lie within, and
        any other one within is an unknown category; a column without any value has no bounds. With False there are
        none.
    given : array-like of str or int, default=None
        Columns that a conditional density is given, by name or index: they have no density, and no Jacobian.
    allowed_kinds : tuple of str, default=("continuous", "integer", "categorical")
        Kinds of columns that there may be, but for those that are given; see :class:`~sklearn_dgm.tags.DensityTags`.

    Attributes
    ----------
    columns_ : list of Column
        What is known of each column.
    given_ : ndarray of bool of shape (n_features,)
        Which columns a conditional density is given.

    Notes
    -----
    **Dtypes of later tables.** A column holds numbers, booleans, strings, bytes, dates, times without a zone, times
    with a zone or durations: those of its dtype, of its categories, or of Python objects that are all of one of these.
    What `encode` takes is decided by these alone, not by the container, nor by the size, the unit or the zone; the rest
    is an error that names the column and both dtypes.

    ===================  ==============================================================================================
    in `fit`             taken later
    ===================  ==============================================================================================
    numbers              numbers of any dtype (integers, floats, nullable ones, Decimals); booleans as 0 and 1
    booleans             booleans; numbers, of which 0 and 1 are False and True
    strings              strings, as such, as objects or as categories
    bytes                bytes
    dates                dates; times without a zone, in days since midnight
    times without zone   times without a zone, in any unit; dates as their midnight
    times with a zone    times with a zone, whichever it is
    durations            durations in any unit
    other objects        all, cell by cell
    no value             all, as unknown categories
    ===================  ==============================================================================================

    Columns of Python objects are what dtypes of their contents would be: whole numbers are integers, and come back as
    int. Other objects are those of several types, and those of types that are not named here. Columns without any value
    are taken whatever their dtype. Later objects of several types are taken cell by cell in columns of numbers, where
    each must be a number, and in categorical columns, where those of another type are unknown categories. Strings stay
    numbers where `fit` was told to read them as such.

    References
    ----------
    .. [1] I. J. Good, "The population frequencies of species and the estimation of population parameters", Biometrika
       40 (1953), https://doi.org/10.1093/biomet/40.3-4.237

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_dgm.columns import ColumnSchema
    >>> X = np.array([["red", 1.0], ["blue", 3.0]], dtype=object)
    >>> schema = ColumnSchema().fit(X)
    >>> schema
    column  dtype   kind         details
    0       object  categorical  2 categories
    1       object  continuous   1 to 3
    >>> Z, log_det = schema.encode(X)
    >>> Z
    array([[ 1., -1.],
           [ 0.,  1.]])
    >>> schema.decode(Z).tolist()
    [['red', 1.0], ['blue', 3.0]]
    """

    # Whether what all columns say together holds of each.
    is_one_column = False

    def __init__(
        self,
        categorical_features: Any = "from_dtype",
        integer_features: Any = "from_dtype",
        *,
        standardize: bool = True,
        missing: bool = False,
        detect_ties: bool = False,
        column_kinds: dict[Any, Any] | None = None,
        handle_unknown: Literal["impossible", "error", "rare"] = "impossible",
        bounds: Any = False,
        given: Any = None,
        allowed_kinds: tuple[str, ...] = (CONTINUOUS, INTEGER, CATEGORICAL),
    ) -> None:
        self.categorical_features = categorical_features
        self.integer_features = integer_features
        self.standardize = standardize
        self.missing = missing
        self.detect_ties = detect_ties
        self.column_kinds = column_kinds
        self.handle_unknown = handle_unknown
        self.bounds = bounds
        self.given = given
        self.allowed_kinds = allowed_kinds

    def fit(self, X: MatrixLike, sample_weight: ArrayLike | None = None) -> Self:
        """Learn kinds, categories, ranges and scales.

        Parameters
        ----------
        X : {ndarray, DataFrame} of shape (n_samples, n_features)
            A table that has passed scikit-learn's shape checks.
        sample_weight : ndarray of shape (n_samples,), default=None
            Weights for the means and standard deviations. Rows of weight 0 are checked, but not learnt from.

        Returns
        -------
        self : ColumnSchema
            The fitted schema.

        Raises
        ------
        ValueError
            If a value is missing without ``missing=True``, one is infinite, a column is of a kind that is not allowed,
            or a parameter names no column or does not fit the values of one.
        TypeError
            If a column holds neither numbers, times nor hashable values.
        """
        if self.handle_unknown not in HANDLE_UNKNOWN:
            raise ValueError(
                f"handle_unknown should be one of {HANDLE_UNKNOWN}, got {self.handle_unknown!r}."
            )
        check_bounds(self.bounds)
        weight = np.ones(X.shape[0]) if sample_weight is None else sample_weight
        raw = raw_columns(X)
        self.check_missing(raw)
        features = {CATEGORICAL: self.categorical_features, INTEGER: self.integer_features}
        kinds, chosen = resolve_kinds(raw, weight, features, self.column_kinds)
        columns, numbers = self._learn(raw, kinds, weight)
        if self.detect_ties:
            columns = with_ties(columns, numbers, weight, chosen)
        if self.bounds is not False:
            columns = with_bounds(columns, numbers, weight, self.bounds, rescales=self.standardize)
        self.columns_ = columns
        self.given_ = np.zeros(len(raw), dtype=bool)
        self.given_[positions_of(self.given, [r.label for r in raw], "given")] = True
        check_kinds(self.columns_, self.given_, self.allowed_kinds)
        numeric = [column.label for column in self.columns_ if not column.is_categorical]
        self._template = template_of(X, numeric)
        return self

    def _learn(self, raw, kinds, weight):
        """Learn each column; return also its numbers, NaN where a cell is missing."""
        learner = ColumnLearner(self.standardize, self.detect_ties, self.handle_unknown == "rare")
        columns, numbers = [], []
        for r, kind in zip(raw, kinds, strict=True):
            column, x = learner.learn(r, kind, weight)
            columns.append(column)
            numbers.append(r.spread(x))
        return columns, numbers

    def check_missing(self, raw):
        """Refuse columns with missing cells, unless such are taken."""
        for r in raw:
            if r.observed is not None and not self.missing:
                row = int(np.flatnonzero(~r.observed)[0])
                raise ValueError(
                    f"Input X contains NaN in {r.where}, row {row} (a missing value). No missing values are taken; "
                    "DensityImputer fills them in."
                )

    def check_alike(
        self, schema: Any, X: MatrixLike, sample_weight: ArrayLike | None = None
    ) -> Any:
        """Check that a fitted schema can stand in for this one, and knows all categories of the rows.

        Parameters
        ----------
        schema : ColumnSchema
            A fitted schema.
        X : {ndarray, DataFrame} of shape (n_samples, n_features)
            The table that it is to encode.
        sample_weight : ndarray of shape (n_samples,), default=None
            Weights of the rows; nothing is learnt from those of weight 0.

        Returns
        -------
        schema : ColumnSchema
            The fitted schema.

        Raises
        ------
        ValueError
            If it was learnt from other columns, has columns of other kinds or that are given by its parameters, encodes
            numbers or missing cells in another way, or does not know a category of the rows, which the message names.
        """
        options = ("standardize", "missing", "detect_ties", "handle_unknown", "bounds")
        is_alike = isinstance(schema, ColumnSchema) and all(
            getattr(schema, option) == getattr(self, option) for option in options
        )
        labels = [raw.label for raw in raw_columns(X)]
        if (
            not is_alike
            or [column.label for column in schema.columns_] != labels
            or schema._named(labels) != self._named(labels)
        ):
            raise ValueError(
                "schema should be what learn_schema of a density with the same parameters returns for rows with the same "
                "columns."
            )
        schema._check_known(X, sample_weight)
        return schema

    def _named(self, labels):
        """Return what parameters say of columns, by position: names, masks and arrays do not compare."""
        kinds = by_position(self.column_kinds or {}, labels, "column_kinds")
        said = [{*self.allowed_kinds}, kinds]
        for name in ("categorical_features", "integer_features", "given"):
            features = getattr(self, name)
            by_dtype = is_from_dtype(features)
            said.append(features if by_dtype else {*positions_of(features, labels, name)})
        return said

    @property
    def kinds_(self):
        """Kind of each column, as an ndarray of shape (n_features,)."""
        return np.array([column.kind for column in self.columns_])

    @property
    def log_det_(self):
        """Log-Jacobian of the encoding, one number for each column, of shape (n_features,)."""
        # Whole numbers are counted, whatever their step.
        scales = np.array([1.0 if c.is_counted else c.scale for c in self.columns_])
        scales[self.given_] = 1.0
        return -np.log(scales)

    def encode(self, X: MatrixLike) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Turn a table into a float64 matrix.

        Parameters
        ----------
        X : {ndarray, DataFrame} of shape (n_samples, n_features)
            Rows with the fitted columns.

        Returns
        -------
        Z : ndarray of shape (n_samples, n_features)
            Codes, counts, cells and standardised values; NaN where a cell is missing, but 0 in a column that had no
            value in `fit`. May share memory with X.
        log_det : ndarray of shape (n_samples,)
            ``log |d z / d x|``, to be added to log-densities of Z; :meth:`log_det_features` has it by column.

        Raises
        ------
        ValueError
            If a value is missing without ``missing=True``, infinite, no number in a numeric column, or an unknown
            category under ``handle_unknown="error"``, or the dtype of a column does not go with that of `fit` (see
            Notes), or a DataFrame has the columns of `fit` in another order.
        """
        in_numbers = CATEGORICAL not in self.kinds_ and not any(c.clock for c in self.columns_)
        if isinstance(X, np.ndarray) and X.dtype.kind in "fiu" and in_numbers:
            Z = self._encode_numbers(X)
        else:
            Z = np.empty((X.shape[0], len(self.columns_)))
            for j, (column, r) in enumerate(zip(self.columns_, self._raw_columns(X), strict=True)):
                Z[:, j] = r.spread(self._encode_column(column, r))
                if column.empty:
                    Z[np.isnan(Z[:, j]), j] = 0.0
        return Z, np.broadcast_to(self.log_det_features(Z).sum(axis=-1), len(Z))

    def with_missing(self) -> "ColumnSchema":
        """Return a schema like this one that also encodes rows with missing cells.

        Returns
        -------
        schema : ColumnSchema
            It shares the columns of this one.
        """
        schema = copy(self)
        schema.missing = True
        return schema

    def _encode_column(self, column, raw):
        """Encode the observed cells of a column, whose unknown categories may be errors."""
        z = column.encode(raw)
        if self.handle_unknown == "error" and column.is_categorical and (z < 0).any():
            raise ValueError(
                f"{raw.where} holds {raw.values[z < 0].tolist()[0]!r} in row {raw.row(z < 0)}, a category that fit has "
                "not seen."
            )
        return z

    def _check_known(self, X, sample_weight):
        """Refuse rows with a category that the schema does not know, but for those of weight 0."""
        if CATEGORICAL not in self.kinds_:
            return
        weight = np.ones(X.shape[0]) if sample_weight is None else np.asarray(sample_weight)
        for column, raw in zip(self.columns_, self._raw_columns(X), strict=True):
            if not column.is_categorical:
                continue
            unknown = (self._encode_column(column, raw) < 0) & (raw.observed_of(weight) > 0)
            if unknown.any():
                raise ValueError(
                    f"{column.where} has a category in row {raw.row(unknown)} that the schema does not know; it should "
                    "be learnt from all rows of fit."
                )

    def _raw_columns(self, X):
        raw = [
            r._replace(label=column.label)
            for r, column in zip(raw_columns(X), self.columns_, strict=True)
        ]
        self.check_order(X)
        self.check_missing(raw)
        for column, r in zip(self.columns_, raw, strict=True):
            check_content(column, r)
        return raw

    def check_order(self, X: Any):
        """Refuse a DataFrame with the columns of `fit` in another order; scikit-learn compares only strings.

        Parameters
        ----------
        X : {ndarray, DataFrame} of shape (n_samples, n_features)
            A table.

        Raises
        ------
        ValueError
            If both tables are DataFrames and their labels are the same, but not column by column.
        """
        if not is_frame(X) or isinstance(self._template, np.dtype):
            return
        labels, own = list(X.columns), [column.label for column in self.columns_]
        if labels != own and set(labels) == set(own):
            found = next(
                label for label, of_fit in zip(labels, own, strict=True) if label != of_fit
            )
            raise ValueError(
                f"X has the columns of fit in another order: column {found!r} is at position {labels.index(found)}, where "
                f"fit had {own[labels.index(found)]!r}; put them in that order."
            )

    def _encode_numbers(self, X):
        whole = X.dtype.kind in "iu"
        X = numbers_of(X.ravel()).reshape(X.shape) if whole else X.astype(np.float64, copy=False)
        with np.errstate(all="ignore"):
            finite = np.isfinite(X.sum())
        if not finite:
            for raw in self._raw_columns(X):
                as_float(raw)
        if self._is_identity():
            return X
        location = np.array([column.location for column in self.columns_])
        scale = np.array([column.scale for column in self.columns_])
        with np.errstate(over="ignore"):  # an infinite z is an impossible point
            Z = (X - location) / scale
        rounded = self.kinds_ == ROUNDED
        if rounded.any():
            Z[:, rounded] = np.rint(Z[:, rounded])
        return Z

    def log_det_features(self, Z: Any) -> NDArray[np.float64]:
        """Return the log-Jacobian of the encoding by column.

        Parameters
        ----------
        Z : ndarray of shape (n_samples, n_features)
            Encoded rows.

        Returns
        -------
        log_det : ndarray of shape (n_features,) or (n_samples, n_features)
            ``log |d z_j / d x_j|``. The shape is the second one if a cell is missing or an atom, for which it is 0.
        """
        mixed = np.flatnonzero(self.kinds_ == MIXED)
        if not self.missing and not len(mixed):
            return self.log_det_
        own = np.isnan(Z)
        for j in mixed:
            own[:, j] |= self.columns_[j].has_mass(Z[:, j])
        return np.where(own, 0.0, self.log_det_) if own.any() else self.log_det_

    def _is_identity(self):
        """Tell whether all columns are numbers that are encoded as they are."""
        return all(
            column.kind in (CONTINUOUS, INTEGER)
            and column.location == 0
            and column.scale == 1
            and not column.clock
            for column in self.columns_
        )

    def decode(self, Z: Any) -> MatrixLike:
        """Turn a matrix of encoded rows back into a table like the fitted one.

        Parameters
        ----------
        Z : ndarray of shape (n_samples, n_features)
            Codes, counts, cells and standardised values; NaN for missing cells.

        Returns
        -------
        X : {ndarray, DataFrame} of shape (n_samples, n_features)
            Rows in the container, with the column names and dtypes of `fit`. A missing cell is what the container calls
            so.

        Raises
        ------
        ValueError
            If a cell is missing in a column whose dtype cannot hold that.
        """
        if (
            isinstance(self._template, np.dtype)
            and self._template == Z.dtype
            and self._is_identity()
        ):
            return Z
        columns = [
            functools.partial(_decode_block, column, z)
            for column, z in zip(self.columns_, Z.T, strict=True)
        ]
        return fill(self._template, columns, len(Z))

    def __repr__(self):
        if not hasattr(self, "columns_"):
            return super().__repr__()
        rows = [(str(c.label), str(c.dtype), c.kind, c.details()) for c in self.columns_]
        n_left_out = len(rows) - FIRST_PRINTED - LAST_PRINTED
        if n_left_out > 1:
            middle = ("...", "", "", f"{n_left_out} more columns")
            rows = [*rows[:FIRST_PRINTED], middle, *rows[-LAST_PRINTED:]]
        rows.insert(0, ("column", "dtype", "kind", "details"))
        widths = [max(map(len, cells)) for cells in zip(*rows, strict=True)][:-1]
        return "\n".join("  ".join([*map(str.ljust, row[:-1], widths), row[-1]]) for row in rows)


def _decode_block(column, z, block):
    return column.decode(z[block])
