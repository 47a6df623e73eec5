"""Tables whose cells may be missing: what is known of them before training, and how training draws them."""

from functools import cached_property

import numpy as np
import torch

from sklearn_dgm._subsets import some_of
from sklearn_dgm._training.batches import WeightedRows
from sklearn_dgm._training.chained_equations import complete
from sklearn_dgm._training.splits import Splits, with_mean_one
from sklearn_dgm._training.variables import outline_of
from sklearn_dgm.chunks import SAMPLE_ROWS
from sklearn_dgm.nn.completion import redraw


class IncompleteRows(WeightedRows):
    """Rows with missing cells, which are drawn anew for each pass (stochastic EM: Celeux and Diebolt, 1985).

    Parameters
    ----------
    z : Tensor of shape (n, d)
        Encoded rows, completed; in a column without observed cells NaN, of which the first pass makes draws.
    weight : Tensor of shape (n,)
        Weights, one on average.
    given : Tensor of shape (n, d)
        The rows with NaN where a cell is missing.
    """

    is_fixed = False

    def __init__(self, z, weight, given):
        super().__init__(z, weight)
        self.given = given

    def follow(self, module):
        """Take the network that draws the missing cells, as far as it is trained by then."""
        self.module = module

    def before_pass(self, index):
        """Draw the missing cells of some rows, given the others and what was drawn before."""
        if self.z.isnan().any():  # which no row may be when a pass begins
            index = slice(None)
        self.z[index] = redraw(self.module, self.given[index], self.z[index])

    def training_state(self):
        """Return the cells as they were drawn last."""
        return {"z": self.z}

    def set_training_state(self, state):
        """Go on from cells that were drawn last."""
        self.z.copy_(state["z"])


def first_completion(columns, Z, weight, rng, continues=False):
    """Complete rows by chained equations, before a network draws their missing cells.

    Parameters
    ----------
    columns : list of Column
        What the schema knows of them.
    Z : ndarray of shape (n, d)
        Encoded rows, NaN where a cell is missing.
    weight : ndarray of shape (n,)
        Weights of the rows.
    rng : numpy.random.Generator
        Source of randomness.
    continues : bool, default=False
        Whether there is a network that knows more than these rows, and completes columns without observed values.

    Returns
    -------
    completed : ndarray of shape (n, d)
        The rows, with NaN in columns without observed values alone.

    Raises
    ------
    ValueError
        If a column has no observed value, unless a network continues.
    """
    if not np.isnan(Z).any():
        return Z
    is_known = ~np.isnan(Z[weight > 0]).all(axis=0)
    if not (continues or is_known.all()):
        raise ValueError(f"{columns[is_known.argmin()].where} has no observed value to learn from.")
    known = np.flatnonzero(is_known)
    categories = [columns[j].categories for j in known]
    n_levels = [None if of_column is None else len(of_column) for of_column in categories]
    completed = np.full_like(Z, np.nan)
    completed[:, known] = complete(Z[:, known], weight, n_levels, rng)
    return completed


class TableSplits(Splits):
    """Splits of a table, and what a member may know of it before its training.

    That is to be learnt from its training rows, too: validation would take a start that has seen its rows for better
    than it is.

    Parameters
    ----------
    columns : list of Column
        What the schema knows of them.
    Z, weight, validation_fraction, seed, device
        See :class:`~sklearn_dgm._training.splits.Splits`; Z is NaN where a cell is missing.
    completes : bool, default=True
        Whether training draws missing cells; else its rows are NaN there.
    """

    def __init__(self, columns, Z, weight, validation_fraction, seed, device, completes=True):
        super().__init__(Z, weight, validation_fraction, seed, device)
        self.columns, self.completes = columns, completes
        self.has_gaps = bool(np.isnan(Z).any())
        self._completed = {}

    def to_learn_from(self, member):
        """Return the indices of the training rows; if these have no value of some column, all rows have to tell."""
        train = self.indices(member)[0]
        return slice(None) if np.isnan(self.Z[train]).all(axis=0).any() else train

    def to_start_from(self, member):
        """Return completed training rows of a member, some of very many, and how many rows each stands for."""
        completed, counts = self._completed_rows(member), self.counts[self.indices(member)[0]]
        some = some_of(len(counts), SAMPLE_ROWS)
        of_some = counts[some]
        if len(of_some) < len(counts):
            of_some = of_some * (counts.sum() / of_some.sum())
        return completed[some], of_some

    def to_choose_by(self, member):
        """Return the validation rows and their weights, as tensors on the CPU; None if there are none."""
        _, valid = self.indices(member)
        if valid is None:
            return None
        weight = with_mean_one(self.weight[valid])
        return tuple(torch.tensor(array, dtype=torch.float32) for array in (self.Z[valid], weight))

    @cached_property
    def outlines(self):
        """The :class:`~sklearn_dgm._training.variables.Outline` of each column, which all rows tell."""
        columns = zip(self.columns, self.Z.T, strict=True)
        return [outline_of(column, z, self.counts) for column, z in columns]

    def training_rows(self, member):
        """Return the training rows of a member, with missing cells that are drawn in training if it `completes`."""
        if not (self.has_gaps and self.completes):
            return super().training_rows(member)
        rows = self.rows(self.indices(member)[0])
        completed = self.tensor(self._completed_rows(member))
        if self.streamed is not None:
            return self.stream(member, WeightedRows(completed, rows.weight), completes=True)
        return IncompleteRows(completed, rows.weight, rows.z)

    def _completed_rows(self, member):
        """Complete the training rows; the same whichever thread asks first."""
        train = self.indices(member)[0]
        if not self.has_gaps:
            return self.Z[train]
        if member not in self._completed:
            rows, rng = self.to_learn_from(member), np.random.default_rng([self.seed, member])
            completed = first_completion(
                self.columns, self.Z[rows], self.weight[rows], rng, self.continues
            )
            self._completed[member] = completed[train] if isinstance(rows, slice) else completed
        return self._completed[member]
