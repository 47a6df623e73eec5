"""The skorch net that trains a module by the loss of each row."""

import copy

import torch
from skorch import NeuralNet
from torch.optim.swa_utils import get_ema_multi_avg_fn

from sklearn_dgm._training.interrupts import is_raised_by_callback

# Longer gradients are clipped.
MAX_GRADIENT_NORM = 10.0


class StopTraining(Exception):
    """A callback asks for the end of training; unlike Ctrl-C, this is not the user's business."""


class Diverged(Exception):
    """The loss is no longer finite."""


def as_fitted(module):
    """Return a module as it is when its training has ended, in double precision.

    Parameters
    ----------
    module : nn.Module
        The module; what it is only in training it undoes by its `settle()`, if it has one.

    Returns
    -------
    module : nn.Module
        The same.
    """
    module.double()
    if hasattr(module, "settle"):
        module.settle()
    return module.eval()


class WeightAverage:
    """Moving average of a module's weights over about 100 steps, fewer at the beginning (Polyak and Juditsky, 1992).

    Unlike torch's `AveragedModel` it starts from the weights before training, leaves buffers alone, and costs a step
    nothing but the average.

    Parameters
    ----------
    module : nn.Module
        Where the average starts.
    """

    def __init__(self, module):
        self.module = copy.deepcopy(module).eval()
        self._parameters = list(self.module.parameters())
        self.n_steps = 0

    def update(self, module):
        """Move towards the weights of a module."""
        decay = min(0.99, (1 + self.n_steps) / (10 + self.n_steps))
        get_ema_multi_avg_fn(decay)(self._parameters, list(module.parameters()), self.n_steps)
        self.n_steps += 1


class RowNet(NeuralNet):
    """A skorch net whose module returns the loss of each row, and whose target is the rows' weights.

    It validates with the `average` of the weights. A net with further optimisers makes them in `initialize_optimizer`,
    and uses them in `train_step`, which has to update the average; if it is judged by a statistic of all validation
    rows together, `validation_step` computes that.
    """

    average = None

    def train_step(self, batch, **fit_params):
        """Take a step, and the average with it."""
        step = super().train_step(batch, **fit_params)
        self.average.update(self.module_)
        return step

    def validation_step(self, batch, **fit_params):
        """Compute the loss of the averaged weights."""
        z, weight = batch
        module = self.module_ if self.average is None else self.average.module
        with torch.no_grad():
            losses = module(z)
            return {"loss": self.get_loss(losses, weight), "y_pred": losses}

    def mean_loss(self, rows):
        """Compute the mean loss of the averaged weights over rows.

        Parameters
        ----------
        rows : WeightedRows
            Encoded rows and their weights.

        Returns
        -------
        loss : float
            In nats per row, if it is minus a log-density.
        """
        batches = self.get_iterator(rows, training=False)
        total = sum(float(self.validation_step(b)["loss"]) * len(b[1]) for b in batches)
        return total / len(rows)

    def get_loss(self, y_pred, y_true, X=None, training=False):
        """Compute the weighted mean of the rows' losses."""
        loss = (y_pred * y_true).mean()
        if not torch.isfinite(loss):
            raise Diverged
        return loss

    def notify(self, method_name, **cb_kwargs):
        """Call the callbacks; skorch's way of asking for a stop is told apart from Ctrl-C."""
        try:
            super().notify(method_name, **cb_kwargs)
        except KeyboardInterrupt as interrupt:
            if is_raised_by_callback(interrupt):
                raise StopTraining from interrupt
            raise
        except KeyError as error:
            if self.train_split is None and "'valid_loss'" in str(error):
                raise ValueError(
                    "A callback monitors valid_loss, but early_stopping=False keeps no rows for validation; let it "
                    "monitor train_loss."
                ) from error
            raise

    def release(self):
        """Let go of all that only training needs, so that a pickle carries the weights once, and no rows."""
        self.train_split = self.average = None
        for value in vars(self).values():
            if isinstance(value, torch.optim.Optimizer):
                value.state.clear()
        for _, callback in self.callbacks_:
            vars(callback).pop(
                "lr_scheduler_", None
            )  # which holds an optimiser, and that the weights
