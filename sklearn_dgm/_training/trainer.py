"""The training of one or several modules, whatever they are."""

import copy
import itertools
import threading
import warnings
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from sklearn.exceptions import ConvergenceWarning
from skorch.callbacks import GradientNormClipping, LRScheduler
from skorch.helper import predefined_split
from torch.optim.lr_scheduler import CosineAnnealingLR

from sklearn_dgm._training.batches import RowBatches
from sklearn_dgm._training.callbacks import Monitor
from sklearn_dgm._training.net import MAX_GRADIENT_NORM, Diverged, RowNet, StopTraining
from sklearn_dgm._training.seeding import torch_generator
from sklearn_dgm._training.side_by_side import side_by_side
from sklearn_dgm._training.stacked import StackedRows, StackMonitor, StackNet
from sklearn_dgm.nn.randomness import drawing_from

# What a net is made with and its estimator decides, so that `net_params` may not.
OWN_NET_PARAMS = {
    "module",
    "criterion",
    "lr",
    "max_epochs",
    "batch_size",
    "train_split",
    "callbacks",
    "callbacks__monitor",
    "device",
}
# An epoch takes so many rows at most, or on a large table validation would come too seldom.
EPOCH_ROWS = 2**16
# Networks of one shape are trained as one; on a CPU two of them, where batches have more than so many rows: of more a
# stack saves little then, and there is something left for other threads.
MAX_SMALL_BATCH, MAX_LARGE_STACK = 128, 2


@dataclass(eq=False)
class Run:
    """The training of one member with one setting, and in the end what came of it.

    Attributes
    ----------
    member : int
        Number of the member.
    setting : object
        The candidate that its module was built with.
    module : nn.Module
        What is trained.
    generator : torch.Generator
        Where its training draws.
    history : list of dict
        The record of epochs, of which those from `n_before` on are its own.
    net, best
        The net, and the module with its best weights; None before training begins.
    """

    member: int
    setting: Any
    module: Any
    generator: Any
    history: list = field(default_factory=list)
    n_before: int = 0
    net: Any = None
    best: Any = None

    @property
    def records(self):
        """The record of its own epochs."""
        return self.history[self.n_before :]


class Trainer:
    """Train modules side by side, each in a net of its own, with validation rows of its own.

    What becomes of a module does not depend on those beside it, but for last bits, nor on the number of threads.

    Parameters
    ----------
    parameters : namespace
        The parameters of training that an estimator has (`max_epochs`, `lr`, `batch_size`, `weight_decay`,
        `n_iter_no_change`, `verbose`, `callbacks`, `net_params`); `n_steps`, how many steps of an epoch an "auto" batch
        size is to leave on a small table; `least_patience`, see :class:`~sklearn_dgm._training.callbacks.Monitor`;
        `race`, which says when one of several candidates has won; and `lr_falls`, whether the learning rate falls to
        zero by half a cosine in `max_epochs` (Loshchilov and Hutter, 2017, https://arxiv.org/abs/1608.03983).
    objective : Objective
        What is recorded.
    splits : Splits
        Given the number of a member, its training rows and its validation rows or None.
    rng : numpy.random.Generator
        Source of randomness.
    device : torch.device
        Where to compute.
    net_class : type, default=RowNet
        The kind of net.
    n_threads : int, default=1
        How many modules to train at once.
    started : list of nn.Module, default=()
        Modules that are trained already and go on, in place of new ones.
    history : list of dict, default=()
        The record of their training.
    report : EpochReport, default=None
        What tells scikit-learn's callbacks of every epoch; they hear of one module after the other, so `n_threads` is
        1.

    Attributes
    ----------
    modules : list of nn.Module
        The modules with their best weights so far, in double precision, up to the first that has none.
    history : list of dict
        The record of all epochs, in the order in which modules were begun.
    net : RowNet or None
        The net that came last; None before any training begins.
    setting : object
        What the modules were built with.
    """

    def __init__(
        self,
        parameters,
        objective,
        splits,
        rng,
        device,
        *,
        net_class=RowNet,
        n_threads=1,
        started=(),
        history=(),
        report=None,
    ):
        self.parameters, self.objective = parameters, objective
        self.splits, self.rng, self.device = splits, rng, device
        self.net_class, self.n_threads = net_class, n_threads
        self.started, self.history = list(started), list(history)
        self.report = report
        self.net = self.setting = None
        self._trained = {}

    @property
    def modules(self):
        """The modules so far."""
        # Of a training that goes on and was interrupted, also those that it did not come to.
        modules = dict(enumerate(self.started)) | self._trained
        in_order = itertools.takewhile(modules.__contains__, itertools.count())
        return [modules[k] for k in in_order]

    def train(self, build, n_members=1, candidates=(None,)):
        """Train modules; those of several candidates that serve the first member best are the setting of all.

        Whatever ends the training, the attributes hold what has been reached.

        Parameters
        ----------
        build : callable
            Given the number of a member and a candidate, returns a module that is ready to be trained.
        n_members : int, default=1
            Number of modules.
        candidates : sequence, default=(None,)
            Settings to choose from; without validation rows the first is taken.

        Returns
        -------
        modules : list of nn.Module
            The modules.
        history : list of dict
            The record of their training.
        """
        if not self.splits.validates:
            candidates = candidates[:1]
        if len(candidates) > 1:
            self._train_side_by_side(build, [(0, candidate) for candidate in candidates])
            self._train_side_by_side(build, [(k, self.setting) for k in range(1, n_members)])
        else:
            self._train_side_by_side(build, [(k, candidates[0]) for k in range(n_members)])
        return self.modules, self.history

    def _train_side_by_side(self, build, pairs):
        """Train pairs of a member and a setting; a member that has several gets the best."""
        stop, runs = threading.Event(), []
        for k, setting in pairs:
            module = copy.deepcopy(self.started[k]) if k < len(self.started) else build(k, setting)
            generator = torch_generator(self.rng, self.device)
            runs.append(Run(k, setting, module.float(), generator))
        is_race = len({k for k, _ in pairs}) < len(pairs)

        def train(stack):
            # In one thread, the record of a run goes on from those before it.
            first = runs.index(stack[0])
            before = [record for other in runs[:first] for record in other.records]
            for run in stack:
                run.history = self.history + before
                run.n_before = len(run.history)
            try:
                if self._is_single(stack):
                    self._train_run(*stack, stop)
                else:
                    self._train_stack(stack, stop, is_race and len(stack) == len(runs))
            finally:
                for run in stack:
                    if run.best is not None and not is_race:
                        self._trained[run.member] = run.best

        try:
            side_by_side(train, self._stacks(runs), self.n_threads, stop)
        finally:
            begun = [run for run in runs if run.best is not None]
            if begun:
                first, n_epochs = begun[0], None
                if is_race:
                    race = self.parameters.race
                    first, n_epochs = race.decide(begun, self.objective, is_over=True)
                    self._trained[first.member] = first.best
                self.setting, self.net = first.setting, begun[-1].net
                for run in begun:
                    self.history.extend(run.records[: None if run is first else n_epochs])

    def _is_single(self, runs):
        """Tell whether a run has to be trained by a net of its own; users see that of a single module."""
        parameters = self.parameters
        is_seen = self.report is not None or parameters.callbacks or parameters.net_params
        has_key = getattr(runs[0].module, "stack_key", None) is not None
        return is_seen or self.net_class is not RowNet or not has_key

    def _stacks(self, runs):
        """Return runs in groups that are trained as one."""
        is_small = self._batch_size(self.splits.n_train) <= MAX_SMALL_BATCH
        size = len(runs) if is_small or self.device.type != "cpu" else MAX_LARGE_STACK
        groups = {}
        for i, run in enumerate(runs):
            key = i if self._is_single([run]) else (run.module.stack_key,)
            groups.setdefault(key, []).append(run)
        return [
            group[start : start + size]
            for group in groups.values()
            for start in range(0, len(group), size)
        ]

    def _train_run(self, run, stop):
        """Train one module; whatever ends it, the run has its best weights so far, if it came to have any."""
        with drawing_from(run.generator):
            train, valid = self.splits(run.member)
            monitor = self._monitor(run, train, valid, stop)
            run.net = self._make_net(run.module, len(train), valid, monitor)
            if self.report is not None:
                monitor.report_to(self.report, list(self._trained.values()))
            try:
                self._fit(run.net, train, [monitor])
            finally:
                self._finish(run, run.net, monitor)

    def _train_stack(self, runs, stop, is_race):
        """Train modules as one, in a net of theirs, as :meth:`_train_run` trains each alone.

        In a race those go that have lost.
        """
        generators = [run.generator for run in runs]

        def choose():
            decided = self.parameters.race.decide(runs, self.objective)
            return None if decided is None else decided[0].setting

        with drawing_from(generators):
            splits = [self.splits(run.member) for run in runs]
            stack = runs[0].module.stacked([run.module.to(self.device) for run in runs])
            train = StackedRows([rows for rows, _ in splits], stack)
            monitors = [
                self._monitor(run, *rows, stop) for run, rows in zip(runs, splits, strict=True)
            ]
            lead = StackMonitor(monitors, generators, train, stop, choose if is_race else None)
            net = self._make_net(stack, len(train), None, lead, StackNet)
            try:
                self._fit(net, train, monitors)
            finally:
                for run, monitor in zip(runs, monitors, strict=True):
                    run.net = self._make_net(run.module, len(train), None, monitor)
                    self._finish(run, run.net, monitor)

    def _monitor(self, run, train, valid, stop):
        return Monitor(
            run.history,
            self.objective,
            member=run.member,
            setting=run.setting,
            train=train,
            valid=valid,
            patience=self.parameters.n_iter_no_change,
            least_patience=self.parameters.least_patience,
            verbose=self.parameters.verbose,
            stop=stop,
        )

    @staticmethod
    def _finish(run, net, monitor):
        if monitor.best_state is not None:
            run.best = _best(net, monitor)

    def _make_net(self, module, n_train, valid, monitor, net_class=None):
        parameters, batch_size = self.parameters, self._batch_size(n_train)
        # That of a stack clips the gradient of each member itself.
        clip = [] if net_class else [("clip", GradientNormClipping(MAX_GRADIENT_NORM))]
        net_params = parameters.net_params or {}
        for name in sorted(OWN_NET_PARAMS.intersection(net_params)):
            raise ValueError(f"net_params may not hold {name!r}, which the estimator sets itself.")
        params = {
            "optimizer": torch.optim.AdamW,
            "optimizer__fused": True,
            "optimizer__weight_decay": 0.0,
            "optimizer__param_groups": [("*weight", {"weight_decay": parameters.weight_decay})],
            "lr": parameters.lr,
            "max_epochs": parameters.max_epochs,
            "batch_size": batch_size,
            "iterator_train": RowBatches,
            "iterator_train__shuffle": batch_size < n_train,
            "iterator_train__max_rows": max(EPOCH_ROWS, batch_size),
            "iterator_valid": RowBatches,
            "train_split": None if valid is None else predefined_split(valid),
            "callbacks": [
                *self._schedule(n_train, batch_size),
                *clip,
                ("monitor", monitor),
                *copy.deepcopy(list(parameters.callbacks or [])),
            ],
            "callbacks__print_log": None,
            "device": self.device,
            "verbose": 0,
            **net_params,
        }
        if "optimizer" in net_params:  # which may have no fused form
            del params["optimizer__fused"]
        try:
            net_class = net_class or self.net_class
            return net_class(module, criterion=torch.nn.Identity, **params).initialize()
        except (AttributeError, TypeError, ValueError) as error:
            raise ValueError(f"net_params or callbacks do not fit a skorch net: {error}") from error

    def _schedule(self, n_train, batch_size):
        if not self.parameters.lr_falls:
            return []
        n_steps = -(-min(n_train, max(EPOCH_ROWS, batch_size)) // batch_size)
        falls = LRScheduler(
            CosineAnnealingLR, T_max=self.parameters.max_epochs * n_steps, step_every="batch"
        )
        return [("schedule", falls)]

    def _batch_size(self, n_train):
        if self.parameters.batch_size != "auto":
            return self.parameters.batch_size
        # So many steps an epoch on small tables, batches that fill the processor on large ones.
        return int(np.clip(n_train // self.parameters.n_steps, 32, 512))

    def _fit(self, net, train, monitors):
        """Train until the end, a stop or a loss that is not finite; the last two are no error."""
        try:
            net.notify("on_train_begin", X=train, y=None)
            train.follow(net.average.module)
            net.fit_loop(train)
            for monitor in monitors:
                self._warn_if_rising(monitor)
        except StopTraining:
            pass
        except Diverged:
            for monitor in monitors:
                monitor.diverged |= not monitor.is_done
        for monitor in monitors:
            self._warn_if_diverged(monitor)
        with suppress(StopTraining):
            net.notify("on_train_end", X=train, y=None)

    def _warn_if_rising(self, monitor):
        if self.parameters.lr_falls or monitor.is_done or monitor.valid is None:
            return
        if not monitor.history[-1]["best"]:
            return
        course = "rising" if self.objective.rises else "falling"
        label = self.objective.label.removeprefix("log-")
        warnings.warn(
            f"The validation {label} was still {course} after max_epochs={self.parameters.max_epochs}; "
            "raise max_epochs, or lr.",
            ConvergenceWarning,
            stacklevel=2,
        )

    def _warn_if_diverged(self, monitor):
        if monitor.diverged:
            warnings.warn(
                f"The {self.objective.label} became infinite or NaN in epoch {monitor.n_epochs + 1}; training went back "
                "to the best weights before. Lower lr.",
                ConvergenceWarning,
                stacklevel=2,
            )


def _best(net, monitor):
    """Return the module with its best weights, in double precision; what only training needs is let go."""
    module = net.module_
    module.load_state_dict(monitor.best_state)
    for parameter in module.parameters():  # which may be a view of a stack's
        parameter.data = parameter.data.contiguous()
    module.double()
    if hasattr(module, "settle"):
        module.settle()
    net.release()
    monitor.release()
    return module.eval()
