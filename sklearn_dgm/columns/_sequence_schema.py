"""The road between a user's sequences and what a model works on: one schema for all steps."""

import functools
import warnings
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.exceptions import DataConversionWarning

from sklearn_dgm._state import Stateful
from sklearn_dgm.columns._building import fill, part_of
from sklearn_dgm.columns._column import Column
from sklearn_dgm.columns._frames import is_frame
from sklearn_dgm.columns._objects import STRINGS
from sklearn_dgm.columns._reading import raw_columns
from sklearn_dgm.columns._schema import ColumnSchema
from sklearn_dgm.columns._sequences import (
    Sequences,
    build_sequences,
    naming_steps,
    read_sequences,
)


class SequenceSchema(Stateful):
    """Kinds and scales of the columns of a step, the container of sequences, and what is known of their lengths.

    All steps of all sequences are one table, to which a single :class:`ColumnSchema` is fitted.

    Parameters
    ----------
    steps : ColumnSchema
        The unfitted schema of the steps.
    length : {"auto", "fixed", "stop", "given"}, default="auto"
        What the length of a sequence is to a model; see :class:`~sklearn_dgm.sequence.BaseSequenceDensity`.

    Attributes
    ----------
    length_ : {"fixed", "stop", "given"}
        What it is.
    lengths_ : ndarray of int of shape (n_lengths,)
        The lengths among the sequences of the first fit, increasing.
    length_shares_ : ndarray of shape (n_lengths,)
        Their shares of the weight.

    Examples
    --------
    >>> from sklearn_dgm.columns import ColumnSchema, SequenceSchema
    >>> schema = SequenceSchema(ColumnSchema()).fit(["ab", "b", ""])
    >>> Z, log_det = schema.encode(["ba"])
    >>> Z.steps.tolist(), Z.lengths.tolist(), schema.length_
    ([[1.0], [0.0]], [2], 'stop')
    >>> schema.decode(Z)
    ['ba']
    """

    def __init__(
        self, steps: ColumnSchema, length: Literal["auto", "fixed", "stop", "given"] = "auto"
    ) -> None:
        self.steps, self.length = steps, length

    def fit(self, X: Any, sample_weight: ArrayLike | None = None) -> Self:
        """Learn the columns of a step, the container, and the lengths.

        Parameters
        ----------
        X : {list, ndarray, Series, DataFrame} of n_sequences sequences
            Sequences; see :class:`~sklearn_dgm.sequence.BaseSequenceDensity`.
        sample_weight : ndarray of shape (n_sequences,), default=None
            Their weights.

        Returns
        -------
        self : SequenceSchema
            The fitted schema.

        Raises
        ------
        ValueError
            If there is no step at all, lengths differ where they are to be fixed, or a step has a value that
            :class:`ColumnSchema` refuses.
        """
        form, table, lengths = read_sequences(X)
        _warn_of_one_column(form, table, X)
        weight = np.ones(len(lengths)) if sample_weight is None else np.asarray(sample_weight)
        self.settle(form, lengths, weight)
        of_steps = None if sample_weight is None else np.repeat(weight, lengths)
        with naming_steps(X, lengths):
            self.steps.fit(table, of_steps)
        return self

    def settle(self, form: Any, lengths: NDArray[np.intp], weight: NDArray[np.float64]):
        """Settle the container and what is known of lengths, all but the columns of a step.

        Parameters
        ----------
        form : SequenceForm
            Of the container.
        lengths : ndarray of int of shape (n_sequences,)
            Numbers of steps.
        weight : ndarray of shape (n_sequences,)
            Weights.

        Raises
        ------
        ValueError
            If there is no step at all, or lengths differ where they are to be fixed.
        """
        self.length_ = self._resolve_length(form, lengths)
        if not (lengths * weight).any():
            raise ValueError("X holds no step at all; at least one sequence should have one.")
        self._form = form
        self.lengths_, place = np.unique(lengths[weight > 0], return_inverse=True)
        shares = np.bincount(place, weight[weight > 0])
        self.length_shares_ = shares / shares.sum()

    def _resolve_length(self, form, lengths):
        if self.length == "auto":
            return "fixed" if form.is_fixed else "stop"
        if self.length == "stop" and form.is_fixed:
            raise ValueError(
                "length='stop' needs sequences of different lengths, such as a list; in a table and in a 3-D array all "
                "have the same."
            )
        if self.length == "fixed":
            check_lengths(lengths, lengths[0])
        return "fixed" if form.is_fixed else self.length

    @property
    def columns_(self) -> list[Column]:
        """What is known of each column of a step."""
        return self.steps.columns_

    @property
    def kinds_(self) -> NDArray[Any]:
        """Kind of each column of a step, as an ndarray of shape (n_columns,)."""
        return self.steps.kinds_

    @property
    def log_det_(self) -> NDArray[np.float64]:
        """Log-Jacobian of the encoding of a step by column, of shape (n_columns,)."""
        return self.steps.log_det_

    def encode_steps(self, X: Any) -> tuple[Sequences, NDArray[np.float64]]:
        """Encode sequences, with a log-Jacobian for each step.

        Parameters
        ----------
        X : {list, ndarray, Series, DataFrame} of n_sequences sequences
            Sequences, whose steps have the columns of `fit`; in whatever container.

        Returns
        -------
        Z : Sequences
            The encoded sequences.
        log_det : ndarray of shape (n_steps,)
            ``log |d z / d x|`` of each step.

        Raises
        ------
        ValueError
            If steps have other columns than those of `fit`, there is a length that `fit` has not fixed, or a value that
            :class:`ColumnSchema` refuses.
        """
        _, table, lengths = read_sequences(X)
        self.check_lengths(lengths)
        self._check_columns(table)
        with naming_steps(X, lengths):
            steps, log_det = self.steps.encode(table)
        return Sequences(steps, lengths), log_det

    def encode(self, X: Any) -> tuple[Sequences, NDArray[np.float64]]:
        """Encode sequences; see :meth:`encode_steps`.

        Parameters
        ----------
        X : {list, ndarray, Series, DataFrame} of n_sequences sequences
            Sequences.

        Returns
        -------
        Z : Sequences
            The encoded sequences.
        log_det : ndarray of shape (n_sequences,)
            Log-Jacobians, summed over the steps of each.
        """
        Z, log_det = self.encode_steps(X)
        return Z, Z.sums(log_det)

    def encode_part(self, sequence: Any) -> NDArray[np.float64]:
        """Encode a part of a sequence, of whatever length.

        Parameters
        ----------
        sequence : {str, list, tuple, ndarray, DataFrame}
            Steps, in the form of a row of a 1-D container, or the cells of a row of a table.

        Returns
        -------
        steps : ndarray of shape (n_steps, n_columns)
            Encoded steps.

        Raises
        ------
        ValueError
            If the steps have other columns than those of `fit`, or a value that :class:`ColumnSchema` refuses.
        """
        _, table, lengths = read_sequences([sequence])
        self._check_columns(table)
        with naming_steps([sequence], lengths):
            return self.steps.encode(table)[0]

    def check_lengths(self, lengths: NDArray[np.intp]):
        """Refuse sequences of a length that `fit` has not seen, where it is fixed.

        Parameters
        ----------
        lengths : ndarray of int of shape (n_sequences,)
            Numbers of steps.

        Raises
        ------
        ValueError
            If there is one; the message names it.
        """
        if self.length_ == "fixed":
            check_lengths(lengths, self.lengths_[0])

    def _check_columns(self, table):
        """Refuse steps of other columns than the fitted ones."""
        if table.shape[1] != len(self.columns_):
            raise ValueError(
                f"steps of X have {table.shape[1]} column(s), those of fit had {len(self.columns_)}."
            )
        labels = [column.label for column in self.columns_]
        own_labels = self._form.cell == "frame" and is_frame(table)
        if own_labels and set(table.columns) != set(labels):
            raise ValueError(
                f"steps of X have the columns {list(table.columns)}, those of fit had {labels}."
            )

    def decode(self, Z: Sequences) -> Any:
        """Turn encoded sequences back into a container like the fitted one.

        Parameters
        ----------
        Z : Sequences
            Encoded sequences.

        Returns
        -------
        X : {list, ndarray, Series, DataFrame}
            Sequences in the container of `fit`, with its dtypes.
        """
        form = self._form
        if form.container != "table":
            return build_sequences(form, self.steps.decode(Z.steps), Z.lengths)
        (column,), steps = self.columns_, Z.steps.reshape(len(Z), -1)
        decoders = [functools.partial(_decode_block, column, z) for z in steps.T]
        # Columns of several dtypes are steps of one distribution, which not each of them can hold.
        dtypes = getattr(form.template, "dtypes", ())
        return fill(form.template, decoders, len(Z), clip=len(set(dtypes)) <= 1)

    def build(self, table: Any, lengths: NDArray[np.intp]) -> Any:
        """Make a container like the fitted one of a table of steps, of which some may have missing cells.

        Parameters
        ----------
        table : {ndarray, DataFrame} of shape (n_steps, n_columns)
            Steps as `decode` of the schema of steps returns them.
        lengths : ndarray of int of shape (n_sequences,)
            Numbers of steps.

        Returns
        -------
        X : {list, ndarray, Series, DataFrame}
            Sequences in the container of `fit`.
        """
        if self._form.container != "table":
            return build_sequences(self._form, table, lengths)
        (raw,), shape = raw_columns(table), (len(lengths), -1)
        values = np.zeros(len(table), raw.values.dtype)
        values[raw.observed_or_all] = raw.values
        parts = zip(values.reshape(shape).T, ~raw.observed_or_all.reshape(shape).T, strict=True)
        columns = [functools.partial(part_of, *part) for part in parts]
        return fill(self._form.template, columns, len(lengths), clip=False)

    def check_alike(self, schema: Any, X: Any, sample_weight: ArrayLike | None = None) -> Any:
        """Check that a fitted schema can stand in for this one, and knows all categories of the sequences.

        Parameters
        ----------
        schema : SequenceSchema
            A fitted schema.
        X : {list, ndarray, Series, DataFrame} of n_sequences sequences
            What it is to encode.
        sample_weight : ndarray of shape (n_sequences,), default=None
            Weights.

        Returns
        -------
        schema : SequenceSchema
            The fitted schema.

        Raises
        ------
        ValueError
            If it was learnt by another `length`, or its steps are not those of these sequences.
        """
        if not isinstance(schema, SequenceSchema) or schema.length != self.length:
            raise ValueError(
                "schema should be what learn_schema of a density with the same parameters returns for sequences with "
                "the same columns."
            )
        _, table, lengths = read_sequences(X)
        schema._check_columns(table)
        of_steps = None if sample_weight is None else np.repeat(sample_weight, lengths)
        with naming_steps(X, lengths):
            self.steps.check_alike(schema.steps, table, of_steps)
        return schema

    def __repr__(self):
        if not hasattr(self, "length_"):
            return super().__repr__()
        low, high = self.lengths_[[0, -1]]
        lengths = f"{low}" if low == high else f"{low} to {high}"
        return f"sequences of {lengths} steps, length {self.length_}\n{self.steps!r}"


def check_lengths(lengths, expected):
    """Refuse sequences of another length."""
    if len(other := np.flatnonzero(lengths != expected)):
        raise ValueError(
            f"sequence {other[0]} has {lengths[other[0]]} step(s), but all should have {expected}, since the length is "
            "fixed; with length='stop' or 'given' it need not be."
        )


def _warn_of_one_column(form, table, X):
    """Warn of strings in a table of one column, of which each would be a sequence of one step."""
    if form.container == "table" and X.shape[1] == 1:
        (column,) = raw_columns(table)
        if column.content == STRINGS:
            column_of = f"X[{X.columns[0]!r}]" if is_frame(X) else "X[:, 0]"
            warnings.warn(
                f"X is a table of one column of strings, of which each is a single step; if each is to be a sequence of "
                f"characters, hand in the column, {column_of}.",
                DataConversionWarning,
                stacklevel=2,
            )


def _decode_block(column, z, block):
    return column.decode(z[block])
