"""The contract of densities whose rows are sequences."""

from abc import abstractmethod
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from sklearn.utils.validation import check_is_fitted

from sklearn_dgm._sklearn import StrOptions
from sklearn_dgm._validation import validate_sequences
from sklearn_dgm.base import BaseDensity
from sklearn_dgm.chunks import (
    SEQUENCES_AT_ONCE,
    SequenceChunks,
    SequenceSummary,
    are_chunks_of_sequences,
    check_in_memory,
)
from sklearn_dgm.columns import SequenceSchema, check_possible, is_table
from sklearn_dgm.tags import DensityTags


class BaseSequenceDensity(BaseDensity):
    """Base class of densities of sequences: one row is one sequence.

    So whatever splits rows, such as `cross_val_score`, `GridSearchCV` and `train_test_split`, splits sequences. A 1-D
    container holds sequences, a 2-D table has steps in its columns, a 3-D array has both:

    ======================================  =====================================  ========
    X                                       a row is                               length
    ======================================  =====================================  ========
    list, object array, Series of strings   its characters                         modelled
    ... of lists, tuples, 1-D arrays        one value a step: numbers or labels    modelled
    ... of (n_steps, d) arrays, DataFrames  d columns a step, of any kinds         modelled
    array of shape (n, n_steps, d)          n_steps steps of d columns             fixed
    array or DataFrame (n, n_steps)         n_steps steps of one column            fixed
    ======================================  =====================================  ========

    Of sequences that do not fit into memory, X gives such containers in a loop, the same ones each time, or names
    Parquet files; see `docs/larger_than_memory.md`. `sample` returns the container that `fit` was given. A step that is
    missing (NaN, None) is left out of the score, in densities that take such: so tables may end in missing cells where
    a sequence is shorter.

    Parameters
    ----------
    length : {"auto", "fixed", "stop", "given"}, default="auto"
        What the length of a sequence is. "fixed": the same for all. "stop": a part of the row, since the model says
        after each step whether the sequence goes on, so that the probabilities of all sequences of all lengths sum to
        one. "given": scores are those of the steps given the length, and lengths of drawn sequences are those of `fit`.
        "auto" is "fixed" for tables and 3-D arrays, "stop" for others.
    categorical_features : "from_dtype", array-like or None, default="from_dtype"
        Columns of a step that hold categories; see :class:`~sklearn_dgm.columns.ColumnSchema`. Strings, lists and
        tables have one column, 0.
    integer_features : "from_dtype", array-like or None, default="from_dtype"
        Columns of a step that hold counts.
    column_kinds : dict, default=None
        Kinds of columns of a step by name or index.

    Attributes
    ----------
    schema_ : SequenceSchema
        Kinds and scales of the columns of a step, and the lengths.
    score_kind_ : {"exact", "lower bound", "estimate", "unnormalised"}
        What `score_samples` returns.
    n_features_in_ : int
        Number of columns of a table seen in `fit`; of other containers there is none.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Their names, where X has string column names.

    Notes
    -----
    **Writing a density of sequences.** A family writes hooks over `Z`, a :class:`~sklearn_dgm.columns.Sequences`: its
    `steps` are the encoded steps of all sequences under each other, of shape (n_steps, n_columns), as
    :class:`~sklearn_dgm.BaseDensity` describes rows, and its `lengths` say how many belong to each sequence.
    `self.schema_.length_` tells what the length is.

    - `_fit(Z, sample_weight)` learns, as in :class:`~sklearn_dgm.BaseDensity`; a weight is that of a sequence.
    - `_log_prob_steps(Z)` returns the log-density of each step given the ones before it, of shape (n_steps,), and the
      log-probability of the end of each sequence, of shape (n_sequences,). The latter counts if the length is "stop";
      the former contain then that the sequence has gone on.
    - `_fit_chunks(rows)`, if it is written, learns from sequences that are read a chunk at a time.
    - `_draw(n_samples, rng)` returns encoded sequences. ``self._draw_lengths(n_samples, rng)`` draws their lengths,
      unless the length is "stop".

    See Also
    --------
    sklearn_dgm.BaseDensity : The contract of rows of a table, which this one extends.
    """

    _parameter_constraints: dict = {
        **BaseDensity._parameter_constraints,
        "length": [StrOptions({"auto", "fixed", "stop", "given"})],
    }
    _density_tags = DensityTags(sequences=True)
    _shape_params: tuple[str, ...] = ("length",)
    _summarise: Any = SequenceSummary

    def __init__(
        self,
        *,
        length: Literal["auto", "fixed", "stop", "given"] = "auto",
        categorical_features: Any = "from_dtype",
        integer_features: Any = "from_dtype",
        column_kinds: dict[Any, Any] | None = None,
    ) -> None:
        super().__init__(
            categorical_features=categorical_features,
            integer_features=integer_features,
            column_kinds=column_kinds,
        )
        self.length = length

    @abstractmethod
    def _log_prob_steps(self, Z):
        """Return the log-density of each step given those before it, and that of the end of each sequence."""

    def _is_chunked(self, X):
        return are_chunks_of_sequences(X)

    def _chunks_of(self, X, chunk_rows=SEQUENCES_AT_ONCE, *, once=False):
        return SequenceChunks.of(X, chunk_rows, once=once)

    def _make_schema(self):
        return SequenceSchema(super()._make_schema(), self.length)

    def _validate(self, X, *, reset):
        check_in_memory(self, X, reset=reset, sequences=True)
        return validate_sequences(self, X, reset=reset)

    def _check_further(self, Z, counted):
        def place(k):
            i = np.searchsorted(Z.starts, k, side="right") - 1
            return f"Sequence {i}, step {k - Z.starts[i]},"

        check_possible(self.schema_.columns_, Z.steps, Z.of_steps(counted), place)

    def _draw_lengths(self, n_samples, rng):
        """Draw the lengths of sequences from those of `fit`."""
        return rng.choice(self.schema_.lengths_, n_samples, p=self.schema_.length_shares_)

    @property
    def _ends(self):
        """Whether the end of a sequence is a part of it."""
        return self.schema_.length_ == "stop"

    def _log_density(self, Z):
        of_steps, of_ends = self._log_prob_steps(Z)
        return Z.sums(of_steps) + of_ends if self._ends else Z.sums(of_steps)

    def score_steps(self, X: Any) -> NDArray[Any]:
        """Compute the log-density of each step given the steps before it.

        Parameters
        ----------
        X : {list, ndarray, Series, DataFrame} of n_sequences sequences
            Sequences to score.

        Returns
        -------
        log_density : ndarray
            For a table or a 3-D array of shape (n_sequences, n_steps); for others an array of objects, of which each is
            an ndarray of shape (n_steps,). If the length is "stop", there is one number more, which is that of the end.
            In nats, in the units of X; 0 for a missing step. The sums are `score_samples(X)`.

        Raises
        ------
        ValueError
            As :meth:`score_samples`.
        """
        check_is_fitted(self)
        X = self._validate(X, reset=False)
        Z, log_det = self.schema_.encode_steps(X)
        of_steps, of_ends = self._log_prob_steps(Z)
        ends = of_ends if self._ends else None
        return self._by_sequence(X, Z, of_steps + log_det, ends)

    def _by_sequence(self, X, Z, of_steps, of_ends=None):
        """Return what there is one of for each step as an array where X is one, as arrays by sequence elsewhere."""
        parts = Z.split(of_steps)
        if of_ends is not None:
            parts = [np.append(part, end) for part, end in zip(parts, of_ends, strict=True)]
        if is_table(X) or getattr(X, "ndim", 1) == 3:
            return np.stack(parts)
        result = np.empty(len(Z), dtype=object)
        for i, part in enumerate(parts):
            result[i] = part
        return result
