"""A generator and its critic in training: rows that are drawn by their categories, and a net with two optimisers."""

import inspect
import math

import numpy as np
import torch

from sklearn_dgm._training.batches import WeightedRows
from sklearn_dgm._training.net import Diverged, RowNet
from sklearn_dgm._training.splits import Splits
from sklearn_dgm.nn.gan import MAX_JUDGED
from sklearn_dgm.nn.randomness import current_generator

# Decay rates of the moments of an Adam optimiser of an adversarial training.
BETAS = (0.5, 0.9)
# Epochs that a moving average of distances is of.
SMOOTHED_EPOCHS = 5


class DrawnRows(WeightedRows):
    """Rows that are drawn at random, each of them given one of its categories.

    A column is drawn, then one of its categories, by the logarithms of their frequencies, and then a row that has it,
    by the weights. So also rare categories are learnt (Xu, Skoularidou, Cuesta-Infante and Veeramachaneni, "Modeling
    Tabular Data using Conditional GAN", 2019, https://arxiv.org/abs/1907.00503).

    Parameters
    ----------
    z : Tensor of shape (n, d)
        Encoded rows.
    weight : ndarray of shape (n,)
        Their weights.
    conditions : sequence of int
        Columns of categories that may be given; without any, rows are drawn by their weights.
    n_draws : int
        How many are drawn in a pass.
    """

    is_fixed = False

    def __init__(self, z, weight, conditions, n_draws):
        super().__init__(z, torch.ones(n_draws, device=z.device))
        self.conditions = tuple(conditions)
        self.draw_from(z, weight)

    def draw_from(self, z, weight):
        """Take other rows, and their weights, to draw from."""
        self.z, self._row_weight = z, weight
        reached = np.empty((max(len(self.conditions), 1), len(z)))
        np.cumsum(weight, out=reached[0])
        for of_column, j in zip(reached, self.conditions, strict=False):
            np.cumsum(_chances(z[:, j].long().cpu().numpy(), weight), out=of_column)
        self._reached = torch.from_numpy(reached).to(z.device)

    def follow(self, module):
        """Show the module whose draws are to be judged rows that are learnt from."""
        module.keep_reference(self.z, self._row_weight)

    def __getitem__(self, index):
        """Return as many rows as there are indices, of shape (n, d + 1), and weights of one.

        The last entry of a row says which of `conditions` is given.
        """
        weight = self.weight[index]
        generator, device = current_generator(), self.z.device
        uniforms = torch.rand(
            2, len(weight), generator=generator, device=device, dtype=torch.float64
        )
        n_tables = len(self._reached)  # one at least
        which = (uniforms[0] * n_tables).long().clamp(max=n_tables - 1)
        row = torch.empty_like(which)
        for k in range(n_tables):
            reached = self._reached[k]
            (at,) = torch.nonzero(which == k, as_tuple=True)
            row[at] = torch.searchsorted(reached, uniforms[1, at] * reached[-1], right=True)
        row = row.clamp(max=len(self.z) - 1)
        return torch.cat([self.z[row], which[:, None].to(self.z)], dim=1), weight


class StreamedDraws(DrawnRows):
    """Rows that are drawn, in each pass, from the next of a stream.

    Parameters
    ----------
    stream : StreamedRows
        Where they come from, in double precision.
    conditions, n_draws
        See :class:`DrawnRows`.
    """

    def __init__(self, stream, conditions, n_draws):
        super().__init__(stream.z, stream.weight.cpu().numpy(), conditions, n_draws)
        self._stream = stream

    def before_pass(self, index):
        """Take the next rows."""
        self._stream.before_pass(index)
        self.draw_from(self._stream.z, self._stream.weight.cpu().numpy())

    def training_state(self):
        """Return how far the stream has been read."""
        return self._stream.training_state()

    def set_training_state(self, state):
        """Read as far again."""
        self._stream.set_training_state(state)


def _chances(codes, weight):
    """Return the chance of each row to be drawn for one of its categories."""
    of_category = np.bincount(codes, weight)
    log_frequency = np.log1p(of_category)
    share = log_frequency / log_frequency.sum()
    return share[codes] * weight / of_category[codes]


class DrawnSplits(Splits):
    """Splits of a table into rows that are drawn for training, and rows that validate.

    Parameters
    ----------
    Z, weight, validation_fraction, seed, device
        See :class:`~sklearn_dgm._training.splits.Splits`; Z is complete.
    conditions : sequence of int
        See :class:`DrawnRows`.
    n_draws : callable
        Given the number of training rows, returns how many are drawn in a pass.
    """

    def __init__(self, Z, weight, validation_fraction, seed, device, conditions, n_draws):
        super().__init__(Z, weight, validation_fraction, seed, device)
        self.n_valid = min(self.n_valid, MAX_JUDGED)  # of more, nothing is asked
        self.conditions, self.n_draws = conditions, n_draws

    def training_rows(self, member):
        """Return the training rows, which are drawn."""
        train = self.indices(member)[0]
        drawn = self.conditions, self.n_draws(self.n_train)
        if self.streamed is not None:
            return StreamedDraws(self.stream(member, self.rows(train)), *drawn)
        z = torch.tensor(self.Z[train], device=self.device)
        return DrawnRows(z, self.counts[train], *drawn)

    def prepared(self, Z):
        """Return encoded rows in double precision, in which values repeat."""
        return Z

    def rows(self, index):
        """Return rows that validate, in double precision."""
        return WeightedRows(torch.tensor(self.Z[index], device=self.device), self.weights(index))


class AdversarialNet(RowNet):
    """A net whose critic learns in every step, and whose generator learns from it in every `n_critic`-th.

    The module has `generator` and `critic`, whose parameters have an optimiser each, `critic_loss(z)`,
    `generator_loss(z)`, `n_critic`, `n_steps`, and `distance(z, weight)` of rows from drawn ones. By that it is judged,
    as a moving average over epochs, since each of them is noisy where rows are few. What training starts from is not
    judged: it may have the margins of the table, and nothing else of it.
    """

    _smoothed = math.nan
    progress = ("_smoothed",)

    def initialize_optimizer(self, triggered_directly=None):
        """Make an optimiser for each of the two; that of the critic, which has every step, is scheduled."""
        self.optimizer_, self.generator_optimizer_ = map(
            self._optimizer_of, (self.module_.critic, self.module_.generator)
        )
        return self

    def _optimizer_of(self, part):
        args, kwargs = self.get_params_for_optimizer("optimizer", part.named_parameters())
        if "betas" in inspect.signature(self.optimizer).parameters:
            kwargs = {"betas": BETAS, **kwargs}
        return self.optimizer(*args, **kwargs)

    def train_step(self, batch, **fit_params):
        """Let the critic take a step, and the generator if it is its turn."""
        module, (z, _) = self.module_, batch
        for group in self.generator_optimizer_.param_groups:  # of which schedules know nothing
            group["lr"] = self.optimizer_.param_groups[0]["lr"]
        loss, distance = module.critic_loss(z)
        self._step(self.optimizer_, module.critic, loss, batch)
        module.n_steps += 1
        if module.n_steps % module.n_critic == 0:
            loss = module.generator_loss(z)
            self._step(self.generator_optimizer_, module.generator, loss, batch)
            self.average.update(module)
        return {"loss": distance, "y_pred": z}

    def _step(self, optimizer, part, loss, batch):
        if not torch.isfinite(loss):
            raise Diverged
        optimizer.zero_grad()
        loss.backward(inputs=list(part.parameters()))
        self.notify("on_grad_computed", named_parameters=list(part.named_parameters()), batch=batch)
        optimizer.step()

    def get_iterator(self, dataset, training=False):
        """Return batches of training; rows that validate are one, since the distance is one of all of them."""
        return super().get_iterator(dataset, training) if training else [dataset[:]]

    def validation_step(self, batch, **fit_params):
        """Compute the distance of rows from those that averaged weights draw."""
        z, weight = batch
        distance = float(self.average.module.distance(z, weight))
        if math.isnan(self._smoothed):
            self._smoothed = distance
        self._smoothed += (distance - self._smoothed) / SMOOTHED_EPOCHS
        return {"loss": torch.tensor(self._smoothed), "y_pred": z}
