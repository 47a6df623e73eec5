"""A density times the exponential of a network: an energy that starts from what another density knows."""

from copy import copy, deepcopy
from dataclasses import replace
from numbers import Integral
from typing import Any, Literal

import numpy as np
import torch
from sklearn.frozen import FrozenEstimator

from sklearn_dgm._nested.fitting import fit_density, seeded
from sklearn_dgm._nested.meta import BaseMetaDensity
from sklearn_dgm._nested.rows import TableView, fit_quietly, validate_rows
from sklearn_dgm._sklearn import HasMethods, Interval, StrOptions
from sklearn_dgm._training.base import NeuralMixin, TrainingMixin
from sklearn_dgm._training.beside import SplitsBeside
from sklearn_dgm._training.objective import Objective
from sklearn_dgm._training.parameters import describe_training, handed_on, layer_sizes
from sklearn_dgm._training.variables import variables_of
from sklearn_dgm._typing import RandomState
from sklearn_dgm._validation import check_generator
from sklearn_dgm.chunks import Chunks, EncodedChunks, in_memory_alone
from sklearn_dgm.columns import ColumnSchema
from sklearn_dgm.columns._bulk import REACH
from sklearn_dgm.columns._reading import raw_columns
from sklearn_dgm.energy._gain import is_clear
from sklearn_dgm.energy._gradients import check_rounding, decode_unrounded, gradients_of
from sklearn_dgm.energy._tilted import BaseTiltedDensity
from sklearn_dgm.nn.energy import Tilt
from sklearn_dgm.tags import last_step, require_joint, unwrapped, with_density_tags

SCORE_MATCHING = "score-matching"


def default_base():
    """Return the density that is tilted by default: one with exact scores and cheap draws, of any columns."""
    from sklearn_dgm.mixture import MixtureDensity

    return MixtureDensity(16, "gaussian")


@describe_training
class EnergyDensity(NeuralMixin, BaseTiltedDensity):
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
    is_tilted_ : bool
        Whether the network stayed; if not, the density is `q`.
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
    `sample` draws proposals from `q`, takes each as often, 0 or 1 times, as its weight says (and hardly ever twice, so
    that about 1 % of the rows are copies), and returns some of those it has taken, at random. Of many rows expected
    numbers are exact; of a few, rows with the largest weights come a little too seldom, by hundredths of that 1 %.

    **Validation.** Where columns are continuous, rows that are equal are taken for copies: they validate together or
    not at all, and count as one row where the gain is judged. Where all columns are counted, equal rows are what is to
    be expected, and count each. With ``early_stopping=False`` no row validates, and the network stays, gain or not:
    on a few dozen rows it loses. After score matching nothing is judged either, since there is no Z.

    `q` is fitted to all rows, those that validate among them, and so is surer of them than of new ones. That hides a
    gain where `q` overfits, rather than to feign one, and then the model stays `q`.

    **Further rows.** `partial_fit` lets `q` learn from them if it has that method itself, and keeps it otherwise; it is
    the one that was fitted, and `estimator` and its parameters stay as they are until `fit` starts anew. Then
    the network trains further, from the weights as they are; unless ``early_stopping=False``, some of the rows
    validate, and weights that do not serve these better are not kept. Whether the network gains is judged only as long
    as the model is `q`. Z is estimated anew. A row that is impossible under `q` is refused.

    **Tables larger than memory** are read a chunk at a time where `q` is a density that reads them so by itself, but
    for score matching: `q` as it does, the network from rows that stream; its start, and the rows that validate, are of
    a sample.

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
    _shape_params = ("estimator", "hidden_layer_sizes", "objective")
    _n_subtasks = 2
    # The density inside sees rows as they are, and only the network encoded ones; what both templates have is therefore
    # that of the one of nested densities.
    fit = BaseMetaDensity.fit

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

    def _start_fit(self, X, sample_weight):
        if self._continues():
            self._check_shape()
        self._keep_shape()
        if not self._fits_chunks(X):
            return BaseMetaDensity._start_fit(self, X, sample_weight)
        self._check_members()
        return X, sample_weight

    def _fits_chunks(self, X):
        """Tell whether `fit` reads X a chunk at a time, as the density inside would; what cannot be read is refused."""
        if self._is_further_part() or not self._is_chunked(X):
            return False
        [(_, density)] = self._members()
        if self.objective != SCORE_MATCHING and hasattr(density, "_fits_chunks"):
            return density._fits_chunks(X)
        if isinstance(X, np.memmap):  # which is an array as well
            return False
        if self.objective == SCORE_MATCHING:
            raise TypeError(
                f"objective={SCORE_MATCHING!r} takes gradients at rows in memory, but X is to be read a chunk at a time. "
                "Hand in a sample of its rows."
            )
        raise in_memory_alone(density)

    def _fit_within(self, X, sample_weight, schema, task):
        if self._fits_chunks(X):
            self._fit_within_chunks(X, sample_weight, schema, task)
            return
        fit_quietly(ColumnSchema(standardize=False), X)  # which refuses missing cells
        if not self._continues():
            self._fit_base(X, sample_weight, schema, task.subtask("fit density"))
        elif self._is_further_part():
            self._fit_base_further(X, sample_weight)
        Z = self.schema_.encode(X)[0]
        with task.subtask("train network").running(X):
            self._fit(Z, sample_weight)

    def _fit_within_chunks(self, X, sample_weight, schema, task):
        """Let the density read a table itself, and train the network on rows that stream."""
        [(_, density)] = self._members()
        own, known = density._make_schema(), schema
        if self._continues() or not own.standardize:
            own.standardize, own.missing = True, False
            known = self.schema_ if self._continues() else None
        chunks = Chunks.of(X).map(self._checked_chunk)
        rows, of_rows = EncodedChunks.of(chunks, own, sample_weight, known)
        self._checked_chunk(rows.sample_table)  # others may have been read by other processes
        if not self._continues():
            self.schema_ = copy(of_rows)
            self.schema_.missing = False
            self._view = TableView.of([density], rows.sample_table)
            density = seeded(density, check_generator(self.random_state))
            part = task.subtask("fit density")
            self.estimator_ = fit_density(density, X, sample_weight, schema, part)
        with task.subtask("train network").running(X):
            self._fit_chunks(rows)

    def _checked_chunk(self, X):
        X = validate_rows(self, [self], X, reset=True)
        ColumnSchema().check_missing(raw_columns(X))
        return X

    def _fit(self, Z, sample_weight):
        super()._fit(Z.clip(-REACH, REACH), sample_weight)

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

    def _fit_part(self, X, y, sample_weight):
        BaseMetaDensity.fit(self, X, y, sample_weight)

    def _fit_base_further(self, X, sample_weight):
        """Let the density learn from further rows, if it can, and refuse those that it has for impossible."""
        density = self.estimator_
        if hasattr(density, "partial_fit") and not isinstance(density, FrozenEstimator):
            weights = {} if sample_weight is None else {"sample_weight": sample_weight}
            rows = self._view.rows_for(density, X)
            self.estimator_ = deepcopy(density).partial_fit(rows, **weights)
        impossible = np.flatnonzero(np.isneginf(self._score_base(X)[0]))
        if len(impossible):
            raise ValueError(
                f"Row {impossible[0]} is impossible under the density that partial_fit continues; call fit to start anew."
            )

    def _validation_share(self):
        # Also of further rows: without a gain in what validates, the network stays as it was.
        return TrainingMixin._validation_share(self)

    def _schema_of_base(self, X, sample_weight):
        """Return the schema of the density, if it has one of these columns, or one of its own that standardises."""
        of_base = getattr(unwrapped(self.estimator_), "schema_", None) or self._view.numbers
        if not isinstance(of_base, ColumnSchema):
            return fit_quietly(ColumnSchema(), X, sample_weight)
        if of_base.standardize:
            return of_base
        standardising = copy(of_base)
        standardising.standardize = True
        return fit_quietly(standardising, X, sample_weight)

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
        except KeyboardInterrupt as interrupt:
            if getattr(interrupt, "keeps_progress", False):
                self._settle(splits)
            raise
        self._settle(splits)

    def _settle(self, splits):
        """Learn Z, and go back to the density inside, unless rows that validated say clearly that the tilt gains."""
        self._learn_partition(self._split_seed)
        # Of further rows there are few, which would seldom prove it again.
        is_settled = self._is_further_part() and self.is_tilted_
        self.is_tilted_ = True
        _, valid = splits.indices(0)
        if valid is None or is_settled or not self._is_normalised():
            return
        gains = self._tilts(splits.Z[valid]) - self.log_partition_
        groups = None if splits.groups is None else splits.groups[valid]
        self.is_tilted_ = is_clear(
            gains, splits.counts[valid], groups, self.log_partition_std_error_
        )
        if not self.is_tilted_:
            self._module.vanish()
            self._learn_partition(self._split_seed)

    def _is_normalised(self):
        return self.objective != SCORE_MATCHING

    def _objective(self):
        if self.objective == "self-normalised":
            return Objective("log_likelihood_gain", "nats per row", rises=True)
        return Objective(f"{self.objective.replace('-', '_')}_loss")

    def _split(self, Z, weight, validation_fraction, seed, device):
        columns, draw = self.schema_.columns_, self._drawing(Z, device)
        fixed = None
        if self.objective == SCORE_MATCHING:
            fixed = torch.tensor(self._gradients(Z), dtype=torch.float32, device=device)
        split = SplitsBeside(
            columns, Z, weight, validation_fraction, seed, device, self.noise_ratio, draw, fixed
        )
        if validation_fraction is not None and not self._counts_rows():
            split.keep_together(np.unique(Z, axis=0, return_inverse=True)[1])
        return split

    def _counts_rows(self):
        """Tell whether rows have probabilities: elsewhere those that are equal are copies, and no other evidence."""
        return all(measure == "counted" for measure in self._measures() or [None])

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
        check_rounding(self.schema_, Z)
        gradients = gradients_of(
            lambda z: self._score_base(decode_unrounded(self.schema_, z))[0], Z
        )
        if not np.isfinite(gradients).all():
            name = type(last_step(self.estimator_)).__name__
            raise ValueError(
                f"objective={SCORE_MATCHING!r} needs a smooth density, which {name} is not at some of the rows."
            )
        return gradients[:, None]

    def _builder(self, splits):
        sizes = layer_sizes(self.hidden_layer_sizes, "hidden_layer_sizes")

        def build(member, _):
            Z, weight = splits.to_start_from(member)
            variables = variables_of(self.schema_.columns_, Z, weight, splits.outlines)
            if self.objective == SCORE_MATCHING:  # which would take no notice of kinks
                variables = [variable._replace(knots=()) for variable in variables]
            return Tilt(variables, sizes, self.objective)

        return build

    def _tilts(self, Z):
        return self._in_chunks(self._module.tilt, Z.clip(-REACH, REACH))

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        of_density = replace(tags.density_tags, missing=False, sequences=False, sparse=False)
        if not self._is_normalised():
            of_density.score_kind = "unnormalised"
        return with_density_tags(tags, of_density)
