"""The continuous mixture as an estimator."""

import warnings
from functools import partial
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
from sklearn_dgm._training.objective import log_likelihood
from sklearn_dgm._training.parameters import describe_training, handed_on
from sklearn_dgm._training.tables import TableNetworkDensity
from sklearn_dgm._training.variables import is_constant
from sklearn_dgm._typing import MatrixLike, RandomState
from sklearn_dgm.mixture._decoded import PointMixture
from sklearn_dgm.mixture._layout import DecoderLayout, PreparedSplits
from sklearn_dgm.mixture._parameters import MixtureParametersMixin
from sklearn_dgm.mixture._queries import MixtureQueriesMixin
from sklearn_dgm.mixture._refining import (
    DEFAULT_POINTS,
    FIRST_ALPHA,
    MAX_STEPS,
    Blocks,
    StreamedBlocks,
    choose,
    most_points,
    refined,
    warn_of_few,
)
from sklearn_dgm.nn.common_numbers import common_normals
from sklearn_dgm.nn.continuous_mixture import ContinuousMixture
from sklearn_dgm.tags import DensityTags

# Latent points that are decoded at once.
POINTS_AT_ONCE = 256
# Rows whose latent vectors are looked at, and the least variance that an active one has among them.
ROWS_TO_CHECK, LEAST_VARIANCE = 1000, 0.05
# Where no row validates, one of so many is held out.
ROWS_PER_HELD_OUT = 10


@describe_training
class ContinuousMixtureDensity(
    MixtureParametersMixin,
    MixtureQueriesMixin,
    ClassNamePrefixFeaturesOutMixin,
    TransformerMixin,
    TableNetworkDensity,
):
    """Density from a mixture over a continuous latent space, trained without an encoder.

    ``p(x) = E_h p(x | h)`` with a standard normal latent vector `h` [1]_, from which a network, the decoder, computes
    the parameters of a component: columns are independent given `h`, numbers are normal, and categories, counts and
    the single values of mixed columns have tables; or all columns follow one tree. The expectation is a mean over
    points of a Sobol net, which training shifts at random in each step. The fitted model is the finite mixture of the
    components at fixed points, whose weights and components are fitted to the rows once more, drawn towards those of
    the decoder. So scores, marginals, conditionals and rows with missing cells are exact. Wide tables of few frequent
    cells are its home; of columns that form chains it takes trees, or
    :class:`~sklearn_dgm.AutoregressiveDensity`.

    Parameters
    ----------
    n_latents : int, default=8
        Size of the latent vector. More than points can fill say nothing more.
    component : {"independent", "tree"}, default="independent"
        What a component is. "independent": a product of the columns, normal or with tables. "tree": numbers are
        binned, as tables of :class:`~sklearn_dgm.BayesianNetworkDensity` bin them by default, and each column has the
        parent that it has in the tree of highest likelihood (Chow and Liu), whose tables depend on the latent vector.
    hidden_layer_sizes : array-like of int or int, default=(256, 256)
        Units of each hidden layer of the decoder.
    n_points : "auto" or int, default="auto"
        Components of the fitted mixture. "auto" doubles 512 as long as that raises the density of the validation rows
        by more than 0.01 nats a row, and a row is not too long to score.
    n_points_fit : int, default=1024
        Points of a step of training.
    alpha : "auto", float or None, default="auto"
        How many rows of a component the decoded one counts as, when components are fitted to the rows after the
        training. "auto" chooses one from 1 to 1,000 by the validation rows. None leaves them, and equal weights,
        as they are decoded.
    $training_parameters
    categorical_features : "from_dtype", array-like or None, default="from_dtype"
        Columns that hold categories, by dtype, name, index or mask; see :class:`~sklearn_dgm.columns.ColumnSchema`.
    integer_features : "from_dtype", array-like or None, default="from_dtype"
        Columns that hold counts, in the same form.
    column_kinds : dict, default=None
        Kinds of columns, by name or index, that overrule what dtypes and values say; see
        :class:`~sklearn_dgm.columns.ColumnSchema`.
    handle_unknown : {"impossible", "error", "rare"}, default="impossible"
        What a category that `fit` has not seen is; see :class:`~sklearn_dgm.columns.ColumnSchema`.

    Attributes
    ----------
    points_ : ndarray of shape (n_components, n_latents)
        Where the components stand in the latent space.
    weights_, tables_, parents_, gaussian_features_, means_, covariances_
        Parameters of the components; see :class:`~sklearn_dgm.MixtureDensity`. Covariances are variances.
    alpha_ : float or None
        How many rows of a component the decoded one counts as; None if these are as decoded.
    n_parameters_ : int
        Number of free parameters of the finite mixture.
    net_ : skorch.NeuralNet
        The net of the decoder.
    history_ : list of dict
        A record of each epoch, before components are fitted once more, with `train_log_likelihood` and
        `valid_log_likelihood` in nats a row; see :class:`~sklearn_dgm.AutoregressiveDensity`.
    n_iter_ : int
        Number of epochs.
    objective_ : Objective
        What `history_` is of; see :class:`~sklearn_dgm.AutoregressiveDensity`.
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
    MixtureDensity : A finite mixture without a latent space, which takes less time.
    AutoregressiveDensity : A network for each column given those before it.

    Notes
    -----
    Cells may be missing, in `fit`, too: they are left out of the product, so that the marginal likelihood itself is
    trained. Only where components of a tree are fitted once more, pairs of which a cell is missing are left out.

    `fit` warns where twice the points raise the density of the validation rows by more than 0.05 nats a row (without
    such rows, of a tenth of the rows that components are not fitted to for that), and where the latent vector says
    nothing of the rows, as of independent columns. Of numbers more than 50 standard deviations
    from the mean, the decoder is trained as if they stood there. Two neighbouring whole numbers are two categories
    whatever their dtype.

    `fit` reads tables larger than memory a chunk at a time: the cells of tables, the tree, `n_points` and `alpha` are
    those of a sample, the decoder is trained on rows that stream, and the components are fitted to all rows, by a pass
    for each step. `partial_fit` trains the decoder further; `n_points` and `alpha` stay those of the first call, and
    what is expected of the further rows is added, in one step, to the counts that the components were fitted to before.

    References
    ----------
    .. [1] A. H. C. Correia, G. Gala, E. Quaeghebeur, C. de Campos, R. Peharz, "Continuous mixtures of tractable
       probabilistic models", AAAI 2023, https://arxiv.org/abs/2209.10584

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from sklearn_dgm import ContinuousMixtureDensity
    >>> X = (load_digits().data > 7).astype(int)
    >>> density = ContinuousMixtureDensity(2, max_epochs=5, n_points=128, lr=0.01, random_state=0)
    >>> places = density.fit_transform(X[:600])  # a map of the digits
    >>> places.shape, density.sample(3, random_state=0).shape
    ((600, 2), (3, 64))
    """

    _parameter_constraints: dict = {
        **TableNetworkDensity._parameter_constraints,
        "n_latents": [Interval(Integral, 1, None, closed="left")],
        "component": [StrOptions({"independent", "tree"})],
        "n_points": [StrOptions({"auto"}), Interval(Integral, 1, None, closed="left")],
        "n_points_fit": [Interval(Integral, 1, None, closed="left")],
        "alpha": [StrOptions({"auto"}), Interval(Real, 0, None, closed="neither"), None],
        "handle_unknown": [StrOptions({"impossible", "error", "rare"})],
    }
    _density_tags = DensityTags(missing=True, ties=True, latents=True)
    _own_params = ("n_latents", "component", "n_points", "n_points_fit", "alpha", "handle_unknown")
    _shape_params = (
        *TableNetworkDensity._shape_params,
        "n_latents",
        "component",
        "n_points",
        "n_points_fit",
        "alpha",
    )

    _mixture: PointMixture

    def __init__(
        self,
        n_latents: int = 8,
        component: Literal["independent", "tree"] = "independent",
        *,
        hidden_layer_sizes: Any = (256, 256),
        n_points: Literal["auto"] | int = "auto",
        n_points_fit: int = 1024,
        alpha: Literal["auto"] | float | None = "auto",
        max_epochs: int = 500,
        lr: float = 3e-3,
        batch_size: Literal["auto"] | int = "auto",
        weight_decay: float = 1e-2,
        early_stopping: bool = True,
        validation_fraction: float = 0.1,
        n_iter_no_change: int = 10,
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
    ) -> None:
        super().__init__(**handed_on(locals(), *self._own_params))
        self.n_latents = n_latents
        self.component = component
        self.n_points = n_points
        self.n_points_fit = n_points_fit
        self.alpha = alpha
        self.handle_unknown = handle_unknown

    def _combine(self, modules):
        (module,) = modules
        return module

    def _trained_modules(self):
        return [self._module]

    def _is_unchanged(self, name, before, now):
        # Only further rows leave the points and alpha as they are; a warm start chooses them anew.
        is_chosen = name in ("n_points", "alpha") and not self._is_further_part()
        return is_chosen or super()._is_unchanged(name, before, now)

    def _split(self, Z, weight, validation_fraction, seed, device):
        if not self._continues():
            self._layout = DecoderLayout(self.schema_.columns_, self.component, Z, weight)
        return PreparedSplits(self._layout, Z, weight, validation_fraction, seed, device)

    def _objective(self):
        return log_likelihood(self._layout.log_det(self.schema_.log_det_))

    def _prepare(self, splits):
        self._layout.learn(*splits.encoded_rows(splits.indices(0)[0]))

    def _builder(self, splits):
        layout, sizes = self._layout, self._resolve_hidden_layer_sizes()
        cells = (layout.cells.n_levels, layout.cells.parents, layout.reference)
        least = () if layout.normals is None else layout.normals.cell

        def build(member, setting):
            module = ContinuousMixture(*cells, least, self.n_latents, sizes, self.n_points_fit)
            module.start_from(layout.log_cells)
            return module

        return build

    def _train(self, splits, rng, n_threads, continues):
        before = (self._mixture, self._alpha) if self._is_further_part() else None
        try:
            super()._train(splits, rng, n_threads, continues)
            if before is None:
                self._refine(splits)
            else:
                self._refine_further(splits, *before)
        except KeyboardInterrupt as interrupt:
            interrupt.keeps_progress = self.warm_start and hasattr(self, "net_")  # of the decoder
            if before is not None:
                self._mixture, self._alpha = before  # with what it has counted
            raise

    def _fitted_attributes(self, net, modules, history):
        fitted = super()._fitted_attributes(net, modules, history)
        n_points = DEFAULT_POINTS if self.n_points == "auto" else self.n_points
        mixture = self._mixture_at(net.module_, common_normals(n_points, self.n_latents).numpy())
        return {**fitted, "_mixture": mixture, "_alpha": None}

    def _refine(self, splits):
        """Choose the points, and fit the components there to all rows."""
        decode, layout = partial(self._decoded, self._module), self._layout
        n_points, alpha, n_steps = self.n_points, self.alpha, MAX_STEPS
        parts = [splits.encoded_rows(index) for index in self._indices(splits)]

        def blocks_of(mixture):
            return [Blocks.of(mixture, *part) for part in parts]

        if splits.validates:
            most = most_points(layout.n_further_cells(splits.Z))
            n_points, best = choose(decode, blocks_of, n_points, alpha, most)
            alpha, n_steps = best.alpha, best.n_steps
        n_points = DEFAULT_POINTS if n_points == "auto" else n_points
        alpha = FIRST_ALPHA if alpha == "auto" else alpha
        if not splits.validates:
            warn_of_few(n_points, alpha, decode, blocks_of)
        decoded = decode(n_points)
        some = some_of(len(splits.encoded), ROWS_TO_CHECK)
        self._check_latents(decoded, *splits.encoded_rows(some))
        self._keep_refined(refined(decoded, self._every_row(splits, decoded), None, alpha, n_steps))

    def _refine_further(self, splits, mixture, alpha):
        """Decode a mixture anew at its points, and add what is expected of further rows to what it was learnt from."""
        decoded = self._decoded(self._module, len(mixture.points))
        rows = self._every_row(splits, decoded)
        self._keep_refined(refined(decoded, rows, None, alpha, 1, mixture.counts))

    def _every_row(self, splits, decoded):
        """Return the rows that refine components."""
        if splits.streamed is not None:
            return StreamedBlocks(splits.streamed)
        return Blocks.of(decoded, splits.encoded, splits.counts)

    def _keep_refined(self, after):
        self._mixture = after.mixture.astype(np.float64)
        self._alpha = after.alpha if after.n_steps else None

    def _indices(self, splits):
        """Return the indices of rows to refine components by, and of rows that are held out of that.

        Where no rows validate, the decoder has seen the latter, but not more of them than of others: twice the points
        fit them no better unless they fill the latent space better.
        """
        if splits.validates:
            return splits.indices(0)
        is_held_out = np.arange(len(splits.encoded)) % ROWS_PER_HELD_OUT == ROWS_PER_HELD_OUT - 1
        return (~is_held_out, is_held_out) if is_held_out.any() else (slice(None), slice(None))

    def _check_latents(self, decoded, Z, weight):
        """Warn if the rows say nothing of latent vectors."""
        if all(map(is_constant, self.schema_.columns_)) or not weight.any():
            return
        means = decoded.posterior_means(Z)
        squares = np.square(means - np.average(means, axis=0, weights=weight))
        if np.average(squares, axis=0, weights=weight).max() < LEAST_VARIANCE:
            warnings.warn(
                "The latent vector says nothing of the rows: all components are alike. Either columns are independent, or "
                "training has not got off the ground; raise lr, or max_epochs.",
                ConvergenceWarning,
                stacklevel=2,
            )

    def _decoded(self, module, n_points):
        """Return the mixture of the components at fixed points, of equal weights, for many scores.

        Tables alone are in single precision; beside numbers, responsibilities would follow the rounding of large sums.
        """
        mixture = self._mixture_at(module, common_normals(n_points, self.n_latents).numpy())
        return mixture if mixture.normals is not None else mixture.astype(np.float32)

    def _mixture_at(self, module, points):
        with torch.no_grad():
            h = torch.tensor(points, dtype=torch.float64, device=module.least.device)
            logits, *normals = module.decode(h)
            arrays = module.tables.log_cells(logits), *normals
        return self._layout.mixture(points, *(array.cpu().numpy() for array in arrays))

    def _log_density(self, Z):
        return self._mixture.log_prob(Z)

    def _log_density_to_continue(self, Z):
        return self._log_density(Z)

    def _draw(self, n_samples, rng):
        return self._mixture.draw(n_samples, len(self.schema_.columns_), rng)

    @property
    def alpha_(self):
        """How many rows of a component the decoded one counts as; None if these are as decoded."""
        check_is_fitted(self)
        return self._alpha

    @property
    def points_(self):
        """Where the components stand in the latent space, of shape (n_components, n_latents)."""
        check_is_fitted(self)
        return self._mixture.points

    @property
    def _n_features_out(self):
        return self._mixture.points.shape[1]

    def transform(self, X: MatrixLike) -> NDArray[np.float64]:
        """Return what is to be expected of the latent vector of each row.

        Parameters
        ----------
        X : {array-like, DataFrame} of shape (n_samples, n_features)
            Rows; missing cells are summed out.

        Returns
        -------
        H : ndarray of shape (n_samples, n_latents)
            Posterior means; that of all points where a row is impossible.
        """
        check_is_fitted(self)
        if self._is_chunked(X):
            return self._by_chunk(X, self.transform, of_none=np.empty((0, self._n_features_out)))
        Z, _ = self._encode(X)
        return self._mixture.posterior_means(Z)

    def inverse_transform(self, H: Any) -> MatrixLike:
        """Return the row that is to be expected at each latent vector.

        Parameters
        ----------
        H : array-like of shape (n_samples, n_latents)
            Latent vectors, as :meth:`transform` gives them.

        Returns
        -------
        X : {ndarray, DataFrame} of shape (n_samples, n_features)
            Expected numbers and most probable categories under the decoder, in the container, with the column names
            and dtypes seen in `fit`.

        Raises
        ------
        ValueError
            If `H` has not as many columns as there are latents, or holds what is no finite number.
        """
        check_is_fitted(self)
        H = check_array(H, dtype=np.float64, input_name="H")
        if H.shape[1] != self._n_features_out:
            raise ValueError(
                f"H has {H.shape[1]} columns, but there are {self._n_features_out} latents."
            )
        gaps = np.full((POINTS_AT_ONCE, len(self.schema_.columns_)), np.nan)
        starts = range(0, len(H), POINTS_AT_ONCE)
        parts = [H[start : start + POINTS_AT_ONCE] for start in starts]
        filled = [
            self._mixture_at(self._module, part).fill_expected(gaps[: len(part)], np.eye(len(part)))
            for part in parts
        ]
        return self.schema_.decode(np.concatenate(filled))
