"""The Markov chain: steps given the few before them, by counting."""

from dataclasses import dataclass
from numbers import Integral
from typing import Any, Literal

import numpy as np

from sklearn_dgm._sklearn import Interval, StrOptions
from sklearn_dgm.columns import INTEGER, Sequences
from sklearn_dgm.counts.axes import axes_of
from sklearn_dgm.counts.ngrams import GramCounts, NGrams, best_order
from sklearn_dgm.counts.sufficient import CountsMixin
from sklearn_dgm.sequence._base import BaseSequenceDensity
from sklearn_dgm.sequence._factors import ChainFactors
from sklearn_dgm.tags import DensityTags

# Whole numbers in so wide a range have a cell each, such as bytes and the notes of a keyboard.
MAX_LEVELS = 256


class MarkovChainDensity(CountsMixin, BaseSequenceDensity):
    """Distribution of each step of a sequence given the few steps before it, by counting: an n-gram.

    A step has one column. Its values are symbols: characters, words, labels, whole numbers, or the cells that other
    numbers are binned into. Counts of long contexts are smoothed by those of shorter ones, so that no sequence of known
    symbols is impossible. Training is counting, scoring is a look-up, and both are exact and take seconds for millions
    of steps. It is what a network on sequences has to beat.

    Parameters
    ----------
    order : int or "auto", default="auto"
        Number of symbols of an n-gram: a step is given the ``order - 1`` steps before it. 1 is for independent steps, 2
        for a Markov chain in the narrow sense; names want 5 or 6, long texts 6 or 7. "auto" takes the order
        under which each step is predicted best by all other steps (leaving one out); it tries orders from 1 on, until
        two in succession are no better, up to 10.
    smoothing : {"kneser-ney", "witten-bell"}, default="kneser-ney"
        How n-grams of several orders are interpolated. Kneser-Ney, with the discounts of Chen and Goodman [1]_, is
        better nearly everywhere; Witten-Bell does without discounts, which small counts must tell.
    length : {"auto", "fixed", "stop", "given"}, default="auto"
        What the length of a sequence is; see :class:`BaseSequenceDensity`. With "stop", the end is a symbol.
    bins : int, str, array-like or dict, default="auto"
        How numbers are cut into cells: a number of equal bins, "quantiles" (as many bins of equal weight as the cube
        root of the number of steps), one of the other rules of :class:`~sklearn_dgm.HistogramDensity`, or an array of
        edges. "auto" gives each whole number between the smallest and the largest one a cell, if these are at most 256,
        and is "quantiles" otherwise. Within a bin, numbers are distributed as they are in all steps, and beyond the
        outer edges with exponential tails, up to the `bounds`.
    categorical_features : "from_dtype", array-like or None, default="from_dtype"
        ``[0]`` makes labels of whole numbers, such as the indices of words: there are no others then, and no cells.
    integer_features : "from_dtype", array-like or None, default="from_dtype"
        ``[0]`` makes whole numbers of floats, ``None`` continuous ones of whole numbers.
    column_kinds : dict, default=None
        The kind of the column by its index, 0: "continuous", "rounded", "mixed", "integer" or "categorical".
    handle_unknown : {"impossible", "error", "rare"}, default="impossible"
        What a symbol is that `fit` has not seen: impossible, an error, or as likely after any steps as a new one was at
        the end of the fitted rows; see :class:`~sklearn_dgm.columns.ColumnSchema`. As steps
        before others all unknown ones are one symbol.
    bounds : dict, "observed" or None, default=None
        Where numbers can lie; see :class:`~sklearn_dgm.columns.ColumnSchema`.

    Attributes
    ----------
    order_ : int
        Number of symbols of an n-gram.
    n_symbols_ : int
        Number of symbols, with the end of the sequence if it is one.
    n_grams_ : int
        Number of distinct n-grams that have been counted.
    schema_ : SequenceSchema
        The kind of the steps, and the lengths.
    score_kind_ : {"exact"}
        `score_samples` returns exact log-densities.
    n_features_in_ : int
        Number of columns of a table seen in `fit`; of other containers there is none.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Their names, where X has string column names.

    See Also
    --------
    BaseSequenceDensity : What rows and lengths are, and `score_steps`.

    Notes
    -----
    The first `partial_fit` settles the symbols, the cells of numbers and, if it is "auto", the order. Symbols that come
    later are unknown ones, which are not counted but as what comes before others; a list of all of them in the first
    call avoids that. To `merge` models that were fitted apart, fit them with one schema, of `learn_schema` for all
    sequences. Merged and further counts are then those of all sequences at once.

    Sequences may be read a chunk at a time. All of them are counted; ``order="auto"`` and quantiles are those of a
    sample.

    Weights are counts: where all of them are far below one, little has been seen, and shorter contexts say most.

    Steps must not be missing.

    References
    ----------
    .. [1] S. F. Chen and J. Goodman, "An empirical study of smoothing techniques for language modeling", Computer
       Speech & Language 13 (1999), https://doi.org/10.1006/csla.1999.0128

    Examples
    --------
    >>> from sklearn_dgm import MarkovChainDensity
    >>> density = MarkovChainDensity(order=3).fit(["anna", "hanna", "hannah", "susanna", "joanna"])
    >>> density.score_samples(["johanna", "annajoh"]).round(1)
    array([ -9. , -12.9])
    >>> density.score_steps(["hanna"])[0].round(1)
    array([-2.5, -1.3, -0.6, -0.4, -0.3, -0.8])
    """

    _parameter_constraints: dict = {
        **BaseSequenceDensity._parameter_constraints,
        "order": [Interval(Integral, 1, None, closed="left"), StrOptions({"auto"})],
        "smoothing": [StrOptions({"kneser-ney", "witten-bell"})],
        "bins": [Interval(Integral, 1, None, closed="left"), str, "array-like", dict],
        "handle_unknown": [StrOptions({"impossible", "error", "rare"})],
        "bounds": [dict, StrOptions({"observed"}), None],
    }
    _density_tags = DensityTags(sequences=True, ties=True)
    _shape_params = (*BaseSequenceDensity._shape_params, "order", "smoothing", "bins")
    _same_cells_by = (
        "fit them with one schema, of learn_schema for all sequences; cells of numbers are learnt from the first rows, so "
        "that further rows need partial_fit"
    )

    def __init__(
        self,
        order: Literal["auto"] | int = "auto",
        *,
        smoothing: Literal["kneser-ney", "witten-bell"] = "kneser-ney",
        length: Literal["auto", "fixed", "stop", "given"] = "auto",
        bins: Any = "auto",
        categorical_features: Any = "from_dtype",
        integer_features: Any = "from_dtype",
        column_kinds: dict[Any, Any] | None = None,
        handle_unknown: Literal["impossible", "error", "rare"] = "impossible",
        bounds: Any = None,
    ) -> None:
        super().__init__(
            length=length,
            categorical_features=categorical_features,
            integer_features=integer_features,
            column_kinds=column_kinds,
        )
        self.order = order
        self.smoothing = smoothing
        self.bins = bins
        self.handle_unknown = handle_unknown
        self.bounds = bounds

    def _settle(self, Z, sample_weight):
        columns = self.schema_.columns_
        if len(columns) != 1:
            raise ValueError(
                f"steps of X have {len(columns)} columns, but MarkovChainDensity counts symbols of one; hand in one of "
                "them, or take HiddenMarkovDensity or AutoregressiveSequenceDensity, whose steps may have several."
            )
        weight = np.ones(len(Z)) if sample_weight is None else sample_weight
        (self._axis,) = axes_of(columns, Z.steps, Z.of_steps(weight), self._bins_of(columns[0]))
        n_values, params = self._axis.n_levels, {"smoothing": self.smoothing, "ends": self._ends}
        self.order_ = self.order
        if self.order == "auto":
            self.order_ = best_order(self._codes(Z)[0], Z.lengths, weight, n_values, **params)
        self._ngrams = NGrams(n_values, self.order_, **params)
        self.n_symbols_ = self._ngrams.n_symbols

    def _bins_of(self, column):
        """Return the bins of the column of the steps."""
        if not isinstance(self.bins, str) or self.bins != "auto":
            return self.bins
        return bins_of_steps(column)

    def _codes(self, Z):
        """Return the symbols of all steps, -1 for unknown ones, and the log-density of values given these."""
        return self._axis.encode(Z.steps[:, 0])

    def _count(self, Z, weight):
        grams = self._ngrams.count(self._codes(Z)[0], Z.lengths, weight)
        return ChainCounts(grams, GramCounts.of(Z.lengths[:, None], weight))

    def _set_counts(self, counts):
        self._counts = counts
        self._ngrams.set_counts(counts.grams)
        self.n_grams_ = len(counts.grams.weight)

    def _cells(self):
        (column,) = self.schema_.columns_
        return [(self._axis, column.location, column.scale)]

    def _check_same_cells(self, other):
        for name, mine, its in (
            ("order", self.order_, other.order_),
            ("length", _length_of(self.schema_), _length_of(other.schema_)),
        ):
            if mine != its:
                raise ValueError(
                    f"the models have different parameters: {name} is {mine} and {its}."
                )
        super()._check_same_cells(other)

    def _log_prob_steps(self, Z):
        symbols, log_within = self._codes(Z)
        log_p = self._ngrams.log_prob(symbols, Z.lengths)
        if not self._ends:
            return log_p + log_within, np.zeros(len(Z))
        ends = np.cumsum(Z.lengths + 1) - 1
        return np.delete(log_p, ends) + log_within, log_p[ends]

    def _step_factors(self):
        """Return the conditionals of the steps, as :class:`~sklearn_dgm._queries.factors.StepFactors`."""
        return ChainFactors(self._ngrams, self._axis)

    def _draw_lengths(self, n_samples, rng):
        lengths, weight = self._counts.lengths.grams[:, 0], self._counts.lengths.weight
        return rng.choice(lengths, n_samples, p=weight / weight.sum())

    def _draw(self, n_samples, rng):
        lengths = None if self._ends else self._draw_lengths(n_samples, rng)
        symbols, lengths = self._ngrams.sample(n_samples, rng, lengths)
        steps = self._axis.icdf_within(symbols, rng.random(len(symbols)))
        return Sequences(steps[:, None], lengths)


def bins_of_steps(column):
    """Return the bins that steps have by default: a cell for each whole number, if these are few, else quantiles."""
    if column.kind == INTEGER and column.high - column.low < MAX_LEVELS:
        return np.arange(column.low, column.high + 2) - 0.5
    return "quantiles"


def _length_of(schema):
    """Say what the length is, and which one where it is fixed."""
    return (
        f"{schema.length_}, {schema.lengths_[0]}" if schema.length_ == "fixed" else schema.length_
    )


@dataclass(frozen=True)
class ChainCounts:
    """What a Markov chain counts.

    Attributes
    ----------
    grams : GramCounts
        Of the highest order.
    lengths : GramCounts
        Of the lengths of sequences, n-grams of one symbol.
    """

    grams: GramCounts
    lengths: GramCounts

    def __add__(self, other):
        return ChainCounts(self.grams + other.grams, self.lengths + other.lengths)
