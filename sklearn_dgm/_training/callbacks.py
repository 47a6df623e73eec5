"""What happens at the end of an epoch: the record, the best weights, the stop, and scikit-learn's callbacks."""

from contextlib import suppress

import numpy as np
from skorch.callbacks import Callback

from sklearn_dgm._training.net import Diverged, StopTraining, WeightAverage


def copy_of_state(module):
    """Copy of a module's weights that further training leaves alone."""
    return {name: tensor.detach().clone() for name, tensor in module.state_dict().items()}


class Monitor(Callback):
    """Record log-likelihoods, keep the best weights, stop when the validation likelihood no longer rises.

    Parameters
    ----------
    history : list of dict
        Where epochs are recorded; may hold those of earlier fits.
    log_det : float or ndarray of shape (d,)
        Log-Jacobian of the encoding, of each column if cells are missing, so that the record is in the units of the
        user's rows.
    member, setting : int and object
        Which module of the mixture is trained, with what setting; for the record.
    valid : Rows or None
        The rows kept for validation.
    patience : int
        Epochs without a better validation likelihood before training stops.
    verbose : int
        Whether to print a line an epoch.
    stop : threading.Event or None
        Ends training before the next step, when set.
    """

    # Log-likelihoods must rise by this many nats a row to count as better.
    tolerance = 1e-4

    task = best_state = None

    def __init__(self, history, log_det, member, setting, valid, patience, verbose, stop=None):
        self.history = history
        of_this = {"member": member, "setting": setting}.items()
        self.n_epochs = sum(of_this <= record.items() for record in history)
        self.log_det = self.valid_log_det = np.sum(log_det)
        if valid is not None and valid.z.isnan().any():
            observed = ~valid.z.isnan().cpu().numpy()
            self.valid_log_det = np.average(observed @ log_det, weights=valid.weight.cpu())
        self.member = member
        self.setting = setting
        self.valid = valid
        self.patience = patience
        self.verbose = verbose
        self.stop = stop

    def report_to(self, task, hooks):
        """Tell scikit-learn's callbacks of every epoch.

        Parameters
        ----------
        task : CallbackContext
            The context of the fit.
        hooks : dict
            Arguments for their hooks.
        """
        self.task, self.hooks = task, hooks

    def release(self):
        """Let go of what only training needs, so that a pickle of the net does not carry it."""
        self.task = self.hooks = self.epoch_task = self.best_state = self.valid = self.stop = None

    def on_train_begin(self, net, **kwargs):
        """Start from the weights as they are, which training has to better."""
        net.average = WeightAverage(net.module_)
        self.best_state = copy_of_state(net.average.module)
        self.best_score = -float("inf")
        self.epochs_without_progress = 0
        if self.valid is not None:
            with suppress(Diverged):
                self.best_score = self.valid_log_det - net.mean_loss(self.valid)

    def on_batch_begin(self, net, **kwargs):
        """Stop, if something else has failed."""
        if self.stop is not None and self.stop.is_set():
            raise StopTraining

    def on_epoch_begin(self, net, **kwargs):
        """Tell scikit-learn's callbacks."""
        if self.task is not None:
            self.epoch_task = self.task.subcontext(task_name="epoch")
            self.epoch_task.call_on_fit_task_begin(**self.hooks)

    def on_epoch_end(self, net, **kwargs):
        """Record the epoch and judge it."""
        state = copy_of_state(net.average.module)
        # Where no loss of theirs is computed any more, the weights after the last step tell.
        if not all(tensor.isfinite().all() for tensor in state.values()):
            raise Diverged
        epoch = net.history[-1]
        self.n_epochs += 1
        record = {
            "member": self.member,
            "setting": self.setting,
            "epoch": self.n_epochs,
            "train_log_likelihood": float(self.log_det - epoch["train_loss"]),
        }
        score = record["train_log_likelihood"]
        if self.valid is not None:
            score = record["valid_log_likelihood"] = float(self.valid_log_det - epoch["valid_loss"])
        record["best"] = self.valid is None or score > self.best_score + self.tolerance
        record["duration"] = epoch["dur"]
        # One entry a batch would outgrow the weights; skorch looks at the last.
        del epoch["batches"][:-1]
        self.history.append(record)
        if record["best"]:
            self.best_score, self.best_state = score, state
            self.epochs_without_progress = 0
        else:
            self.epochs_without_progress += 1
        if self.verbose:
            print(_line(record))
        stop = self.task is not None and self.epoch_task.call_on_fit_task_end(**self.hooks)
        if stop or (self.valid is not None and self.epochs_without_progress >= self.patience):
            raise StopTraining


def _line(record):
    text = f"member {record['member']}  epoch {record['epoch']:4d}  train {record['train_log_likelihood']:.4f}"
    if "valid_log_likelihood" in record:
        text += f"  validation {record['valid_log_likelihood']:.4f}"
    return f"{text} nats per row{' *' if record['best'] else '  '} {record['duration']:.2f} s"
