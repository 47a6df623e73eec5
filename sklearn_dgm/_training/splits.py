"""Which rows train a member and which validate it."""

from functools import cached_property

import numpy as np
import torch

from sklearn_dgm._training.batches import SharedRows
from sklearn_dgm._training.streams import StreamedRows
from sklearn_dgm.chunks import TableForm, shuffled_blocks

# Rows that validate at most.
MAX_VALID_ROWS = 10_000


def with_mean_one(weight):
    """Scale weights to a mean of one; only their ratios count."""
    weight = weight / weight.max()
    return weight / weight.mean()


def as_counts(weight, mean=None, largest=None):
    """Return the numbers of rows that weights stand for: shares, which are all below one, get a mean of one.

    Parameters
    ----------
    weight : ndarray of shape (n,)
        Weights of rows.
    mean, largest : float, default=None
        Of the weights of all rows, where these are some of them.
    """
    if mean is None:
        mean, largest = weight.mean(), weight.max()
    rows = min(mean, 1e6) if largest >= 1 else 1.0
    return weight if rows == mean else weight / largest * (rows / (mean / largest))


class Splits:
    """The training and the validation rows of each member; as far as the rows go, no row validates twice.

    With the same seed a row validates again, wherever it has the same place, so that training may be continued.

    Parameters
    ----------
    Z : ndarray of shape (n, d)
        Encoded rows.
    weight : ndarray of shape (n,)
        Weights of the rows.
    validation_fraction : float or None
        Share of the rows that validate; None for none.
    seed : int
        What decides which rows.
    device : torch.device
        Where the tensors are to be.

    Attributes
    ----------
    counts : ndarray of shape (n,)
        How many rows each row stands for.
    validates : bool
        Whether there are rows that validate.
    n_valid : int
        Number of validation rows of a member.
    streamed : EncodedChunks or None
        The table of which Z is but a sample, if further rows train.
    continues : bool
        Whether there are networks that go on.
    """

    streamed, continues = None, False

    def __init__(self, Z, weight, validation_fraction, seed, device):
        self.Z, self.weight = Z, weight
        self.counts = as_counts(weight)
        self.seed, self.device = seed, device
        self.validates = validation_fraction is not None
        self.n_valid = 0
        if self.validates:
            n = len(Z)
            # A permutation that more rows change by little.
            self.order = np.argsort(np.random.default_rng(seed).random(n))
            n_valid = min(round(validation_fraction * n), MAX_VALID_ROWS)
            self.n_valid = min(max(n_valid, 1), n - 1)

    @property
    def n_train(self):
        """Number of training rows of a member."""
        n_rows = len(self.Z) if self.streamed is None else self.streamed.n_rows
        return n_rows - self.n_valid

    def indices(self, member):
        """Return the indices of the training rows, and of the validation rows or None."""
        if not self.validates:
            return slice(None), None
        order = np.roll(self.order, -member * self.n_valid)
        if len(order) == 1:  # which has to serve for both
            return order, order
        return order[self.n_valid :], order[: self.n_valid]

    def __call__(self, member):
        """Return the training rows, and the validation rows or None.

        Parameters
        ----------
        member : int
            Number of the member.

        Returns
        -------
        train : SharedRows
            What batches are made of.
        valid : SharedRows or None
            What decides when to stop.
        """
        _, valid = self.indices(member)
        return self.training_rows(member), None if valid is None else self.rows(valid)

    def training_rows(self, member):
        """Return the training rows of a member."""
        rows = self.rows(self.indices(member)[0])
        return rows if self.streamed is None else self.stream(member, rows)

    def stream(self, member, first, completes=False):
        """Return training rows of a member that stream, of which the first are given; see :class:`StreamedRows`."""
        return StreamedRows(first, self.blocks(member, self.streamed), completes)

    def held_out(self, member):
        """Return the positions in the streamed table of the rows that validate a member, increasing."""
        valid = self.indices(member)[1]
        positions = self.streamed.sample_positions
        return positions[:0] if valid is None else np.sort(positions[valid])

    def blocks(self, member, rows, form=None):
        """Return blocks of rows that train a member; see :func:`~sklearn_dgm.chunks.shuffled_blocks`."""
        rng = np.random.default_rng([self.seed, member])
        form = form or TableForm(self.prepared)
        return shuffled_blocks(rows, self.held_out(member), self.weight.mean(), rng, form)

    def prepared(self, Z):
        """Return encoded rows as they stream; a family whose rows are others has its own."""
        return Z.astype(np.float32)

    def rows(self, index):
        """Return some of the rows with their weights; a family whose rows are no matrix has its own."""
        index, weight = np.arange(len(self.Z))[index], self.weights(index)
        return SharedRows(self._every, torch.from_numpy(index).to(self.device), weight)

    @cached_property
    def _every(self):
        """All rows, which on a CPU share the memory of the array."""
        return torch.from_numpy(self.Z) if self.device.type == "cpu" else self.tensor(self.Z)

    def weights(self, index):
        """Return the weights of some rows, one on average."""
        return self.tensor(with_mean_one(self.weight[index]))

    def tensor(self, array):
        """Return an array as a tensor of single precision in aligned memory: alignment changes how products round."""
        return torch.tensor(array, dtype=torch.float32, device=self.device)
