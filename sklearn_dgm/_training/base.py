"""Base class of the densities that wrap a torch network fitted by maximum likelihood."""

import copy
import functools
import itertools
import threading
import warnings
from abc import abstractmethod
from contextlib import nullcontext, suppress
from numbers import Integral, Real
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import ArrayLike
from sklearn.exceptions import ConvergenceWarning
from skorch.callbacks import GradientNormClipping
from skorch.helper import predefined_split

from sklearn_dgm._bulk import REACH
from sklearn_dgm._callbacks import context_of_fit, has_callbacks, init_context
from sklearn_dgm._sklearn import Interval, StrOptions, fit_context
from sklearn_dgm._training.callbacks import Monitor
from sklearn_dgm._training.chained_equations import complete
from sklearn_dgm._training.net import (
    Diverged,
    IncompleteRows,
    LikelihoodNet,
    Parts,
    RowBatches,
    StopTraining,
)
from sklearn_dgm._training.seeding import one_thread, reproducible, torch_generator
from sklearn_dgm._training.side_by_side import side_by_side
from sklearn_dgm._typing import MatrixLike
from sklearn_dgm._validation import check_generator
from sklearn_dgm.base import BaseDensity
from sklearn_dgm.columns import MIXED
from sklearn_dgm.nn.completion import completions
from sklearn_dgm.nn.mixture import Mixture
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
# What passes through the network at once when scoring and sampling is bounded, and with it the memory.
ROWS_AT_ONCE, SCORED_AT_ONCE = 8192, 1024
NUMBERS_AT_ONCE = 2**24


class BaseNeuralDensity(BaseDensity):
    """Base class of densities whose module is trained through skorch.

    A family writes `_builder(parts)`, which returns a function that builds a module. A module offers
    `loss(z)`, `log_prob(z)` and `sample(n_samples, generator)`, with `forward` the loss, and `width`, how many numbers a
    row takes up in it at most; where rows may have missing cells, NaN, `fill(z, uniforms)`, too. What is random in its
    training it draws from :func:`~sklearn_dgm.nn.randomness.current_generator`. The density is an equal mixture of
    `_n_members()` modules, each trained with other rows for validation, as many at once as torch has threads. If
    `_settings(n_samples)` are several, the first member tries them all.

    Parameters
    ----------
    max_epochs, lr, batch_size, weight_decay, early_stopping, validation_fraction, n_iter_no_change, device, \
warm_start, verbose, callbacks, net_params, random_state, categorical_features, integer_features
        See :class:`~sklearn_dgm.AutoregressiveDensity`.
    """

    _parameter_constraints: dict = {
        **BaseDensity._parameter_constraints,
        "max_epochs": [Interval(Integral, 1, None, closed="left")],
        "lr": [Interval(Real, 0, None, closed="neither")],
        "batch_size": [StrOptions({"auto"}), Interval(Integral, 1, None, closed="left")],
        "weight_decay": [Interval(Real, 0, None, closed="left")],
        "early_stopping": ["boolean"],
        "validation_fraction": [Interval(Real, 0, 1, closed="neither")],
        "n_iter_no_change": [Interval(Integral, 1, None, closed="left")],
        "device": [str, torch.device],
        "warm_start": ["boolean"],
        "verbose": ["verbose"],
        "callbacks": [list, tuple, None],
        "net_params": [dict, None],
        "random_state": ["random_state"],
    }

    # Steps that an epoch takes on a small table.
    _n_steps = 20
    # Parameters on which the shape of the module depends; a warm start cannot change them.
    _shape_params: tuple[str, ...] = ("categorical_features", "integer_features", "column_kinds")

    def _settle(self, parts):
        """Learn what all members have in common, before any of them is built; of no rows that validate one."""

    def _finish(self, parts):
        """Learn from all rows what is no matter of training, now that none has to validate any more."""

    @abstractmethod
    def _builder(self, parts):
        """Return a function of a member's number and a setting, which returns a module that is ready to be trained."""

    def _n_members(self):
        return 1

    def _settings(self, n_samples):
        return [None]

    @fit_context(prefer_skip_nested_validation=True)
    def fit(
        self,
        X: MatrixLike,
        y: Any = None,
        sample_weight: ArrayLike | None = None,
        *,
        schema: Any = None,
    ) -> Self:
        """Fit the density to rows by maximum likelihood.

        Parameters
        ----------
        X : {array-like, DataFrame} of shape (n_samples, n_features)
            Rows to learn from.
        y : None
            Ignored, present for API consistency by convention.
        sample_weight : array-like of shape (n_samples,), default=None
            Non-negative weights of the rows in the likelihood; their ratios count. Weights of one or more on average
            also say how often a row was seen, and training starts closer to the rows then.
        schema : ColumnSchema, default=None
            What :meth:`learn_schema` has learnt from more rows than these; see :meth:`~sklearn_dgm.BaseDensity.fit`.

        Returns
        -------
        self : estimator
            The fitted density. If anything fails, the estimator is as it was before; Ctrl-C, too, undoes the fit and
            reaches the caller, except that with `warm_start=True` the best weights so far are kept.

        Raises
        ------
        ValueError
            If a parameter is invalid, a value is infinite, or missing where the density takes no missing cells, or the
            weights are negative or all zero.

        Warns
        -----
        ConvergenceWarning
            If the likelihood became infinite or undefined, or was still rising after `max_epochs`.
        """
        task = init_context(self, n_subtasks=None)
        if task is None:
            return self._fit_or_restore(X, sample_weight, schema)
        hooks = {"estimator": self, "X": X, "y": y}
        if sample_weight is not None:
            hooks["metadata"] = {"sample_weight": sample_weight}
        self._callback_hooks = hooks
        try:
            task.call_on_fit_task_begin(**hooks)
            self._fit_or_restore(X, sample_weight, schema)
            task.call_on_fit_task_end(**hooks, reconstruction_attributes=dict)
        finally:
            del self._callback_hooks
        return self

    def _continues(self):
        return self.warm_start and hasattr(self, "net_")

    def _start_fit(self, X, sample_weight, *, reset=True, schema=None):
        reset = reset and not self._continues()
        return super()._start_fit(X, sample_weight, reset=reset, schema=schema)

    def _fit(self, Z, sample_weight):
        device = self._resolve_device()
        # Scikit-learn's callbacks are told of one epoch after the other.
        alone = device.type != "cpu" or has_callbacks(self)
        n_threads = 1 if alone else torch.get_num_threads()
        rng = check_generator(self.random_state)
        Z = Z.clip(-REACH, REACH)  # of the training alone; scores are of values as they are
        weight = np.ones(len(Z)) if sample_weight is None else sample_weight
        with reproducible(rng, device):
            if self._continues():
                self._check_same_shape()
                self._check_possible(Z)
                started, history = list(self.net_.module_.members), list(self.history_)
            else:
                started, history = [], []
                self._split_seed = int(rng.integers(2**63))
                self._shape = {name: getattr(self, name) for name in self._shape_params}
            fraction = self.validation_fraction if self.early_stopping else None
            complete = self._complete if np.isnan(Z).any() else None
            parts = Parts(Z, weight, fraction, self._split_seed, device, complete)
            if not started:
                self._settle(parts)
            try:
                if self._n_members():
                    build = self._builder(parts)
                    self._train_members(build, started, history, parts, rng, n_threads)
            except KeyboardInterrupt as interrupt:
                interrupt.keeps_progress = self.warm_start and hasattr(self, "net_")
                raise
            if not started:
                self._finish(parts)

    def _train_members(self, build, started, history, parts, rng, n_threads):
        """Train the members, as many at once as there are threads; those that a warm start continues are `started`.

        What becomes of a member does not depend on those beside it.
        """
        settings = [self._setting] if started else self._settings(parts.n_train)
        if not self.early_stopping:  # nothing to choose by
            settings = settings[:1]
        # The first stage may choose what the others get.
        train = functools.partial(
            self._train_stage, build, started, {}, history, parts, rng, n_threads
        )
        others = range(1, self._n_members())
        if len(settings) == 1:
            train([(k, settings[0]) for k in (0, *others)])
            return
        train([(0, setting) for setting in settings])
        if others:
            train([(k, self._setting) for k in others])

    def _train_stage(self, build, started, members, history, parts, rng, n_threads, pairs):
        """Train pairs of a member and a setting side by side; a member that has several gets the best."""
        is_trial = len({k for k, _ in pairs}) < len(pairs)
        stop, runs = threading.Event(), []
        for k, setting in pairs:
            module = copy.deepcopy(started[k]) if k < len(started) else build(k, setting)
            runs.append(_Run(k, setting, module.float(), torch_generator(rng, parts.device)))

        def train(run):
            # In one thread, the record of a run goes on from those before it.
            before = [record for other in runs[: runs.index(run)] for record in other.records]
            run.history, run.n_before = history + before, len(history + before)
            try:
                self._train_run(run, parts, stop, list(members.values()))
            finally:
                if run.best is not None and not is_trial:
                    members[run.member] = run.best

        try:
            side_by_side(train, runs, n_threads, stop)
        finally:
            begun = [run for run in runs if run.best is not None]
            if begun:
                winner = max(begun, key=lambda run: run.score)
                self._setting = winner.setting
                members.setdefault(winner.member, winner.best)
                for run in begun:
                    history.extend(run.records)
                # An interrupted warm start has these, and those that it did not come to.
                kept = dict(enumerate(started)) | members
                in_order = itertools.takewhile(lambda k: k in kept, itertools.count())
                self._keep(begun[-1].net, [kept[k] for k in in_order], history)

    def _train_run(self, run, parts, stop, members):
        """Train one member; whatever ends it, the run has its best weights so far, if it came to have any."""
        with drawing_from(run.generator):
            train, valid = parts(run.member)
            monitor = Monitor(
                run.history,
                log_det=self._mean_log_det(),
                member=run.member,
                setting=run.setting,
                valid=valid,
                patience=self.n_iter_no_change,
                verbose=self.verbose,
                stop=stop,
            )
            run.net = self._make_net(run.module, len(train), valid, monitor, parts.device)
            self._report_epochs(run.net, monitor, members)
            try:
                self._train(run.net, train, monitor)
            finally:
                if monitor.best_state is not None:
                    run.score, run.best = monitor.best_score, _best(run.net, monitor)

    def _mean_log_det(self):
        """For each column the mean log-Jacobian of its cells; those at atoms have none."""
        columns = self.schema_.columns_
        beside = [1 - sum(c.atom_shares) if c.kind == MIXED else 1 for c in columns]
        return self.schema_.log_det_ * beside

    def _check_same_shape(self):
        for name, value in self._shape.items():
            if not np.array_equal(value, getattr(self, name)):
                raise ValueError(
                    f"warm_start continues a model with {name}={value!r}, which cannot become {getattr(self, name)!r}; "
                    "set warm_start=False to start anew."
                )

    def _check_possible(self, Z):
        impossible = np.flatnonzero(np.isneginf(self._in_chunks(self._module.log_prob, Z)))
        if len(impossible):
            raise ValueError(
                f"Row {impossible[0]} is impossible under the model that warm_start continues (a category that it has "
                "not seen, a number beyond its bounds, or no whole number in an integer column); set warm_start=False to start anew."
            )

    def _resolve_device(self):
        if str(self.device) == "auto":
            return torch.device("cuda" if torch.cuda.is_available() else "cpu")
        try:
            device = torch.device(self.device)
            # Scores are float64 numbers, which not every device can compute.
            torch.zeros(1, dtype=torch.float64, device=device).item()
        except (RuntimeError, AssertionError, TypeError) as error:
            reason = str(error).splitlines()[0]
            raise ValueError(f"device={self.device!r} is not available: {reason}") from error
        return device

    def _complete(self, Z, weight, rng):
        """The rows without missing cells, for the beginning."""
        if not np.isnan(Z).any():
            return Z
        columns = self.schema_.columns_
        for column, gaps in zip(columns, np.isnan(Z[weight > 0]).T, strict=True):
            if gaps.all():  # a warm start knows it otherwise
                raise ValueError(f"{column.where} has no observed value to learn from.")
        n_levels = [None if c.categories is None else len(c.categories) for c in columns]
        return complete(Z, weight, n_levels, rng)

    def _report_epochs(self, net, monitor, members):
        """Have scikit-learn's callbacks told of every epoch; a fitted copy is made only if they ask for one."""

        def fitted_attributes():
            snapshot = copy.copy(net)
            current = copy.deepcopy(net.average.module).double()
            snapshot.module_ = Mixture([*members, current]).eval()
            return {"net_": snapshot, "history_": monitor.history, "n_iter_": len(monitor.history)}

        if hasattr(self, "_callback_hooks"):
            hooks = {**self._callback_hooks, "reconstruction_attributes": fitted_attributes}
            monitor.report_to(context_of_fit(self), hooks)

    def _make_net(self, module, n_train, valid, monitor, device):
        for name in sorted(OWN_NET_PARAMS.intersection(self.net_params or {})):
            raise ValueError(f"net_params may not hold {name!r}, which the estimator sets itself.")
        batch_size = self.batch_size
        if batch_size == "auto":
            # So many steps an epoch on small tables, batches that fill the processor on large ones.
            batch_size = int(np.clip(n_train // self._n_steps, 32, 512))
        params = {
            "optimizer": torch.optim.AdamW,
            "optimizer__fused": True,
            "optimizer__weight_decay": 0.0,
            "optimizer__param_groups": [("*weight", {"weight_decay": self.weight_decay})],
            "lr": self.lr,
            "max_epochs": self.max_epochs,
            "batch_size": batch_size,
            "iterator_train": RowBatches,
            "iterator_train__shuffle": batch_size < n_train,
            "iterator_train__max_rows": max(EPOCH_ROWS, batch_size),
            "iterator_valid": RowBatches,
            "train_split": None if valid is None else predefined_split(valid),
            "callbacks": [
                ("clip", GradientNormClipping(10.0)),
                ("monitor", monitor),
                *copy.deepcopy(list(self.callbacks or [])),
            ],
            "callbacks__print_log": None,
            "device": device,
            "verbose": 0,
            **(self.net_params or {}),
        }
        if "optimizer" in (self.net_params or {}):  # which may have no fused form
            del params["optimizer__fused"]
        try:
            return LikelihoodNet(module, criterion=torch.nn.Identity, **params).initialize()
        except (AttributeError, TypeError, ValueError) as error:
            raise ValueError(f"net_params or callbacks do not fit a skorch net: {error}") from error

    def _train(self, net, train, monitor):
        n_before = len(monitor.history)
        try:
            net.notify("on_train_begin", X=train, y=None)
            if isinstance(train, IncompleteRows):
                train.module = net.average.module
            if all(variable.n_levels == 1 for variable in net.module_.variables):
                net.fit_loop(train, epochs=1)  # there is nothing to learn
                return
            net.fit_loop(train)
            if monitor.valid is not None and monitor.history[-1]["best"]:
                warnings.warn(
                    f"The validation likelihood was still rising after max_epochs={self.max_epochs}; "
                    "raise max_epochs, or lr.",
                    ConvergenceWarning,
                    stacklevel=2,
                )
        except StopTraining:
            pass
        except Diverged:
            n_epochs = len(monitor.history) - n_before
            warnings.warn(
                f"The log-likelihood became infinite or NaN in epoch {n_epochs + 1}; training went back to the best "
                "weights before. Lower lr.",
                ConvergenceWarning,
                stacklevel=2,
            )
        with suppress(StopTraining):
            net.notify("on_train_end", X=train, y=None)

    def _keep(self, net, members, history):
        """Take over the best weights, in double precision so that a row's score does not depend on its batch."""
        net.module_ = Mixture(members).eval()
        # A pickle should carry the weights once, and neither rows nor what the optimizer knew of each weight.
        net.module = type(net.module_)
        self.net_ = net
        self.history_ = history
        self.n_iter_ = len(history)

    @property
    def _module(self):
        """What scores and draws encoded rows."""
        return self.net_.module_

    def _module_device(self):
        return next(itertools.chain(self._module.parameters(), self._module.buffers())).device

    def _in_chunks(self, function, Z, max_rows=SCORED_AT_ONCE):
        """Apply a function of a tensor to the rows, a bounded number at once.

        Chunks are shared among threads, not sums: on a busy machine threads that share a sum wait for each other, for
        long, and how many they are would change its last bits.
        """
        device = self._module_device()
        n_threads = torch.get_num_threads() if device.type == "cpu" else 1
        step = min(self._rows_at_once(), max_rows)
        starts = list(range(0, len(Z), step))
        results = {}

        def compute(start):
            with torch.no_grad():
                z = torch.tensor(Z[start : start + step], device=device)  # which torch aligns
                results[start] = function(z).cpu().numpy()

        with one_thread() if n_threads > 1 else nullcontext():
            side_by_side(compute, starts, n_threads, threading.Event())
        return np.concatenate([results[start] for start in starts])

    def _rows_at_once(self):
        return int(np.clip(NUMBERS_AT_ONCE // self._module.width, 1, ROWS_AT_ONCE))

    def _log_density(self, Z):
        return self._in_chunks(self._module.log_prob, Z)

    def _draw(self, n_samples, rng):
        module = self._module
        generator = torch_generator(rng, self._module_device())
        # Column by column the steps are so small that threads wait for each other, on a busy machine for long.
        step = self._rows_at_once()
        with one_thread():
            chunks = [
                module.sample(min(step, n_samples - start), generator).cpu().numpy()
                for start in range(0, n_samples, step)
            ]
        return np.concatenate(chunks)

    def _completions(self, Z, n_particles, rng=None):
        """Weighted completions of encoded rows; see :class:`~sklearn_dgm._conditioning.ConditionalMixin`."""
        module = self._module
        device = self._module_device()
        generator = None if rng is None else torch_generator(rng, device)
        z = torch.tensor(Z, device=device)
        parts = completions(module, z, n_particles, generator)
        while True:
            with one_thread(), torch.no_grad():
                part = next(parts, None)
            if part is None:
                return
            yield part.numpy()


class _Run:
    """One member in training, with one setting, and in the end what came of it."""

    net = best = score = None

    def __init__(self, member, setting, module, generator):
        self.member, self.setting, self.module, self.generator = member, setting, module, generator
        self.history, self.n_before = [], 0

    @property
    def records(self):
        """The record of its own epochs."""
        return self.history[self.n_before :]


def _best(net, monitor):
    """The module with its best weights, in double precision; the net lets go of all that only training needs."""
    module = net.module_
    module.load_state_dict(monitor.best_state)
    net.train_split = net.average = None
    net.optimizer_.state.clear()
    monitor.release()
    return module.double().eval()
