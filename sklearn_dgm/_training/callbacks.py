"""What happens at the end of an epoch: the record, the best weights, the stop, and scikit-learn's callbacks."""

import math
from contextlib import suppress

from skorch.callbacks import Callback

from sklearn_dgm._training.net import Diverged, StopTraining, WeightAverage


def copy_of_state(module):
    """Copy a module's weights, so that further training leaves them alone."""
    return {name: tensor.detach().clone() for name, tensor in module.state_dict().items()}


class Monitor(Callback):
    """Record the objective, keep the best weights, stop when it no longer gets better on validation rows.

    Parameters
    ----------
    history : list of dict
        Where epochs are recorded; may hold those of earlier fits.
    objective : Objective
        What is recorded.
    member, setting : int and object
        Which module is trained, with what setting; for the record.
    train, valid : WeightedRows, and WeightedRows or None
        The rows of the training, and those kept for validation.
    patience : int
        Epochs without a better validation score before training stops.
    least_patience : int
        Where this is less, patience is a quarter of the epochs up to the best one, but no less than this.
    verbose : int
        Whether to print a line an epoch.
    stop : threading.Event or None
        Ends training before the next step, when set.
    """

    # Scores must rise by so much, of likelihoods in nats a row, to count as better.
    tolerance = 1e-4
    # What further training depends on, beside the records.
    _progress = (
        "n_epochs",
        "best_score",
        "epochs_without_progress",
        "best_state",
        "is_done",
        "has_lost",
        "diverged",
    )

    report = modules = best_state = None
    is_done = has_lost = diverged = False

    def __init__(
        self,
        history,
        objective,
        *,
        member,
        setting,
        train,
        valid,
        patience,
        least_patience,
        verbose,
        stop=None,
    ):
        self.history, self._n_before = history, len(history)
        of_this = {"member": member, "setting": setting}.items()
        self.n_epochs = sum(of_this <= record.items() for record in history)
        self.objective = objective
        self.offset, self.valid_offset = (objective.offset(rows) for rows in (train, valid))
        self.member = member
        self.setting = setting
        self.valid = valid
        self.patience, self.least_patience = patience, least_patience
        self.verbose = verbose
        self.stop = stop

    def report_to(self, report, modules):
        """Tell scikit-learn's callbacks of every epoch.

        Parameters
        ----------
        report : EpochReport
            What tells them.
        modules : list of nn.Module
            Those that have been trained before.
        """
        self.report, self.modules = report, modules

    def training_state(self):
        """Return the records of this training and what has come of it, as tensors and plain values."""
        records = self.history[self._n_before :]
        plain = [{k: v for k, v in record.items() if k != "setting"} for record in records]
        return {"records": plain, **{name: getattr(self, name) for name in self._progress}}

    def set_training_state(self, state):
        """Go on from what :meth:`training_state` returned."""
        vars(self).update({name: state[name] for name in self._progress})
        for record in state["records"]:
            self.history.append({"member": self.member, "setting": self.setting, **record})

    def release(self):
        """Let go of what only training needs, so that a pickle of the net does not carry it."""
        self.report = self.modules = self.best_state = self.valid = self.stop = None

    def on_train_begin(self, net, **kwargs):
        """Start from the weights as they are."""
        net.average = WeightAverage(net.plain_module)
        valid_loss = None
        if self.valid is not None:
            with suppress(Diverged):
                valid_loss = net.mean_loss(self.valid)
        self.begin(net.average.module, valid_loss)

    def begin(self, module, valid_loss=None):
        """Start from the weights of a module, which training has to better.

        Parameters
        ----------
        module : nn.Module
            The module before its training.
        valid_loss : float, default=None
            Its loss on validation rows; None if there is none.
        """
        self.best_state = copy_of_state(module)
        self.best_score = -float("inf")
        self.epochs_without_progress = 0
        if valid_loss is not None and math.isfinite(valid_loss):
            self.best_score = self._score(valid_loss)

    def _score(self, valid_loss):
        """Return the validation score, the higher the better."""
        return self.objective.score(self.objective.of_loss(valid_loss, self.valid_offset))

    def on_batch_begin(self, net, **kwargs):
        """Stop if something else has failed."""
        if self.stop is not None and self.stop.is_set():
            raise StopTraining

    def on_epoch_begin(self, net, **kwargs):
        """Tell scikit-learn's callbacks."""
        if self.report is not None:
            self.report.begin()

    def on_epoch_end(self, net, **kwargs):
        """Record the epoch and judge it."""
        epoch = net.history[-1]
        is_done = self.judge(net.average.module, epoch)
        # One entry a batch would outgrow the weights; skorch looks at the last.
        del epoch["batches"][:-1]
        if self.report is not None:
            is_done |= bool(self.report.end(net, self.modules, self.history))
        if is_done:
            raise StopTraining

    def judge(self, module, epoch):
        """Record an epoch and keep its weights, if they are the best.

        Parameters
        ----------
        module : nn.Module
            The module with averaged weights.
        epoch : dict
            With `train_loss`, `valid_loss` if there are validation rows, and `dur` in seconds.

        Returns
        -------
        is_done : bool
            Whether it has not become better for long.

        Raises
        ------
        Diverged
            If a weight is not finite.
        """
        state = copy_of_state(module)
        # Where no loss of theirs is computed any more, the weights after the last step tell.
        if not all(p.isfinite().all() for p in module.parameters()):
            raise Diverged
        record = self._record(epoch)
        self.history.append(record)
        if record["best"]:
            self.best_state, self.epochs_without_progress = state, 0
        else:
            self.epochs_without_progress += 1
        if self.verbose:
            print(_line(record, self.objective))
        return self.valid is not None and self.epochs_without_progress >= self._patience_now()

    def _patience_now(self):
        best_epoch = self.n_epochs - self.epochs_without_progress
        return min(self.patience, max(self.least_patience, best_epoch // 4))

    def is_done_after(self, module, epoch):
        """Judge an epoch; a module whose loss is not finite is done, too."""
        losses = (epoch["train_loss"], epoch["valid_loss"])
        try:
            if not all(loss is None or math.isfinite(loss) for loss in losses):
                raise Diverged
            self.is_done = self.judge(module, epoch)
        except Diverged:
            self.is_done = self.diverged = True
        return self.is_done

    def _record(self, epoch):
        """Return the record of an epoch; if it is the best so far, its score is the best."""
        name, of_loss = self.objective.name, self.objective.of_loss
        self.n_epochs += 1
        record = {"member": self.member, "setting": self.setting, "epoch": self.n_epochs}
        value = record[self.objective.train_key] = of_loss(epoch["train_loss"], self.offset)
        if self.valid is not None:
            value = record[f"valid_{name}"] = of_loss(epoch["valid_loss"], self.valid_offset)
        score = self.objective.score(value)
        record["best"] = self.valid is None or score > self.best_score + self.tolerance
        if record["best"]:
            self.best_score = score
        record["duration"] = epoch["dur"]
        return record


def _line(record, objective):
    name = objective.name
    setting = "" if record["setting"] is None else f", {record['setting']}"
    text = f"member {record['member']}{setting}  epoch {record['epoch']:4d}  train {record[objective.train_key]:.4f}"
    if f"valid_{name}" in record:
        text += f"  validation {record[f'valid_{name}']:.4f}"
    return f"{text} {objective.unit}{' *' if record['best'] else '  '} {record['duration']:.2f} s"
