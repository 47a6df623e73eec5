"""The variational autoencoder as an estimator."""

import math
import warnings
from numbers import Integral, Real
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.base import ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils.validation import check_array, check_is_fitted

from sklearn_dgm._sklearn import Interval, StrOptions
from sklearn_dgm._subsets import some_of
from sklearn_dgm._training.base import NUMBERS_AT_ONCE, SCORED_AT_ONCE, BaseNeuralDensity
from sklearn_dgm._training.missing import TableSplits
from sklearn_dgm._training.objective import Objective
from sklearn_dgm._training.parameters import describe_training, handed_on, layer_sizes
from sklearn_dgm._training.streams import EPOCH_ROWS
from sklearn_dgm._training.variables import is_constant, variables_of
from sklearn_dgm._typing import MatrixLike, RandomState
from sklearn_dgm.base import BaseEstimatedDensity
from sklearn_dgm.columns._frames import is_frame
from sklearn_dgm.latent._queries import AutoencoderQueriesMixin
from sklearn_dgm.nn.inputs import TableInputs
from sklearn_dgm.nn.moments import moments
from sklearn_dgm.nn.principal_factors import start_from_factors
from sklearn_dgm.nn.vae import VariationalAutoencoder
from sklearn_dgm.tags import DensityTags

# Components of the distributions of numbers given the latents, and their family.
HEADS = {"n_components": 1, "family": "logistic"}
# Rows of a batch at most: of more, an epoch of a large table takes too few steps.
MAX_BATCH = 128
# Variance of the posterior means above which a latent is active.
LEAST_VARIANCE = 0.01
# Draws that the proposals for most rows should be worth.
MIN_WORTH = 2.0
# Rows that tell which latents are active, and which kind the scores are of.
MAX_TOLD, MAX_SCORED = 10_000, 256


@describe_training
class VariationalAutoencoderDensity(
    AutoencoderQueriesMixin,
    ClassNamePrefixFeaturesOutMixin,
    TransformerMixin,
    BaseEstimatedDensity,
    BaseNeuralDensity,
):
    """Density from a variational autoencoder.

    ``p(x) = E p(x | h)`` over latents `h` that are independent standard normals: given these, the columns of a row are
    independent, each with a distribution of its kind (a softmax, a logistic distribution, one cut into cells or
    beside atoms) whose parameters a decoder computes. An encoder proposes latents for a row, and both are trained by
    the evidence lower bound [1]_ [2]_. Training starts from principal factors, the linear model of this kind.

    A score is the log of a mean over proposed latents [3]_, weighted by how much more probable they are than proposed:
    an estimate, with a standard error. The bound that is trained lies below it, and is no likelihood. Cells may be
    missing, in `fit`, too: they are left out of the product, and the encoder sees that they are missing [4]_.

    Parameters
    ----------
    n_latents : int or "auto", default="auto"
        Number of latents; "auto" takes one more than half the columns, at most 32.
    encoder_layer_sizes : array-like of int or int, default=(256, 256)
        Units of each hidden layer of the encoder, beside a linear path; without any it is linear.
    decoder_layer_sizes : array-like of int, int or None, default=None
        Those of the decoder; None mirrors the encoder. A linear decoder, ``()``, is a factor analysis.
    n_importance_samples : int, default=256
        Latents that are proposed for a row to score it, from the same numbers for all rows. It may be changed after
        `fit`.
    n_importance_samples_fit : int, default=1
        Latents in training. With several, the bound is closer to the likelihood [3]_; its gradients are doubly
        reparametrised [5]_.
    beta_warmup : float, default=0.1
        Share of `max_epochs` in which the divergence of the encoder from the prior comes to count in full, so that
        latents come into use.
    $training_parameters
    categorical_features : "from_dtype", array-like or None, default="from_dtype"
        Columns that hold categories, by dtype, name, index or mask; see :class:`~sklearn_dgm.columns.ColumnSchema`.
    integer_features : "from_dtype", array-like or None, default="from_dtype"
        Columns that hold counts, in the same form.
    column_kinds : dict, default=None
        Kinds of columns, by name or index, that overrule what dtypes and values say: "continuous", "rounded", "mixed",
        "integer" or "categorical"; see :class:`~sklearn_dgm.columns.ColumnSchema`.

    Attributes
    ----------
    active_latents_ : ndarray of int of shape (n_active,)
        Latents in use: those whose means, as `transform` has them, vary by more than 0.01 [3]_.
    net_ : skorch.NeuralNet
        The net, with the best weights.
    history_ : list of dict
        Its epochs; see :class:`~sklearn_dgm.AutoregressiveDensity`. Recorded is the evidence lower bound, in nats a row
        and in the units of X; while the divergence counts for less, that of the training rows is none.
    n_iter_ : int
        Number of epochs.
    objective_ : Objective
        What `history_` is of.
    schema_ : ColumnSchema
        Kinds and scales of the columns.
    score_kind_ : {"exact", "estimate"}
        What `score_samples` returns: "exact" with a single latent, if sums over lattices agree for all rows (256 of
        them at most); else estimates. Where the effective sample size is not small (see
        :meth:`importance_diagnostics`), they are low in expectation by half of their squared standard error.
    n_features_in_ : int
        Number of columns seen in `fit`.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Their names, where X has string column names.

    See Also
    --------
    AutoregressiveDensity : Exact scores, and on tables the better density.
    MixtureDensity : A mixture of few components in place of a continuous one.
    sklearn.decomposition.FactorAnalysis : What a linear decoder of normal columns is.

    Notes
    -----
    Of the proposed latents, a quarter comes from the prior, so that weights are bounded also where the encoder is
    too sure of itself, or knows little of a row with missing cells. With a single latent, a row is scored by sums
    over three lattices that cover the prior, and where these agree to 1e-4, their mean is its log-density to 1e-6.

    References
    ----------
    .. [1] D. P. Kingma, M. Welling, "Auto-Encoding Variational Bayes", ICLR 2014, https://arxiv.org/abs/1312.6114
    .. [2] D. J. Rezende, S. Mohamed, D. Wierstra, "Stochastic Backpropagation and Approximate Inference in Deep
       Generative Models", ICML 2014, https://arxiv.org/abs/1401.4082
    .. [3] Y. Burda, R. Grosse, R. Salakhutdinov, "Importance Weighted Autoencoders", ICLR 2016,
       https://arxiv.org/abs/1509.00519
    .. [4] P.-A. Mattei, J. Frellsen, "MIWAE: Deep Generative Modelling and Imputation of Incomplete Data Sets", ICML
       2019, https://arxiv.org/abs/1812.02633
    .. [5] G. Tucker, D. Lawson, S. Gu, C. J. Maddison, "Doubly Reparameterized Gradient Estimators for Monte Carlo
       Objectives", ICLR 2019, https://arxiv.org/abs/1810.04152

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklearn_dgm import VariationalAutoencoderDensity
    >>> iris = load_iris(as_frame=True).data
    >>> density = VariationalAutoencoderDensity(2, encoder_layer_sizes=16, max_epochs=10, random_state=0).fit(iris)
    >>> density.transform(iris).shape, density.inverse_transform([[0.0, 0.0]]).shape
    ((150, 2), (1, 4))

    The evidence lower bound is less than the log-density:

    >>> diagnostics = density.importance_diagnostics(iris)
    >>> bool(diagnostics["elbo"].mean() < diagnostics["log_density"].mean())
    True
    """

    _parameter_constraints: dict = {
        **BaseNeuralDensity._parameter_constraints,
        "n_latents": [StrOptions({"auto"}), Interval(Integral, 1, None, closed="left")],
        "encoder_layer_sizes": ["array-like", Interval(Integral, 1, None, closed="left")],
        "decoder_layer_sizes": ["array-like", Interval(Integral, 1, None, closed="left"), None],
        "n_importance_samples": [Interval(Integral, 1, None, closed="left")],
        "n_importance_samples_fit": [Interval(Integral, 1, None, closed="left")],
        "beta_warmup": [Interval(Real, 0, 1, closed="both")],
    }
    # Exact at best: with a single latent.
    _density_tags = DensityTags(missing=True, ties=True, latents=True)
    _batch_rows = f"32 to {MAX_BATCH}"
    _own_params = (
        "n_latents encoder_layer_sizes decoder_layer_sizes n_importance_samples n_importance_samples_fit "
        "beta_warmup"
    )
    _shape_params = (
        "n_latents",
        "encoder_layer_sizes",
        "decoder_layer_sizes",
        "n_importance_samples_fit",
    )

    def __init__(
        self,
        n_latents: Literal["auto"] | int = "auto",
        encoder_layer_sizes: Any = (256, 256),
        decoder_layer_sizes: Any = None,
        *,
        n_importance_samples: int = 256,
        n_importance_samples_fit: int = 1,
        beta_warmup: float = 0.1,
        max_epochs: int = 200,
        lr: float = 1e-3,
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
        categorical_features: Any = "from_dtype",
        integer_features: Any = "from_dtype",
        column_kinds: dict[Any, Any] | None = None,
    ) -> None:
        super().__init__(**handed_on(locals(), *self._own_params.split()))
        self.n_latents = n_latents
        self.encoder_layer_sizes = encoder_layer_sizes
        self.decoder_layer_sizes = decoder_layer_sizes
        self.n_importance_samples = n_importance_samples
        self.n_importance_samples_fit = n_importance_samples_fit
        self.beta_warmup = beta_warmup

    def _split(self, Z, weight, validation_fraction, seed, device):
        return TableSplits(
            self.schema_.columns_, Z, weight, validation_fraction, seed, device, completes=False
        )

    def _objective(self):
        of_log_likelihood = super()._objective()
        return Objective("elbo", "nats per row", rises=True, log_det=of_log_likelihood.log_det)

    def _training_parameters(self, splits):
        parameters = super()._training_parameters(splits)
        parameters["batch_size"] = self._resolve_batch_size(splits.n_train)
        parameters["lr_falls"] = True
        if all(map(is_constant, self.schema_.columns_)):  # of which there is nothing to learn
            parameters["max_epochs"] = 1
        # While the divergence counts for little, the bound may well fall.
        patience = self.n_iter_no_change + math.ceil(self.beta_warmup * self.max_epochs)
        return parameters | {"n_iter_no_change": patience, "least_patience": patience}

    def _resolve_batch_size(self, n_train):
        if self.batch_size != "auto":
            return self.batch_size
        return int(np.clip(n_train // self._n_steps, 32, MAX_BATCH))

    def _resolve_n_latents(self):
        d = len(self.schema_.columns_)
        return min(32, d // 2 + 1) if self.n_latents == "auto" else self.n_latents

    def _resolve_sizes(self, name):
        sizes = getattr(self, name)
        if sizes is None:
            return self._resolve_sizes("encoder_layer_sizes")[::-1]
        return layer_sizes(sizes, name)

    def _builder(self, splits):
        n_latents = self._resolve_n_latents()
        sizes = [
            self._resolve_sizes(name) for name in ("encoder_layer_sizes", "decoder_layer_sizes")
        ]
        n_rows = min(splits.n_train, EPOCH_ROWS)
        n_steps = math.ceil(n_rows / self._resolve_batch_size(splits.n_train))

        def build(member, _):
            Z, weight = splits.to_start_from(member)
            variables = variables_of(self.schema_.columns_, Z, weight, splits.outlines)
            module = VariationalAutoencoder(
                variables,
                n_latents,
                *sizes,
                **HEADS,
                n_samples_fit=self.n_importance_samples_fit,
            )
            start_from_factors(module, moments(TableInputs(variables), torch.from_numpy(Z), weight))
            module.n_warmup_steps = round(self.beta_warmup * self.max_epochs * n_steps)
            return module

        return build

    def _fit(self, Z, sample_weight):
        try:
            super()._fit(Z, sample_weight)
        except KeyboardInterrupt as interrupt:
            if getattr(interrupt, "keeps_progress", False):
                self._describe_latents(Z, sample_weight)
            raise
        self._describe_latents(Z, sample_weight)

    def _describe_latents(self, Z, sample_weight):
        """Find out which latents are active, and of which kind the scores are; warn of what is amiss."""
        some = some_of(len(Z), MAX_TOLD)
        weight = None if sample_weight is None else sample_weight[some]
        means = self._posterior_means(Z[some])
        variance = np.average((means - np.average(means, 0, weight)) ** 2, 0, weight)
        self.active_latents_ = np.flatnonzero(variance > LEAST_VARIANCE)
        scored = Z[some_of(len(Z), MAX_SCORED)]
        _, std = self._log_density_and_std(scored)
        self.score_kind_ = "estimate" if std.any() else "exact"
        if not len(self.active_latents_) and not all(map(is_constant, self.schema_.columns_)):
            warnings.warn(
                "No latent is active: the posterior is the prior, and columns are independent. Raise beta_warmup or "
                "max_epochs, if they are not.",
                ConvergenceWarning,
                stacklevel=2,
            )
        if self.score_kind_ == "estimate":
            self._warn_of_few_samples(scored[std > 0])

    def _warn_of_few_samples(self, Z):
        """Warn where scores are mostly sums of one term."""
        worth = np.median(self._of_samples(Z)[:, 1])
        if worth < MIN_WORTH:
            warnings.warn(
                "Scores are unreliable, and rather too low: for the median row, the latents that are proposed are "
                f"worth {worth:.1f} draws from the posterior. Raise n_importance_samples, or have fewer latents.",
                ConvergenceWarning,
                stacklevel=2,
            )

    @property
    def _n_features_out(self):
        return self._module.n_latents

    def _latent_rows_at_once(self, n_samples):
        """Return how many rows have so many latents decoded at once."""
        return int(np.clip(NUMBERS_AT_ONCE // (self._module.width * n_samples), 1, SCORED_AT_ONCE))

    def _log_density_and_std(self, Z):
        module, n_samples = self._module, self.n_importance_samples

        def of_rows(z):
            return torch.stack(module.log_prob_and_std(z, n_samples), dim=1)

        # Sums over lattices are in chunks of their own.
        n_rows = SCORED_AT_ONCE if module.n_latents == 1 else self._latent_rows_at_once(n_samples)
        scores = self._in_chunks(of_rows, Z, n_rows)
        log_p, std = np.ascontiguousarray(scores.T)
        return log_p, std

    def _log_density(self, Z):
        return self._log_density_and_std(Z)[0]

    def importance_diagnostics(self, X: MatrixLike) -> Any:
        """Compare the evidence lower bound of each row with the estimate of its log-density.

        Parameters
        ----------
        X : {array-like, DataFrame} of shape (n_samples, n_features)
            Rows; missing cells are left out.

        Returns
        -------
        diagnostics : pandas.DataFrame
            For each row, with the index of X if it has one:

            - `elbo`: evidence lower bound, in nats and in the units of X, as the others
            - `log_density`: log-density, as `score_samples` has it
            - `std_error`: its standard error; 0 where it is exact
            - `effective_sample_size`: how many draws from the posterior of the latents the `n_importance_samples`
              weighted proposals are worth. Of a few, the estimate is a sum of a few terms, and rather too low.
            - `kl`: divergence of the encoder's proposal from the prior, in nats

            Of an impossible row, the first two are `-inf`, and the last two NaN.

        Raises
        ------
        ValueError
            If the columns are not those of `fit`.
        """
        import pandas

        Z, log_det = self._encode(X)
        log_density, std = self._log_density_and_std(Z)
        elbo, ess, kl = self._of_samples(Z).T
        impossible = np.isneginf(log_density)
        frame = {
            "elbo": np.where(impossible, -np.inf, elbo) + log_det,
            "log_density": log_density + log_det,
            "std_error": std,
            "effective_sample_size": np.where(impossible, np.nan, ess),
            "kl": np.where(impossible, np.nan, kl),
        }
        return pandas.DataFrame(frame, index=getattr(X, "index", None) if is_frame(X) else None)

    def _of_samples(self, Z):
        """Return of encoded rows the bound, the effective sample size and the divergence, of shape (n_samples, 3)."""
        module, n_samples = self._module, self.n_importance_samples
        return self._in_chunks(
            lambda z: module.importance_diagnostics(z, n_samples),
            Z,
            self._latent_rows_at_once(n_samples),
        )

    def _posterior_means(self, Z):
        return self._in_chunks(lambda z: self._module.encode(z)[0], Z)

    def transform(self, X: MatrixLike) -> NDArray[np.float64]:
        """Encode rows: return the means of the latents that the encoder proposes for them.

        Parameters
        ----------
        X : {array-like, DataFrame} of shape (n_samples, n_features)
            Rows; the encoder sees which cells are missing.

        Returns
        -------
        latents : ndarray of shape (n_samples, n_latents)
            Means of the latents, of which those of all rows are about standard normal where a latent is active.

        Raises
        ------
        ValueError
            If the columns are not those of `fit`.
        """
        check_is_fitted(self)
        if self._is_chunked(X):
            return self._by_chunk(X, self.transform, of_none=np.empty((0, self._n_features_out)))
        Z, _ = self._encode(X)
        return self._posterior_means(Z)

    def inverse_transform(self, X: Any) -> MatrixLike:
        """Decode latents: return the rows that are expected given these.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_latents)
            Latents.

        Returns
        -------
        rows : {ndarray, DataFrame} of shape (n_samples, n_features)
            Rows in the container, with the column names and dtypes seen in `fit`. Numbers are expectations, rounded
            where the column is of whole or of rounded numbers; categories are the most probable ones.

        Raises
        ------
        ValueError
            If X has another number of columns.
        """
        check_is_fitted(self)
        H = check_array(X, dtype=np.float64, input_name="X")
        if H.shape[1] != self._module.n_latents:
            raise ValueError(
                f"X has {H.shape[1]} columns, but there are {self._module.n_latents} latents."
            )
        return self.schema_.decode(self._expected_given(H))
