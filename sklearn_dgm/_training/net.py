"""The skorch net that trains a module by the loss of each row."""

import copy
import json
from contextlib import suppress

import torch
from skorch import NeuralNet
from skorch.history import History
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


def _plain_number(value):
    """Return what a record of skorch holds as a number, or else as text."""
    with suppress(TypeError, ValueError):
        return float(value)
    return str(value)


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

    average = saver = None
    # Attributes, beside the weights, that training changes and goes on from; modules may name some of theirs, too.
    progress: tuple[str, ...] = ()

    @property
    def plain_module(self):
        """The module itself, without what may be wrapped around it in training."""
        return self.module_

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
            if method_name == "on_epoch_end" and self.saver is not None:
                self.saver.after_epoch(self)
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

    def training_state(self):
        """Return all that further training depends on, but for generators and rows, as tensors and plain values."""
        return {
            "module": self.plain_module.state_dict(),
            "average": self.average.module.state_dict(),
            "n_averaged": self.average.n_steps,
            "progress": [
                {name: getattr(part, name) for name in getattr(part, "progress", ())}
                for part in (self, self.plain_module)
            ],
            "optimizers": [optimizer.state_dict() for optimizer in self._optimizers_made()],
            "schedules": [schedule.state_dict() for schedule in self._schedules()],
            "history": json.dumps(self.history.to_list(), default=_plain_number),
        }

    def set_training_state(self, state):
        """Go on from what :meth:`training_state` returned, after the beginning of a training."""
        self.plain_module.load_state_dict(state["module"])
        self.average.module.load_state_dict(state["average"])
        self.average.n_steps = state["n_averaged"]
        for part, of_part in zip((self, self.plain_module), state["progress"], strict=True):
            vars(part).update(of_part)
        for holders, states in (
            (self._optimizers_made(), state["optimizers"]),
            (self._schedules(), state["schedules"]),
        ):
            for holder, of_holder in zip(holders, states, strict=True):
                holder.load_state_dict(of_holder)
        self.history_ = History(json.loads(state["history"]))

    def _optimizers_made(self):
        values = vars(self).values()
        return [value for value in values if isinstance(value, torch.optim.Optimizer)]

    def _schedules(self):
        """Return the schedules of learning rates that callbacks have."""
        callbacks = [callback for _, callback in self.callbacks_]
        return [c.lr_scheduler_ for c in callbacks if getattr(c, "lr_scheduler_", None) is not None]

    def release(self):
        """Let go of all that only training needs, so that a pickle carries the weights once, and no rows."""
        self.train_split = self.average = self.saver = None
        for optimizer in self._optimizers_made():
            optimizer.state.clear()
        for _, callback in self.callbacks_:
            # It holds an optimiser, and that the weights.
            vars(callback).pop("lr_scheduler_", None)
