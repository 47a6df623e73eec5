"""Batches of sequences, beside them what an n-gram says of these that has not counted them."""

import functools
from dataclasses import dataclass

import numpy as np
import torch

from sklearn_dgm._training.batches import WeightedRows
from sklearn_dgm._training.objective import Objective
from sklearn_dgm._training.splits import Splits
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


class SequenceSplits(Splits):
    """The training and the validation sequences; see :class:`~sklearn_dgm._training.splits.Splits`.

    Parameters
    ----------
    Z, weight, validation_fraction, seed, device
        As those of rows of a table.
    ngrams : callable, default=None
        Given sequences and weights, returns the n-gram that is mixed with the network, if there is one.
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
        of_train = self._rows(train, self._folds(train))
        return of_train, None if valid is None else self._rows(valid, [(train, valid)])

    def _folds(self, rows):
        """Return pairs of those sequences that are counted, and of those that are scored by these counts."""
        parts = np.random.default_rng(self.seed).integers(N_FOLDS, size=len(rows))
        return [(rows[parts != k], rows[parts == k]) for k in range(N_FOLDS)]

    def _rows(self, rows, folds):
        rows = rows[np.argsort(self.Z.lengths[rows], kind="stable")]
        others = ()
        if self.ngrams is not None:
            others = self._log_prob_ngrams(folds)
            others = others[0][self._places[rows].steps[:, 0]], others[1][rows]
        return SequenceRows(self.Z[rows], self.weights(rows), self.tensor, others)

    @functools.cached_property
    def _places(self):
        """The place of each step among all."""
        return type(self.Z)(np.arange(len(self.Z.steps))[:, None], self.Z.lengths)

    def _log_prob_ngrams(self, folds):
        """Return log-probabilities of steps and ends, by counts of other sequences."""
        of_steps, of_ends = np.zeros(len(self.Z.steps)), np.zeros(len(self.Z))
        for counted, scored in folds:
            if len(scored):
                counted = counted if len(counted) else scored
                ngrams = self.ngrams(self.Z[counted], self.weight[counted])
                places = self._places[scored].steps[:, 0]
                of_steps[places], of_ends[scored] = log_prob_steps(ngrams, self.Z[scored])
        return of_steps, of_ends


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
