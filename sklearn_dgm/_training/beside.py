"""Rows with something beside each of them, such as noise to tell it apart from."""

import numpy as np
import torch

from sklearn_dgm._training.batches import WeightedRows
from sklearn_dgm._training.missing import TableSplits
from sklearn_dgm.columns._bulk import REACH
from sklearn_dgm.nn.randomness import current_generator

# Numbers that are drawn for a pass at most; in longer passes they serve again.
DRAWN_AT_ONCE = 2**24
# What is drawn once, to validate beside, is so many rows at least, in wide tables so many numbers: a few rows have more
# beside each.
SETTLED_DRAWS, SETTLED_NUMBERS = 2**14, 2**20


class RowsBeside(WeightedRows):
    """Rows, each followed by others that are drawn anew for each pass.

    Parameters
    ----------
    rows : WeightedRows
        The rows, of shape (n, d).
    n_beside : int
        How many follow each.
    draw : callable
        Given a number and a seed, returns so many of the others, a tensor of shape (number, d).
    fixed : Tensor of shape (n, k, d), default=None
        What follows a row before these and belongs to it.
    """

    is_fixed = False

    def __init__(self, rows, n_beside, draw, fixed=None):
        self.rows, self.n_beside, self.draw, self.fixed = rows, n_beside, draw, fixed

    @property
    def z(self):
        """The rows alone."""
        return self.rows.z

    @property
    def weight(self):
        """Their weights."""
        return self.rows.weight

    def training_state(self):
        """Return that of the rows."""
        return self.rows.training_state()

    def set_training_state(self, state):
        """Go on from that of the rows."""
        self.rows.set_training_state(state)

    def before_pass(self, index):
        """Draw what will stand beside some rows."""
        self.rows.before_pass(index)
        generator = current_generator()
        device = None if generator is None else generator.device
        seed = int(torch.randint(2**31, (), generator=generator, device=device))
        n_rows = len(self.weight[index])
        most = max(DRAWN_AT_ONCE // self.rows[:1][0].shape[1], 1)
        self._drawn, self._next = self.draw(min(n_rows * self.n_beside, most), seed), 0

    def __getitem__(self, index):
        """Return rows of shape (n, 1 + k + n_beside, d), and their weights."""
        z, weight = self.rows[index]
        n_drawn = len(z) * self.n_beside
        at = torch.arange(self._next, self._next + n_drawn, device=z.device) % len(self._drawn)
        self._next += n_drawn
        drawn = self._drawn[at].unflatten(0, (len(z), self.n_beside))
        return self._followed(z, index, drawn), weight

    def _followed(self, z, index, drawn):
        """Return rows, what belongs to them, and what is drawn, in one tensor."""
        fixed = [] if self.fixed is None else [self.fixed[index]]
        return torch.cat([z[:, None], *fixed, drawn], dim=1)

    def settled(self, seed, least):
        """Return the rows with others beside them that stay the same, `least` of them or more.

        Parameters
        ----------
        seed : int
            What is drawn.
        least : int
            Number of the others; a row has `n_beside` of them at least.

        Returns
        -------
        rows : WeightedRows
            Of shape (n, 1 + k + m, d).
        """
        n_beside = max(self.n_beside, -(-least // len(self)))
        drawn = self.draw(len(self) * n_beside, seed).unflatten(0, (-1, n_beside))
        return WeightedRows(self._followed(self.z, slice(None), drawn), self.weight)


class WithoutCopies:
    """Rows of a table that is read a chunk at a time, but for those that are equal to some others.

    Parameters
    ----------
    rows : EncodedChunks
        The table.
    others : ndarray of shape (n, d)
        Encoded rows, no farther out than training can see.
    """

    def __init__(self, rows, others):
        self.rows, self._others = rows, set(_bytes_of(others))

    def with_positions(self):
        """Yield encoded rows, weights and positions; see :class:`~sklearn_dgm.chunks.EncodedChunks`."""
        for Z, weight, positions in self.rows.with_positions():
            of_rows = _bytes_of(Z.clip(-REACH, REACH))
            left = np.array([row not in self._others for row in of_rows])
            yield Z[left], None if weight is None else weight[left], positions[left]


def _bytes_of(Z):
    return [z.tobytes() for z in Z + 0.0]  # of which no zero is negative


class SplitsBeside(TableSplits):
    """Splits of a table into rows that have others beside them.

    Parameters
    ----------
    columns, Z, weight, validation_fraction, seed, device
        See :class:`~sklearn_dgm._training.missing.TableSplits`.
    n_beside, draw, fixed
        See :class:`RowsBeside`; `fixed` is that of all rows. What stands beside rows that validate is drawn once.

    Attributes
    ----------
    groups : ndarray of int of shape (n,) or None
        The group of each row, if those of one group are kept together.
    """

    groups = None

    def __init__(
        self, columns, Z, weight, validation_fraction, seed, device, n_beside, draw, fixed=None
    ):
        super().__init__(columns, Z, weight, validation_fraction, seed, device)
        self.n_beside, self.draw, self.fixed = n_beside, draw, fixed

    def __call__(self, member):
        """Return the training rows, and the validation rows or None."""
        train, valid = (
            None if rows is None else self._beside(rows, index)
            for rows, index in zip(super().__call__(member), self.indices(member), strict=True)
        )
        if valid is None:
            return train, None
        least = min(SETTLED_DRAWS, SETTLED_NUMBERS // self.Z.shape[1])
        return train, valid.settled(self.seed % 2**31, least)

    def keep_together(self, groups):
        """Let rows of one group train or validate together, in the split of the first member.

        Parameters
        ----------
        groups : ndarray of int of shape (n,)
            Numbers of groups, from 0. If there is but one, the split stays as it is.
        """
        self.groups = groups
        place = np.empty(len(groups), dtype=np.intp)
        place[self.order] = np.arange(len(groups))
        first = np.full(groups.max() + 1, len(groups))
        np.minimum.at(first, groups, place)
        self.order = np.argsort(first[groups], kind="stable")
        (ends,) = np.nonzero(np.diff(groups[self.order]))
        if len(ends):
            self.n_valid = int(ends[np.argmin(np.abs(ends + 1 - self.n_valid))]) + 1

    def blocks(self, member, rows, form=None):
        """Return blocks of rows that train, without copies of rows that validate; see :meth:`Splits.blocks`."""
        _, valid = self.indices(member)
        if self.groups is not None and valid is not None:
            rows = WithoutCopies(rows, self.Z[valid])
        return super().blocks(member, rows, form)

    def _beside(self, rows, index):
        fixed = None if self.fixed is None else self.fixed[index]
        return RowsBeside(rows, self.n_beside, self.draw, fixed)
