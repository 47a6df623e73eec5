"""What is encoded, as one table: rows, or the steps of all sequences."""

from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import Any, NamedTuple, Self

import numpy as np

from sklearn_dgm.codec._blocks import RowCoder
from sklearn_dgm.codec._exact import categories_of, check_same_sequences
from sklearn_dgm.codec._sequences import SequenceCoder
from sklearn_dgm.columns._building import TableSpec, fill, part_of
from sklearn_dgm.columns._sequences import (
    SequenceForm,
    build_sequences,
    naming_steps,
    read_sequences,
)


class TableRows(NamedTuple):
    """A table, of which each row is coded by itself.

    Attributes
    ----------
    table : {ndarray, DataFrame} of shape (n_samples, n_features)
        The rows.
    """

    table: Any

    def naming(self) -> AbstractContextManager:
        """Return a context in which errors name rows as they are."""
        return nullcontext()

    def coded(self, known, missing):
        """Return which rows can be coded, given which the density knows."""
        return known

    def coder(self, factors, cells, coded):
        """Return what puts rows on a stack."""
        return RowCoder(factors, cells)

    def of_coded(self, bits, coded):
        """Return the bits of all rows, infinite of those that cannot be coded."""
        of_all = np.full(len(coded), np.inf)
        of_all[coded] = bits
        return of_all

    def check_made(self, schema, header, template, made):
        """Refuse a container that would not come back: there is none around a table."""

    def header(self, coded):
        """Return what a stream has to say besides of rows."""
        return {}


class SequenceRows(NamedTuple):
    """Sequences: a step is coded given those before it, so that all steps of a sequence are coded or none.

    Attributes
    ----------
    given : {list, ndarray, Series, DataFrame}
        The sequences as they were given.
    form : SequenceForm
        What the container is.
    table : {ndarray, DataFrame} of shape (n_steps, n_columns)
        Their steps.
    lengths : ndarray of int of shape (n_sequences,)
        Numbers of steps.
    ends : bool
        Whether the density tells where a sequence ends.
    """

    given: Any
    form: SequenceForm
    table: Any
    lengths: np.ndarray
    ends: bool

    @classmethod
    def of(cls, X, schema) -> Self:
        """Read sequences, and refuse a container that could not come back.

        Parameters
        ----------
        X : {list, ndarray, Series, DataFrame} of n_sequences sequences
            Sequences, also none at all.
        schema : SequenceSchema
            That of the density.
        """
        own, ends = schema._form, schema.length_ == "stop"
        if len(X) == 0:
            nothing = schema.steps.decode(np.empty((0, len(schema.columns_))))
            return cls(X, own, nothing, np.zeros(0, dtype=np.intp), ends)
        form, table, lengths = read_sequences(X)
        if isinstance(form.template, TableSpec) and form != own:
            same = isinstance(own.template, TableSpec) and _parts(form) == _parts(own)
            if not same:
                raise ValueError(
                    f"X is a {type(X).__module__.partition('.')[0]}.{type(X).__name__} of {_said(form)}, but fit has seen "
                    f"{_said(own)}; convert it, or fit on such ones."
                )
        schema.check_lengths(lengths)
        return cls(X, form, table, lengths, ends)

    def naming(self) -> AbstractContextManager:
        """Return a context in which errors name the sequence and the step."""
        return naming_steps(self.given, self.lengths)

    def _is_coded(self, coded):
        """Flag the sequences of which all steps are flagged."""
        of_step = np.repeat(np.arange(len(self.lengths)), self.lengths)
        return np.bincount(of_step, ~coded, minlength=len(self.lengths)) == 0

    def coded(self, known, missing):
        """Return which steps can be coded: those of sequences that the density knows as a whole."""
        return np.repeat(self._is_coded(known & ~missing.any(axis=1)), self.lengths)

    def coder(self, factors, cells, coded):
        """Return what puts sequences on a stack."""
        return SequenceCoder(factors, cells, self.lengths[self._is_coded(coded)])

    def of_coded(self, bits, coded):
        """Return the bits of all sequences, infinite of those that cannot be coded."""
        of_all, is_coded = np.full(len(self.lengths), np.inf), self._is_coded(coded)
        of_all[is_coded] = bits
        return of_all

    def check_made(self, schema, header, template, made):
        """Refuse a container that would not come back from columns of steps, see :meth:`DecodedSequences.build`."""
        decoded = DecodedSequences(schema, header)
        decoded.lengths = self.lengths
        check_same_sequences(self.given, decoded.build(template, made))

    def header(self, coded):
        """Return what a stream has to say besides of sequences: the container, and lengths that are not coded."""
        apart = ~self._is_coded(coded)
        said = self.lengths[apart] if self.ends else self.lengths
        return {
            "sequences": len(self.lengths),
            "apart": np.flatnonzero(apart).tolist(),
            "lengths": said.tolist(),
            "form": list(self.form[:2]),
        }


def _parts(form):
    """Return what has to be the same of two forms for one to come back as the other."""
    spec = form.template
    labels = [*spec.labels] if form.container == "table" else form.name
    dtypes = [(str(dtype), categories_of(dtype)) for dtype in spec.dtypes]
    return form.container, form.cell, spec.frame, labels, dtypes


def said_of(schema):
    """Return what else of a schema of sequences a stream rests on, as text."""
    form = schema._form
    has_spec = isinstance(form.template, TableSpec)
    parts = _parts(form)[:2] + _parts(form)[3:] if has_spec else form[:2]
    return repr((schema.length_, form.template.frame.__module__ if has_spec else "", parts))


def _said(form):
    """Describe a form in words, for an error."""
    if isinstance(form.template, TableSpec):
        name = "" if form.container == "table" else f" named {form.name!r}"
        dtypes = sorted({str(dtype) for dtype in form.template.dtypes})
        return f"{form.template.frame.__module__.partition('.')[0]} {form.container}{name} of {', '.join(dtypes)}"
    return f"a {form.container} of {form.cell or 'numbers'}"


class DecodedSequences:
    """Sequences that come out of a stream.

    Parameters
    ----------
    schema : SequenceSchema
        That of the density.
    header : dict
        What :meth:`SequenceRows.header` said.
    """

    def __init__(self, schema, header):
        n, own = header.get("sequences", 0), schema._form
        self.is_apart = np.zeros(n, dtype=bool)
        self.is_apart[header.get("apart", [])] = True
        self._ends = schema.length_ == "stop"
        self.lengths = np.zeros(n, dtype=np.intp)
        self.lengths[self.is_apart if self._ends else slice(None)] = header.get("lengths", [])
        container, cell = header.get("form", own[:2])
        is_own = (container, cell) == own[:2]
        self.form = own if is_own else SequenceForm(container, cell)
        # Of a table and of a 3-D array without a row, there is that of `fit`.
        self._fitted_length = int(schema.lengths_[0])

    def coder(self, factors, cells):
        """Return what takes sequences off a stack."""
        return SequenceCoder(factors, cells, self.lengths[~self.is_apart])

    def take_lengths(self, coder):
        """Take over the lengths that were decoded."""
        self.lengths[~self.is_apart] = coder.lengths

    def build(self, template, made):
        """Return the container, given the columns of the table of all steps.

        Parameters
        ----------
        template : {TableSpec, dtype}
            Of the table of steps.
        made : list of tuple
            Values and flags of the missing ones (or None), of each column.
        """
        n, n_steps = len(self.lengths), int([*self.lengths, self._fitted_length][0])
        if self.form.container != "table":
            parts = [partial(part_of, *column) for column in made]
            steps = fill(template, parts, self.lengths.sum(), exact=True)
            if self.form.container == "array":
                return steps.reshape(n, n_steps, steps.shape[1])
            return build_sequences(self.form, steps, self.lengths)
        (values, gaps), own = made[0], self.form.template
        gaps = np.zeros(len(values), dtype=bool) if gaps is None else gaps
        of_steps = (part.reshape(n, n_steps).T for part in (values, gaps))
        parts = zip(*of_steps, strict=True)
        own = own if isinstance(own, TableSpec) else template
        return fill(own, [partial(part_of, *column) for column in parts], n, exact=True)
