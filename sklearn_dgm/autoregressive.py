"""The autoregressive density: a Bayesian network over the columns whose graph is complete."""

from numbers import Integral, Real

import numpy as np
import torch
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.validation import check_is_fitted

from sklearn_dgm._training.base import BaseNeuralDensity
from sklearn_dgm.base import check_generator
from sklearn_dgm.columns import CATEGORICAL, INTEGER, like_frame
from sklearn_dgm.nn.made import ACTIVATIONS, MADE, Variable
from sklearn_dgm.nn.masks import complete_adjacency
from sklearn_dgm.nn.start import start_from_gaussian

# Integer columns with at most so many values get a probability for each; beyond, a mixture cut into unit steps.
MAX_LEVELS = 64
# Pieces of the piecewise-linear encoding of a numeric column, and of all of them.
MAX_PIECES, MAX_ALL_PIECES = 32, 4096

COMPONENTS = {"logistic-mixture": "logistic", "gaussian-mixture": "gaussian"}


def _quantiles(z, sample_weight, shares):
    order = np.argsort(z)
    share = np.cumsum(sample_weight[order])
    return z[order[np.searchsorted(share, share[-1] * np.asarray(shares))]]


def _location_and_scale(z, sample_weight):
    """Mean and standard deviation, or median and interquartile range where few rows far out would set these."""
    location = np.average(z, weights=sample_weight)
    scale = np.sqrt(np.average((z - location) ** 2, weights=sample_weight))
    low, median, high = _quantiles(z, sample_weight, [0.25, 0.5, 0.75])
    bulk = (high - low) / 1.349  # of a normal distribution, the standard deviation
    if 0 < 10 * bulk < scale:
        # Training in float32 cannot tell the values of a bulk apart that is much smaller still.
        location, scale = median, max(bulk, 1e-6 * scale)
    return float(location), float(scale)


def _variable(column, z, sample_weight, n_pieces):
    """What the network must know of a column."""
    if column.kind == CATEGORICAL:
        return Variable(n_levels=len(column.categories), whole=False)
    location, scale = _location_and_scale(z, sample_weight)
    whole = column.kind == INTEGER
    n_levels = int(column.high - column.low) + 1 if whole else None
    if whole:
        scale = max(scale, 0.1)  # one apart, however few rows leave the most frequent number
    elif scale < 1e-8:
        scale = 1.0  # constant, but for rows with hardly any weight
    knots = _quantiles(z, sample_weight, np.linspace(0, 1, n_pieces + 1))
    knots = (knots - location) / scale
    knots = knots[np.append(np.diff(knots) > 1e-6, True)]
    n_levels = n_levels if whole and n_levels <= MAX_LEVELS else None
    return Variable(n_levels, whole, location, scale, tuple(knots))


class AutoregressiveDensity(BaseNeuralDensity):
    """Density from a chain of conditionals that one masked network computes.

    ``log p(x) = sum_j log p(x_j | x_<j)``. A masked network (MADE [1]_) gives the parameters of all conditionals in one
    pass and is trained by maximum likelihood with stochastic gradient descent. Continuous columns have mixture
    densities, integer columns probability masses over the whole numbers, categorical columns a softmax. Training starts
    from the Gaussian with a shrunk covariance [2]_, so that a small table is served as well as a large one; a
    piecewise-linear encoding of numbers [3]_ lets the network follow values that clump.

    Columns are standardised inside, and the density is that of the rows handed in, in their units: no scaler is needed
    and none changes the likelihood by more than the change of units does. A few values far out (an outlier, a code such
    as 99999) set neither the scale of a column nor the start; some components of its mixtures are wide enough for them.

    Parameters
    ----------
    hidden_layer_sizes : array-like of int or int, default=(256, 256)
        Number of units of each hidden layer; an int for one layer, ``()`` for sums over the parents.
    activation : {"relu", "tanh", "silu", "gelu"}, default="relu"
        Activation of the hidden units.
    order : {"given", "random"} or array-like of shape (n_features,), default="given"
        The order in which columns are conditioned on each other: as in X, shuffled, or a permutation of the column
        indices.
    conditional : {"logistic-mixture", "gaussian-mixture"}, default="logistic-mixture"
        Family of the conditional densities of continuous columns, and of integer columns with more than 64 values.
        Logistic tails are heavier, which costs little and is kinder to outlying rows.
    n_components : int, default=8
        Components of each mixture.
    dropout : float, default=0.2
        Share of hidden units dropped in training.
    max_epochs : int, default=500
        Passes over the rows at most.
    lr : float, default=3e-3
        Learning rate of AdamW.
    batch_size : int or "auto", default="auto"
        Rows of a minibatch; "auto" is a twentieth of the rows, between 32 and 512.
    weight_decay : float, default=1e-2
        Decoupled weight decay, on weights and not on biases.
    early_stopping : bool, default=True
        Whether to keep a part of the rows for validation, to stop when their likelihood no longer rises, and to keep
        the weights that were best for them, be it those that training started from. Without it all rows train for `max_epochs`.
    validation_fraction : float, default=0.1
        Share of the rows kept for validation.
    n_iter_no_change : int, default=20
        Epochs without a better validation likelihood after which training stops.
    device : str or torch.device, default="auto"
        Where to compute: "cpu", "cuda", "cuda:1", ...; "auto" takes a CUDA device if there is one.
    warm_start : bool, default=False
        Whether `fit` continues from the weights of the previous fit, with its schema and column order; a parameter that
        would change the network is then refused. A fit interrupted by Ctrl-C keeps the best weights so far; without
        `warm_start` the estimator is as it was before.
    verbose : int, default=0
        Whether to print a line an epoch.
    callbacks : list of skorch callbacks, default=None
        Further callbacks for the skorch net; it gets copies.
    net_params : dict, default=None
        Further parameters for :class:`skorch.NeuralNet`, such as ``{"optimizer": torch.optim.SGD}``; none that the
        estimator has itself.
    random_state : int, RandomState instance or None, default=None
        Seed of initialisation, split, shuffling and dropout.
    categorical_features : "from_dtype", array-like or None, default="from_dtype"
        Columns that hold categories, by dtype, name, index or mask; see :class:`~sklearn_dgm.columns.ColumnSchema`.
    integer_features : "from_dtype", array-like or None, default="from_dtype"
        Columns that hold counts, in the same form.

    Attributes
    ----------
    net_ : skorch.NeuralNet
        The net, with the best weights.
    history_ : list of dict
        For each epoch `epoch`, `train_log_likelihood` and `valid_log_likelihood` (nats per row, in the units of X),
        whether it was the `best` so far (better than the start, too), and its `duration` in seconds.
    n_iter_ : int
        Number of epochs.
    order_ : ndarray of shape (n_features,)
        The order of the columns.
    schema_ : ColumnSchema
        Kinds and scales of the columns.
    score_kind_ : {"exact"}
        `score_samples` returns exact log-densities.
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
    density over them. Integer columns have no bounds, so a little of their mass lies beyond the fitted range.

    In a float column whose values repeat, such as rounded measurements or a cap, a density can be raised at will by
    peaks on these values: their likelihood says little then. Name such a column in `integer_features` or
    `categorical_features` if that is what it holds.

    References
    ----------
    .. [1] M. Germain, K. Gregor, I. Murray, H. Larochelle, "MADE: Masked Autoencoder for Distribution Estimation",
       ICML 2015, https://arxiv.org/abs/1502.03509
    .. [2] O. Ledoit, M. Wolf, "A well-conditioned estimator for large-dimensional covariance matrices", Journal of
       Multivariate Analysis 88 (2004), https://doi.org/10.1016/S0047-259X(03)00096-4
    .. [3] Y. Gorishniy, I. Rubachev, A. Babenko, "On Embeddings for Numerical Features in Tabular Deep Learning",
       NeurIPS 2022, https://arxiv.org/abs/2203.05556

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
    """

    _parameter_constraints: dict = {
        **BaseNeuralDensity._parameter_constraints,
        "hidden_layer_sizes": ["array-like", Interval(Integral, 1, None, closed="left")],
        "activation": [StrOptions(set(ACTIVATIONS))],
        "order": [StrOptions({"given", "random"}), "array-like"],
        "conditional": [StrOptions(set(COMPONENTS))],
        "n_components": [Interval(Integral, 1, None, closed="left")],
        "dropout": [Interval(Real, 0, 1, closed="left")],
    }
    _shape_params = (
        *BaseNeuralDensity._shape_params,
        "hidden_layer_sizes",
        "activation",
        "order",
        "conditional",
        "n_components",
        "dropout",
    )

    def __init__(
        self,
        hidden_layer_sizes=(256, 256),
        activation="relu",
        *,
        order="given",
        conditional="logistic-mixture",
        n_components=8,
        dropout=0.2,
        max_epochs=500,
        lr=3e-3,
        batch_size="auto",
        weight_decay=1e-2,
        early_stopping=True,
        validation_fraction=0.1,
        n_iter_no_change=20,
        device="auto",
        warm_start=False,
        verbose=0,
        callbacks=None,
        net_params=None,
        random_state=None,
        categorical_features="from_dtype",
        integer_features="from_dtype",
    ):
        super().__init__(
            categorical_features=categorical_features, integer_features=integer_features
        )
        self.hidden_layer_sizes = hidden_layer_sizes
        self.activation = activation
        self.order = order
        self.conditional = conditional
        self.n_components = n_components
        self.dropout = dropout
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

    def _resolve_order(self):
        d = self.n_features_in_
        if isinstance(self.order, str):
            if self.order == "given":
                return np.arange(d)
            return check_generator(self.random_state).permutation(d)
        order = np.asarray(self.order)
        if (
            order.dtype.kind not in "iu"
            or order.shape != (d,)
            or not np.array_equal(np.sort(order), np.arange(d))
        ):
            raise ValueError(
                f"order should be a permutation of the column indices 0 to {d - 1}, got {self.order!r}."
            )
        return order

    def _resolve_hidden_layer_sizes(self):
        sizes = self.hidden_layer_sizes
        sizes = (sizes,) if isinstance(sizes, Integral) else tuple(sizes)
        if not all(isinstance(size, Integral) and size > 0 for size in sizes):
            raise ValueError(
                f"hidden_layer_sizes should be positive integers, got {self.hidden_layer_sizes!r}."
            )
        return sizes

    def _build_module(self, Z, sample_weight):
        self.order_ = self._resolve_order()
        # In wide tables fewer, or they would outweigh all else.
        n_pieces = min(MAX_PIECES, MAX_ALL_PIECES // self.n_features_in_)
        variables = [
            _variable(column, z, sample_weight, n_pieces)
            for column, z in zip(self.schema_.columns_, Z.T, strict=True)
        ]
        module = MADE(
            variables,
            complete_adjacency(self.order_),
            self._resolve_hidden_layer_sizes(),
            self.activation,
            self.n_components,
            COMPONENTS[self.conditional],
            self.dropout,
        )
        start_from_gaussian(module, torch.from_numpy(np.array(Z)), sample_weight)
        return module

    def score_features(self, X):
        """Log-density of each column given those before it in the order.

        Parameters
        ----------
        X : {array-like, DataFrame} of shape (n_samples, n_features)
            Rows to score.

        Returns
        -------
        log_density : {ndarray, DataFrame} of shape (n_samples, n_features)
            Conditional log-densities in nats, in the units of X, with column names and index if X is a DataFrame. The
            sums of the rows are `score_samples(X)`.
        """
        check_is_fitted(self)
        X = self._validate(X, reset=False)
        Z, log_det = self.schema_.encode(X)
        scores = self._in_chunks(self.net_.module_.log_prob_features, Z) + log_det
        return like_frame(scores, X)
