"""The autoregressive density: a Bayesian network over the columns whose graph is complete."""

import math
from numbers import Integral
from typing import Any, Literal, NamedTuple

import numpy as np
import torch

from sklearn_dgm._queries.conditioning import ConditionalMixin
from sklearn_dgm._queries.normal_scores import NormalScoresMixin
from sklearn_dgm._sklearn import Interval, StrOptions
from sklearn_dgm._training.marginals import EstimatedMarginalsMixin
from sklearn_dgm._training.masked import (
    MAX_TRIAL_ROWS,
    MIN_CHOOSING_ROWS,
    MaskedNetworkDensity,
    Setting,
)
from sklearn_dgm._training.parameters import OF_EFFORT, describe_training, handed_on
from sklearn_dgm._training.race import Race
from sklearn_dgm._training.seeding import one_thread
from sklearn_dgm._training.streams import EPOCH_ROWS
from sklearn_dgm._typing import RandomState
from sklearn_dgm._validation import check_generator
from sklearn_dgm.base import BaseEstimatedDensity
from sklearn_dgm.nn.any_order import AnyOrderMADE, OrderMixture, Orders
from sklearn_dgm.nn.masks import complete_adjacency
from sklearn_dgm.nn.principal_axes import PrincipalAxes
from sklearn_dgm.nn.start import start_from

COMPONENTS = {"logistic-mixture": "logistic", "gaussian-mixture": "gaussian"}
# Epochs without progress, and epochs at all, after which what is tried in the first order has shown what it can.
RACE_PATIENCE, RACE_EPOCHS = 4, 60
# Nats a column by which principal axes have to be ahead on one validation row: on more it falls with the root of their
# number, as the error of a mean does.
AXES_LEAD = 0.4


class Effort(NamedTuple):
    """What a fit does at most."""

    n_orders: int
    max_epochs: int
    lr: float
    n_iter_no_change: int
    least_patience: int
    # How many rows a network sees in all, where there are more than `MANY_ROWS`.
    rows_seen: int
    # Whether the learning rate falls, to zero in the last epoch.
    lr_falls: bool = False

    def of_many(self, n_train):
        """Return the effort of a fit to many rows: few passes, with a rate that falls."""
        max_epochs = math.ceil(self.rows_seen / min(n_train, EPOCH_ROWS))
        return self._replace(max_epochs=max_epochs, lr=LR_OF_MANY, lr_falls=True)


EFFORTS = {
    "fast": Effort(2, 30, 6e-3, 10, 10, 2**19, lr_falls=True),
    "balanced": Effort(4, 500, 3e-3, 20, 20, 2**20),
    "best": Effort(8, 1000, 3e-3, 40, 20, 2**22),
}
# Many rows need little dropout, which makes training long.
MANY_ROWS, DROPOUT_OF_MANY, LR_OF_MANY = 50_000, 0.05, 8e-3


@describe_training
class AutoregressiveDensity(
    EstimatedMarginalsMixin,
    ConditionalMixin,
    NormalScoresMixin,
    BaseEstimatedDensity,
    MaskedNetworkDensity,
):
    """Density from a chain of conditionals that one masked network computes.

    ``log p(x) = sum_j log p(x_j | x_<j)``. A masked network (MADE [1]_) gives the parameters of all conditionals in one
    pass and is trained by maximum likelihood with stochastic gradient descent. Continuous columns have mixture
    densities, integer columns probability masses over the whole numbers, categorical columns a softmax. Training starts
    from the Gaussian with a shrunk covariance [2]_, or from a mixture of several with one covariance, and, for
    categories, from trees, so that a small table is served as well as a large one; a piecewise-linear encoding of
    numbers [3]_ lets the network follow values that clump. The density is the mean of those of several shuffled orders
    of the columns.

    Columns are standardised inside, and the density is that of the rows handed in, in their units: no scaler is needed
    and none changes the likelihood by more than the change of units does. A few values far out (an outlier, a code such
    as 99999) set neither the scale of a column nor the start; some components of its mixtures are wide enough for them.

    Parameters
    ----------
    hidden_layer_sizes : array-like of int or int, default=(256, 256)
        Number of units of each hidden layer; an int for one layer, ``()`` for sums over the parents.
    activation : {"relu", "tanh", "silu", "gelu"}, default="relu"
        Activation of the hidden units.
    order : {"random", "given", "any"} or array-like of shape (n_features,) or (n_orders, n_features), \
default="random"
        The order in which columns are conditioned on each other: several shuffled ones, as in X, or one or more
        permutations of the column indices. The density is the mean of those of the orders. With "any" a single network
        is trained for all orders [4]_. It answers each question in orders in which the observed columns come first,
        where a density is in closed form and all draws of what is missing are worth the same. But its answers to
        different questions agree only as far as training made its orders agree: the density of a row with missing
        numbers is not quite the integral of that of complete rows. These score somewhat lower than under as many
        networks.
    n_orders : int or "auto", default="auto"
        Number of shuffled orders; "auto" is what `effort` says, 4 by default, and less for tables of more than 60,000
        rows, or of fewer rows and more than 50 columns.
    effort : {"fast", "balanced", "best"}, default="balanced"
        How much a fit is to cost: what "auto" is of `n_orders`, `max_epochs`, `lr` and `n_iter_no_change`. "balanced"
        has 4 orders, 500 epochs at most, a rate of 0.003, and a patience of 20 epochs. "fast", for searches, has 2
        orders and 30 epochs at most, in which the rate falls from 0.006 to zero, and tries no settings: one `dropout`,
        one Gaussian to start from, no principal axes. "best" has 8 orders, 1,000 epochs, and a patience of a quarter of
        the epochs up to the best one, 20 at least and 40 at most. With more than 50,000 training rows, unless
        `max_epochs`, `lr` or `batch_size` is given, the rate falls from 0.008 to zero, while each network sees a
        million rows ("fast" half a million, "best" four).
    conditional : {"logistic-mixture", "gaussian-mixture"}, default="logistic-mixture"
        Family of the conditional densities of continuous columns, and of integer columns with more than 64 values.
        Logistic tails are heavier, which costs little and is kinder to outlying rows.
    n_components : int, default=8
        Components of each mixture.
    dropout : float or "auto", default="auto"
        Share of hidden units dropped in training; beyond 0.3, inputs are dropped, too. "auto" is 0.05 with more than
        50,000 training rows, and 0.2 with less, but with columns of categories or few whole numbers and no more than
        15,000 rows 0.2 and 0.5 are tried in the first order, and the validation rows choose.
    $training_parameters
    categorical_features : "from_dtype", array-like or None, default="from_dtype"
        Columns that hold categories, by dtype, name, index or mask; see :class:`~sklearn_dgm.columns.ColumnSchema`.
    integer_features : "from_dtype", array-like or None, default="from_dtype"
        Columns that hold counts, in the same form.
    column_kinds : dict, default=None
        Kinds of columns, by name or index, that overrule what dtypes and values say: "continuous", "rounded", "mixed",
        "integer" or "categorical"; see :class:`~sklearn_dgm.columns.ColumnSchema`.
    handle_unknown : {"impossible", "error", "rare"}, default="impossible"
        What a category is that `fit` has not seen: a row of density 0, a ValueError, or as likely as a new category
        was among the fitted rows (by the count of those seen once).
    bounds : dict, "observed" or None, default=None
        Where numbers can lie, in draws and in the density, which is one in all between the bounds and 0 (a score of
        `-inf`) beyond, whatever `handle_unknown` says. With None the fitted rows decide: integer and rounded columns of
        two values have just these; other columns without a value below zero never have one (but for points in time, and
        for floats with a single 0, where a scaler may have put it); and what lies beyond the range of other integer and
        rounded columns has at most the probability that a new value had at the end of the fitted rows (by the count of
        those seen once). "observed" keeps all numbers between the smallest and the largest fitted value. A dict has
        pairs of a lower and an upper bound by column name or index, such as ``{"age": (0, 120)}``; both are possible
        values. None in a pair leaves a side to the fitted rows, and an infinite number frees it; "observed" may stand
        for a pair.

    Attributes
    ----------
    net_ : skorch.NeuralNet
        The net, with the best weights.
    history_ : list of dict
        For each epoch its `member` (the number of the order), the `setting` that it was tried or trained with, `epoch`,
        `train_log_likelihood` and `valid_log_likelihood` (nats per row, in the units of X), whether it was the `best`
        so far (better than the start, too), and its `duration` in seconds.
    n_iter_ : int
        Number of epochs.
    objective_ : Objective
        What `history_` is of, here the log-likelihood: its `name`, its `unit`, and whether more is better (`rises`).
    order_ : ndarray of shape (n_features,) or (n_orders, n_features)
        The order of the columns, or several.
    dropout_ : float
        Share of hidden units dropped in training.
    schema_ : ColumnSchema
        Kinds and scales of the columns.
    score_kind_ : {"exact", "estimate"}
        What `score_samples` returns of rows like those of `fit`: exact log-densities of complete rows, and of rows
        whose missing cells are categories of at most 256 joint outcomes; of other rows with missing cells, if there was
        one in `fit`, an estimate by sequential importance sampling, but for ``order="any"``. What it is of a row at
        hand, ``score_samples(X, return_std=True)`` tells: exact if the standard error is 0.
    n_features_in_ : int
        Number of columns seen in `fit`.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Their names, where X has string column names.

    See Also
    --------
    HistogramDensity : The joint distribution by counting.
    sklearn.neighbors.KernelDensity : A smooth density for few columns.

    Notes
    -----
    The reference measure is the Lebesgue measure on continuous columns and the counting measure on integer and
    categorical ones. Unlike `KernelDensity`, integer dtypes are taken as counts; pass ``integer_features=None`` for a
    density over them. A column of
    two whole numbers, or of two floats, has just these, and is the same as one of two categories, whatever its dtype;
    at most five consecutive whole numbers are nearly so.

    What a network knows before its training (scales, covariances, trees, a first completion of gaps) it has from its
    training rows, so that rows of validation are to it as new ones are, but for the form of its columns. They say
    which of two starts is better for columns of a few whole numbers, or of two values beside columns of numbers: a
    tree, or a regression on all parents. And they say of how many Gaussians, 1, 2, 4 or 8, numbers start from the
    mixture: of several, if that is better than one, and than what the first steps of training make of one.

    In a float column whose values repeat, such as rounded measurements or a cap, a density could be raised at will by
    peaks on these values. Such columns are found: "rounded" ones have a density that is constant in each cell of their
    grid, in "mixed" ones single values have a probability. `schema_` says what was found, and `column_kinds` overrules
    it. Integers, or cells of such a grid, that are mostly on a coarser one (multiples of ten, say) are so in the
    density, too.

    Scores are computed in single precision where that is enough: mostly within 1e-5 nats of those in double precision,
    and 1e-4 where components are narrow. Left to the latter are rows with values far out, improbable, or beyond those
    of `fit`, all of ``order="any"``, of tables with a column of more than 256 categories, and of networks without
    hidden layers, all draws, and everything where `torch.set_float32_matmul_precision` is not "highest", or a setting
    of `torch.backends` is less exact. Products are of so many rows whatever the batch, so that a row has the same score
    in any, but for last bits on processors that compute places of a product differently; a single row takes as long as
    some dozens.

    Of 200 to 15,000 rows of numbers alone, all observed, the first order is trained twice at the beginning: once the
    hidden units see a column's piecewise-linear encoding along its principal axes, which finds fine structure early and
    overfits where there is none. By the time when each candidate has gone for four epochs without becoming better, or
    in 60 epochs, the axes win if they serve the validation rows better by 0.4 nats a column over the root of the
    number of these rows. The winner goes on, and the other orders take the choice over.
    Dropouts are tried in the same way; of these the better one wins.

    The networks of the orders are trained as one, or as many of them together as see 512 rows in a step, if there are
    no `callbacks` or `net_params`; and several such stacks side by side, in as many threads as torch has
    (`torch.set_num_threads`, ``OMP_NUM_THREADS``). What comes of it does not depend on how many these are.

    Cells may be missing (NaN, None, NA, NaT, null), in `fit` and in every question. The likelihood is that of the
    observed cells, as if the others were missing at random: training draws the missing cells of its rows anew for each
    pass, given the others and the network as it is [5]_, from a first completion by chained equations. It takes two to
    three times as long.

    References
    ----------
    .. [1] M. Germain, K. Gregor, I. Murray, H. Larochelle, "MADE: Masked Autoencoder for Distribution Estimation",
       ICML 2015, https://arxiv.org/abs/1502.03509
    .. [2] O. Ledoit, M. Wolf, "A well-conditioned estimator for large-dimensional covariance matrices", Journal of
       Multivariate Analysis 88 (2004), https://doi.org/10.1016/S0047-259X(03)00096-4
    .. [3] Y. Gorishniy, I. Rubachev, A. Babenko, "On Embeddings for Numerical Features in Tabular Deep Learning",
       NeurIPS 2022, https://arxiv.org/abs/2203.05556
    .. [4] B. Uria, I. Murray, H. Larochelle, "A Deep and Tractable Density Estimator", ICML 2014,
       https://arxiv.org/abs/1310.1757
    .. [5] G. Celeux, J. Diebolt, "The SEM algorithm: a probabilistic teacher algorithm derived from the EM algorithm
       for the mixture problem", Computational Statistics Quarterly 2 (1985)

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklearn_dgm import AutoregressiveDensity
    >>> X = load_iris().data
    >>> density = AutoregressiveDensity(max_epochs=20, random_state=0).fit(X[::2])
    >>> density.score_samples(X[1::2]).shape
    (75,)
    >>> density.score(X[1::2]) > density.score(X[1::2] + [3, -3, 3, -3])
    True
    >>> density.sample(3, random_state=0).shape
    (3, 4)

    Rows that are drawn have no missing cells. With a column that says where some are missing, these are drawn, too, and
    together with the values:

    >>> import numpy as np
    >>> import pandas as pd
    >>> age = np.random.default_rng(0).integers(20, 80, 400)
    >>> table = pd.DataFrame({"age": age, "wage": np.where(age < 65, 100.0 + age, np.nan)})
    >>> table["has_wage"] = table["wage"].notna()
    >>> density = AutoregressiveDensity((16,), n_orders=1, max_epochs=10, random_state=0).fit(table)
    >>> drawn = density.sample(1000, random_state=0)
    >>> drawn["wage"] = drawn["wage"].where(drawn["has_wage"])
    >>> is_missing, age = drawn["wage"].isna(), drawn["age"]
    >>> bool(is_missing[age < 60].mean() < 0.1 < is_missing[age > 70].mean())
    True
    """

    _parameter_constraints: dict = {
        **MaskedNetworkDensity._parameter_constraints,
        "order": [StrOptions({"given", "random", "any"}), "array-like"],
        "n_orders": [StrOptions({"auto"}), Interval(Integral, 1, None, closed="left")],
        "conditional": [StrOptions(set(COMPONENTS))],
        "effort": [StrOptions(set(EFFORTS))],
        **{
            name: [StrOptions({"auto"}), *MaskedNetworkDensity._parameter_constraints[name]]
            for name in OF_EFFORT
        },
    }
    _own_params = ("order", "n_orders", "effort", "conditional")
    _shape_params = (*MaskedNetworkDensity._shape_params, *_own_params)

    def __init__(
        self,
        hidden_layer_sizes: Any = (256, 256),
        activation: Literal["relu", "tanh", "silu", "gelu"] = "relu",
        *,
        order: Any = "random",
        n_orders: Literal["auto"] | int = "auto",
        effort: Literal["fast", "balanced", "best"] = "balanced",
        conditional: Literal["logistic-mixture", "gaussian-mixture"] = "logistic-mixture",
        n_components: int = 8,
        dropout: Literal["auto"] | float = "auto",
        max_epochs: Literal["auto"] | int = "auto",
        lr: Literal["auto"] | float = "auto",
        batch_size: Literal["auto"] | int = "auto",
        weight_decay: float = 1e-2,
        early_stopping: bool = True,
        validation_fraction: float = 0.1,
        n_iter_no_change: Literal["auto"] | int = "auto",
        device: Any = "auto",
        warm_start: bool = False,
        verbose: int = 0,
        callbacks: list[Any] | None = None,
        net_params: dict[str, Any] | None = None,
        random_state: RandomState = None,
        categorical_features: Any = "from_dtype",
        integer_features: Any = "from_dtype",
        column_kinds: dict[Any, Any] | None = None,
        handle_unknown: Literal["impossible", "error", "rare"] = "impossible",
        bounds: Any = None,
    ) -> None:
        super().__init__(**handed_on(locals(), *self._own_params))
        self.order = order
        self.n_orders = n_orders
        self.effort = effort
        self.conditional = conditional

    def _resolve_orders(self, n_samples):
        """Return the orders, of shape (n_orders, n_features)."""
        d = self.n_features_in_
        if isinstance(self.order, str):
            if self.order == "given":
                return np.arange(d)[None]
            rng = check_generator(self.random_state)
            return np.array([rng.permutation(d) for _ in range(self._resolve_n_orders(n_samples))])
        orders = np.asarray(self.order)
        if (
            orders.dtype.kind not in "iu"
            or orders.ndim not in (1, 2)
            or orders.shape[-1] != d
            or not np.array_equal(
                np.sort(np.atleast_2d(orders)), np.tile(np.arange(d), (orders.size // d, 1))
            )
        ):
            raise ValueError(
                f"order should be one or more permutations of the column indices 0 to {d - 1}, got {self.order!r}."
            )
        return np.atleast_2d(orders)

    def _resolve_n_orders(self, n_samples):
        if self.n_orders != "auto":
            return self.n_orders
        d, most = self.n_features_in_, EFFORTS[self.effort].n_orders
        share = min(60_000 / (n_samples * max(d / 50, 1) ** 1.5), 1)
        return 1 if d == 1 else max(int(most * share), 2)

    def _training_parameters(self, splits):
        effort, parameters = EFFORTS[self.effort], super()._training_parameters(splits)
        if self._has_many(splits.n_train) and all(
            parameters[name] == "auto" for name in ("max_epochs", "lr", "batch_size")
        ):
            effort = effort.of_many(splits.n_train)
        if self.n_iter_no_change == "auto":
            parameters["least_patience"] = effort.least_patience
        for name in OF_EFFORT:
            if parameters[name] == "auto":
                parameters[name] = getattr(effort, name)
        race = Race(RACE_PATIENCE, RACE_EPOCHS, self._lead(splits))
        return {**parameters, "lr_falls": effort.lr_falls, "race": race}

    def _lead(self, splits):
        """Return by how many nats a row what is tried has to be better than what is first."""
        if self._has_categories():
            return 0.0
        return AXES_LEAD * len(self.schema_.columns_) / max(splits.n_valid, 1) ** 0.5

    def _candidates(self, splits):
        first, *others = super()._candidates(splits)
        if self.dropout == "auto" and self._has_many(splits.n_train):
            return [Setting(DROPOUT_OF_MANY)]
        if self.effort == "fast":
            return [first]
        if self._may_see_along_axes(splits):
            others.append(first._replace(along_axes=True))
        return [first, *others]

    def _may_see_along_axes(self, splits):
        """Tell whether to try principal axes: of several numbers alone, all observed, and of not too many rows."""
        is_plain = not (splits.has_gaps or self._has_categories() or self._takes_any_order())
        has_parents = sum(not column.constant for column in self.schema_.columns_) > 1
        has_units = len(self._resolve_hidden_layer_sizes()) > 0
        is_told = splits.n_valid >= MIN_CHOOSING_ROWS and splits.n_train <= MAX_TRIAL_ROWS
        return is_plain and has_parents and has_units and is_told

    def _tries_mixtures(self, splits):
        return self.effort != "fast" and super()._tries_mixtures(splits)

    def _has_many(self, n_train):
        return n_train > MANY_ROWS and not self._takes_any_order()

    def _takes_any_order(self):
        return isinstance(self.order, str) and self.order == "any"

    def _n_members(self):
        return 1 if self._takes_any_order() else len(np.atleast_2d(self.order_))

    def _prepare(self, splits):
        """Settle the orders."""
        orders = self._resolve_orders(len(splits.Z))
        self.order_ = orders[0] if len(orders) == 1 else orders

    def _builder(self, splits):
        orders = np.atleast_2d(self.order_)
        base = COMPONENTS[self.conditional]

        def settings(dropout):
            return self._network_params(dropout, base, splits.counts)

        learn = self._learner(splits, settings, lambda member: complete_adjacency(orders[member]))

        def build(member, setting):
            network, learnt, regressed = learn(member)
            if self._takes_any_order():
                module = network(setting.dropout, AnyOrderMADE)
                starts = Orders(learnt, module.variables, settings(0.0), regressed)
                return OrderMixture(module, starts, orders)
            module = network(setting.dropout)
            start_from(module, learnt, regressed)
            if setting.along_axes:
                Z, weight = splits.to_start_from(member)
                z = torch.tensor(Z, dtype=torch.float32)
                module.see_along(PrincipalAxes(module.inputs, z, torch.from_numpy(weight)))
            return module

        return build

    def _fit(self, Z, sample_weight):
        try:
            super()._fit(Z, sample_weight)
        finally:
            if hasattr(self, "net_"):  # a warm start that is interrupted keeps one
                is_estimate = self._is_estimated(Z).any()
                self.score_kind_ = "estimate" if is_estimate else "exact"

    def _only_member(self):
        """Return the network of the single order of the columns, along which normal scores go."""
        members = self._module.members
        if members[0].takes_any_order or self.order_.ndim > 1:
            raise ValueError(
                "Normal scores go along a single order of the columns, and this density is the mean over several, or "
                "for any; set order='given', or another permutation."
            )
        return members[0]

    def _to_normal(self, Z):
        return self._in_chunks(self._only_member().normal_scores, Z)

    def _from_normal(self, scores):
        member = self._only_member()

        def rows_of(normal):
            return member.fill(torch.full_like(normal, torch.nan), normal, "icdf_of_normal")[0]

        with one_thread():
            return self._in_chunks(rows_of, scores)
