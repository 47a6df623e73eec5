"""Rows with weights, and the batches in which a net is fed with them."""

import sys

import torch
from torch.utils.data import Dataset

from sklearn_dgm.nn.randomness import current_generator


class WeightedRows(Dataset):
    """Encoded rows and their weights.

    A family whose rows are no matrix derives from it and makes batches of its own in `__getitem__`, such as sequences
    that are padded to the length of the longest in the batch. What stands for the rows of a batch is the only argument
    of the module, and has as many entries as there are weights.

    Parameters
    ----------
    z : Tensor of shape (n, d)
        Encoded rows.
    weight : Tensor of shape (n,)
        Weights, one on average.
    """

    # Whether no pass changes them.
    is_fixed = True

    def __init__(self, z, weight):
        self.z = z
        self.weight = weight

    def __len__(self):
        return len(self.weight)

    def __getitem__(self, index):
        """Return the rows and the weights of a batch, given a slice or a tensor of indices."""
        return self.z[index], self.weight[index]

    def follow(self, module):
        """Take notice of the module whose weights are to be trained on these rows.

        Parameters
        ----------
        module : nn.Module
            The one with the averaged weights, which change in training.
        """

    def training_state(self):
        """Return, as tensors and plain values, what passes have made of the rows, if later passes depend on it."""
        return {}

    def set_training_state(self, state):
        """Go on from what :meth:`training_state` returned, of the same rows."""

    def arranged(self, order, batch_size):
        """Return a new order of the rows with those beside each other that make good batches; by default as it is.

        Parameters
        ----------
        order : Tensor of int
            A random order.
        batch_size : int
            Number of rows of a batch.
        """
        return order

    def before_pass(self, index):
        """Prepare rows for a pass over them.

        Parameters
        ----------
        index : slice or Tensor of int
            Those that the pass takes.
        """


class SharedRows(WeightedRows):
    """Some rows of a matrix of which there is one for all members, and their weights.

    Parameters
    ----------
    every : Tensor of shape (n_samples, d)
        All encoded rows, in any precision; batches are in single precision.
    index : Tensor of int of shape (n,)
        Which of them.
    weight : Tensor of shape (n,)
        Their weights, one on average.
    """

    def __init__(self, every, index, weight):
        self.every, self.index, self.weight = every, index, weight

    @property
    def z(self):
        """The rows, in memory of their own."""
        return self[:][0]

    def __getitem__(self, index):
        """Return rows and weights; see :meth:`WeightedRows.__getitem__`."""
        return self.every[self.index[index]].float(), self.weight[index]


class RowBatches:
    """Batches by slicing tensors, which on small networks takes half the time of a `DataLoader`.

    Parameters
    ----------
    rows : WeightedRows
        What to slice.
    batch_size : int
        Number of rows of a batch.
    shuffle : bool
        Whether each pass takes the rows in a new order.
    max_rows : int
        Number of rows of a pass at most.
    """

    def __init__(self, rows, batch_size, shuffle=False, max_rows=sys.maxsize):
        self.rows = rows
        self.batch_size = batch_size
        self.shuffle = shuffle
        self.max_rows = max_rows

    def __iter__(self):
        n = len(self.rows)
        order = self.rows.arranged(self._shuffled(n), self.batch_size) if self.shuffle else None
        self.rows.before_pass(order[..., : self.max_rows] if self.shuffle else slice(self.max_rows))
        for start in range(0, min(n, self.max_rows), self.batch_size):
            batch = slice(start, start + self.batch_size)
            yield self.rows[order[..., batch] if self.shuffle else batch]

    def _shuffled(self, n):
        """Return a new order; of the rows of a stack, one for each member."""
        generators = current_generator()
        if isinstance(generators, list):
            orders = [torch.randperm(n, generator=g, device=g.device) for g in generators]
            return torch.stack(orders)
        device = None if generators is None else generators.device
        order = torch.randperm(n, generator=generators, device=device)
        return order.to(self.rows.weight.device)
