"""The training of one or several modules, whatever they are."""

import copy
import itertools
import threading
import warnings
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
import torch
from sklearn.exceptions import ConvergenceWarning
from skorch.callbacks import GradientNormClipping, LRScheduler
from skorch.helper import predefined_split
from skorch.utils import noop
from torch.optim.lr_scheduler import CosineAnnealingLR

from sklearn_dgm._training.batches import RowBatches
from sklearn_dgm._training.callbacks import Monitor
from sklearn_dgm._training.checkpoints import Saver
from sklearn_dgm._training.net import (
    MAX_GRADIENT_NORM,
    Diverged,
    RowNet,
    StopTraining,
    as_fitted,
)
from sklearn_dgm._training.processes import AcceleratedNet
from sklearn_dgm._training.seeding import torch_generator
from sklearn_dgm._training.side_by_side import PATIENCE, side_by_side
from sklearn_dgm._training.stacked import StackedRows, StackMonitor, StackNet
from sklearn_dgm._training.streams import EPOCH_ROWS
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
# Networks of one shape are trained as one; on a CPU as many as see so many rows in a step: of more a stack saves
# little, and other threads have something left to do.
STACKED_ROWS = 512


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
    saved : SavedTraining, default=None
        Where the states of the training are kept, and where it goes on from.
    accelerator : accelerate.Accelerator, default=None
        What several processes train each module by; `n_threads` is 1 then.

    Attributes
    ----------
    modules : list of nn.Module
        The modules with their best weights so far, in double precision, up to the first that has none.
    history : list of dict
        The record of all epochs, in the order in which modules were begun; of settings that lost, those of the race.
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
        saved=None,
        accelerator=None,
    ):
        self.parameters, self.objective = parameters, objective
        self.splits, self.rng, self.device = splits, rng, device
        self.net_class, self.n_threads = net_class, n_threads
        self.started, self.history = list(started), list(history)
        self.report, self.saved, self.accelerator = report, saved, accelerator
        self.net = self.setting = None
        self._trained, self._runs, self._rivals = {}, [], []
        self._stop, self._is_decided = threading.Event(), threading.Event()

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
        if len(candidates) == 1:
            runs = self._begin(build, [(k, candidates[0]) for k in range(n_members)])
            tasks = self._stacks(runs)
        else:
            self._rivals = self._begin(build, [(0, candidate) for candidate in candidates])
            tasks = [*self._stacks(self._rivals), *self._after_race(build, n_members)]
        try:
            side_by_side(self._train_task, tasks, self.n_threads, self._stop)
        finally:
            self._end()
        return self.modules, self.history

    def _begin(self, build, pairs):
        """Return new runs for pairs of a member and a setting."""
        runs = []
        for k, setting in pairs:
            module = copy.deepcopy(self.started[k]) if k < len(self.started) else build(k, setting)
            generator = torch_generator(self.rng, self.device)
            runs.append(Run(k, setting, module.float(), generator))
        self._runs += runs
        return runs

    def _after_race(self, build, n_members):
        """Return tasks that wait until a setting has won, and are then the stacks of the other members."""
        lock, stacks = threading.Lock(), []

        def stack(i):
            while not (self._is_decided.wait(PATIENCE) or self._stop.is_set()):
                pass
            if self._stop.is_set():
                return []
            with lock:
                if not stacks:
                    pairs = [(k, self._winner.setting) for k in range(1, n_members)]
                    stacks.extend(self._stacks(self._begin(build, pairs)))
            return stacks[i] if i < len(stacks) else []

        return [partial(stack, i) for i in range(n_members - 1)]

    def _train_task(self, task):
        """Train a stack of runs, or what a function says then."""
        stack = task() if callable(task) else task
        if not stack:
            return
        # In one thread, the record of a run goes on from those before it.
        first = self._runs.index(stack[0])
        before = [record for other in self._runs[:first] for record in other.records]
        for run in stack:
            run.history = self.history + before
            run.n_before = len(run.history)
        try:
            if self._is_single(stack):
                self._train_run(*stack)
            else:
                self._train_stack(stack)
        finally:
            for run in stack:
                if run.best is not None and run not in self._rivals:
                    self._trained[run.member] = run.best
        is_over = all(run.best is not None for run in self._rivals)
        if self._rivals and is_over and not self._stop.is_set():
            self._decide(self._rivals, is_over=True)

    def _decide(self, rivals, is_over=False):
        """Return the setting that has won, or None as long as nobody knows."""
        if not self._is_decided.is_set():
            decided = self.parameters.race.decide(rivals, self.objective, is_over=is_over)
            if decided is None:
                return None
            self._winner, self._race_length = decided
            self._is_decided.set()
        if self._winner.best is not None:
            self._trained[self._winner.member] = self._winner.best
        return self._winner.setting

    def _end(self):
        """Keep what has been reached."""
        begun = [run for run in self._runs if run.best is not None]
        if not begun:
            return
        last = begun[-1]
        if rivals := [run for run in begun if run in self._rivals]:
            self._decide(rivals, is_over=True)
            last = self._winner if last in rivals else last
        self.net, self.setting = last.net, last.setting
        for run in begun:
            has_lost = run in rivals and run is not self._winner
            self.history.extend(run.records[: self._race_length if has_lost else None])

    def _is_single(self, runs):
        """Tell whether a run has to be trained by a net of its own; users see that of a single module."""
        parameters = self.parameters
        is_seen = self.report is not None or parameters.callbacks or parameters.net_params
        has_key = getattr(runs[0].module, "stack_key", None) is not None
        is_shared = self.accelerator is not None
        return is_seen or is_shared or self.net_class is not RowNet or not has_key

    def _stacks(self, runs):
        """Return runs in groups that are trained as one."""
        size = max(STACKED_ROWS // self._batch_size(self.splits.n_train), 1)
        if self.device.type != "cpu" or runs == self._rivals:
            size = len(runs)
        groups = {}
        for i, run in enumerate(runs):
            key = i if self._is_single([run]) else (run.module.stack_key,)
            groups.setdefault(key, []).append(run)
        return [
            group[start : start + size]
            for group in groups.values()
            for start in range(0, len(group), size)
        ]

    def _train_run(self, run):
        """Train one module; whatever ends it, the run has its best weights so far, if it came to have any."""
        with drawing_from(run.generator):
            train, valid = self.splits(run.member)
            monitor = self._monitor(run, train, valid)
            run.net = net = self._make_net(run.module, len(train), valid, monitor)
            if self.accelerator is not None:
                net = self._make_net(run.module, len(train), valid, monitor, AcceleratedNet)
            if self.report is not None:
                monitor.report_to(self.report, list(self._trained.values()))
            saver = self._saver([run], train, [monitor])
            try:
                self._fit(net, train, [monitor], saver)
            finally:
                self._finish(run, run.net, monitor)

    def _train_stack(self, runs):
        """Train modules as one, in a net of theirs, as :meth:`_train_run` trains each alone; rivals until one wins."""
        generators = [run.generator for run in runs]
        choose = partial(self._decide, runs) if runs == self._rivals else None
        with drawing_from(generators):
            splits = [self.splits(run.member) for run in runs]
            stack = runs[0].module.stacked([run.module.to(self.device) for run in runs])
            train = StackedRows([rows for rows, _ in splits], stack)
            monitors = [self._monitor(run, *rows) for run, rows in zip(runs, splits, strict=True)]
            lead = StackMonitor(monitors, generators, train, self._stop, choose)
            saver = self._saver(runs, train, monitors, lead)
            net = self._make_net(stack, len(train), None, lead, StackNet)
            try:
                self._fit(net, train, monitors, saver)
            finally:
                for run, monitor in zip(runs, monitors, strict=True):
                    run.net = self._make_net(run.module, len(train), None, monitor)
                    self._finish(run, run.net, monitor)

    def _saver(self, runs, train, monitors, lead=None):
        if self.saved is None:
            return None
        generators = [run.generator for run in runs]
        return Saver(self.saved, self._runs.index(runs[0]), monitors, generators, train, lead)

    def _monitor(self, run, train, valid):
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
            stop=self._stop,
        )

    @staticmethod
    def _finish(run, net, monitor):
        if monitor.best_state is not None:
            run.best = _best(net, monitor)

    def _make_net(self, module, n_train, valid, monitor, net_class=None):
        parameters, batch_size = self.parameters, self._batch_size(n_train)
        # That of a stack clips the gradient of each member itself.
        clip = [] if net_class is StackNet else [("clip", GradientNormClipping(MAX_GRADIENT_NORM))]
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
        if net_class is AcceleratedNet:
            params["accelerator"] = self.accelerator
            # Which is told where to print, so that it cannot be left out, and then prints whatever `verbose` is.
            del params["callbacks__print_log"]
            params["callbacks__print_log__sink"] = noop
        try:
            net_class = net_class or self.net_class
            # Of a module, accelerate would average gradients, of which an identity has none.
            criterion = object if net_class is AcceleratedNet else torch.nn.Identity
            return net_class(module, criterion=criterion, **params).initialize()
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

    def _fit(self, net, train, monitors, saver):
        """Train until the end, a stop or a loss that is not finite; the last two are no error."""
        n_left = None  # of the epochs, if it does not end before them
        try:
            net.notify("on_train_begin", X=train, y=None)
            train.follow(net.average.module)
            n_left = self.parameters.max_epochs if saver is None else saver.resume(net)
            net.saver = saver
            if n_left is not None:
                net.fit_loop(train, epochs=n_left)
                n_left = 0
                for monitor in monitors:
                    self._warn_if_rising(monitor)
        except StopTraining:
            n_left = None
        except Diverged:
            n_left = None
            for monitor in monitors:
                monitor.diverged |= not monitor.is_done
        if saver is not None and not self._stop.is_set():
            saver.end(n_left)
        for monitor in monitors:
            if not monitor.has_lost:
                self._warn_if_diverged(monitor)
        with suppress(StopTraining):
            net.notify("on_train_end", X=train, y=None)

    def _warn_if_rising(self, monitor):
        if self.parameters.lr_falls or monitor.is_done or monitor.has_lost or monitor.valid is None:
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
    net.release()
    monitor.release()
    return as_fitted(module)
