"""The skorch net that maximises a likelihood, and the batches it is fed."""

import copy
import dis
import sys

import numpy as np
import torch
from skorch import NeuralNet
from skorch.callbacks import Callback
from torch.utils.data import Dataset

from sklearn_dgm.nn.completion import redraw
from sklearn_dgm.nn.randomness import current_generator

# Rows that validate at most.
MAX_VALID_ROWS = 10_000


class StopTraining(Exception):
    """A callback asks for the end of training; unlike Ctrl-C, this is not the user's business."""


class Diverged(Exception):
    """The loss is no longer finite."""


class Rows(Dataset):
    """Encoded rows and their weights, as tensors.

    Parameters
    ----------
    z : Tensor of shape (n, d)
        Encoded rows.
    weight : Tensor of shape (n,)
        Weights, one on average.
    """

    def __init__(self, z, weight):
        self.z = z
        self.weight = weight

    def __len__(self):
        return len(self.z)

    def __getitem__(self, index):
        return self.z[index], self.weight[index]


class IncompleteRows(Rows):
    """Rows with missing cells, which are drawn anew for each pass (stochastic EM: Celeux and Diebolt, 1985).

    Parameters
    ----------
    z : Tensor of shape (n, d)
        Encoded rows, completed.
    weight : Tensor of shape (n,)
        Weights, one on average.
    given : Tensor of shape (n, d)
        The rows with NaN where a cell is missing.

    Attributes
    ----------
    module : MADE
        The network that draws them; to be set when training begins.
    """

    module = None

    def __init__(self, z, weight, given):
        super().__init__(z, weight)
        self.given = given

    def complete(self, index):
        """Draw the missing cells of some rows, given the others and what was drawn before."""
        self.z[index] = redraw(self.module, self.given[index], self.z[index])


def with_mean_one(weight):
    """Scale weights of any size; only their ratios count."""
    weight = weight / weight.max()
    return weight / weight.mean()


def as_counts(weight):
    """Numbers of rows that weights stand for: shares, which are all below one, are scaled to a mean of one."""
    mean = weight.mean() if weight.max() >= 1 else 1.0
    return min(mean, 1e6) * with_mean_one(weight)


class Parts:
    """The training and the validation rows of each member; as far as the rows go, no row validates twice.

    What a member learns before its training, it has to learn from its training rows, too: validation would take a start
    that has seen its rows for better than it is. With the same seed a row validates again, wherever it has the same place, so
    that training may be continued.

    Parameters
    ----------
    Z : ndarray of shape (n, d)
        Encoded rows, NaN where a cell is missing.
    weight : ndarray of shape (n,)
        Weights of the rows.
    validation_fraction : float or None
        Share of the rows that validate; None for none.
    seed : int
        What decides which rows.
    device : torch.device
        Where the tensors are to be.
    complete : callable, default=None
        Given rows, their weights and a generator, the rows without missing cells; None if there are no such cells.
    """

    def __init__(self, Z, weight, validation_fraction, seed, device, complete=None):
        self.Z, self.weight = Z, weight
        self.counts = as_counts(weight)
        self.device = device
        self.validates = validation_fraction is not None
        self.n_valid = 0
        if self.validates:
            n = len(Z)
            # A permutation that more rows change by little.
            self.order = np.argsort(np.random.default_rng(seed).random(n))
            n_valid = min(round(validation_fraction * n), MAX_VALID_ROWS)
            self.n_valid = min(max(n_valid, 1), n - 1)
        self.complete, self.seed = complete, seed
        self._completed = {}

    @property
    def n_train(self):
        """Number of training rows of a member."""
        return len(self.Z) - self.n_valid

    def indices(self, member):
        """Indices of the training rows, and of the validation rows or None."""
        if not self.validates:
            return slice(None), None
        order = np.roll(self.order, -member * self.n_valid)
        if len(order) == 1:  # which has to serve for both
            return order, order
        return order[self.n_valid :], order[: self.n_valid]

    def to_learn_from(self, member):
        """Indices of the training rows; if these have no value of some column, all rows have to tell."""
        train = self.indices(member)[0]
        return slice(None) if np.isnan(self.Z[train]).all(axis=0).any() else train

    def to_start_from(self, member):
        """What a member may learn before its training: its training rows, completed, and how often each was seen."""
        return self._training_rows(member), self.counts[self.indices(member)[0]]

    def to_choose_by(self, member):
        """Validation rows and their weights, as tensors on the CPU; None if there are none."""
        _, valid = self.indices(member)
        if valid is None:
            return None
        weight = with_mean_one(self.weight[valid])
        return tuple(torch.tensor(array, dtype=torch.float32) for array in (self.Z[valid], weight))

    def extremes(self):
        """Smallest and largest value of each column in all rows, of shape (2, d); how far out values lie is no secret."""
        return np.array([np.nanmin(self.Z, axis=0), np.nanmax(self.Z, axis=0)])

    def _training_rows(self, member):
        """Completed training rows; the same whichever thread asks first."""
        train = self.indices(member)[0]
        if self.complete is None:
            return self.Z[train]
        if member not in self._completed:
            rows, rng = self.to_learn_from(member), np.random.default_rng([self.seed, member])
            completed = self.complete(self.Z[rows], self.weight[rows], rng)
            self._completed[member] = completed[train] if isinstance(rows, slice) else completed
        return self._completed[member]

    def __call__(self, member):
        """Training rows, and validation rows or None."""
        train, valid = self.indices(member)
        given, weight = self._tensors(train)
        rows = Rows(given, weight)
        if self.complete is not None:
            rows = IncompleteRows(self._tensor(self._training_rows(member)), weight, given)
        return rows, None if valid is None else Rows(*self._tensors(valid))

    def _tensors(self, index):
        return self._tensor(self.Z[index]), self._tensor(with_mean_one(self.weight[index]))

    def _tensor(self, array):
        # In memory that torch aligns, for products round by alignment, too.
        return torch.tensor(array, dtype=torch.float32, device=self.device)


class RowBatches:
    """Batches by slicing tensors, which on small networks takes half the time of a `DataLoader`.

    Parameters
    ----------
    rows : Rows
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
        order = self._shuffled(n) if self.shuffle else None
        if isinstance(self.rows, IncompleteRows):
            self.rows.complete(order[: self.max_rows] if self.shuffle else slice(self.max_rows))
        for start in range(0, min(n, self.max_rows), self.batch_size):
            batch = slice(start, start + self.batch_size)
            yield self.rows[order[batch] if self.shuffle else batch]

    def _shuffled(self, n):
        generator = current_generator()
        device = None if generator is None else generator.device
        return torch.randperm(n, generator=generator, device=device).to(self.rows.z.device)


class WeightAverage:
    """Moving average of a module's weights over about 100 steps, fewer at the beginning (Polyak and Juditsky, 1992).

    Parameters
    ----------
    module : nn.Module
        Where the average starts.
    """

    def __init__(self, module):
        self.module = copy.deepcopy(module).eval()
        self.n_steps = 0

    @torch.no_grad()
    def update(self, module):
        """Move towards the weights of a module."""
        decay = min(0.99, (1 + self.n_steps) / (10 + self.n_steps))
        torch._foreach_lerp_(list(self.module.parameters()), list(module.parameters()), 1 - decay)
        self.n_steps += 1


class LikelihoodNet(NeuralNet):
    """A skorch net whose module returns the loss of each row, and whose target is the rows' weights.

    It validates with the `average` of the weights.
    """

    average = None

    def train_step(self, batch, **fit_params):
        """Take a step, and the average with it."""
        step = super().train_step(batch, **fit_params)
        self.average.update(self.module_)
        return step

    def validation_step(self, batch, **fit_params):
        """Loss of the averaged weights."""
        z, weight = batch
        module = self.module_ if self.average is None else self.average.module
        with torch.no_grad():
            losses = module(z)
            return {"loss": self.get_loss(losses, weight), "y_pred": losses}

    def mean_loss(self, rows):
        """Mean loss of the averaged weights over rows.

        Parameters
        ----------
        rows : Rows
            Encoded rows and their weights.

        Returns
        -------
        loss : float
            In nats per row.
        """
        batches = self.get_iterator(rows, training=False)
        total = sum(float(self.validation_step(b)["loss"]) * len(b[1]) for b in batches)
        return total / len(rows)

    def get_loss(self, y_pred, y_true, X=None, training=False):
        """Weighted mean of the rows' losses."""
        loss = (y_pred * y_true).mean()
        if not torch.isfinite(loss):
            raise Diverged
        return loss

    def notify(self, method_name, **cb_kwargs):
        """Call the callbacks; skorch's way of asking for a stop is told apart from Ctrl-C."""
        try:
            super().notify(method_name, **cb_kwargs)
        except KeyboardInterrupt as interrupt:
            if _is_raised_by_callback(interrupt):
                raise StopTraining from interrupt
            raise
        except KeyError as error:
            if self.train_split is None and "'valid_loss'" in str(error):
                raise ValueError(
                    "A callback monitors valid_loss, but early_stopping=False keeps no rows for validation; let it "
                    "monitor train_loss."
                ) from error
            raise


def _is_raised_by_callback(error):
    """Whether a raise statement of a callback is behind an exception; Ctrl-C strikes at any other instruction."""
    origin = error.__traceback__
    while origin.tb_next is not None:
        origin = origin.tb_next
    frame = origin.tb_frame
    is_raised = dis.opname[frame.f_code.co_code[origin.tb_lasti]] == "RAISE_VARARGS"
    return is_raised and isinstance(frame.f_locals.get("self"), Callback)
