"""What a schema needs to know of a table that is read in parts: a sample, and what must be exact."""

import copy
import functools
import operator
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from sklearn_dgm._sklearn import safe_indexing
from sklearn_dgm.chunks._sampling import TableSample
from sklearn_dgm.columns import CATEGORICAL, INTEGER
from sklearn_dgm.columns._dtypes import contents_of
from sklearn_dgm.columns._kinds import resolve_kinds
from sklearn_dgm.columns._learning import check_integers, share_of_seen
from sklearn_dgm.columns._reading import raw_columns
from sklearn_dgm.columns._values import as_categories, as_float, codes, distinct

# More categories would fill the memory that chunks save; of whole numbers no more are counted.
MAX_CATEGORIES, MAX_COUNTED = 2**17, 2**16
# So many different whole numbers tell that a column has not just two.
ENOUGH_NUMBERS = 3


class SummaryRows(NamedTuple):
    """Some rows of a table: a uniform sample, and rows with what all columns should have; or all of them.

    Attributes
    ----------
    table : {ndarray, DataFrame} of shape (n_sample, n_features)
        The rows, in the order of the whole table.
    weight : ndarray of shape (n_sample,)
        Their weights.
    positions : ndarray of int of shape (n_sample,)
        Where they stand in the whole table.
    stands_for : ndarray of shape (n_sample,)
        For how many rows each of them was drawn: whole numbers, the sum of which is the number of rows.
    """

    table: Any
    weight: np.ndarray
    positions: np.ndarray
    stands_for: np.ndarray


class RowsSummary:
    """What a schema needs to know of rows that come in parts: a sample of them, their number and their weight.

    Parameters
    ----------
    schema : object
        One that is not fitted: how the rows are to be read.
    n_rows : int, default=None
        Number of all rows, if it is known and these are a part of them.

    Attributes
    ----------
    n_rows : int
        Number of rows, those of weight 0 left out.
    total_weight, largest_weight : float
        Of the rows.
    """

    def __init__(self, schema, n_rows=None):
        self.schema, self.n_rows = schema, 0
        self.total_weight, self.largest_weight = 0.0, 0.0
        self._sample = TableSample(n_rows)

    def _add_rows(self, rows, positions, weight, kept=(), cells=None):
        """Count further rows, and let the sample look at them; see :meth:`TableSample.add`."""
        self.n_rows += len(positions)
        self.total_weight += float(weight.sum())
        self.largest_weight = max(self.largest_weight, float(weight.max(initial=0.0)))
        self._sample.add(rows, positions, weight, kept, cells)

    def sample(self):
        """Return rows of all parts, as :class:`SummaryRows`.

        Raises
        ------
        ValueError
            If there are none.
        """
        sample = self._sample
        sample.settle()
        if sample.table is None:
            raise ValueError("sample_weight is zero for every row; at least one must be positive.")
        is_drawn = sample.is_drawn
        n_kept, n_drawn = len(is_drawn), np.count_nonzero(is_drawn)
        each, rest = divmod(self.n_rows - (n_kept - n_drawn), n_drawn)
        stands_for = np.ones(n_kept)
        stands_for[is_drawn] = each + (np.arange(n_drawn) < rest)
        return SummaryRows(sample.table, sample.weight, sample.positions, stands_for)


class TableSummary(RowsSummary):
    """What a schema needs to know of a table, whose rows may come in parts; those of two parts add up.

    It keeps a sample of the rows, and rows that hold what a sample may miss: the smallest and the largest value of a
    column, a missing cell, each category. So a schema that is fitted to these has the ranges, the categories and the
    kinds of all rows; the shares of missing cells and of new values are counted. Ties, scales and quantiles are those
    of the sample. Of a table that is no larger than the sample, everything is as if it were fitted at once.

    Parameters
    ----------
    schema : ColumnSchema
        One that is not fitted: how the columns are to be read.
    n_rows : int, default=None
        Number of rows of the whole table, if it is known and these are a part of it.
    """

    def __init__(self, schema, n_rows=None):
        super().__init__(schema, n_rows)
        self._columns = None

    def add(self, chunk, weight=None):
        """Look at further rows.

        Parameters
        ----------
        chunk : Chunk
            The rows; arrays or DataFrames that have passed the checks of :func:`validate_table`.
        weight : ndarray of shape (n,), default=None
            Their weights. Rows of weight 0 are checked, and nothing else.

        Returns
        -------
        kept : ndarray of int
            Those of the rows that hold what the sample is not to miss.

        Raises
        ------
        ValueError
            If a value is missing or infinite where it may not be, or a column holds other things than before; the
            message names column and row.
        """
        with chunk.naming_rows():
            positions, table = chunk
            weight = np.ones(len(positions)) if weight is None else weight
            rows = np.arange(len(positions))
            raw = raw_columns(table)
            kinds = self._kinds(raw, weight)
            self._check(raw, kinds, weight)
            if not weight.all():
                rows = np.flatnonzero(weight)
                table, positions, weight = safe_indexing(table, rows), positions[rows], weight[rows]
                raw = raw_columns(table)
            kept = set()
            for column, r, kind in zip(self._columns, raw, kinds, strict=True):
                kept.update(column.add(r, kind, weight))
        self._add_rows(table, positions, weight, sorted(kept))
        return rows[sorted(kept)]

    def _check(self, raw, kinds, weight):
        """Refuse cells that are no values of their columns."""
        self.schema.check_missing(raw)
        if self._columns is None:
            self._columns = [ColumnSummary() for _ in raw]
        for column, r, kind in zip(self._columns, raw, kinds, strict=True):
            column.check(r, kind, weight)

    def _kinds(self, raw, weight):
        """Return the kind that each column seems to have; what is odd about them is said of the sample."""
        schema = self.schema
        features = {CATEGORICAL: schema.categorical_features, INTEGER: schema.integer_features}
        return resolve_kinds(raw, weight, features, schema.column_kinds, warns=False)[0]

    def __add__(self, other):
        total = TableSummary(self.schema)
        total.n_rows = self.n_rows + other.n_rows
        total.total_weight = self.total_weight + other.total_weight
        total.largest_weight = max(self.largest_weight, other.largest_weight)
        total._sample = self._sample + other._sample
        if self._columns is None or other._columns is None:
            total._columns = self._columns or other._columns
        else:
            pairs = zip(self._columns, other._columns, strict=True)
            total._columns = [mine + its for mine, its in pairs]
        return total

    def fit_schema(self):
        """Fit the schema, and return it.

        Returns
        -------
        schema : ColumnSchema
            The fitted one, as if it had been fitted to all rows, up to what the sample tells.
        """
        rows = self.sample()
        schema = copy.copy(self.schema).fit(rows.table, rows.weight * rows.stands_for)
        if len(rows.weight) < self.n_rows:
            is_bounded = schema.bounds is not False
            summaries = self._columns
            if schema.is_one_column:
                summaries = [functools.reduce(operator.add, summaries)] * len(summaries)
            pairs = zip(schema.columns_, summaries, strict=True)
            schema.columns_ = [seen.exact(column, is_bounded) for column, seen in pairs]
        return schema


class ColumnSummary:
    """What is exact of a column: its range, its missing cells, and how often each category or whole number occurs."""

    def __init__(self):
        self.content, self.is_category, self.where = None, False, None
        self.low = self.high = None
        self.n_lowest = 0
        self.missing, self.observed = np.zeros(2), np.zeros(2)  # rows, and weights
        self.seen: dict[Any, Any] | None = {}

    def check(self, raw, kind, weight):
        """Refuse cells that are no values of the column."""
        is_category = kind == CATEGORICAL
        is_other = None not in (self.content, raw.content) and raw.content != self.content
        # Among categories there may be objects of several types.
        if is_other and not (is_category and self.is_category):
            other = contents_of(raw.as_given) != self.content
            raise ValueError(
                f"{raw.where} holds {raw.as_given[other][0]!r} (dtype {raw.native_dtype}) in row {raw.row(other)}, but "
                f"{self.content} before; all chunks of a table hold the same in a column."
            )
        self.where = raw.where
        if self.content is None:
            self.content, self.is_category = raw.content, is_category
        if is_category:
            as_categories(raw)
        elif raw.values.dtype.kind not in "mM":
            x = as_float(raw)
            if kind == INTEGER and len(x):
                check_integers(raw, x, x[raw.observed_of(weight) > 0])

    def add(self, raw, kind, weight):
        """Take in cells of rows of positive weight; return the rows with what the sample is not to miss."""
        kept = []
        if raw.observed is not None:
            missing = np.flatnonzero(~raw.observed)
            kept += [] if self.missing[0] else [missing[0]]
            self.missing += len(missing), weight[missing].sum()
        weight = raw.observed_of(weight)
        self.observed += len(weight), weight.sum()
        if not len(weight):
            return kept
        is_time = raw.values.dtype.kind in "mM"
        found = []
        if kind == CATEGORICAL:
            found += self._count(as_categories(raw), weight)
            if len(self.seen) > MAX_CATEGORIES:
                raise ValueError(
                    f"{raw.where} has more than {MAX_CATEGORIES} categories; drop it if it names rows, or declare that it "
                    "holds numbers."
                )
        else:
            x = raw.values if is_time else as_float(raw)
            found += self._widen(x)
            if kind == INTEGER and self.seen is not None:
                found += self._count(x, weight, ENOUGH_NUMBERS)
                if len(self.seen) > MAX_COUNTED:
                    self.seen = None
        rows = np.flatnonzero(raw.observed_or_all)
        return kept + rows[found].tolist()

    def _widen(self, x):
        """Widen the range; return the places of new ends, and of a second cell at the lower one."""
        low, high = x.min(), x.max()
        found = []
        if self.low is None or low < self.low:
            self.low, self.n_lowest = low, 0
        if low == self.low and self.n_lowest < 2:
            lowest = np.flatnonzero(x == low)[: 2 - self.n_lowest]
            self.n_lowest += len(lowest)
            found += lowest.tolist()
        if self.high is None or high > self.high:
            self.high = high
            found.append(int(x.argmax()))
        return found

    def _count(self, values, weight, n_kept=np.inf):
        """Count values; return the places of new ones, as long as these are among the first few."""
        different = distinct(values)
        code = codes(values, different)
        rows, weights = np.bincount(code), np.bincount(code, weight)
        first = np.unique(code, return_index=True)[1]
        found = []
        for value, place, *added in zip(different.tolist(), first, rows, weights, strict=True):
            if value not in self.seen:
                if len(self.seen) < n_kept:
                    found.append(place)
                self.seen[value] = np.zeros(2)
            self.seen[value] += added
        return found

    def __add__(self, other):
        is_other = None not in (self.content, other.content) and self.content != other.content
        if is_other and not (self.is_category and other.is_category):
            raise ValueError(
                f"{self.where} holds {self.content} in some rows, but {other.content} in later ones; all chunks of a table "
                "hold the same in a column."
            )
        total = ColumnSummary()
        first = other if self.content is None else self
        total.content, total.is_category, total.where = (
            first.content,
            first.is_category,
            first.where,
        )
        total.missing = self.missing + other.missing
        total.observed = self.observed + other.observed
        ends = [of for of in (self, other) if of.low is not None]
        if ends:
            total.low, total.high = min(of.low for of in ends), max(of.high for of in ends)
            total.n_lowest = sum(of.n_lowest for of in ends if of.low == total.low)
        if self.seen is None or other.seen is None:
            total.seen = None
        else:
            total.seen = {value: counts.copy() for value, counts in self.seen.items()}
            for value, counts in other.seen.items():
                total.seen[value] = total.seen.get(value, 0) + counts
        return total

    def exact(self, column, is_bounded):
        """Return the column that was learnt from the sample, with the shares of all rows."""
        changes = {}
        if column.missing_share:
            changes["missing_share"] = self.missing[1] / (self.missing[1] + self.observed[1])
        if column.unknown_share:
            changes["unknown_share"] = self._share_of_new(column)
        if is_bounded and column.kind == INTEGER and self.seen is not None:
            changes["beyond_share"] = self._share_of_new(column)
        return replace(column, **changes)

    def _share_of_new(self, column):
        if column.empty or column.constant:
            counts = [self.missing if column.empty else self.observed]
        else:
            counts = list(self.seen.values())
        rows, weights = np.array(counts).T
        # Weights that are shares are no repetitions.
        return share_of_seen(rows if weights.sum() < rows.sum() else weights)
