"""A density times the exponential of a network: an energy that starts from what another density knows."""

from copy import copy
from dataclasses import replace
from numbers import Integral
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray

from sklearn_dgm._nested.fitting import fit_density, seeded
from sklearn_dgm._nested.meta import BaseMetaDensity
from sklearn_dgm._nested.rows import TableView, fit_quietly
from sklearn_dgm._nested.scores import scores_and_std
from sklearn_dgm._sklearn import HasMethods, Interval, StrOptions, safe_indexing
from sklearn_dgm._training.base import NUMBERS_AT_ONCE, NeuralMixin
from sklearn_dgm._training.beside import SplitsBeside
from sklearn_dgm._training.objective import Objective
from sklearn_dgm._training.parameters import describe_training, handed_on
from sklearn_dgm._training.variables import variables_of
from sklearn_dgm._typing import MatrixLike, RandomState
from sklearn_dgm._validation import check_generator
from sklearn_dgm.columns import ColumnSchema, stacked
from sklearn_dgm.columns._bulk import REACH
from sklearn_dgm.energy._gradients import gradients_of
from sklearn_dgm.energy._tilted_partition import Partition, all_outcomes
from sklearn_dgm.nn.energy import Tilt
from sklearn_dgm.tags import (
    SCORE_KINDS,
    last_step,
    require_joint,
    score_kind,
    unwrapped,
    with_density_tags,
)

# By so many standard errors a gain has to be above zero.
CLEAR = 2.0
SCORE_MATCHING = "score-matching"
# Rows that are drawn at once, at most, and a standard error of log Z for which no more are drawn.
ROWS_AT_ONCE, CLOSE = 2**16, 3e-3


def default_base():
    """Return the density that is tilted by default: one with exact scores and cheap draws, of any columns."""
    from sklearn_dgm.mixture import MixtureDensity

    return MixtureDensity(16, "gaussian")


@describe_training
class EnergyDensity(NeuralMixin, BaseMetaDensity):
    """Density that tilts another one by a network: an energy-based model whose constant is known.

    ``p(x) = q(x) exp(f(x)) / Z``, with a fitted density `q`, a network `f`, and ``Z = E_q[exp f(x)]``, estimated by
    importance sampling from `q`. The network starts as zero, so that training starts from `q`, and learns only what it
    misses; without a gain on validation rows of two standard errors the model stays `q`. Any density that can draw will
    do; what it takes of categories, counts and mixed columns, this one takes, too, but no missing cells.

    Parameters
    ----------
    estimator : estimator, default=None
        The density `q`, or a search over one; None is ``MixtureDensity(16, "gaussian")``.
    hidden_layer_sizes : array-like of int or int, default=(128, 128)
        Units of each hidden layer of the network. What it returns is bounded between -8 and 8.
    objective : {"self-normalised", "nce", "score-matching"}, default="self-normalised"
        What is maximised: a lower bound of the log-likelihood that learns log Z with the network [1]_; how well rows
        are told from draws of `q`, noise-contrastive estimation [2]_; or, of continuous columns only, agreement of the
        gradients of the log-densities in random directions, sliced score matching [3]_. The last one says nothing of
        Z: scores are unnormalised, and whatever averages or compares scores refuses them.
    noise_ratio : int, default=8
        Draws of `q` beside each row, anew in every epoch; directions, for score matching.
    n_partition_samples : int, default=400000
        Draws of `q` that Z is estimated from at most; fewer, if log Z has a standard error below 0.003 by then. A table
        of categories that has no more outcomes is enumerated.
    $training_parameters

    Attributes
    ----------
    estimator_ : estimator
        The density `q`, fitted to all rows.
    log_partition_ : float
        log Z. Not with score matching.
    log_partition_std_error_ : float
        Its standard error, which all scores share; 0 where outcomes are enumerated. Not with score matching.
    effective_sample_share_ : float
        Share of the draws of `q` that as many independent ones from the tilted density would be worth; near 0, there
        is much that `q` hardly reaches, and neither scores nor draws are to be trusted.
    largest_weight_ : float
        The largest ``exp(f) / Z`` among the draws.
    acceptance_rate_ : float
        Draws of `q` that become rows of `sample`, as a share.
    net_ : skorch.NeuralNet
        The net, with the best weights.
    history_ : list of dict
        Its epochs; see :class:`~sklearn_dgm.AutoregressiveDensity`.
    n_iter_ : int
        Number of epochs.
    objective_ : Objective
        What `history_` is of: the gain in log-likelihood over `q`, a lower bound of it, or the loss of the objective.
    schema_ : ColumnSchema
        Kinds and scales of the columns, as the network sees them.
    score_kind_ : {"exact", "lower bound", "estimate", "unnormalised"}
        What `score_samples` returns: what `q` has where outcomes are enumerated, or the network stayed zero; else
        estimates, whose errors ``return_std=True`` tells.
    n_features_in_ : int
        Number of columns seen in `fit`.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Their names, where X has string column names.

    See Also
    --------
    EnsembleDensity : Averages densities, rather than to multiply them.

    Notes
    -----
    `sample` draws proposals from `q` and takes each as often, 0 or 1 times, as its weight says (and hardly ever twice,
    so that about 1 % of the rows are copies): expected numbers are exact, with any number of rows.

    `q` is fitted to all rows, those that validate among them. It fits them too closely, if anything, which hides a gain
    of the network from them and feigns none.

    **Weights** go to `q` and to the training; if `q` takes none, they must be whole numbers, and rows are repeated.

    References
    ----------
    .. [1] H. Senetaire, P. Jeha, P.-A. Mattei, J. Frellsen, "Learning energy-based models by self-normalising the
       likelihood", Transactions on Machine Learning Research (2026), https://arxiv.org/abs/2503.07021
    .. [2] M. Gutmann, A. Hyvärinen, "Noise-contrastive estimation: a new estimation principle for unnormalized
       statistical models", AISTATS 2010, https://proceedings.mlr.press/v9/gutmann10a.html
    .. [3] Y. Song, S. Garg, J. Shi, S. Ermon, "Sliced score matching: a scalable approach to density and score
       estimation", UAI 2019, https://arxiv.org/abs/1905.07088

    Examples
    --------
    >>> from sklearn.datasets import make_moons
    >>> from sklearn.mixture import GaussianMixture
    >>> from sklearn_dgm import EnergyDensity
    >>> X, _ = make_moons(1000, noise=0.05, random_state=0)
    >>> density = EnergyDensity(GaussianMixture(4), max_epochs=10, random_state=0).fit(X)
    >>> gain = density.score_samples(X) - density.estimator_.score_samples(X)
    >>> bool(gain.mean() > 0.1), density.sample(3, random_state=0).shape
    (True, (3, 2))
    """

    _parameter_constraints: dict = {
        **NeuralMixin._parameter_constraints,
        "estimator": [HasMethods(["fit", "score_samples"]), None],
        "hidden_layer_sizes": ["array-like", Interval(Integral, 1, None, closed="left")],
        "objective": [StrOptions({"self-normalised", "nce", SCORE_MATCHING})],
        "noise_ratio": [Interval(Integral, 1, None, closed="left")],
        "n_partition_samples": [Interval(Integral, 2, None, closed="left")],
    }
    _own_params = "estimator hidden_layer_sizes objective noise_ratio n_partition_samples"
    _shape_params = ("hidden_layer_sizes", "objective")
    _n_subtasks = 2
    # The density inside sees rows as they are, and only the network encoded ones.
    fit = BaseMetaDensity.fit
    _start_fit = BaseMetaDensity._start_fit  # type: ignore[assignment]

    def __init__(
        self,
        estimator: Any = None,
        *,
        hidden_layer_sizes: Any = (128, 128),
        objective: Literal["self-normalised", "nce", "score-matching"] = "self-normalised",
        noise_ratio: int = 8,
        n_partition_samples: int = 400_000,
        max_epochs: int = 100,
        lr: float = 1e-2,
        batch_size: Literal["auto"] | int = "auto",
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
    ) -> None:
        super().__init__(**handed_on(locals(), *self._own_params.split()))
        self.estimator = estimator
        self.hidden_layer_sizes = hidden_layer_sizes
        self.objective = objective
        self.noise_ratio = noise_ratio
        self.n_partition_samples = n_partition_samples

    def _members(self):
        return [("estimator", default_base() if self.estimator is None else self.estimator)]

    def _check_members(self):
        super()._check_members()
        [(_, density)] = self._members()
        require_joint([density], "EnergyDensity")
        if not hasattr(unwrapped(density), "sample"):
            raise TypeError(
                f"estimator should have sample, which {type(density).__name__} has not; put a density behind transformers "
                "into TransformedDensity, and no Pipeline."
            )

    def _fit_within(self, X, sample_weight, schema, task):
        fit_quietly(ColumnSchema(standardize=False), X)  # which refuses missing cells
        if not self._continues():
            self._fit_base(X, sample_weight, schema, task.subtask("fit density"))
        Z = self.schema_.encode(X)[0]
        with task.subtask("train network").running(X):
            self._fit(Z.clip(-REACH, REACH), sample_weight)

    def _fit_base(self, X, sample_weight, schema, task):
        """Fit the density, and learn how the network is to see rows."""
        [(_, density)] = self._members()
        density = seeded(density, check_generator(self.random_state))
        self._view = TableView.of([density], X, sample_weight)
        rows = self._view.rows_for(density, X)
        self.estimator_ = fit_density(density, rows, sample_weight, schema, task)
        self.schema_ = copy(self._schema_of_base(X, sample_weight))
        self.schema_.missing = False
        if self.objective == SCORE_MATCHING:
            self._check_continuous()

    def _schema_of_base(self, X, sample_weight):
        """Return the schema of the density, if it has one of these columns, or one of its own."""
        of_base = getattr(unwrapped(self.estimator_), "schema_", None) or self._view.numbers
        if isinstance(of_base, ColumnSchema):
            return of_base
        return fit_quietly(ColumnSchema(), X, sample_weight)

    def _check_continuous(self):
        for column, measure in zip(self.schema_.columns_, self._measures() or [], strict=False):
            if measure != "continuous":
                raise ValueError(
                    f"objective={SCORE_MATCHING!r} takes continuous columns alone, but {column.where} is {measure} for "
                    f"{type(last_step(self.estimator_)).__name__}; choose another objective, or let column_kinds of the "
                    "density say that it is continuous."
                )

    def _train(self, splits, rng, n_threads, continues):
        try:
            super()._train(splits, rng, n_threads, continues)
        finally:
            if hasattr(self, "net_"):  # of a warm start that is interrupted, too
                self._learn_partition(self._split_seed)
        _, valid = splits.indices(0)
        if valid is not None and self.objective != SCORE_MATCHING:
            self._keep_if_better(splits.Z[valid], splits.weight[valid])

    def _keep_if_better(self, Z, weight):
        """Go back to the density inside, unless the rows that validated say clearly that the tilt is a gain."""
        tilts = self._tilts(Z)
        mean, n = np.average(tilts, weights=weight), weight.sum() ** 2 / np.sum(weight**2)
        variance = np.average((tilts - mean) ** 2, weights=weight) / max(n - 1, 1)
        error = np.hypot(np.sqrt(variance), self.log_partition_std_error_)
        if n <= 1 or mean - self.log_partition_ < CLEAR * error:
            self._module.vanish()
            self._learn_partition(self._split_seed)

    def _objective(self):
        if self.objective == "self-normalised":
            return Objective("log_likelihood_gain", "nats per row", rises=True)
        return Objective(f"{self.objective.replace('-', '_')}_loss")

    def _split(self, Z, weight, validation_fraction, seed, device):
        columns, draw = self.schema_.columns_, self._drawing(Z, device)
        fixed = None
        if self.objective == SCORE_MATCHING:
            fixed = torch.tensor(self._gradients(Z), dtype=torch.float32, device=device)
        return SplitsBeside(
            columns, Z, weight, validation_fraction, seed, device, self.noise_ratio, draw, fixed
        )

    def _drawing(self, Z, device):
        """Return a function of a number and a seed that draws what stands beside rows: noise, or directions."""
        spread = Z.std(axis=0)

        def draw(n_rows, seed):
            rng = np.random.default_rng(seed)
            if self.objective == SCORE_MATCHING:
                drawn = spread * rng.normal(size=(n_rows, len(spread)))
            else:
                drawn = self._propose(n_rows, rng)[1]
            return torch.tensor(drawn, dtype=torch.float32, device=device)

        return draw

    def _gradients(self, Z):
        """Return the gradients of the log-density inside at encoded rows, of shape (n, 1, d)."""
        gradients = gradients_of(lambda z: self._score_base(self.schema_.decode(z))[0], Z)
        if not np.isfinite(gradients).all():
            name = type(last_step(self.estimator_)).__name__
            raise ValueError(
                f"objective={SCORE_MATCHING!r} needs a smooth density, which {name} is not at some of the rows."
            )
        return gradients[:, None]

    def _builder(self, splits):
        sizes = self.hidden_layer_sizes
        sizes = (int(sizes),) if isinstance(sizes, Integral) else tuple(map(int, sizes))
        if not all(size > 0 for size in sizes):
            raise ValueError(
                f"hidden_layer_sizes should be positive integers, got {self.hidden_layer_sizes!r}."
            )

        def build(member, _):
            Z, weight = splits.to_start_from(member)
            variables = variables_of(self.schema_.columns_, Z, weight, splits.outlines)
            if self.objective == SCORE_MATCHING:  # which would take no notice of kinks
                variables = [variable._replace(knots=()) for variable in variables]
            return Tilt(variables, sizes, self.objective)

        return build

    def _propose(self, n_rows, rng):
        """Draw rows from the density inside, in random order; return them, and encoded."""
        X = self._view.draw(self.estimator_, n_rows, rng)
        X = safe_indexing(X, rng.permutation(n_rows))  # GaussianMixture's are sorted by component
        return X, self.schema_.encode(X)[0].clip(-REACH, REACH)

    def _proposed_at_once(self):
        return int(np.clip(NUMBERS_AT_ONCE // self.n_features_in_, 64, ROWS_AT_ONCE))

    def _tilts(self, Z):
        return self._in_chunks(self._module.tilt, Z.clip(-REACH, REACH))

    def _score_base(self, X):
        return scores_and_std(self.estimator_, self._view.rows_for(self.estimator_, X))

    def _learn_partition(self, seed):
        """Estimate the partition function, or compute it where outcomes can be enumerated."""
        self._partition = self._enumerated() or self._estimated(np.random.default_rng(seed))
        self.effective_sample_share_ = self._partition.effective_sample_share
        self.largest_weight_ = self._partition.largest_weight
        self.acceptance_rate_ = self._partition.acceptance_rate
        if self.objective != SCORE_MATCHING:
            self.log_partition_ = self._partition.log_partition
            self.log_partition_std_error_ = self._partition.log_partition_std_error

    def _enumerated(self):
        """Compute the partition function over all outcomes, if these are few and have all of the mass."""
        Z = all_outcomes(self.schema_.columns_, self.n_partition_samples)
        if Z is None:
            return None
        log_density, std = self._score_base(self.schema_.decode(Z))
        probabilities = np.exp(log_density)
        if (
            std.any() or abs(probabilities.sum() - 1) > 1e-6
        ):  # where unknown categories have a share
            return None
        return Partition.of(self._tilts(Z), probabilities)

    def _estimated(self, rng):
        """Estimate the partition function by as many draws as are needed, in the end all that there may be."""
        tilts, n_draws = [], 0
        while n_draws < self.n_partition_samples:
            n = min(self._proposed_at_once(), self.n_partition_samples - n_draws)
            tilts.append(self._tilts(self._propose(n, rng)[1]))
            n_draws += n
            partition = Partition.of(np.concatenate(tilts))
            if partition.log_partition_std_error < CLOSE:
                break
        return partition

    def _score_rows(self, X):
        tilts = self._tilts(self.schema_.encode(X)[0])
        log_density, std = self._score_base(X)
        if self.objective == SCORE_MATCHING:
            return log_density + tilts, std
        scores = log_density + tilts - self.log_partition_
        return scores, np.hypot(std, self.log_partition_std_error_)

    def energy(self, X: MatrixLike) -> NDArray[np.float64]:
        """Compute the energy of each row: minus the log-density, up to a constant.

        Parameters
        ----------
        X : {array-like, DataFrame} of shape (n_samples, n_features)
            Rows.

        Returns
        -------
        energy : ndarray of shape (n_samples,)
            ``-f(x) - log q(x)``, in nats; `inf` for an impossible row.
        """
        X = self._check(X)
        return -self._tilts(self.schema_.encode(X)[0]) - self._score_base(X)[0]

    def _sample_rows(self, n_samples, rng):
        drawn, n_drawn = [], 0
        while n_drawn < n_samples:
            wanted = (n_samples - n_drawn) / self.acceptance_rate_
            n_proposed = int(np.clip(1.1 * wanted + 16, 64, self._proposed_at_once()))
            X, Z = self._propose(n_proposed, rng)
            copies = self._partition.copies(self._tilts(Z), rng)
            rows = np.repeat(np.arange(n_proposed), copies)
            if len(rows):
                drawn.append(safe_indexing(X, rows))
                n_drawn += len(rows)
        return stacked(drawn, np.arange(n_samples))

    def _score_kind(self, kind_of=score_kind):
        own = "unnormalised"
        if self.objective != SCORE_MATCHING:
            own = "estimate" if self.log_partition_std_error_ else "exact"
        return max(own, super()._score_kind(kind_of), key=SCORE_KINDS.index)

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        of_density = replace(tags.density_tags, missing=False)
        if self.objective == SCORE_MATCHING:
            of_density.score_kind = "unnormalised"
        return with_density_tags(tags, of_density)
