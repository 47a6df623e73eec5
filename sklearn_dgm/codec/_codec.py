"""A lossless compressor made from a density."""

import copy
import math
import zlib
from functools import partial
from numbers import Real
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, MetaEstimatorMixin, clone
from sklearn.utils import get_tags
from sklearn.utils.validation import check_is_fitted, validate_data

from sklearn_dgm._callbacks import CallbackSupportMixin
from sklearn_dgm._nested.fitting import fit_density, meta_fit_task
from sklearn_dgm._sklearn import HasMethods, Interval, StrOptions, fit_context
from sklearn_dgm._typing import MatrixLike
from sklearn_dgm.chunks import check_in_memory
from sklearn_dgm.codec._blocks import (
    RowCoder,
    Stack,
    check_installed,
    flag_counts,
    put_flags,
    take_flags,
)
from sklearn_dgm.codec._cells import (
    FloatCells,
    are_same,
    cells_from,
    choose_cells,
    find_cells,
)
from sklearn_dgm.codec._columns import (
    as_integers,
    column_of,
    plain,
    values_of,
    without_negative_zeros,
)
from sklearn_dgm.codec._exact import (
    categories_of,
    check_same,
    markers_beside,
    with_markers,
)
from sklearn_dgm.codec._rows import DecodedSequences, SequenceRows, TableRows, said_of
from sklearn_dgm.codec._stream import Stream, fingerprint_of, pack
from sklearn_dgm.columns import SequenceSchema, check_container, is_frame, is_table
from sklearn_dgm.columns._building import TableSpec, fill, part_of, template_of
from sklearn_dgm.columns._dtypes import check_content
from sklearn_dgm.columns._names import by_position
from sklearn_dgm.columns._reading import raw_columns
from sklearn_dgm.persistence import SaveMixin
from sklearn_dgm.tags import get_density_tags, require_joint, require_normalised, unwrapped

AUTO = "auto"
# What a density of sequences has that can be coded.
STEPS = "_step_factors"
# From so many rows on it is worth looking for a coarser grid than that of floats.
MANY_ROWS = 50


class DensityCodec(CallbackSupportMixin, SaveMixin, MetaEstimatorMixin, BaseEstimator):
    """Compress tables and sequences without loss, with the probabilities of a density.

    An entropy coder spends ``-log2 p(x)`` bits on a row, so that a density of high likelihood is a good compressor, and
    by as much as its log-likelihood says. `encode` turns a table into bytes, and `decode` these into the same table.

    Parameters
    ----------
    estimator : estimator
        A density that is a product of conditionals of the columns, or a mixture of such:
        :class:`~sklearn_dgm.AutoregressiveDensity`, :class:`~sklearn_dgm.BayesianNetworkDensity`,
        :class:`~sklearn_dgm.HistogramDensity`; one of sequences that is a product of conditionals of the steps:
        :class:`~sklearn_dgm.MarkovChainDensity`, :class:`~sklearn_dgm.AutoregressiveSequenceDensity`; or a search over
        one. One that is fitted already is used as it is inside a :class:`sklearn.frozen.FrozenEstimator`.
    resolution : "auto", float or dict, default="auto"
        What the values of columns of floats and times are multiples of, in their units (days of dates, seconds of other
        times); the same for all of them, or a dict of that by name or index. With "auto", which columns have that a
        dict leaves out, it is found in the fitted rows, and again where a table that is encoded is on another grid: the
        grid that the density has found, else the largest power of ten that will do; where there is none, floats are
        coded to their last bit.

    Attributes
    ----------
    estimator_ : estimator
        The fitted density.
    resolution_ : ndarray of shape (n_features_in_,)
        Width of the cells of each column, as the fitted rows have it: 1 for whole numbers and categories, for floats
        without a grid about the distance to the next one. A table that is encoded may be on another grid.
    n_features_in_ : int
        Number of columns seen in `fit`.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Their names, where X has string column names.

    See Also
    --------
    sklearn_dgm.mean_log_likelihood : What it will come to, in nats a row.

    Notes
    -----
    Needs the package constriction, an asymmetric numeral system [1]_ (``pip install sklearn-dgm[codec]``). A mixture,
    such as that of several orders of the columns, is coded with bits back [2]_, at the price of the mixture.

    **What comes back** is the container, its column names and dtypes, and every value to its last bit; no index. NaN,
    infinity, an unknown category: rows that hold what the density has no probability for are stored as
    they are, at the price of some bytes for each cell. Where the density takes missing cells, which cells are missing
    costs what their share in each column says, and the other cells are coded as if the missing ones were in the middle
    of what the density expects there. A missing cell comes back as it was missing: null or NaN in polars, None, NaN, NA
    or NaT among objects. Every NaN is the same, and NumPy's scalars in columns of objects come back as Python's.
    `encode` makes the table that would come back and compares it with the given one: what its dtype or float64 cannot
    keep, such as decimals of more than 15 digits, or NaN beside NA in pandas' nullable floats, is an error that names
    column and row.

    **Sequences** are coded step by step, all of them side by side: where the density says when one ends, its length
    costs what that says, else lengths are stored. A sequence with a step that the density does not know, or that is
    missing, is stored as it is. Text is best cut into rows of some hundred characters or more.

    **What is guaranteed.** A stream is decoded by a copy of the codec (pickled, say) that encoded it, with the same
    versions of the libraries on the same kind of machine, whatever the number of threads. It has a checksum of its
    bytes, a fingerprint of the model and a checksum of the table: what was truncated or corrupted, is of another model,
    or comes out otherwise because another machine computes other last bits of probabilities, is an error and never a
    wrong table. So do not archive with a network what no other copy of remains.

    References
    ----------
    .. [1] J. Duda, "Asymmetric numeral systems", 2013, https://arxiv.org/abs/1311.2540
    .. [2] J. Townsend, T. Bird, D. Barber, "Practical lossless compression with latent variables using bits back
       coding", ICLR 2019, https://arxiv.org/abs/1901.04866

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.datasets import load_iris
    >>> from sklearn_dgm import BayesianNetworkDensity, DensityCodec
    >>> X = load_iris().data
    >>> codec = DensityCodec(BayesianNetworkDensity("chow-liu", conditional="table")).fit(X[::2])
    >>> stream = codec.encode(X[1::2])
    >>> len(stream) < 0.15 * X[1::2].nbytes
    True
    >>> np.array_equal(codec.decode(stream), X[1::2])
    True
    """

    _parameter_constraints: dict = {
        "estimator": [HasMethods("fit")],
        "resolution": [StrOptions({AUTO}), Interval(Real, 0, None, closed="neither"), dict],
    }

    def __init__(self, estimator: Any, *, resolution: Any = AUTO) -> None:
        self.estimator = estimator
        self.resolution = resolution

    @fit_context(prefer_skip_nested_validation=False)
    def fit(self, X: MatrixLike, y: Any = None) -> Self:
        """Fit the density to rows; one that is frozen stays as it is.

        Parameters
        ----------
        X : {array-like, DataFrame} of shape (n_samples, n_features) or container of sequences
            Rows to learn from.
        y : None
            Ignored, present for API consistency by convention.

        Returns
        -------
        self : estimator
            The fitted codec.

        Raises
        ------
        TypeError
            If the estimator does not factorise over columns.
        ImportError
            If constriction is not installed.
        ValueError
            If `resolution` does not fit the columns, or the density is unnormalised, is one of some columns given
            others, or cannot be fitted to X.
        """
        check_installed()
        if not any(hasattr(unwrapped(self.estimator), name) for name in ("_factors", STEPS)):
            name = type(unwrapped(self.estimator)).__name__
            raise TypeError(
                f"estimator should be a density that factorises over the columns: AutoregressiveDensity, "
                f"BayesianNetworkDensity, HistogramDensity, or MarkovChainDensity of sequences; {name} does not."
            )
        require_normalised([self.estimator], "DensityCodec")
        require_joint([self.estimator], "DensityCodec")
        if not get_density_tags(self.estimator).sequences:
            check_in_memory(self, X, reset=True)
        with meta_fit_task(self, X, y, n_subtasks=1) as task:
            if is_table(X):
                check_container(X)
            fitted = fit_density(clone(self.estimator), X, task=task.subtask("fit density"))
            columns = unwrapped(fitted).schema_.columns_
            table = self._read(X, unwrapped(fitted), reset=True).table
            stated, raw = self._resolutions(columns), raw_columns(table)
            cells = [
                choose_cells(column, plain(r), resolution, len(columns))
                for column, r, resolution in zip(columns, raw, stated, strict=True)
            ]
            self.estimator_, self._stated, self._fitted_cells = fitted, stated, cells
            self.resolution_ = np.array([of_column.width for of_column in cells])
        return self

    def encode(self, X: MatrixLike) -> bytes:
        """Compress a table, or sequences.

        Parameters
        ----------
        X : {array-like, DataFrame} of shape (n_samples, n_features) or container of sequences
            Rows, also none at all. DataFrames, and series of sequences, have the dtypes seen in `fit`; arrays any.

        Returns
        -------
        stream : bytes
            What `decode` takes.

        Raises
        ------
        ValueError
            If the columns are not those of `fit`, a value is no multiple of the resolution stated for it, or a cell
            would not come back as it is.
        TypeError
            If a row that the density does not know holds other objects than numbers, Decimals and strings.
        """
        rows = self._read(X, self._density())
        with rows.naming():
            return self._encode(rows)

    def _encode(self, rows):
        """Compress the table of all rows, or of the steps of all sequences."""
        X = rows.table
        container = self._container(X)
        raw, as_whole = zip(*map(as_integers, self._raw(X)), strict=True)
        plain, negative = zip(*map(without_negative_zeros, raw), strict=True)
        cells, numbers, missing, known = self._cells(plain, X.shape[0])
        known = rows.coded(known, missing)
        numbers, missing, others = numbers[known], missing[known], np.flatnonzero(~known)
        negative = np.column_stack(negative)[known]
        stack, coder = Stack(), rows.coder(self._factors(), cells, known)
        gaps, signs = flag_counts(missing), flag_counts(negative)
        coder.encode(numbers, missing, stack)
        put_flags(missing, gaps, stack)
        put_flags(negative, signs, stack)
        specs = [c.spec_beside(f) for c, f in zip(cells, self._fitted_cells, strict=True)]
        stored = [others.tolist(), *self._packed(raw, others)] if len(others) else []
        integers = np.flatnonzero(as_whole).tolist()
        coded = cells, numbers, missing, negative, integers, known, stored
        template = self._template(container)
        columns = self._columns(*coded, template=template)
        made = _filled(template, columns, len(known))
        markers = markers_beside(X, made)
        if markers:
            columns = self._columns(*coded, template=template, markers=markers)
            made = _filled(template, columns, len(known))
        check_same(X, made)
        rows.check_made(self._density().schema_, rows.header(known), template, columns)
        header = {
            **rows.header(known),
            "rows": X.shape[0],
            "cells": specs if any(specs) else None,
            "missing": gaps,
            "negative": signs,
            "integers": integers,
            "dtype": container,
            "markers": markers,
        }
        stream = Stream(
            fingerprint=self._fingerprint(coder.factors),
            checksum=_checksum(numbers, missing, negative),
            header={name: value for name, value in header.items() if value},
            stored=stored,
            words=stack.words(),
        )
        return stream.to_bytes()

    def decode(self, stream: Any) -> MatrixLike:
        """Decompress a table, or sequences.

        Parameters
        ----------
        stream : bytes-like
            What `encode` gave.

        Returns
        -------
        X : {ndarray, DataFrame} of shape (n_samples, n_features) or container of sequences
            What was encoded.

        Raises
        ------
        ValueError
            If the stream is truncated, corrupted, no stream of a codec, of another model, or was written where
            probabilities come out otherwise.
        """
        density, stream = self._density(), Stream.from_bytes(stream)
        header, schema, factors = stream.header, density.schema_, self._factors()
        if stream.fingerprint != self._fingerprint(factors):
            raise ValueError(
                "the stream was encoded with another model; decode it with a copy of the codec that encoded it."
            )
        is_sequences = isinstance(schema, SequenceSchema)
        sequences = DecodedSequences(schema, header) if is_sequences else None
        specs = header.get("cells", [None] * len(self._fitted_cells))
        cells = [cells_from(*pair) for pair in zip(self._fitted_cells, specs, strict=True)]
        coder = sequences.coder(factors, cells) if sequences else RowCoder(factors, cells)
        known = np.ones(header.get("rows", 0), dtype=bool)
        known[stream.stored[0] if stream.stored else []] = False
        numbers, missing, negative = _decoded(stream, coder, known.sum())
        template = self._template(header.get("dtype"))
        made = self._columns(
            cells,
            numbers,
            missing,
            negative,
            header.get("integers", []),
            known,
            stream.stored,
            template=template,
            markers=header.get("markers", []),
        )
        if not sequences:
            return _filled(template, made, len(known))
        sequences.take_lengths(coder)
        return sequences.build(template, made)

    def _template(self, dtype):
        """Return the template of a table, of an array of a dtype that `fit` has not seen if there is one."""
        return self._schema()._template if dtype is None else np.dtype(dtype)

    def _columns(
        self, cells, numbers, missing, negative, as_whole, known, stored, *, template, markers=()
    ):
        """Return the columns of coded cells and of rows that are stored apart: values, and flags of the missing."""
        columns = self._schema().columns_
        made = [
            column_of(
                values_of(cells[j], numbers[:, j], missing[:, j], negative[:, j], j in as_whole),
                missing[:, j],
                known,
                stored[j + 1 : j + 2],
                column,
            )
            for j, column in enumerate(columns)
        ]
        if isinstance(template, TableSpec) or template.kind == "O":
            made = [
                (column.as_fitted(values), gaps)
                for column, (values, gaps) in zip(columns, made, strict=True)
            ]
        for j, *of_column in markers:
            made[j] = with_markers(*made[j], *of_column)
        return made

    def code_length(self, X: MatrixLike) -> NDArray[Any]:
        """Return the code length of rows under the density itself: ``-log2`` of the probability of their cells.

        Parameters
        ----------
        X : {array-like, DataFrame} of shape (n_samples, n_features) or container of sequences
            Rows, also none at all.

        Returns
        -------
        bits : ndarray of shape (n_samples,)
            Bits of each row, infinite where it cannot be coded, since the density has no probability for a cell. Which
            cells are missing, and which zeros are negative, is not counted.

        Raises
        ------
        ValueError
            As for `encode`.
        """
        rows = self._read(X, self._density())
        with rows.naming():
            raw = list(map(plain, self._raw(rows.table)))
            cells, numbers, missing, known = self._cells(raw, rows.table.shape[0])
        coded = rows.coded(known, missing)
        lengths = rows.coder(self._factors(), cells, coded).code_length(
            numbers[coded], missing[coded]
        )
        return rows.of_coded(lengths, coded)

    def _density(self):
        check_is_fitted(self)
        return unwrapped(self.estimator_)

    def _factors(self):
        """Return the conditionals of the density: of columns, or of steps."""
        density = self._density()
        is_sequences = isinstance(density.schema_, SequenceSchema)
        return density._step_factors() if is_sequences else density._factors()

    def _schema(self):
        """Return the schema of the columns, of sequences those of a step."""
        schema = self._density().schema_
        return schema.steps if isinstance(schema, SequenceSchema) else schema

    def _read(self, X, density, reset=False):
        """Return what is encoded as one table."""
        is_sequences = isinstance(density.schema_, SequenceSchema)
        if not is_sequences:
            check_in_memory(self, X, reset=reset)
        if not is_sequences or (is_table(X) and not (isinstance(X, list) and not X)):
            X = self._checked(X, reset=reset)
        elif reset:
            vars(self).pop("n_features_in_", None)
            vars(self).pop("feature_names_in_", None)
        return SequenceRows.of(X, density.schema_) if is_sequences else TableRows(X)

    def _raw(self, X):
        schema = self._schema()
        schema.check_order(X)
        columns = schema.columns_
        pairs = zip(raw_columns(X), columns, strict=True)
        raw = [raw._replace(label=column.label) for raw, column in pairs]
        for column, of_column in zip(columns, raw, strict=True):
            check_content(column, of_column)
        return raw

    def _resolutions(self, columns):
        """Return the resolution of each column, "auto" where none is stated."""
        stated = self.resolution
        if not isinstance(stated, dict):
            takes = (not c.is_counted for c in columns)
            return [stated if takes_it else AUTO for takes_it in takes]
        labels, found = [column.label for column in columns], [AUTO] * len(columns)
        for j, value in by_position(stated, labels, "resolution").items():
            if value == AUTO:
                continue
            if not isinstance(value, Real) or not 0 < value < math.inf:
                raise ValueError(
                    f"resolution of {columns[j].where} should be positive, got {value!r}."
                )
            if columns[j].constant:
                continue
            if columns[j].is_counted:
                raise ValueError(f"{columns[j].where} is {columns[j].kind} and has no resolution.")
            found[j] = float(value)
        return found

    def _cells(self, raw, n_rows):
        """Find the cells of all columns and rows, missing cells, and the rows that the density can code."""
        density = self._density()
        takes_missing = get_tags(density).input_tags.allow_nan
        numbers = np.zeros((n_rows, len(raw)), dtype=np.int64)
        missing, known = np.zeros(numbers.shape, dtype=bool), np.ones(n_rows, dtype=bool)
        all_cells = []
        for j, r in enumerate(raw):
            cells, found, exact = self._cells_of_column(j, r)
            observed = r.observed_or_all
            numbers[observed, j] = found
            known[np.flatnonzero(observed)[~exact]] = False
            missing[~observed, j] = True
            known &= observed | takes_missing
            all_cells.append(cells)
        return all_cells, numbers, missing, known

    def _packed(self, raw, rows):
        """Pack rows as they are, column by column; times of objects as times, if these can be made again."""
        for column, r in zip(self._density().schema_.columns_, raw, strict=True):
            if r.objects is not None:
                some = r.observed_of(np.isin(np.arange(len(r.observed_or_all)), rows))
                is_made_again = are_same(column.as_fitted(r.values[some]), r.objects[some]).all()
                r = r if is_made_again else r._replace(values=r.objects)
            yield pack(r, rows)

    def _cells_of_column(self, j, raw):
        """Return the fitted cells of a column, or others if these are too coarse or finer than need be."""
        cells, resolution = self._fitted_cells[j], self._stated[j]
        off = find_cells(cells, raw)[2]
        if resolution != AUTO and off.any():
            raise ValueError(
                f"{raw.where} holds {raw.values[off][0]!r} in row {raw.row(off)}, which is no multiple of its "
                f"resolution {resolution!r}; state a finer one."
            )
        # What a stream says of other cells costs some bytes, too.
        if off.any() or (isinstance(cells, FloatCells) and len(off) >= MANY_ROWS):
            cells = choose_cells(cells.column, raw, resolution, len(self._stated))
        numbers, exact, _ = find_cells(cells, raw)
        cells = copy.copy(cells)
        cells.cover(numbers[exact])
        return cells, numbers, exact

    def _container(self, X):
        """Return the dtype of an array that a stream must state, since `fit` had another; else None."""
        template, own = template_of(X), self._schema()._template
        if not is_frame(X):
            return None if isinstance(own, np.dtype) and template == own else template.str
        if isinstance(own, np.dtype) or template.frame is not own.frame:
            seen = "an array" if isinstance(own, np.dtype) else f"a {own.frame.__module__} frame"
            raise ValueError(f"X is a {type(X).__module__} frame, but fit has seen {seen}.")
        for name, dtype, expected in zip(template.labels, template.dtypes, own.dtypes, strict=True):
            if dtype != expected or categories_of(dtype) != categories_of(expected):
                raise ValueError(
                    f"column {name!r} has dtype {dtype!r}, but had {expected!r} in fit; convert it."
                )
        return None

    def _fingerprint(self, factors):
        schema = self._density().schema_
        columns = schema.columns_
        said = said_of(schema) if isinstance(schema, SequenceSchema) else ""
        of_schema = [tuple(vars(column).values()) for column in columns]
        of_cells = [(cells.grid, cells.first, cells.n_cells) for cells in self._fitted_cells]
        return fingerprint_of([*of_schema, said, *of_cells, *factors.parameters()])

    def _checked(self, X, reset=False):
        check_container(X)
        if not is_frame(X) and not hasattr(X, "dtype"):
            as_is = np.asarray(X)
            X = np.asarray(X, dtype=object) if as_is.dtype.kind in "US" else as_is
        as_it_is = {
            "skip_check_array": is_frame(X),
            "dtype": None,
            "ensure_all_finite": False,
            "ensure_min_samples": int(reset),
        }
        return validate_data(self, X, reset=reset, **as_it_is)

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags = get_tags(self.estimator).input_tags
        return tags


def _filled(template, made, n):
    """Return a table of columns."""
    return fill(template, [partial(part_of, *column) for column in made], n, exact=True)


def _checksum(numbers, missing, negative):
    cells = np.where(missing, 0, numbers).astype("<i8")
    return zlib.crc32(negative.tobytes(), zlib.crc32(cells.tobytes()))


def _decoded(stream, coder, n_rows):
    """Return the cells of the coded rows, which are missing, and which are negative zeros."""
    try:
        stack = Stack(stream.words)
        negative, missing = (
            take_flags((n_rows, len(coder.cells)), stream.header.get(name, []), stack)
            for name in ("negative", "missing")
        )
        numbers = coder.decode(missing, stack)
        is_right = _checksum(numbers, missing, negative) == stream.checksum
        is_right &= stack.is_exhausted
    except (ValueError, IndexError, ArithmeticError):
        is_right = False
    if not is_right:
        raise ValueError(
            "the rows of the stream do not come out as they went in: it was encoded where the last bits of "
            "probabilities are others, as on another machine or with other versions of the libraries."
        )
    return numbers, missing, negative
