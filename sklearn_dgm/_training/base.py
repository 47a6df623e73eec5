"""What models that train networks have in common, and the base class of those that are densities of tables."""

import itertools
import threading
from abc import abstractmethod
from contextlib import nullcontext
from numbers import Integral, Real
from types import SimpleNamespace
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import ArrayLike

from sklearn_dgm._callbacks import context_of_fit, has_callbacks, init_context
from sklearn_dgm._continuation import ContinuationMixin
from sklearn_dgm._sklearn import Interval, StrOptions, fit_context
from sklearn_dgm._training.checkpoints import SavedTraining, checkpoint_of, fingerprint_of
from sklearn_dgm._training.net import RowNet
from sklearn_dgm._training.objective import Objective, log_likelihood
from sklearn_dgm._training.partial import PartialFitMixin
from sklearn_dgm._training.processes import ACCELERATE, device_of, make_accelerator
from sklearn_dgm._training.race import Race
from sklearn_dgm._training.seeding import one_thread, reproducible, torch_generator
from sklearn_dgm._training.side_by_side import side_by_side
from sklearn_dgm._training.sklearn_callbacks import EpochReport
from sklearn_dgm._training.splits import Splits
from sklearn_dgm._training.streams import StreamedChunksMixin
from sklearn_dgm._training.trainer import Trainer
from sklearn_dgm._typing import MatrixLike, RandomState
from sklearn_dgm._validation import check_generator
from sklearn_dgm.base import BaseDensity
from sklearn_dgm.chunks import naming_rows
from sklearn_dgm.columns import MIXED
from sklearn_dgm.columns._bulk import REACH
from sklearn_dgm.nn.config import module_of_state, state_of

# What passes through the network at once when scoring and sampling is bounded, and with it the memory.
ROWS_AT_ONCE, SCORED_AT_ONCE = 8192, 1024
NUMBERS_AT_ONCE = 2**24
# An accelerator takes so many times as much, and is not busy with less.
TIMES_ON_ACCELERATOR = 8


class TrainingMixin(ContinuationMixin):
    """How modules are trained through skorch, before a base class with the hooks `_fit` and `_draw`.

    A family writes `_builder(splits)`, which returns a function that builds a module. A module's `forward`, given the
    rows of a batch, returns the loss of each; it has `sample(n_samples, generator)` and `width`, how many numbers a row
    takes up in it at most. What is random in its training it draws from
    :func:`~sklearn_dgm.nn.randomness.current_generator`. There are `_n_members()` modules, each trained with other rows
    for validation, as many at once as torch has threads. If `_candidates(splits)` are several, the first member
    tries them all.

    Further hooks: `_combine(modules)` and `_trained_modules()`, if there are several members; `_split` for rows that
    are no matrix, or batches of another kind; `_net_class` for a training with other steps; `_objective()` for what is
    recorded; `_prepare(splits)` and `_finish(splits)` for what is learnt besides.

    Parameters
    ----------
    max_epochs, lr, batch_size, weight_decay, early_stopping, validation_fraction, n_iter_no_change, device, \
warm_start, verbose, callbacks, net_params, random_state
        See :mod:`~sklearn_dgm._training.parameters`. A subclass spells them out and hands them on.
    **others : dict
        Parameters of the base class.
    """

    _parameter_constraints: dict = {
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
    # Rows of a batch at least and at most, for the docstring.
    _batch_rows = "32 to 512"
    _net_class = RowNet

    def __init__(
        self,
        *,
        max_epochs: int = 500,
        lr: float = 3e-3,
        batch_size: Any = "auto",
        weight_decay: float = 1e-2,
        early_stopping: bool = True,
        validation_fraction: float = 0.1,
        n_iter_no_change: int = 20,
        device: Any = "auto",
        warm_start: bool = False,
        verbose: int = 0,
        callbacks: list[Any] | None = None,
        net_params: dict[str, Any] | None = None,
        random_state: RandomState = None,
        **others: Any,
    ) -> None:
        super().__init__(**others)
        self.max_epochs = max_epochs
        self.lr = lr
        self.batch_size = batch_size
        self.weight_decay = weight_decay
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.n_iter_no_change = n_iter_no_change
        self.device = device
        self.warm_start = warm_start
        self.verbose = verbose
        self.callbacks = callbacks
        self.net_params = net_params
        self.random_state = random_state

    @abstractmethod
    def _builder(self, splits):
        """Return a function of a member's number and a candidate that makes a module, ready to be trained."""

    def _prepare(self, splits):
        """Learn what all members have in common, before any of them is built; of no rows that validate one."""

    def _finish(self, splits):
        """Learn from all rows what is no matter of training, now that none has to validate any more."""

    def _n_members(self):
        """Return how many modules there are."""
        return 1

    def _candidates(self, splits):
        """Return the settings with which the first member is tried."""
        return [None]

    def _combine(self, modules):
        """Return the module that scores and draws, made of those of the members."""
        (module,) = modules
        return module

    def _trained_modules(self):
        """Return those of the members again."""
        return [self._module]

    def _split(self, Z, weight, validation_fraction, seed, device):
        """Return the rows that train and validate each member."""
        return Splits(Z, weight, validation_fraction, seed, device)

    def _objective(self):
        """Return the objective, which the record of training is of."""
        return Objective("loss")

    def _training_parameters(self, splits):
        """Return the parameters of training on some rows; see :class:`~sklearn_dgm._training.trainer.Trainer`."""
        parameters = {name: getattr(self, name) for name in TrainingMixin._parameter_constraints}
        least_patience = self.n_iter_no_change
        others = {"n_steps": self._n_steps, "least_patience": least_patience, "lr_falls": False}
        return {**parameters, **others, "race": Race()}

    def _parameters_of_this_fit(self, splits):
        """Return the parameters of training, of which a fit that continues another one may have its own."""
        return self._training_parameters(splits)

    @fit_context(prefer_skip_nested_validation=True)
    def fit(
        self,
        X: MatrixLike,
        y: Any = None,
        sample_weight: ArrayLike | None = None,
        *,
        schema: Any = None,
    ) -> Self:
        """Fit the model to rows by gradient descent.

        Parameters
        ----------
        X : {array-like, DataFrame} of shape (n_samples, n_features)
            Rows to learn from.
        y : None
            Ignored, present for API consistency by convention.
        sample_weight : array-like of shape (n_samples,), default=None
            Non-negative weights of the rows in the loss; their ratios count. Weights of one or more on average
            also say how often a row was seen, and training starts closer to the rows then.
        schema : ColumnSchema, default=None
            What :meth:`learn_schema` has learnt from more rows than these; see :meth:`~sklearn_dgm.BaseDensity.fit`.

        Returns
        -------
        self : estimator
            The fitted model. If anything fails, the estimator is as it was before; Ctrl-C, too, undoes the fit and
            reaches the caller, except that with `warm_start=True` the best weights so far are kept.

        Raises
        ------
        ValueError
            If a parameter is invalid, a value is infinite, or missing where the model takes no missing cells, or the
            weights are negative or all zero.

        Warns
        -----
        ConvergenceWarning
            If the loss became infinite or undefined, or was still getting better after `max_epochs`.
        """
        task = init_context(self, n_subtasks=None)
        if task is None or not has_callbacks(
            self
        ):  # nobody listens to members that train side by side
            return self._fit_or_restore(X, sample_weight, schema, y)
        hooks = {"estimator": self, "X": X, "y": y}
        if sample_weight is not None:
            hooks["metadata"] = {"sample_weight": sample_weight}
        self._callback_hooks = hooks
        try:
            task.call_on_fit_task_begin(**hooks)
            self._fit_or_restore(X, sample_weight, schema, y)
            task.call_on_fit_task_end(**hooks, reconstruction_attributes=dict)
        finally:
            del self._callback_hooks
        return self

    def _continues(self):
        return self._continued_by() is not None and hasattr(self, "net_")

    def _continued_by(self):
        return "warm_start" if self.warm_start else None

    def _validation_share(self):
        """Return the share of the rows that validate, None for none."""
        return self.validation_fraction if self.early_stopping else None

    def _start_fit(self, X, sample_weight, *, reset=True, schema=None):
        reset = reset and not self._continues()
        return super()._start_fit(X, sample_weight, reset=reset, schema=schema)

    def _fit(self, Z, sample_weight):
        device, continues = self._resolve_device(), self._continues()
        rng = check_generator(self.random_state)
        weight = np.ones(len(Z)) if sample_weight is None else sample_weight
        n_threads = self._n_threads(device)  # in the block it is one
        with reproducible(rng, device):
            streamed = getattr(self, "_streamed", None)
            if continues:
                with nullcontext() if streamed is None else naming_rows(streamed.sample_positions):
                    self._check_continuation(Z)
            else:
                self._split_seed = int(rng.integers(2**63))
            share = self._validation_share()
            splits = self._split(Z, weight, share, self._split_seed, device)
            splits.streamed, splits.continues = streamed, continues
            if not continues:
                self._prepare(splits)
            if self._n_members():
                self._train(splits, rng, n_threads, continues)
            if not continues:
                self._finish(splits)

    def _n_threads(self, device):
        """Return how many members train at once; scikit-learn's callbacks are told of one epoch after the other."""
        is_single = device.type != "cpu" or has_callbacks(self) or self.device == ACCELERATE
        return 1 if is_single else torch.get_num_threads()

    def _check_continuation(self, Z):
        """Refuse rows that a warm start, or a further part, cannot continue with."""

    def _train(self, splits, rng, n_threads, continues):
        """Train the members, and keep what has been reached, if it is by Ctrl-C."""
        trainer = self._trainer(splits, rng, n_threads, continues)
        candidates = [self._setting] if continues else self._candidates(splits)
        try:
            trainer.train(self._builder(splits), self._n_members(), candidates)
        except KeyboardInterrupt as interrupt:
            self._keep(trainer)
            interrupt.keeps_progress = self.warm_start and hasattr(self, "net_")
            raise
        self._keep(trainer)
        if trainer.saved is not None:
            trainer.saved.remove()

    def _checkpoint_and_others(self):
        """Return the checkpoint of this fit, or None, and the callbacks of skorch."""
        return checkpoint_of(self.callbacks)

    def _trainer(self, splits, rng, n_threads, continues):
        parameters = self._parameters_of_this_fit(splits)
        report = None
        if hasattr(self, "_callback_hooks"):
            report = EpochReport(
                context_of_fit(self), self._callback_hooks, self._fitted_attributes
            )
        accelerator = None
        if self.device == ACCELERATE:
            self._check_takes_processes()
            accelerator = make_accelerator(self.random_state)
        checkpoint, parameters["callbacks"] = self._checkpoint_and_others()
        started, saved = self._trained_modules() if continues else [], None
        if checkpoint is not None:
            fingerprint = fingerprint_of(self, splits, started)
            writes = accelerator is None or accelerator.is_main_process
            saved = SavedTraining(checkpoint, fingerprint, splits.device, writes)
        return Trainer(
            SimpleNamespace(**parameters),
            self._objective(),
            splits,
            rng,
            splits.device,
            net_class=self._net_class,
            n_threads=n_threads,
            started=started,
            history=self.history_ if continues else [],
            report=report,
            saved=saved,
            accelerator=accelerator,
        )

    def _keep(self, trainer):
        """Set what a training has learnt, if it has begun."""
        if modules := trainer.modules if trainer.net else []:
            vars(self).update(self._fitted_attributes(trainer.net, modules, trainer.history))
            self._setting = trainer.setting

    def _fitted_attributes(self, net, modules, history):
        """Return the attributes of the fitted estimator, given a net that becomes its own, modules and the record."""
        # In double precision, on whose last bits draws and codecs rest, and which some rows need.
        net.module_ = self._combine(modules).eval()
        net.module = type(net.module_)  # a pickle should carry the weights once
        fitted = {"net_": net, "history_": history, "n_iter_": len(history)}
        return {**fitted, "objective_": self._objective()}

    def _check_takes_processes(self):
        if self._net_class is not RowNet:
            raise ValueError(
                f"{type(self).__name__} has several optimisers, which device={ACCELERATE!r} does not take."
            )

    def _resolve_device(self):
        if self.device == ACCELERATE:
            return device_of(make_accelerator(self.random_state))
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

    def _device_at_hand(self):
        """Return the device of the parameter, or the CPU if it was another machine that has it."""
        try:
            return self._resolve_device()
        except ValueError:
            return torch.device("cpu")

    def _to_state(self):
        """Return what it holds; of the net, the module alone: its config and its arrays."""
        state = super()._to_state()
        if "net_" in state:
            state["net_"] = state_of(self.net_.module_)
        return state

    def _set_state(self, state):
        super()._set_state(state)
        if "net_" in state:
            module, device = module_of_state(state["net_"]), self._device_at_hand()
            net = self._net_class(module, criterion=torch.nn.Identity, device=device)
            self.net_ = net.initialize()
            self.net_.release()
            self.net_.module = type(module)  # as that of a net that was trained

    @property
    def _module(self):
        """The module that scores and draws encoded rows."""
        return self.net_.module_

    def _module_device(self):
        return next(itertools.chain(self._module.parameters(), self._module.buffers())).device

    def _in_chunks(self, function, Z, max_rows=None):
        """Apply a function of a tensor to the rows, a bounded number at once; without `max_rows` what suits the device.

        Chunks are shared among threads, not sums: on a busy machine threads that share a sum wait for each other, for
        long, and how many they are would change its last bits.
        """
        device = self._module_device()
        is_cpu = device.type == "cpu"
        n_threads = torch.get_num_threads() if is_cpu else 1
        if max_rows is None:
            max_rows = SCORED_AT_ONCE if is_cpu else TIMES_ON_ACCELERATOR * ROWS_AT_ONCE
        step = min(self._most_at_once(), max_rows)
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

    def _most_at_once(self):
        times = 1 if self._module_device().type == "cpu" else TIMES_ON_ACCELERATOR
        return times * self._rows_at_once()

    def _drawn_at_once(self):
        return self._most_at_once()

    def _draw(self, n_samples, rng):
        sample = self._module.sample
        return self._draw_in_chunks(lambda rows, rng: sample(len(rows), rng), n_samples, rng)

    def _draw_in_chunks(self, draw, n_samples, rng):
        """Draw rows by a function of their numbers, a range, and of a torch generator, a bounded number at once."""
        generator = torch_generator(rng, self._module_device())
        step = self._drawn_at_once()
        # Column by column the steps are so small that threads wait for each other, on a busy machine for long.
        with one_thread():
            chunks = [
                draw(range(start, min(start + step, n_samples)), generator).cpu().numpy()
                for start in range(0, n_samples, step)
            ]
        return np.concatenate(chunks)


class NeuralMixin(PartialFitMixin, StreamedChunksMixin, TrainingMixin):
    """Mixin of models whose modules are trained; they learn from further rows, and from tables larger than memory.

    See :class:`TrainingMixin` for what a family writes, and its parameters.
    """


class BaseNeuralDensity(NeuralMixin, BaseDensity):
    """Base class of densities of tables whose modules are trained by maximum likelihood.

    A module's loss is minus the log-density of each encoded row, and it has `log_prob(z)`, which is that log-density;
    for the rest see :class:`TrainingMixin`.

    Parameters
    ----------
    max_epochs, lr, batch_size, weight_decay, early_stopping, validation_fraction, n_iter_no_change, device, \
warm_start, verbose, callbacks, net_params, random_state, categorical_features, integer_features, column_kinds
        See :class:`~sklearn_dgm.AutoregressiveDensity`.
    """

    _parameter_constraints: dict = {
        **BaseDensity._parameter_constraints,
        **NeuralMixin._parameter_constraints,
    }

    def _fit(self, Z, sample_weight):
        # Of the training alone; scores are of values as they are.
        super()._fit(Z.clip(-REACH, REACH), sample_weight)

    def _check_continuation(self, Z):
        super()._check_continuation(Z)
        impossible = np.flatnonzero(np.isneginf(self._log_density_to_continue(Z)))
        if len(impossible):
            cells = zip(self.schema_.columns_, Z[impossible[0]], strict=True)
            unknown = [column.where for column, z in cells if column.is_categorical and z < 0]
            reason = (
                f"{unknown[0]} holds a category that it has not seen"
                if unknown
                else "a number beyond its bounds, or no whole number in an integer column"
            )
            raise ValueError(
                f"Row {impossible[0]} is impossible under the model that {self._continued_by()} continues ({reason}); "
                f"{self._way_to_start_anew()}."
            )

    def _log_density_to_continue(self, Z):
        """Return log-densities, or estimates, of which only those of impossible rows count."""
        return self._in_chunks(self._module.log_prob, Z)

    def _objective(self):
        """Return the log-likelihood in the units of X: the mean log-Jacobian of cells, 0 for those at atoms."""
        columns = self.schema_.columns_
        beside = [1 - sum(c.atom_shares) if c.kind == MIXED else 1 for c in columns]
        return log_likelihood(self.schema_.log_det_ * beside)

    def _log_density(self, Z):
        return self._in_chunks(self._module.log_prob, Z)
