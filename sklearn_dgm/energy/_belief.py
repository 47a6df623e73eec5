"""The deep belief net as an estimator."""

import copy
from numbers import Integral
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from scipy.special import logit
from sklearn.base import ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils.validation import check_is_fitted

from sklearn_dgm._sklearn import Interval
from sklearn_dgm._typing import MatrixLike, RandomState
from sklearn_dgm._validation import check_generator
from sklearn_dgm.energy._base import BaseBoltzmannDensity, encoded_to_score
from sklearn_dgm.energy._contrastive import ContrastiveDivergence, HiddenRows, initial_machine
from sklearn_dgm.energy._importance import log_importance
from sklearn_dgm.energy._machine import BinaryUnits, BoltzmannMachine, sigmoid
from sklearn_dgm.energy._marginals import hidden_means
from sklearn_dgm.energy._partition import draw_features
from sklearn_dgm.tags import DensityTags

# No unit is taken to be off, or on, in all rows.
LEAST_SHARE = 1e-6


class DeepBeliefDensity(ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseBoltzmannDensity):
    """Density from a deep belief net, trained layer by layer.

    A Boltzmann machine learns from the rows, the next one from the hidden units of the first, and so on [1]_. The
    machine on top is a density of its units; each one below it says how the units below are, given those above:
    ``p(x) = sum_h p(x | h) p(h)``. The sum is estimated by importance sampling [2]_.

    Parameters
    ----------
    hidden_layer_sizes : tuple of int, default=(256, 256)
        Numbers of binary hidden units, from the lowest machine to the one on top.
    learning_rate : "auto" or float, default="auto"
        Size of the first step; see :class:`RestrictedBoltzmannDensity`.
    n_gibbs_steps : int, default=1
        Steps of the chains for each step of the weights.
    n_chains : int, default=100
        Number of persistent chains.
    batch_size : int, default=100
        Rows of a step.
    max_iter : "auto" or int, default="auto"
        Passes through the rows, for each machine.
    weight_decay : float, default=0.0001
        Share of the weights that a step of size 1 takes away.
    log_partition : {"auto", "exact", "ais"}, default="auto"
        How log Z of the machine on top is found; see :class:`RestrictedBoltzmannDensity`.
    n_ais_chains : int, default=200
        Particles that are annealed.
    n_temperatures : int, default=5000
        Temperatures at most.
    n_importance_samples : int, default=100
        Proposals of hidden units for each row that is scored.
    verbose : int, default=0
        Whether to print a line for each pass.
    random_state : int, RandomState, Generator or None, default=None
        Seed of all draws in `fit`.
    categorical_features : "from_dtype", array-like or None, default="from_dtype"
        Columns that hold categories, by dtype, name, index or mask; see :class:`~sklearn_dgm.columns.ColumnSchema`.
    integer_features : "from_dtype", array-like or None, default="from_dtype"
        Columns that hold counts, in the same form.
    column_kinds : dict, default=None
        Kinds of columns, by name or index, that overrule what dtypes and values say: "continuous", "rounded", "mixed",
        "integer" or "categorical"; see :class:`~sklearn_dgm.columns.ColumnSchema`.
    handle_unknown : {"impossible", "error", "rare"}, default="impossible"
        What a category that `fit` has not seen is; see :class:`~sklearn_dgm.columns.ColumnSchema`. With "rare" it has a
        small probability, whatever the other cells are, which are scored as if it were missing.

    Attributes
    ----------
    components_ : list of ndarray of shape (n_units_above, n_units_below)
        Weights of the machines, the lowest first.
    intercepts_ : list of ndarray
        Biases of the units, those of the visible ones first; between two machines those of the upper one.
    log_partition_ : float
        The logarithm of the normaliser of the machine on top.
    log_partition_std_error_ : float
        Its standard error, 0 where it is exact. It is an error of all scores, which no average over rows makes smaller.
    log_partition_bracket_ : tuple of float
        Estimates of it that tend to be too low and too high.
    effective_sample_size_ : float
        How many annealed particles the weighted ones are worth.
    free_energy_gaps_ : list of ndarray of shape (n_passes,)
        For each machine what :class:`RestrictedBoltzmannDensity` has.
    n_iter_ : int
        Number of passes, of all machines.
    schema_ : ColumnSchema
        Kinds and scales of the columns.
    score_kind_ : {"exact", "estimate"}
        "estimate", but of one machine alone with an exact log Z.
    n_features_in_ : int
        Number of columns seen in `fit`.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Their names, where X has string column names.

    See Also
    --------
    RestrictedBoltzmannDensity : A single machine, which takes missing cells, too.

    Notes
    -----
    Where a machine has as many hidden units as the one below it has visible ones, and these are all binary, it starts
    as the one below turned upside down: the density is that of the machine below then, and training starts there.

    `fit` reads tables larger than memory a chunk at a time, and a pass takes as many rows as the sample has. In
    `partial_fit` each machine takes a pass, from below, over what the one below it makes of the further rows.

    The logarithm of an average of few importance weights tends to be too low. The numbers that propose hidden units are
    the same for every row and in every call.

    References
    ----------
    .. [1] G. E. Hinton, S. Osindero, Y. W. Teh, "A fast learning algorithm for deep belief nets", Neural Computation 18
       (2006), https://doi.org/10.1162/neco.2006.18.7.1527
    .. [2] R. Salakhutdinov, I. Murray, "On the quantitative analysis of deep belief networks", ICML 2008,
       https://doi.org/10.1145/1390156.1390266

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from sklearn_dgm import DeepBeliefDensity
    >>> X = load_digits().data[:500] > 7
    >>> density = DeepBeliefDensity((12, 8), max_iter=30, random_state=0, handle_unknown="rare").fit(X)
    >>> density.score_kind_, density.sample(2, random_state=0).shape
    ('estimate', (2, 64))
    >>> log_density, std = density.score_samples(X[:2], return_std=True)
    >>> std.shape
    (2,)
    """

    _parameter_constraints: dict = {
        **BaseBoltzmannDensity._parameter_constraints,
        "hidden_layer_sizes": ["array-like"],
        "n_importance_samples": [Interval(Integral, 2, None, closed="left")],
    }
    _density_tags = DensityTags(ties=True, latents=True)
    _shape_params = (*BaseBoltzmannDensity._shape_params, "hidden_layer_sizes")

    def __init__(
        self,
        hidden_layer_sizes: Any = (256, 256),
        *,
        learning_rate: Literal["auto"] | float = "auto",
        n_gibbs_steps: int = 1,
        n_chains: int = 100,
        batch_size: int = 100,
        max_iter: Literal["auto"] | int = "auto",
        weight_decay: float = 1e-4,
        log_partition: Literal["auto", "exact", "ais"] = "auto",
        n_ais_chains: int = 200,
        n_temperatures: int = 5000,
        n_importance_samples: int = 100,
        verbose: int = 0,
        random_state: RandomState = None,
        categorical_features: Any = "from_dtype",
        integer_features: Any = "from_dtype",
        column_kinds: dict[Any, Any] | None = None,
        handle_unknown: Literal["impossible", "error", "rare"] = "impossible",
    ) -> None:
        super().__init__(
            categorical_features,
            integer_features,
            column_kinds,
            learning_rate=learning_rate,
            n_gibbs_steps=n_gibbs_steps,
            n_chains=n_chains,
            batch_size=batch_size,
            max_iter=max_iter,
            weight_decay=weight_decay,
            log_partition=log_partition,
            n_ais_chains=n_ais_chains,
            n_temperatures=n_temperatures,
            verbose=verbose,
            random_state=random_state,
            handle_unknown=handle_unknown,
        )
        self.hidden_layer_sizes = hidden_layer_sizes
        self.n_importance_samples = n_importance_samples

    def _fit(self, Z, sample_weight):
        rng = check_generator(self.random_state)
        units, base, rows = self._first_rows(Z, sample_weight, rng)
        self._learn(units, base, rows, rng, self._train)

    def _take_pass(self, Z, sample_weight, rng, is_first):
        if is_first:
            self._learn(*self._first_rows(Z, sample_weight, rng), rng, self._train_further)
            return
        if not hasattr(self, "_trainings"):
            raise ValueError(
                "partial_fit goes on with the chains of training, which this model was saved without; call fit to start "
                "anew."
            )
        units, base = self._machines[0].units, self._base
        rows = self._further_rows(units, base, Z, sample_weight, rng)
        self._learn(units, base, rows, rng, self._train_further, copy.deepcopy(self._trainings))

    def _learn(self, units: Any, base, rows: Any, rng, learn, trainings=()):
        """Train the machines from below, or those further that trainings have: each from what the one below makes."""
        sizes = self._sizes()
        self._check_partition(BinaryUnits(sizes[-2]) if len(sizes) > 1 else units, sizes[-1])
        before = self.free_energy_gaps_ if trainings else [()] * len(sizes)
        self._machines: list[BoltzmannMachine] = []
        self._base, self._trainings, self.free_energy_gaps_ = base, [], []
        for i, n_hidden in enumerate(sizes):
            if i:
                below = self._machines[-1]
                rows = HiddenRows(rows, below)
                units = BinaryUnits(below.n_hidden)
            means = rows.means(rng)
            if i:
                base = logit(means.clip(LEAST_SHARE, 1 - LEAST_SHARE))
            if trainings:
                training = trainings[i]
            else:
                machine = self._start(units, n_hidden, base, rng)
                training = ContrastiveDivergence(machine, means, self.n_chains, rng)
            gaps = learn(training, rows, rng, which=f"Machine {i + 1}, ")
            self._trainings.append(training)
            self._machines.append(training.averaged.astype(np.float64))
            self.free_energy_gaps_.append(np.append(before[i], gaps))
        self.n_iter_ = sum(map(len, self.free_energy_gaps_))
        self.components_ = [machine.weights.T for machine in self._machines]
        self.intercepts_ = [machine.visible for machine in self._machines]
        self.intercepts_.append(self._machines[-1].hidden)
        self._settle_partition(self._machines[-1], base, rng)
        is_exact = len(sizes) == 1 and self._partition.of != "particles"
        self.score_kind_ = "exact" if is_exact else "estimate"

    def _sizes(self):
        """Return `hidden_layer_sizes` as a list, checked."""
        sizes = np.asarray(self.hidden_layer_sizes)
        if sizes.ndim != 1 or not len(sizes) or sizes.dtype.kind not in "iu" or (sizes < 1).any():
            raise ValueError(
                f"hidden_layer_sizes should hold positive integers, got {self.hidden_layer_sizes!r}."
            )
        return sizes.tolist()

    def _start(self, units, n_hidden, base, rng):
        """Return a machine to start from: the one below upside down, where it fits."""
        below = self._machines[-1] if self._machines else None
        if below is not None and below.units.is_binary and below.units.n_features == n_hidden:
            return upside_down(below)
        return initial_machine(units, n_hidden, base, rng)

    @property
    def _n_features_out(self):
        return len(self.intercepts_[-1])

    def _log_density_and_std(self, Z):
        F, missing, log_within = encoded_to_score(self._machines[0].units, Z)
        log_p, std = log_importance(self._machines, F, missing, self.n_importance_samples)
        log_p += log_within - self.log_partition_
        return log_p, np.where(
            np.isneginf(log_p), 0.0, np.hypot(std, self.log_partition_std_error_)
        )

    def _draw(self, n_samples, rng):
        *lower, top = self._machines
        F = draw_features(top, self._partition, n_samples, rng, to_decode=not lower)
        for machine in reversed(lower):
            F = machine.draw_visible(F, rng, to_decode=machine is lower[0])
        return self._machines[0].units.decode(F, rng)

    def transform(self, X: MatrixLike) -> NDArray[np.float64]:
        """Compute probabilities of the hidden units on top, layer by layer.

        Parameters
        ----------
        X : {array-like, DataFrame} of shape (n_samples, n_features)
            Rows.

        Returns
        -------
        H : ndarray of shape (n_samples, n_components)
            Probabilities given those of the layer below.
        """
        check_is_fitted(self)
        if self._is_chunked(X):
            return self._by_chunk(X, self.transform, of_none=np.empty((0, self._n_features_out)))
        Z, _ = self._encode(X)
        F, missing, _ = self._machines[0].units.encode(Z)
        H = hidden_means(self._machines[0], F, missing)
        for machine in self._machines[1:]:
            H = sigmoid(machine.hidden_input(H))
        return H


def upside_down(machine):
    """Return a machine over the hidden units of one with binary visible units, whose visible units are its hidden ones.

    A net of both is the density of the machine.
    """
    return BoltzmannMachine(
        BinaryUnits(machine.n_hidden),
        machine.weights.T.copy(),
        machine.hidden,
        machine.visible,
        machine.precision,
    )
