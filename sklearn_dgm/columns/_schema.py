"""The road between a user's table and the numbers a model works on.

A :class:`ColumnSchema` learns what kind each column is (continuous, rounded, mixed, integer or categorical), turns rows
into one float64 matrix, and turns such a matrix back into the container, the column names and the dtypes that it was
fitted on. A change of scale changes a density, so the logarithm of the Jacobian travels with every encoding.
"""

import functools
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sklearn_dgm._state import Stateful
from sklearn_dgm._typing import MatrixLike
from sklearn_dgm.columns._bounds import bounded, check_bounds
from sklearn_dgm.columns._building import fill, template_of
from sklearn_dgm.columns._clock import Clock
from sklearn_dgm.columns._column import (
    BEYOND,
    CATEGORICAL,
    CONTINUOUS,
    INTEGER,
    LARGEST_INTEGER,
    MIXED,
    ROUNDED,
    UNKNOWN,
    Column,
    as_categories,
    as_float,
    codes,
    distinct,
    first_or_median,
    location_and_scale,
    numbers_of,
    share_of_new,
)
from sklearn_dgm.columns._dtypes import check_content, kind_by_dtype, warn_of_categories
from sklearn_dgm.columns._frames import is_frame
from sklearn_dgm.columns._names import by_position, positions_of
from sklearn_dgm.columns._reading import raw_columns
from sklearn_dgm.columns._ties import (
    MAX_ROWS,
    MIN_ROWS,
    DistinctRows,
    chosen_atoms,
    find_grid,
    find_ties,
    has_ties,
)

# A categorical column of two categories at most, where no other is allowed.
BINARY = "binary"
KINDS = (CONTINUOUS, ROUNDED, MIXED, INTEGER, CATEGORICAL)
HANDLE_UNKNOWN = ("impossible", "error", "rare")

# Longer tables are printed without their middle.
FIRST_PRINTED, LAST_PRINTED = 15, 5


def _feature_mask(features, labels, kind):
    """Return the boolean mask of the columns that a parameter names."""
    mask = np.zeros(len(labels), dtype=bool)
    mask[positions_of(features, labels, f"{kind}_features")] = True
    return mask


def _is_from_dtype(features):
    return isinstance(features, str) and features == "from_dtype"


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
        self._check_missing(raw)
        kinds, chosen = self._resolve_kinds(raw, weight)
        self.columns_, numbers = [], []
        for r, kind in zip(raw, kinds, strict=True):
            column, x = self._fit_column(r, kind, weight)
            self.columns_.append(column)
            numbers.append(r.spread(x))
        if self.detect_ties:
            self._detect_ties(numbers, weight, chosen)
        if self.bounds is not False:
            self._settle_bounds(numbers, weight)
        self.given_ = np.zeros(len(raw), dtype=bool)
        self.given_[positions_of(self.given, [r.label for r in raw], "given")] = True
        self._check_kinds()
        numeric = [column.label for column in self.columns_ if not column.is_categorical]
        self._template = template_of(X, numeric)
        return self

    def _check_kinds(self):
        """Refuse columns of kinds that the density does not take."""
        allowed = {*self.allowed_kinds}
        if CONTINUOUS in allowed:
            allowed |= {ROUNDED, MIXED}
        for column, is_given in zip(self.columns_, self.given_, strict=True):
            is_binary = column.is_categorical and len(column.categories) <= 2
            if is_given or column.kind in allowed or (is_binary and BINARY in allowed):
                continue
            raise ValueError(
                f"{column.where} is {column.kind}, but only columns of these kinds are taken: "
                f"{', '.join(self.allowed_kinds)}. Convert it, or let categorical_features, integer_features or column_kinds "
                "say that it is of another kind."
            )

    def _check_missing(self, raw):
        for r in raw:
            if r.observed is not None and not self.missing:
                row = int(np.flatnonzero(~r.observed)[0])
                raise ValueError(f"Input X contains NaN in {r.where}, row {row} (a missing value).")

    def _resolve_kinds(self, raw, weight):
        """Return the kind of each column, before ties are looked for, and the columns named in `column_kinds`."""
        labels = [r.label for r in raw]
        chosen = self._chosen_kinds(labels)
        parameters = {CATEGORICAL: self.categorical_features, INTEGER: self.integer_features}
        named = {
            kind: _feature_mask(None if _is_from_dtype(features) else features, labels, kind)
            for kind, features in parameters.items()
        }
        kinds = []
        for j, r in enumerate(raw):
            is_empty = not r.observed_of(weight).any()
            # Some containers have a dtype for nothing but missing cells.
            is_null = str(r.native_dtype).lower().startswith("null")
            by_dtype = CATEGORICAL if is_null else kind_by_dtype(r)
            if is_empty:
                kinds.append(CATEGORICAL)
                continue
            # What one parameter names outright, the other does not claim by dtype.
            named_kinds = [kind for kind, mask in named.items() if mask[j]]
            if j in chosen:
                kind = chosen[j]
            elif len(named_kinds) == 2:
                raise ValueError(
                    f"{r.where} is named both in categorical_features and in integer_features; "
                    "leave it in one of them."
                )
            elif named_kinds:
                kind = named_kinds[0]
            else:
                kind = by_dtype if _is_from_dtype(parameters.get(by_dtype)) else CONTINUOUS
                if kind == CATEGORICAL:
                    warn_of_categories(r)
            kinds.append(kind)
        return kinds, set(chosen)

    def _chosen_kinds(self, labels):
        chosen = by_position(self.column_kinds or {}, labels, "column_kinds")
        for j, kind in chosen.items():
            if kind not in KINDS:
                raise ValueError(
                    f"column_kinds says {kind!r} of column {labels[j]!r}; expected one of {KINDS}."
                )
        return chosen

    def _fit_column(self, raw, kind, weight):
        """Fit a column; return it and the numbers of its observed cells."""
        known = {"dtype": raw.native_dtype, "content": raw.content, "maker": raw.maker}
        if raw.observed is not None:
            known["missing_share"] = float(weight[~raw.observed].sum() / weight.sum())
        if not raw.observed_of(weight).any():
            return self._fit_nothing(raw, weight, known)
        weight = raw.observed_of(weight)
        if raw.values.dtype.kind in "mM" and kind != CATEGORICAL:
            known["clock"] = Clock.of(raw.values[weight > 0], self.standardize)
        fit = self._fit_categories if kind == CATEGORICAL else self._fit_numbers
        return fit(raw, kind, weight, known)

    def _fit_nothing(self, raw, weight, known):
        """Return a column of missing cells, as one of a single category."""
        known["unknown_share"] = self._unknown_share(np.zeros(len(weight), dtype=np.intp), weight)
        known["content"] = known["maker"] = None
        nothing = np.array([None], dtype=object)
        column = Column(raw.label, CATEGORICAL, 0.0, 1.0, 0.0, 0.0, nothing, empty=True, **known)
        return column, np.full(len(raw.values), -1.0)

    def _fit_categories(self, raw, kind, weight, known):
        values = as_categories(raw)
        categories = distinct(values[weight > 0]) if raw.declared is None else raw.declared
        code = codes(values, categories)
        known["unknown_share"] = self._unknown_share(code, weight)
        high = len(categories) - 1.0
        return Column(raw.label, kind, 0.0, 1.0, 0.0, high, categories, **known), code

    def _fit_numbers(self, raw, kind, weight, known):
        x = as_float(raw, known.get("clock"))
        counted, w = x[weight > 0], weight[weight > 0]
        if kind == INTEGER:
            _check_integers(raw, x, counted)
        low, high = float(counted.min()), float(counted.max())
        if self.detect_ties and low == high:
            return self._fit_constant(raw, x, low, w, known)
        if not self.standardize:
            location, scale = 0.0, 1.0
        elif kind == INTEGER:
            location, scale = first_or_median(counted, w), 1.0
        else:
            location, scale = location_and_scale(counted, w)
        with np.errstate(over="ignore"):
            if not np.isfinite([low - location, high - location]).all():
                raise ValueError(f"{raw.where} spans more than float64 can hold; rescale it.")
        column = Column(raw.label, kind, location, scale, low, high, **known)
        return _with_chosen_ties(column, counted, w), x

    def _fit_constant(self, raw, x, value, weight, known):
        """Return a column of numbers that are all the same, as one of a single category."""
        known["unknown_share"] = self._unknown_share(np.zeros(len(weight), dtype=np.intp), weight)
        categories = np.array([value + 0.0])  # no negative zero
        column = Column(
            raw.label, CATEGORICAL, 0.0, 1.0, 0.0, 0.0, categories, constant=True, **known
        )
        return column, np.where(x == value, 0.0, -1.0)

    def _unknown_share(self, code, weight):
        """Return the probability of a category that was not fitted."""
        if self.handle_unknown != "rare":
            return 0.0
        return share_of_new(code[weight > 0], weight[weight > 0])

    def _detect_ties(self, numbers, weight, chosen):
        """Find the rounded and the mixed ones among the continuous columns that are not chosen to be so."""
        rows = np.flatnonzero(weight > 0)
        if len(rows) < MIN_ROWS:
            return
        rows = rows[:: -(-len(rows) // MAX_ROWS)]
        candidates = [
            j
            for j, (column, x) in enumerate(zip(self.columns_, numbers, strict=True))
            if column.kind == CONTINUOUS and j not in chosen and has_ties(x[rows])
        ]
        if not candidates:
            return
        same = DistinctRows([np.unique(x[rows], return_inverse=True)[1] for x in numbers])
        for j in candidates:
            column, x = self.columns_[j], numbers[j]
            grid, atoms = find_ties(*same.counts(x[rows], j))
            if grid is not None:
                self.columns_[j] = column.with_grid(grid)
            elif atoms is not None:
                self.columns_[j] = column.with_atoms(atoms, x, weight)

    def _settle_bounds(self, numbers, weight):
        """Set the bounds of all columns of numbers."""
        labels = [column.label for column in self.columns_]
        given = [self.bounds if isinstance(self.bounds, str) else None] * len(labels)
        if isinstance(self.bounds, dict):
            for j, pair in by_position(self.bounds, labels, "bounds").items():
                given[j] = pair
        for j, (column, x) in enumerate(zip(self.columns_, numbers, strict=True)):
            counted = (weight > 0) & ~np.isnan(x)
            self.columns_[j] = bounded(
                column, x[counted], weight[counted], given[j], rescales=self.standardize
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
            If it was learnt from other columns, encodes numbers or missing cells in another way, or does not know a
            category of the rows, which the message names.
        """
        options = ("standardize", "missing", "detect_ties", "handle_unknown", "bounds")
        is_alike = isinstance(schema, ColumnSchema) and all(
            getattr(schema, option) == getattr(self, option) for option in options
        )
        labels = [raw.label for raw in raw_columns(X)]
        if not is_alike or [column.label for column in schema.columns_] != labels:
            raise ValueError(
                "schema should be what learn_schema of a density with the same parameters returns for rows with the same "
                "columns."
            )
        schema._check_known(X, sample_weight)
        return schema

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

    def _check_known(self, X, sample_weight):
        """Refuse rows with a category that the schema does not know, but for those of weight 0."""
        categorical = np.flatnonzero(self.kinds_ == CATEGORICAL)
        if not len(categorical):
            return
        Z = self.encode(X)[0]
        counted = True if sample_weight is None else np.asarray(sample_weight) > 0
        for j in categorical:
            unknown = (Z[:, j] < 0) & counted
            if unknown.any():
                column = self.columns_[j]
                raise ValueError(
                    f"{column.where} has a category in row {int(np.argmax(unknown))} that the schema does not know; it "
                    "should be learnt from all rows of fit."
                )

    def _raw_columns(self, X):
        raw = [
            r._replace(label=column.label)
            for r, column in zip(raw_columns(X), self.columns_, strict=True)
        ]
        self.check_order(X)
        self._check_missing(raw)
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

    def _encode_column(self, column, raw):
        if not column.is_categorical:
            return column.encoded(as_float(raw, column.clock))
        if column.constant:
            values = as_float(raw, column.clock)
        else:
            values = raw.values if column.empty else as_categories(raw)
        code = np.full(len(values), UNKNOWN) if column.empty else codes(values, column.categories)
        unknown = code < 0
        if column.constant and column.is_bounded:
            code[(values < column.lower) | (values > column.upper)] = BEYOND
        if self.handle_unknown == "error" and unknown.any():
            raise ValueError(
                f"{raw.where} holds {values[unknown].tolist()[0]!r} in row {raw.row(unknown)}, a category that fit has not seen."
            )
        return code

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
    z = z[block]
    if column.empty:
        return np.full(len(z), None), np.ones(len(z), dtype=bool)
    missing = np.isnan(z)
    values = column.as_fitted(column.decoded(np.where(missing, 0.0, z)))
    return values, missing if missing.any() else None


def _check_integers(raw, x, counted):
    fraction = x != np.floor(x)
    if fraction.any():
        raise ValueError(
            f"{raw.where} is an integer column, but holds {x[fraction][0]} in row {raw.row(fraction)}; let "
            "integer_features or column_kinds say that it is none."
        )
    if np.abs(counted).max() > LARGEST_INTEGER:
        raise ValueError(
            f"{raw.where} holds integers beyond 2**53, which float64 cannot tell apart; name it in "
            "categorical_features or convert it to floats."
        )


def _with_chosen_ties(column, x, weight):
    """Return the column with the grid or the atoms of its chosen kind, rounded or mixed; another as it is."""
    if column.kind not in (ROUNDED, MIXED):
        return column
    values, counts = np.unique(x, return_counts=True)
    if column.kind == ROUNDED:
        grid = find_grid(values, counts)
        if grid is None:
            raise ValueError(
                f"{column.where} cannot be rounded: its values have no common resolution."
            )
        return column.with_grid(grid)
    atoms = chosen_atoms(values, counts)
    if not len(atoms):
        raise ValueError(f"{column.where} cannot be mixed: no single value holds 2 % of its rows.")
    return column.with_atoms(atoms, x, weight)
