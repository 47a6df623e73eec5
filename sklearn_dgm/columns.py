"""The road between a user's table and the numbers a model works on.

A :class:`ColumnSchema` learns what kind each column is (continuous, integer or categorical), turns rows into one float64
matrix, and turns such a matrix back into the container, the column names and the dtypes that it was fitted on. A change
of scale changes a density, so the logarithm of the Jacobian travels with every encoding.
"""

import warnings
from dataclasses import dataclass
from numbers import Real
from typing import Any, NamedTuple

import narwhals as nw
import numpy as np
from sklearn.exceptions import DataConversionWarning

CONTINUOUS, INTEGER, CATEGORICAL = "continuous", "integer", "categorical"

# Rows are decoded in blocks of so many.
ROWS_AT_ONCE = 2**13
# Above it float64 no longer tells neighbouring integers apart.
LARGEST_INTEGER = 2**53


def is_frame(X):
    """Whether X is a DataFrame (pandas, polars, ...) rather than an array or a list."""
    return nw.dependencies.is_into_dataframe(X)


def like_frame(values, X):
    """Put one number for each cell of X into a DataFrame, if X is one.

    Parameters
    ----------
    values : ndarray of shape (n_samples, n_features)
        Numbers.
    X : {ndarray, DataFrame} of shape (n_samples, n_features)
        The table that they belong to.

    Returns
    -------
    values : {ndarray, DataFrame} of shape (n_samples, n_features)
        With the names and the index of X.
    """
    if not is_frame(X):
        return values
    if hasattr(X, "index"):
        return type(X)(values, columns=X.columns, index=X.index)
    return type(X)(values, schema=X.columns)


def _is_missing(value):
    return value is None or type(value).__name__ in ("NAType", "NaTType") or value is np.ma.masked


def _is_number(value):
    return isinstance(value, Real) and not isinstance(value, bool | np.bool_)


class _RawColumn(NamedTuple):
    label: Any
    values: np.ndarray
    dtype: Any
    native_dtype: Any
    declared: np.ndarray | None = None

    @property
    def where(self):
        return f"column {self.label!r}"


def _raw_columns(X):
    """The columns of X as arrays, with the dtypes that they have in X."""
    both = np.array([False, True])  # a boolean dtype declares its categories
    if not is_frame(X):
        declared = both if X.dtype.kind == "b" else None
        return [_RawColumn(j, X[:, j], X.dtype, X.dtype, declared) for j in range(X.shape[1])]
    frame = nw.from_native(X, eager_only=True)
    columns = []
    for j, label in enumerate(frame.columns):
        series = frame[:, j]
        null = series.is_null().to_numpy()
        if null.any():
            row = int(np.flatnonzero(null)[0])
            raise ValueError(
                f"Input X contains NaN (a missing value) in column {label!r}, row {row}."
            )
        declared = both if series.dtype == nw.Boolean else None
        if series.dtype in (nw.Categorical, nw.Enum):
            accessor = series.to_native().cat
            pandas_like = hasattr(accessor, "categories")
            declared = (
                accessor.categories if pandas_like else accessor.get_categories()
            ).to_numpy()
        native_dtype = series.to_native().dtype
        columns.append(_RawColumn(label, series.to_numpy(), series.dtype, native_dtype, declared))
    return columns


def _kind_by_dtype(column):
    """Kind of a column by its dtype; columns of Python objects are told by what they hold."""
    dtype = column.dtype
    if column.values.dtype.kind == "O" and dtype in (np.dtype(object), nw.Object):
        return CONTINUOUS if all(map(_is_number, column.values)) else CATEGORICAL
    if isinstance(dtype, np.dtype):
        kinds = {"f": CONTINUOUS, "i": INTEGER, "u": INTEGER}
        kinds |= dict.fromkeys("bUS", CATEGORICAL)
        kind = kinds.get(dtype.kind)
    elif dtype.is_numeric():
        kind = INTEGER if dtype.is_integer() else CONTINUOUS
    else:
        kind = CATEGORICAL if dtype in (nw.Boolean, nw.String, nw.Categorical, nw.Enum) else None
    if kind is None:
        raise TypeError(
            f"{column.where} has dtype {column.native_dtype}, which is neither a number nor a category; "
            "convert it to one of them or drop it."
        )
    return kind


def _warn_of_mixture(column):
    """A single typo would turn numbers into categories in silence."""
    if column.values.dtype.kind != "O":
        return
    is_text = np.array([isinstance(value, str) for value in column.values])
    if is_text.any() and np.mean([_is_number(value) for value in column.values]) > 0.5:
        row = int(np.flatnonzero(is_text)[0])
        warnings.warn(
            f"{column.where} holds {column.values[row]!r} in row {row} among numbers, and is taken as categorical; "
            "convert it to numbers, or name it in categorical_features.",
            DataConversionWarning,
            stacklevel=2,
        )


def _as_float(array, where):
    """Float64 values of a numeric column, all of them finite."""
    try:
        array = np.asarray(array, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"could not convert {where} to numbers: {error}; categories go into categorical_features."
        ) from error
    # A sum is finite only if all its terms are, and needs no array of flags.
    with np.errstate(all="ignore"):
        finite = np.isfinite(array.sum()) or np.isfinite(array).all()
    if not finite:
        row = int(np.flatnonzero(~np.isfinite(array))[0])
        found = "NaN" if np.isnan(array[row]) else "infinity (inf)"
        raise ValueError(f"Input X contains {found} in {where}, row {row}.")
    return array


def _as_categories(array, where):
    """Values of a categorical column, all of them present and hashable."""
    if array.dtype.kind == "f":
        return _as_float(array, where)
    if array.dtype.kind != "O":
        return array
    for row, value in enumerate(array):
        if _is_missing(value) or (isinstance(value, float) and value != value):
            raise ValueError(f"Input X contains NaN (a missing value) in {where}, row {row}.")
        try:
            hash(value)
        except TypeError as error:
            raise TypeError(
                f"{where}, row {row}: argument must be a string, a number or another hashable "
                f"value, got {value!r}."
            ) from error
    return array


def _categories(column, counted):
    """Distinct values in an order that does not depend on the rows' order."""
    if column.declared is not None:  # also those that no row happens to have
        return column.declared
    values = _as_categories(column.values, column.where)[counted]
    if values.dtype.kind != "O":
        return np.unique(values)
    distinct = set(values)
    try:
        ordered = sorted(distinct)
    except TypeError:  # of several types
        ordered = sorted(distinct, key=lambda value: (type(value).__name__, repr(value)))
    categories = np.empty(len(ordered), dtype=object)
    categories[:] = ordered
    return categories


def _codes(values, categories):
    """Position of each value among the categories, -1 where it is none of them."""
    if values.dtype.kind != "O" and categories.dtype.kind != "O":
        position = np.searchsorted(categories, values).clip(max=len(categories) - 1)
        return np.where(categories[position] == values, position, -1)
    index = {category: code for code, category in enumerate(categories.tolist())}
    return np.fromiter((index.get(v, -1) for v in values.tolist()), np.int64, len(values))


def _location_and_scale(x, sample_weight):
    """Mean and standard deviation, safe against overflow and underflow; constants keep their size as scale."""
    unit = np.abs(x).max()
    if unit == 0:
        return 0.0, 1.0
    # A power of two, so that the division rounds nothing.
    unit = 2.0 ** np.floor(np.log2(unit))
    u = x / unit
    location = np.average(u, weights=sample_weight)
    scale = np.sqrt(np.average((u - location) ** 2, weights=sample_weight))
    if scale <= 10 * np.finfo(np.float64).eps:
        scale = 1.0
    return float(location * unit), float(scale * unit)


def _feature_mask(features, labels, kind):
    """Boolean mask of the columns that are named as of a kind by label, by index or by mask."""
    parameter = f"{kind}_features"
    mask = np.zeros(len(labels), dtype=bool)
    if features is None:
        return mask
    features = np.atleast_1d(np.asarray(features))
    if features.dtype.kind == "b":
        if features.shape != mask.shape:
            raise ValueError(
                f"{parameter} is a mask of {features.size} entries, but X has {len(labels)} columns."
            )
        return features
    by_label = {label: j for j, label in enumerate(labels)}
    for feature in features.tolist():
        if isinstance(feature, str):
            if feature not in by_label:
                raise ValueError(
                    f"{parameter} names {feature!r}, which is not a column of X: {labels}."
                )
            mask[by_label[feature]] = True
        else:
            if not (isinstance(feature, int) and 0 <= feature < len(labels)):
                raise ValueError(
                    f"{parameter} holds {feature!r}; expected column names or indices from 0 to "
                    f"{len(labels) - 1}."
                )
            mask[feature] = True
    return mask


def _is_from_dtype(features):
    return isinstance(features, str) and features == "from_dtype"


@dataclass(frozen=True)
class Column:
    """What a :class:`ColumnSchema` knows of one column.

    Attributes
    ----------
    label : str or int
        Name of the column in a DataFrame, its index in an array.
    kind : {"continuous", "integer", "categorical"}
        Density with respect to the Lebesgue measure, or probability mass.
    location, scale : float
        The encoded value is ``(x - location) / scale``; 0 and 1 for categories.
    low, high : float
        Smallest and largest value of a numeric column among the fitted rows; codes for categories.
    categories : ndarray or None
        The values a categorical column can take, in the order of their codes.
    """

    label: Any
    kind: str
    location: float
    scale: float
    low: float
    high: float
    categories: np.ndarray | None = None

    @property
    def where(self):
        """The column as error messages name it."""
        return f"column {self.label!r}"


class ColumnSchema:
    """Kinds and scales of the columns of a table, with the way there and back.

    Categorical columns become codes 0, 1, ... (-1 for a category that was not fitted). Integer columns are counted from
    their smallest value and continuous columns are standardised, or both keep their units.

    Parameters
    ----------
    categorical_features : "from_dtype", array-like or None, default="from_dtype"
        Columns that hold categories: by dtype (strings, booleans, categories and other objects), or by name, index or
        boolean mask, or none of them.
    integer_features : "from_dtype", array-like or None, default="from_dtype"
        Columns that hold whole numbers and get a probability mass rather than a density: by dtype, or by name, index or
        boolean mask, or none of them (integers are then treated as continuous).
    standardize : bool, default=True
        Whether continuous columns are centred and scaled, and integer columns start at 0, in float64.

    Attributes
    ----------
    columns_ : list of Column
        What is known of each column.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_dgm.columns import ColumnSchema
    >>> X = np.array([["red", 1.0], ["blue", 3.0]], dtype=object)
    >>> schema = ColumnSchema().fit(X)
    >>> [column.kind for column in schema.columns_]
    ['categorical', 'continuous']
    >>> Z, log_det = schema.encode(X)
    >>> Z
    array([[ 1., -1.],
           [ 0.,  1.]])
    >>> schema.decode(Z).tolist()
    [['red', 1.0], ['blue', 3.0]]
    """

    def __init__(
        self, categorical_features="from_dtype", integer_features="from_dtype", *, standardize=True
    ):
        self.categorical_features = categorical_features
        self.integer_features = integer_features
        self.standardize = standardize

    def fit(self, X, sample_weight=None):
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
            If a value is missing or infinite, or a parameter names no column or does not fit the values of one.
        TypeError
            If a column holds neither numbers nor hashable values.
        """
        raw = _raw_columns(X)
        counted = slice(None)
        if sample_weight is not None:
            counted, sample_weight = sample_weight > 0, sample_weight[sample_weight > 0]
        kinds = self._resolve_kinds(raw)
        self.columns_ = [
            self._fit_column(column, kind, counted, sample_weight)
            for column, kind in zip(raw, kinds, strict=True)
        ]
        # An empty frame remembers class, names and dtypes without holding on to rows.
        self._template = X.head(0) if is_frame(X) else X.dtype
        return self

    def _resolve_kinds(self, raw):
        labels = [column.label for column in raw]
        parameters = {CATEGORICAL: self.categorical_features, INTEGER: self.integer_features}
        named = {
            kind: _feature_mask(None if _is_from_dtype(features) else features, labels, kind)
            for kind, features in parameters.items()
        }
        for j in np.flatnonzero(named[CATEGORICAL] & named[INTEGER]):
            raise ValueError(
                f"column {labels[j]!r} is named both in categorical_features and in "
                "integer_features; leave it in one of them."
            )
        kinds = []
        for j, column in enumerate(raw):
            by_dtype = _kind_by_dtype(column)
            # What one parameter names outright, the other does not claim by dtype.
            kind = next((kind for kind, mask in named.items() if mask[j]), None)
            if kind is None:
                kind = by_dtype if _is_from_dtype(parameters.get(by_dtype)) else CONTINUOUS
                if kind == CATEGORICAL:
                    _warn_of_mixture(column)
            kinds.append(kind)
        return kinds

    def _fit_column(self, column, kind, counted, sample_weight):
        label, values, where = column.label, column.values, column.where
        if kind == CATEGORICAL:
            categories = _categories(column, counted)
            return Column(label, kind, 0.0, 1.0, 0.0, len(categories) - 1.0, categories)
        x = _as_float(values, where)
        if kind == INTEGER and (x != np.floor(x)).any():
            row = int(np.flatnonzero(x != np.floor(x))[0])
            raise ValueError(
                f"{where} is an integer column, but holds {x[row]} in row {row}; "
                "leave it out of integer_features."
            )
        x = x[counted]
        low, high = float(x.min()), float(x.max())
        if kind == INTEGER:
            if max(-low, high) > LARGEST_INTEGER:
                raise ValueError(
                    f"{where} holds integers beyond 2**53, which float64 cannot tell apart; "
                    "name it in categorical_features or convert it to floats."
                )
            return Column(label, kind, low if self.standardize else 0.0, 1.0, low, high)
        if not self.standardize:
            return Column(label, kind, 0.0, 1.0, low, high)
        location, scale = _location_and_scale(x, sample_weight)
        with np.errstate(over="ignore"):
            if not np.isfinite([low - location, high - location]).all():
                raise ValueError(f"{where} spans more than float64 can hold; rescale it.")
        return Column(label, kind, location, scale, low, high)

    @property
    def kinds_(self):
        """Kind of each column, as an ndarray of shape (n_features,)."""
        return np.array([column.kind for column in self.columns_])

    @property
    def log_det_(self):
        """Log-Jacobian of the encoding, one number for each column, of shape (n_features,)."""
        return -np.log([column.scale for column in self.columns_])

    def encode(self, X):
        """Turn a table into a float64 matrix.

        Parameters
        ----------
        X : {ndarray, DataFrame} of shape (n_samples, n_features)
            Rows with the fitted columns.

        Returns
        -------
        Z : ndarray of shape (n_samples, n_features)
            Codes, counts and standardised values. May share memory with X.
        log_det : ndarray of shape (n_features,)
            ``log |d z_j / d x_j|``, to be added to log-densities of Z.

        Raises
        ------
        ValueError
            If a value is missing, infinite or no number in a numeric column.
        """
        columns = self.columns_
        if isinstance(X, np.ndarray) and X.dtype.kind in "fiu" and CATEGORICAL not in self.kinds_:
            Z = self._encode_numbers(X)
        else:
            Z = np.empty((X.shape[0], len(columns)))
            for j, (column, raw) in enumerate(zip(columns, _raw_columns(X), strict=True)):
                if column.kind == CATEGORICAL:
                    Z[:, j] = _codes(_as_categories(raw.values, column.where), column.categories)
                else:
                    Z[:, j] = (_as_float(raw.values, column.where) - column.location) / column.scale
        return Z, self.log_det_

    def _encode_numbers(self, X):
        X = X.astype(np.float64, copy=False)
        with np.errstate(all="ignore"):
            finite = np.isfinite(X.sum())
        if not finite:
            for column, x in zip(self.columns_, X.T, strict=True):
                _as_float(x, column.where)
        if self._is_identity():
            return X
        location = np.array([column.location for column in self.columns_])
        scale = np.array([column.scale for column in self.columns_])
        with np.errstate(over="ignore"):  # an infinite z is an impossible point
            return (X - location) / scale

    def _is_identity(self):
        """Whether all columns are numbers that are encoded as they are."""
        return all(
            column.kind != CATEGORICAL and column.location == 0 and column.scale == 1
            for column in self.columns_
        )

    def decode(self, Z):
        """Turn a matrix of encoded rows back into a table like the fitted one.

        Parameters
        ----------
        Z : ndarray of shape (n_samples, n_features)
            Codes, counts and standardised values.

        Returns
        -------
        X : {ndarray, DataFrame} of shape (n_samples, n_features)
            Rows in the container, with the column names and dtypes of `fit`.
        """
        if not isinstance(self._template, np.dtype):
            arrays = list(map(self._decode_column, self.columns_, Z.T))
            return _fill_frame(self._template, arrays)
        if self._template == Z.dtype and self._is_identity():
            return Z
        X = np.empty(Z.shape, dtype=self._template)
        for start in range(0, len(Z), ROWS_AT_ONCE):  # temporary arrays stay in the cache
            block = slice(start, start + ROWS_AT_ONCE)
            for j, column in enumerate(self.columns_):
                array = self._decode_column(column, Z[block, j])
                X[block, j] = _fit_into(array, self._template)
        return X

    @staticmethod
    def _decode_column(column, z):
        if column.kind == CATEGORICAL:
            return column.categories[z.astype(np.intp)]
        with np.errstate(over="ignore"):
            x = z * column.scale + column.location
        return np.rint(x) if column.kind == INTEGER else x


def _fit_into(array, dtype):
    """Clip numbers to the range of a dtype, so that the cast can neither wrap around nor overflow."""
    dtype = getattr(dtype, "numpy_dtype", dtype)  # of pandas' nullable dtypes
    kind = getattr(dtype, "kind", None)
    if kind in ("i", "u"):
        info = np.iinfo(dtype)
        return np.rint(array).clip(info.min, info.max)
    if kind == "f" and array.dtype.kind == "f":
        info = np.finfo(dtype)
        return array.clip(info.min, info.max)
    return array


def _fill_frame(template, arrays):
    """Put columns into a frame of the class, the names and the dtypes of an empty one."""
    if hasattr(template, "schema"):  # polars
        return type(template)(
            dict(zip(template.columns, arrays, strict=True)), schema=template.schema, strict=False
        )
    dtypes = dict(enumerate(template.dtypes))
    arrays = {j: _fit_into(array, dtypes[j]) for j, array in enumerate(arrays)}
    frame = type(template)(arrays).astype(dtypes)
    frame.columns = template.columns
    return frame
