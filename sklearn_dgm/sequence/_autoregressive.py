"""The autoregressive density of sequences: a causal network, beside an n-gram where steps are symbols."""

from functools import partial
from numbers import Integral, Real
from typing import Any, Literal

import numpy as np
import torch
from sklearn.utils.validation import check_is_fitted

from sklearn_dgm._sklearn import Interval, StrOptions
from sklearn_dgm._subsets import some_of
from sklearn_dgm._training.base import NUMBERS_AT_ONCE, ROWS_AT_ONCE, NeuralMixin
from sklearn_dgm._training.parameters import describe_training, handed_on
from sklearn_dgm._training.seeding import one_thread, torch_generator
from sklearn_dgm._training.variables import is_constant, outline_of, variables_of
from sklearn_dgm._typing import RandomState
from sklearn_dgm.columns import MIXED, Sequences
from sklearn_dgm.columns._bulk import REACH
from sklearn_dgm.counts.ngrams import best_order
from sklearn_dgm.nn.causal import CELLS, CausalNetwork
from sklearn_dgm.nn.moments import moments
from sklearn_dgm.nn.start import start_from
from sklearn_dgm.sequence._base import BaseSequenceDensity
from sklearn_dgm.sequence._batches import (
    LogLikelihoodOfSequences,
    NGramContexts,
    NGramsBeside,
    SequenceRows,
    SequenceSplits,
    log_prob_steps,
)
from sklearn_dgm.sequence._network_factors import NetworkStepFactors
from sklearn_dgm.tags import DensityTags

# Steps of a batch at most, and sequences at least and at most.
STEPS_OF_BATCH, MIN_BATCH, MAX_BATCH = 1024, 8, 64
# Steps that training starts from at most.
MAX_START = 2**16
# With a temperature, steps that are drawn at most, as a multiple of the longest fitted sequence.
TIMES_LONGEST = 10
# Sequences from which on there is an n-gram by itself.
MIN_SEQUENCES = 20


@describe_training
class AutoregressiveSequenceDensity(NeuralMixin, BaseSequenceDensity):
    """Density of sequences from a causal network.

    ``log p(x) = sum_t log p(x_t | x_<t)``: a recurrent network of gated units [1]_ or a transformer [2]_ makes a
    context of all steps before, from which come the distribution of the next step and the probability that the sequence
    ends. Strings, lists of tokens, and steps of several columns of any kinds are taken, see
    :class:`~sklearn_dgm.sequence.BaseSequenceDensity`; the columns of a step are modelled one after the other, given
    the context, by a masked network (as in RNN-NADE [3]_). Training starts from a chain of first order in closed form.

    Where steps are symbols (a single column of categories, such as characters or words), the network is mixed with an
    n-gram by counts, symbol by symbol, with a weight that the network gives by what it has seen. The two err
    differently: first names cost 13.6 nats by n-grams, 13.7 by the network and 13.1 by the mixture.

    Parameters
    ----------
    cell : {"gru", "transformer"}, default="gru"
        What makes contexts.
    hidden_size : int, default=256
        Numbers of a context; of a transformer a multiple of 8.
    n_layers : int, default=1
        Layers of the network.
    dropout : float, default=0.5
        Share of the numbers of a context that are dropped in training. Many sequences need less.
    ngram_order : int, "auto" or None, default="auto"
        Number of symbols of the n-grams (interpolated Kneser-Ney) that the network is mixed with; None for the network
        alone. "auto" chooses by what is held out, if steps are symbols and there are 20 sequences at least.
    length : {"auto", "fixed", "stop", "given"}, default="auto"
        What the length of a sequence is; see :class:`~sklearn_dgm.sequence.BaseSequenceDensity`.
    $training_parameters
    categorical_features : "from_dtype", array-like or None, default="from_dtype"
        Columns of a step that hold categories; see :class:`~sklearn_dgm.columns.ColumnSchema`.
    integer_features : "from_dtype", array-like or None, default="from_dtype"
        Columns of a step that hold counts.
    column_kinds : dict, default=None
        Kinds of columns of a step by name or index; see :class:`~sklearn_dgm.columns.ColumnSchema`.

    Attributes
    ----------
    ngrams_ : NGrams or None
        What the network is mixed with.
    net_ : skorch.NeuralNet
        The net, with the best weights.
    history_ : list of dict
        Its epochs; see :class:`~sklearn_dgm.AutoregressiveDensity`. In nats a sequence; that of the training sequences
        is, beside an n-gram, the mean of what the mixture and the network alone have.
    n_iter_ : int
        Number of epochs.
    objective_ : Objective
        What `history_` is of.
    schema_ : SequenceSchema
        Kinds and scales of the columns of a step, and the lengths.
    score_kind_ : {"exact"}
        What `score_samples` returns.
    n_features_in_ : int
        Number of columns of a table seen in `fit`; of other containers there is none.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Their names, where X has string column names.

    See Also
    --------
    AutoregressiveDensity : For tables whose columns are no steps.

    Notes
    -----
    The n-gram that a sequence is trained beside has not counted it: training sequences are in ten parts, of which each
    is scored by the counts of the others, or the n-gram would seem better than it is. That of the fitted density has
    counted all. Sequences that are read a chunk at a time are in two such parts: they come by in a stream, and what
    precedes training, and the sequences that validate, are of a sample.

    `partial_fit` counts n-grams of further sequences, and trains in ten passes over these. A symbol that the first call
    has not seen is not counted, but as what comes before others; scores call it impossible as before. Lengths that are
    drawn, where they are given, remain those of the first call.

    The learning rate falls to zero in `max_epochs`, by half a cosine. The log-odds of the end are bounded by 16, so
    that every sequence ends, and probabilities of all sequences sum to one. Steps must not be missing.

    References
    ----------
    .. [1] K. Cho et al., "Learning Phrase Representations using RNN Encoder-Decoder for Statistical Machine
       Translation", EMNLP 2014, https://arxiv.org/abs/1406.1078
    .. [2] A. Vaswani et al., "Attention Is All You Need", NeurIPS 2017, https://arxiv.org/abs/1706.03762
    .. [3] N. Boulanger-Lewandowski, Y. Bengio, P. Vincent, "Modeling Temporal Dependencies in High-Dimensional
       Sequences", ICML 2012, https://arxiv.org/abs/1206.6392

    Examples
    --------
    >>> from sklearn_dgm import AutoregressiveSequenceDensity
    >>> words = ["banana", "ananas", "panama", "savanna", "cabana"] * 10
    >>> density = AutoregressiveSequenceDensity(hidden_size=16, max_epochs=5, random_state=0).fit(words)
    >>> bool(density.score_samples(["banana"]) > density.score_samples(["bnnaaa"]))
    True
    >>> density.sample(2, random_state=0, prefix="ba")[0][:2]
    'ba'
    """

    _parameter_constraints: dict = {
        **BaseSequenceDensity._parameter_constraints,
        **NeuralMixin._parameter_constraints,
        "cell": [StrOptions(set(CELLS))],
        "hidden_size": [Interval(Integral, 1, None, closed="left")],
        "n_layers": [Interval(Integral, 1, None, closed="left")],
        "dropout": [Interval(Real, 0, 1, closed="left")],
        "ngram_order": [StrOptions({"auto"}), Interval(Integral, 1, None, closed="left"), None],
    }
    _density_tags = DensityTags(sequences=True, ties=True)
    _batch_rows = f"{MIN_BATCH} to {MAX_BATCH}"
    _own_params = "cell hidden_size n_layers dropout ngram_order"
    _shape_params = (*BaseSequenceDensity._shape_params, *_own_params.split())

    def __init__(
        self,
        cell: Literal["gru", "transformer"] = "gru",
        *,
        hidden_size: int = 256,
        n_layers: int = 1,
        dropout: float = 0.5,
        ngram_order: int | Literal["auto"] | None = "auto",
        length: Literal["auto", "fixed", "stop", "given"] = "auto",
        max_epochs: int = 20,
        lr: float = 3e-3,
        batch_size: Literal["auto"] | int = "auto",
        weight_decay: float = 1e-2,
        early_stopping: bool = True,
        validation_fraction: float = 0.1,
        n_iter_no_change: int = 10,
        device: Any = "auto",
        warm_start: bool = False,
        verbose: int = 0,
        callbacks: list[Any] | None = None,
        net_params: dict[str, Any] | None = None,
        random_state: RandomState = None,
        categorical_features: Any = "from_dtype",
        integer_features: Any = "from_dtype",
        column_kinds: dict[Any, Any] | None = None,
    ) -> None:
        super().__init__(**handed_on(locals(), *self._own_params.split()))
        self.cell = cell
        self.hidden_size = hidden_size
        self.n_layers = n_layers
        self.dropout = dropout
        self.ngram_order = ngram_order

    def _fit(self, Z, sample_weight):
        # Of the training alone; scores are of values as they are.
        Z = Sequences(Z.steps.clip(-REACH, REACH), Z.lengths)
        order = self._resolve_order(Z, sample_weight)
        before = self._counts_before() if self._is_further_part() else None
        self._beside = self._gram_counts = self.ngrams_ = None
        try:
            if order is not None:
                self._count_ngrams(order, before, Z, sample_weight)
            super()._fit(Z, sample_weight)
        finally:
            del self._beside

    def _counts_before(self):
        """Return the counts of n-grams so far, which models that were saved before they had any lack."""
        if self.ngrams_ is not None and not hasattr(self, "_gram_counts"):
            raise ValueError(
                "partial_fit adds to counts of n-grams, which this model was saved without; call fit to start anew."
            )
        return getattr(self, "_gram_counts", None)

    def _resolve_order(self, Z, sample_weight):
        """Return the order of the n-gram, or None."""
        columns = self.schema_.columns_
        has_symbols = len(columns) == 1 and columns[0].is_categorical
        if self.ngram_order == "auto":
            if self._continues():
                return None if self.ngrams_ is None else self.ngrams_.order
            if not has_symbols or len(Z) < MIN_SEQUENCES:
                return None
            n_values = len(columns[0].categories)
            codes = Z.steps[:, 0].astype(int)
            return best_order(codes, Z.lengths, sample_weight, n_values, ends=self._ends)
        if self.ngram_order is not None and not has_symbols:
            raise ValueError(
                f"ngram_order={self.ngram_order!r} is for steps that are symbols, a single column of categories; set it "
                "to None."
            )
        return self.ngram_order

    def _count_ngrams(self, order, before, Z, sample_weight):
        """Count n-grams, beside those of calls of `partial_fit` before."""
        n_values = len(self.schema_.columns_[0].categories)
        self._beside = NGramsBeside(n_values, order, self._ends, before)
        streamed = getattr(self, "_streamed", None)
        count = self._beside.count
        counts = count(Z, sample_weight) if streamed is None else streamed.total(count)
        self._gram_counts = self._beside.with_before(counts)
        self.ngrams_ = self._beside.made(counts)

    def _split(self, Z, weight, validation_fraction, seed, device):
        return SequenceSplits(Z, weight, validation_fraction, seed, device, self._beside)

    def _check_continuation(self, Z):
        super()._check_continuation(Z)
        of_steps, of_ends = self._log_prob_steps(Z)
        if self._is_further_part():  # to which unknown categories are no matter
            of_steps[self._is_unknown(Z.steps)] = 0.0
        impossible = np.flatnonzero(np.isneginf(Z.sums(of_steps) + of_ends))
        if len(impossible):
            raise ValueError(
                f"Sequence {impossible[0]} is impossible under the model that {self._continued_by()} continues; "
                f"{self._way_to_start_anew()}."
            )

    def _is_unknown(self, steps):
        """Flag steps with a category that the schema does not know."""
        is_category = [column.is_categorical for column in self.schema_.columns_]
        return (steps[:, is_category] < 0).any(axis=1)

    def _objective(self):
        columns = self.schema_.columns_
        beside = [1 - sum(c.atom_shares) if c.kind == MIXED else 1 for c in columns]
        log_det = float(self.schema_.log_det_ @ np.array(beside))
        return LogLikelihoodOfSequences("log_likelihood", "nats per sequence", True, log_det)

    def _training_parameters(self, splits):
        parameters = super()._training_parameters(splits)
        if not self._ends and all(map(is_constant, self.schema_.columns_)):
            parameters["max_epochs"] = 1  # there is nothing to learn
        return parameters | {"batch_size": self._resolve_batch_size(splits), "lr_falls": True}

    def _resolve_batch_size(self, splits):
        if self.batch_size != "auto":
            return self.batch_size
        n_steps = max(splits.Z.lengths.mean(), 1)
        size = min(splits.n_train // self._n_steps, STEPS_OF_BATCH / n_steps)
        return int(np.clip(size, MIN_BATCH, MAX_BATCH))

    def _builder(self, splits):
        columns = self.schema_.columns_

        def build(member, _):
            rows = np.arange(len(splits.Z))[splits.indices(member)[0]]
            Z, weight = splits.Z[rows], splits.counts[rows]
            of_steps = Z.of_steps(weight)
            steps, lengths = Z.steps, torch.from_numpy(Z.lengths)
            outlines = [outline_of(c, z, of_steps) for c, z in zip(columns, steps.T, strict=True)]
            module = CausalNetwork(
                variables_of(columns, steps, of_steps, outlines),
                self.cell,
                self.hidden_size,
                self.n_layers,
                () if len(columns) == 1 else (self.hidden_size,),
                self.dropout,
                self._ends,
                self.ngrams_ is not None,
            )
            module.start_from(np.average(Z.lengths, weights=weight))
            pairs = module.pairs(torch.from_numpy(steps), lengths)
            some = some_of(len(steps), MAX_START)
            start_from(module.steps, moments(module.steps.inputs, pairs[some], of_steps[some]))
            return module

        return build

    def _log_prob_steps(self, Z):
        ngrams, device = self.ngrams_, self._module_device()
        tensor = partial(torch.tensor, dtype=torch.float64, device=device)
        others = ()
        if ngrams is not None:
            of_steps, of_ends = log_prob_steps(ngrams, Z)
            others = np.where(self._is_unknown(Z.steps), -np.inf, of_steps), of_ends
        rows = SequenceRows(Z, torch.ones(len(Z), device=device), tensor, others)
        chunks = self._chunks_of_one_length(Z.lengths)

        def log_prob(number):
            return self._module.log_prob(rows[torch.from_numpy(chunks[int(number)])][0])

        of_chunks = self._in_chunks(log_prob, np.arange(len(chunks)), max_rows=1)
        places = Sequences(np.arange(len(Z.steps)), Z.lengths)
        terms = np.concatenate([of for c in chunks for of in (places[c].steps, len(Z.steps) + c)])
        of_terms = np.empty(len(terms))
        of_terms[terms] = of_chunks
        return of_terms[: len(Z.steps)], of_terms[len(Z.steps) :]

    def _chunks_of_one_length(self, lengths):
        """Return the numbers of sequences of about one length, as many together as fit into memory."""
        n_steps = max(NUMBERS_AT_ONCE // self._module.width, 1)
        order, chunks, start = np.argsort(lengths, kind="stable"), [], 0
        for i, length in enumerate(lengths[order].tolist()):
            if i > start and (i + 1 - start) * (length + 1) > n_steps:
                chunks.append(order[start:i])
                start = i
        return [*chunks, order[start:]]

    def sample(
        self,
        n_samples: int = 1,
        random_state: RandomState = None,
        *,
        prefix: Any = None,
        temperature: float = 1.0,
    ) -> Any:
        """Draw new sequences.

        Parameters
        ----------
        n_samples : int, default=1
            Number of sequences.
        random_state : int, RandomState, Generator or None, default=None
            Seed for reproducible sequences. With None two calls differ, and no global generator is touched.
        prefix : sequence, default=None
            What all of them begin with, in the form of a row of X: a string, a list, an array or a frame of steps. The
            rest is drawn given this.
        temperature : float, default=1.0
            Whether a sequence ends, and its next symbol, are drawn with probabilities that are proportional to
            ``p ** (1 / temperature)``. Below 1 draws are of what is most probable, and no longer of the density that
            `score_samples` has; of symbols and categories alone. Unless it is 1, sequences have ten times as many steps
            as the longest one of `fit` at most, since with a low temperature one may never end.

        Returns
        -------
        X : {list, ndarray, Series, DataFrame} of n_samples sequences
            Sequences in the container that `fit` was given.

        Raises
        ------
        ValueError
            If `n_samples` is not a positive integer, `temperature` not positive, or other than 1 where a column holds
            numbers, or `prefix` is no beginning of sequences like those of `fit`.
        """
        check_is_fitted(self)
        if not isinstance(temperature, Real) or not temperature > 0:
            raise ValueError(f"temperature should be a positive number, got {temperature!r}.")
        if temperature != 1:
            self._check_categories(temperature)
        steps = np.empty((0, len(self.schema_.columns_)))
        if prefix is not None:
            try:
                steps = self.schema_.encode_part(prefix)
            except (TypeError, ValueError) as error:
                raise type(error)(f"prefix is no part of a sequence: {error}") from error
            self._check_prefix(steps)
        draw = partial(self._draw, prefix=steps, temperature=float(temperature))
        return self._sample(n_samples, random_state, draw)

    def _check_categories(self, temperature):
        """Refuse columns of numbers."""
        for column, variable in zip(self.schema_.columns_, self._module.variables, strict=True):
            if not variable.is_categorical:
                raise ValueError(
                    f"temperature={temperature!r} is for categories, but {column.where} holds numbers; set it to 1."
                )

    def _check_prefix(self, steps):
        """Refuse values that `fit` has not seen, and lengths that no sequence can have."""
        for column, variable, z in zip(
            self.schema_.columns_, self._module.variables, steps.T, strict=True
        ):
            if variable.is_categorical and (z < 0).any():
                raise ValueError(
                    f"prefix has a value in {column.where}, step {np.argmax(z < 0)}, that was not seen in fit."
                )
        if not self._ends and len(steps) > self.schema_.lengths_[-1]:
            raise ValueError(
                f"prefix has {len(steps)} steps, but sequences have {self.schema_.lengths_[-1]} at most."
            )

    def _sequences_at_once(self):
        """Return how many sequences are drawn or coded together, so that what is kept of them fits into memory."""
        of_row = max(self._module.width, 2 * self.n_layers * self.hidden_size * self._longest)
        return int(np.clip(NUMBERS_AT_ONCE // of_row, 1, ROWS_AT_ONCE))

    def _step_factors(self):
        """Return the conditionals of the steps, as :class:`~sklearn_dgm._queries.factors.StepFactors`."""
        return NetworkStepFactors(self._module, self.ngrams_, self._sequences_at_once())

    def _draw(self, n_samples, rng, prefix=None, temperature=1.0):
        if prefix is None:
            prefix = np.empty((0, len(self.schema_.columns_)))
        lengths = None if self._ends else self._draw_lengths(n_samples, rng, len(prefix))
        device = self._module_device()
        generator = torch_generator(rng, device)
        of_prefix = torch.tensor(prefix, device=device)
        step = self._sequences_at_once()
        steps, n_steps = [], []
        with one_thread():
            for start in range(0, n_samples, step):
                n = min(step, n_samples - start)
                of_chunk = (
                    None
                    if lengths is None
                    else torch.tensor(lengths[start : start + n], device=device)
                )
                other = None
                if self.ngrams_ is not None:
                    other = NGramContexts(self.ngrams_, n, prefix[:, 0].astype(int))
                most = None if temperature == 1 else TIMES_LONGEST * max(self._longest, 1)
                drawn = self._module.sample(
                    n, generator, of_chunk, of_prefix, temperature, other, most
                )
                steps.append(drawn[0].cpu().numpy())
                n_steps.append(drawn[1].cpu().numpy())
        return Sequences(np.concatenate(steps), np.concatenate(n_steps))

    @property
    def _longest(self):
        """Steps of the longest fitted sequence."""
        return int(self.schema_.lengths_[-1])

    def _draw_lengths(self, n_samples, rng, least=0):
        """Draw the lengths of sequences from those of `fit` that are no less than some length."""
        lengths, shares = self.schema_.lengths_, self.schema_.length_shares_
        shares = np.where(lengths >= least, shares, 0)
        return rng.choice(lengths, n_samples, p=shares / shares.sum())
