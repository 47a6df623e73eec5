"""Batches of sequences, beside them what an n-gram says of these that has not counted them."""

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch

from sklearn_dgm._training.batches import WeightedRows
from sklearn_dgm._training.objective import Objective
from sklearn_dgm._training.splits import Splits
from sklearn_dgm._training.streams import StreamMixin, rows_of_pass
from sklearn_dgm.chunks import Sums, row_keys, sum_of
from sklearn_dgm.columns import Sequences
from sklearn_dgm.columns._bulk import REACH
from sklearn_dgm.counts.ngrams import NGrams
from sklearn_dgm.nn.randomness import current_generator

# Parts of the training sequences of which each is scored by an n-gram of the others.
N_FOLDS = 10
# Batches of shuffled sequences that are made anew of those of about one length.
BATCHES_OF_POOL = 16


class SequenceRows(WeightedRows):
    """Sequences and their weights, in batches that are padded to the longest.

    Parameters
    ----------
    Z : Sequences
        Encoded sequences.
    weight : Tensor of shape (n,)
        Weights, one on average.
    tensor : callable
        Turns an array into a tensor.
    others : tuple of ndarray, default=()
        Log-densities that another density gives the steps, and the ends.
    """

    def __init__(self, Z, weight, tensor, others=()):
        super().__init__(tensor(Z.steps), weight)
        self.others = tuple(map(tensor, others))
        self.lengths = torch.as_tensor(Z.lengths, device=weight.device)
        self.starts = torch.as_tensor(Z.starts, device=weight.device)

    def __getitem__(self, index):
        """Return padded steps, lengths and the log-densities of another density, and the weights of a batch."""
        lengths, starts = self.lengths[index], self.starts[index]
        within = torch.arange(int(lengths.max()), device=lengths.device)
        places = (starts[:, None] + within).clamp(max=max(len(self.z) - 1, 0))
        batch = self.z[places], lengths
        if self.others:
            of_steps, of_ends = self.others
            batch += of_steps[places], of_ends[index]
        return batch, self.weight[index]

    def arranged(self, order, batch_size):
        """Return an order in which sequences of a batch are of about one length, so that little is padded."""
        pools = order.split(BATCHES_OF_POOL * batch_size)
        by_length = [pool[self.lengths[pool].argsort(stable=True)] for pool in pools]
        batches = torch.cat(by_length).split(batch_size)
        # Batches take turns, or short ones would always come first; that of fewer sequences stays the last.
        n_whole, generator = len(order) // batch_size, current_generator()
        device = None if generator is None else generator.device
        turns = torch.randperm(n_whole, generator=generator, device=device).tolist()
        return torch.cat([*(batches[i] for i in turns), *batches[n_whole:]])


class ScoredSequences:
    """Sequences, and the log-densities that another density gives them: what a stream is made of.

    Parameters
    ----------
    Z : Sequences
        Encoded sequences.
    others : tuple of ndarray, default=()
        Log-densities of the steps, and of the ends, if there is another density.
    """

    def __init__(self, Z, others=()):
        self.Z, self.others = Z, others

    def __len__(self):
        return len(self.Z)

    def __getitem__(self, rows):
        """Return some of the sequences, given a slice, indices or Booleans."""
        if not self.others:
            return ScoredSequences(self.Z[rows])
        of_steps, of_ends = self.others
        return ScoredSequences(self.Z[rows], (of_steps[places_of(self.Z, rows)], of_ends[rows]))

    @staticmethod
    def seen(scored):
        """Return sequences as training sees them."""
        steps = scored.Z.steps.clip(-REACH, REACH).astype(np.float32)
        return ScoredSequences(Sequences(steps, scored.Z.lengths), scored.others)

    @staticmethod
    def joined(parts):
        """Return the sequences of all parts."""
        others = tuple(map(np.concatenate, zip(*(part.others for part in parts), strict=True)))
        return ScoredSequences(Sequences.joined([part.Z for part in parts]), others)

    @staticmethod
    def n_cells(scored):
        """Return how many cells a sequence has, in the mean."""
        return scored.Z.steps.size // max(len(scored), 1) + 1


class ScoredChunks:
    """Sequences that are read a chunk at a time, with what another density says of them.

    Parameters
    ----------
    rows : EncodedChunks
        The sequences.
    score : callable
        Given sequences and their positions, returns log-densities of steps and ends, or nothing.
    """

    def __init__(self, rows, score):
        self.rows, self.score = rows, score

    def with_positions(self):
        """Yield sequences, weights and positions."""
        for Z, weight, positions in self.rows.with_positions():
            yield ScoredSequences(Z, self.score(Z, positions)), weight, positions


class StreamedSequences(StreamMixin, SequenceRows):
    """Sequences of which each pass takes the next of a stream.

    Parameters
    ----------
    first : ScoredSequences
        Sequences of the stream: as many as a pass takes, or more.
    weight : Tensor of shape (n,)
        Their weights.
    blocks : iterator of tuple
        Further sequences and their weights, without end; see :func:`~sklearn_dgm.chunks.shuffled_blocks`.
    tensor : callable
        Turns an array into a tensor.
    """

    _form = ScoredSequences

    def __init__(self, first, weight, blocks, tensor):
        n_rows = rows_of_pass(len(first), first.n_cells(first))
        first, self._tensor = first[:n_rows], tensor
        super().__init__(first.Z, weight[:n_rows], tensor, first.others)
        self._follow_stream(blocks)

    def arranged(self, order, batch_size):
        """Take the next sequences, as many as there were before, and order these."""
        self._take_next()
        return super().arranged(order, batch_size)

    def before_pass(self, index):
        """Take the next sequences, where their order is not asked for."""
        if isinstance(index, slice):
            self._take_next()

    def _take_next(self):
        scored, weight = self._next()
        weight = torch.from_numpy(weight).to(self.weight)
        super().__init__(scored.Z, weight, self._tensor, scored.others)


class NGramsBeside(NamedTuple):
    """How n-grams are made that are mixed with a network.

    Attributes
    ----------
    n_values, order : int
        As :class:`~sklearn_dgm.counts.ngrams.NGrams` takes them.
    ends : bool
        Whether the end is a symbol.
    before : GramCounts or None
        What has been counted before.
    """

    n_values: int
    order: int
    ends: bool
    before: Any = None

    def count(self, Z, weight):
        """Count n-grams of encoded sequences."""
        ngrams = NGrams(self.n_values, self.order, ends=self.ends)
        return ngrams.count(Z.steps[:, 0].astype(int), Z.lengths, weight)

    def with_before(self, counts):
        """Return counts and those before."""
        return counts if self.before is None else self.before + counts

    def made(self, counts):
        """Return the n-gram of counts and those before."""
        ngrams = NGrams(self.n_values, self.order, ends=self.ends)
        return ngrams.set_counts(self.with_before(counts))


class SequenceSplits(Splits):
    """The training and the validation sequences; see :class:`~sklearn_dgm._training.splits.Splits`.

    Parameters
    ----------
    Z, weight, validation_fraction, seed, device
        As those of rows of a table.
    ngrams : NGramsBeside, default=None
        What is mixed with the network, if there is something.
    """

    def __init__(self, Z, weight, validation_fraction, seed, device, ngrams=None):
        super().__init__(Z, weight, validation_fraction, seed, device)
        self.ngrams = ngrams

    def __call__(self, member):
        """Return the training sequences, and the validation sequences or None, of a member."""
        train, valid = (
            None if index is None else np.arange(len(self.Z))[index]
            for index in self.indices(member)
        )
        if self.streamed is not None:
            return self._streamed_rows(member, train, valid)
        of_train = self._rows(train, self._folds(train))
        return of_train, None if valid is None else self._rows(valid, [(train, valid)])

    def _streamed_rows(self, member, train, valid):
        """Return training sequences that stream, and validation sequences, each scored by counts of others."""
        score, of_all = self._score_halves(self.held_out(member))
        rows = ScoredChunks(self.streamed, score)
        blocks = self.blocks(member, rows, ScoredSequences)
        positions = self.streamed.sample_positions[train]
        first = ScoredSequences(self.Z[train], score(self.Z[train], positions))
        of_train = StreamedSequences(first, self.weights(train), blocks, self.tensor)
        if valid is None:
            return of_train, None
        others = () if of_all is None else log_prob_steps(of_all, self.Z[valid])
        return of_train, SequenceRows(self.Z[valid], self.weights(valid), self.tensor, others)

    def _score_halves(self, held_out):
        """Return a function that scores sequences of either half by counts of the other, and the n-gram of both."""
        if self.ngrams is None:
            return lambda Z, positions: (), None

        def of_chunk(Z, weight, positions):
            half = np.where(np.isin(positions, held_out), -1, self._half(positions))
            weight = np.ones(len(Z)) if weight is None else weight
            return Sums(self.ngrams.count(Z[half == k], weight[half == k]) for k in (0, 1))

        counts = sum_of(of_chunk(*chunk) for chunk in self.streamed.with_positions())
        by_others = [self.ngrams.made(of) for of in reversed(counts)]

        def score(Z, positions):
            half = self._half(positions)
            of_steps, of_ends = np.zeros(len(Z.steps)), np.zeros(len(Z))
            for k, ngrams in enumerate(by_others):
                (rows,) = np.nonzero(half == k)
                if len(rows):
                    found = log_prob_steps(ngrams, Z[rows])
                    of_steps[places_of(Z, rows)], of_ends[rows] = found
            return of_steps, of_ends

        return score, self.ngrams.made(counts[0] + counts[1])

    def _half(self, positions):
        """Return the number of the half, 0 or 1, that sequences at some positions belong to."""
        return (row_keys(positions, self.seed) < 0.5).astype(int)

    def _folds(self, rows):
        """Return pairs of those sequences that are counted, and of those that are scored by these counts."""
        parts = np.random.default_rng(self.seed).integers(N_FOLDS, size=len(rows))
        return [(rows[parts != k], rows[parts == k]) for k in range(N_FOLDS)]

    def _rows(self, rows, folds):
        rows = rows[np.argsort(self.Z.lengths[rows], kind="stable")]
        others = ()
        if self.ngrams is not None:
            others = self._log_prob_ngrams(folds)
            others = others[0][places_of(self.Z, rows)], others[1][rows]
        return SequenceRows(self.Z[rows], self.weights(rows), self.tensor, others)

    def _log_prob_ngrams(self, folds):
        """Return log-probabilities of steps and ends, by counts of other sequences."""
        of_steps, of_ends = np.zeros(len(self.Z.steps)), np.zeros(len(self.Z))
        for counted, scored in folds:
            if len(scored):
                counted = counted if len(counted) else scored
                counts = self.ngrams.count(self.Z[counted], self.weight[counted])
                found = log_prob_steps(self.ngrams.made(counts), self.Z[scored])
                of_steps[places_of(self.Z, scored)], of_ends[scored] = found
        return of_steps, of_ends


def places_of(Z, rows):
    """Return the places of the steps of some sequences among the steps of all."""
    return Sequences(np.arange(len(Z.steps)), Z.lengths)[rows].steps


def log_prob_steps(ngrams, Z):
    """Return the log-probabilities of steps and ends under an n-gram.

    Parameters
    ----------
    ngrams : NGrams
        What has been fitted to symbols that are the codes of the only column.
    Z : Sequences
        Encoded sequences.

    Returns
    -------
    of_steps : ndarray of shape (n_steps,)
        In nats; an unknown category is any.
    of_ends : ndarray of shape (n_sequences,)
        Of ends, 0 if these are no symbol.
    """
    codes = Z.steps[:, 0].astype(int)
    terms = ngrams.log_prob(codes, Z.lengths)
    of_ends = np.zeros(len(Z))
    if ngrams.ends:
        ends = np.cumsum(Z.lengths + 1) - 1
        of_ends, terms = terms[ends], np.delete(terms, ends)
    return terms, of_ends


class NGramContexts:
    """What sequences that are drawn have come to, for the distributions of an n-gram.

    Parameters
    ----------
    ngrams : NGrams
        The n-gram.
    n_sequences : int
        Number of sequences.
    prefix : ndarray of int of shape (n_steps,)
        The codes that they begin with.
    """

    def __init__(self, ngrams, n_sequences, prefix):
        self.ngrams = ngrams
        grams = ngrams.grams(np.append(prefix, 0), np.array([len(prefix) + 1]))
        self.contexts = np.repeat(grams[len(prefix), None, :-1], n_sequences, axis=0)

    def distributions(self):
        """Return the probabilities of what comes next, of shape (n_sequences, n_symbols)."""
        return self.ngrams.distributions(self.contexts)

    def advance(self, rows, codes):
        """Keep some of the sequences, flagged by `rows`, which had these codes next."""
        kept, codes = self.contexts[rows.cpu().numpy()], codes.cpu().numpy().astype(int)
        self.contexts = self.ngrams.contexts_after(kept, codes)


@dataclass(frozen=True, eq=False)
class LogLikelihoodOfSequences(Objective):
    """The log-likelihood of sequences: each step has a log-Jacobian."""

    def offset(self, rows):
        """Return the mean log-Jacobian of sequences."""
        if rows is None:
            return 0.0
        return float(self.log_det * np.average(rows.lengths.cpu(), weights=rows.weight.cpu()))
