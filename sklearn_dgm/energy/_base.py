"""What the estimators of Boltzmann machines share: parameters, training, and the partition function."""

import math
from abc import abstractmethod
from functools import partial
from numbers import Integral, Real
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike

from sklearn_dgm._sklearn import Interval, StrOptions, fit_context
from sklearn_dgm._typing import MatrixLike
from sklearn_dgm._validation import check_generator, restored_on_failure
from sklearn_dgm.base import BaseEstimatedDensity
from sklearn_dgm.chunks import BlockReader, StreamedFitMixin, TableForm, shuffled_blocks
from sklearn_dgm.energy._contrastive import (
    Rows,
    Settings,
    StreamedRows,
    automatic_rate,
    passes,
    train,
)
from sklearn_dgm.energy._machine import BoltzmannMachine
from sklearn_dgm.energy._partition import (
    MOST_STATES,
    annealed_partition,
    enumerable,
    exact_partition,
)
from sklearn_dgm.energy._visible import VisibleUnits


class BaseBoltzmannDensity(StreamedFitMixin, BaseEstimatedDensity):
    """Base class of densities that are made of Boltzmann machines; `parameters` are those that they share.

    Of tables that are read a chunk at a time the features, independent columns and rates are of a sample, and a pass
    takes as many rows as that has.
    """

    _parameter_constraints: dict = {
        **BaseEstimatedDensity._parameter_constraints,
        "learning_rate": [StrOptions({"auto"}), Interval(Real, 0, None, closed="neither")],
        "n_gibbs_steps": [Interval(Integral, 1, None, closed="left")],
        "n_chains": [Interval(Integral, 1, None, closed="left")],
        "batch_size": [Interval(Integral, 1, None, closed="left")],
        "max_iter": [StrOptions({"auto"}), Interval(Integral, 1, None, closed="left")],
        "weight_decay": [Interval(Real, 0, None, closed="left")],
        "log_partition": [StrOptions({"auto", "exact", "ais"})],
        "n_ais_chains": [Interval(Integral, 2, None, closed="left")],
        "n_temperatures": [Interval(Integral, 2, None, closed="left")],
        "verbose": ["verbose"],
        "random_state": ["random_state", np.random.Generator],
        "handle_unknown": [StrOptions({"impossible", "error", "rare"})],
    }
    _shape_params: tuple[str, ...] = ("n_chains",)
    learning_rate: Any
    n_gibbs_steps: int
    n_chains: int
    batch_size: int
    max_iter: Any
    weight_decay: float
    log_partition: str
    n_ais_chains: int
    n_temperatures: int
    verbose: Any
    random_state: Any
    free_energy_gaps_: Any

    def __init__(self, categorical_features, integer_features, column_kinds, **parameters):
        super().__init__(
            categorical_features=categorical_features,
            integer_features=integer_features,
            column_kinds=column_kinds,
        )
        vars(self).update(parameters)

    def _settings(self, rows, machine, rng):
        is_auto = self.learning_rate == "auto"
        return Settings(
            automatic_rate(rows, machine, rng) if is_auto else self.learning_rate,
            self.n_gibbs_steps,
            self.n_chains,
            self.batch_size,
            self.weight_decay,
        )

    def _first_rows(self, Z, sample_weight, rng):
        """Return visible units, natural parameters of independent columns, and rows of features to learn from."""
        weight = np.ones(len(Z)) if sample_weight is None else sample_weight
        units = VisibleUnits(self.schema_.columns_, Z, weight)
        F, missing, _ = units.encode(Z)
        base = units.base_rates(F, missing, weight)
        rows = _rows(units, base, F, missing, weight, rng)
        if (streamed := getattr(self, "_streamed", None)) is not None:
            further = partial(self._further_rows, units, base, rng=rng)
            rows = StreamedRows(rows, _reader_of(streamed, rng), further)
        return units, base, rows

    def _further_rows(self, units, base, Z, sample_weight, rng):
        weight = np.ones(len(Z)) if sample_weight is None else sample_weight
        F, missing, _ = units.encode(Z)
        return _rows(units, base, F, missing, weight, rng)

    @fit_context(prefer_skip_nested_validation=True)
    def partial_fit(
        self,
        X: MatrixLike,
        y: Any = None,
        sample_weight: ArrayLike | None = None,
        *,
        schema: Any = None,
    ) -> Self:
        """Take one pass through further rows, at a constant rate, and find log Z anew.

        The first call settles what the columns are. Categories that it has not seen are not learnt from, as if their
        cells were missing, and with ``handle_unknown="error"`` they raise; so are whole numbers beyond its range that
        no unit is for. Where log Z is no exact one, most of the time goes into it; with
        fewer `n_temperatures` it takes less.

        Parameters
        ----------
        X : {array-like, DataFrame} of shape (n_samples, n_features)
            Rows.
        y : None
            Ignored, present for API consistency by convention.
        sample_weight : array-like of shape (n_samples,), default=None
            Non-negative weights.
        schema : ColumnSchema, default=None
            In the first call, what :meth:`learn_schema` has learnt from more rows than these, so that categories and
            ranges to come are known.

        Returns
        -------
        self : estimator
            The fitted model. If anything fails, the estimator is as it was before.

        Raises
        ------
        ValueError
            If the columns are not those of the first call, a parameter that it settles has changed (the number of
            units, or of chains), a value is infinite, there is no whole number in an integer column, or a schema is
            handed in later than in the first call.
        TypeError
            If X is to be read a chunk at a time.
        """
        is_first = not hasattr(self, "schema_")
        self._check_part(X, schema, is_first=is_first)
        with restored_on_failure(self):
            Z, sample_weight = self._start_fit(X, sample_weight, reset=is_first, schema=schema)
            n_before = 0 if is_first else self.n_iter_
            seeds = check_generator(self.random_state).integers(2**63, size=n_before + 1)
            rng = np.random.default_rng(seeds[-1])  # another one in each call
            self._take_pass(Z, sample_weight, rng, is_first)
        return self

    @abstractmethod
    def _take_pass(self, Z, sample_weight, rng, is_first):
        """Take one pass through further rows, or the first ones, at a constant rate."""

    def _train_further(self, training, rows, rng, which=""):
        """Take such a pass with a machine, and return the gap of free energies after it."""
        tell = self._teller(which) if self.verbose else None
        settings = self._settings(rows, training.machine, rng)
        return train(training, rows, settings, 1, rng, falls=False, tell=tell)

    def _train(self, training, rows, rng, which=""):
        """Train a machine, and return the gaps of free energies after the passes."""
        n_passes = passes(self.max_iter, len(rows), self.batch_size)
        settings = self._settings(rows, training.machine, rng)
        tell = self._teller(which) if self.verbose else None
        return train(training, rows, settings, n_passes, rng, tell=tell)

    def _teller(self, which):
        def tell(i, gap, seconds):
            print(
                f"[{type(self).__name__}] {which}Iteration {i}, free energy gap = {gap:.2f}, time = {seconds:.2f}s"
            )

        return tell

    def _check_partition(self, units, n_hidden):
        """Raise an error if log Z of the machine on top is to be exact, but has too many terms."""
        if self.log_partition == "exact" and enumerable(units, n_hidden) is None:
            n = units.n_outcomes
            n_visible = "infinitely many" if math.isinf(n) else f"2**{math.log2(n):.4g}"
            raise ValueError(
                f"log_partition='exact' needs at most {MOST_STATES} states of the hidden or of the visible units, but there "
                f"are 2**{n_hidden} of the hidden ones and {n_visible} of the visible ones; use 'auto' or 'ais'."
            )

    def _settle_partition(self, machine: BoltzmannMachine, base, rng):
        """Compute the partition function of the machine on top."""
        of = enumerable(machine.units, machine.n_hidden)
        if of is not None and self.log_partition != "ais":
            partition = exact_partition(machine, of)
        else:
            if self.verbose:
                print(f"[{type(self).__name__}] Annealed importance sampling")
            partition = annealed_partition(
                machine, base, self.n_ais_chains, self.n_temperatures, rng
            )
        self._partition = partition
        self.log_partition_ = partition.log_z
        self.log_partition_std_error_ = partition.std_error
        self.log_partition_bracket_ = partition.bracket
        is_annealed = partition.of == "particles"
        self.effective_sample_size_ = partition.effective_sample_size if is_annealed else math.inf


def encoded_to_score(units, Z):
    """Encode rows to be scored; nothing has to be summed over for impossible ones."""
    F, missing, log_within = units.encode(Z)
    missing[np.isneginf(log_within)] = False
    return F, missing, log_within


def _rows(units, base, F, missing, weight, rng):
    """Return rows to learn from, with missing cells drawn from independent columns."""
    # A fit does not depend on the order of rows. Nor does a step on whether a row is repeated or has a weight; but how
    # many steps a pass has goes by the number of rows, since weights may have any scale.
    order = np.argsort(F @ np.random.default_rng(0).normal(size=units.n_features), kind="stable")
    F, missing, weight = F[order], missing[order], weight[order]
    if not missing.any():
        return Rows(F, None, weight)
    missing = missing[:, units.column_of]
    drawn = units.draw(np.tile(base, (len(F), 1)), np.ones(units.n_numbers), rng)
    return Rows(np.where(missing, drawn, F), missing, weight)


def _reader_of(streamed, rng):
    """Return what reads the rows of a table, and their weights, in random order, as they are encoded."""
    held_out = np.empty(0, dtype=np.intp)
    order = np.random.default_rng(rng.integers(2**63))
    blocks = shuffled_blocks(streamed, held_out, streamed.mean_weight, order, TableForm(np.asarray))
    return BlockReader(blocks)
