"""The PixelCNN: a density of images whose pixels depend on those above and to the left."""

import copy
import math
from dataclasses import replace
from functools import partial
from numbers import Integral, Real
from typing import Any

import numpy as np
import torch
from scipy.special import softmax
from sklearn.utils.validation import check_is_fitted

from sklearn_dgm._queries.conditioning import ConditionalMixin, check_possible
from sklearn_dgm._sklearn import Interval, num_samples
from sklearn_dgm._subsets import some_of
from sklearn_dgm._training.base import NUMBERS_AT_ONCE, ROWS_AT_ONCE, BaseNeuralDensity
from sklearn_dgm._training.factors import NetworkFactors
from sklearn_dgm._training.marginals import EstimatedMarginalsMixin
from sklearn_dgm._training.parameters import describe_training, handed_on
from sklearn_dgm._training.variables import is_constant, outline_of, variables_of
from sklearn_dgm._typing import MatrixLike, RandomState
from sklearn_dgm._validation import check_image_shape, restored_on_failure
from sklearn_dgm.base import BaseEstimatedDensity
from sklearn_dgm.columns import ImageSchema
from sklearn_dgm.image._labels import ClassesMixin
from sklearn_dgm.image._splits import ImageSplits, LabelledChunks
from sklearn_dgm.nn.mixture import Mixture
from sklearn_dgm.nn.pixelcnn import PixelCNN
from sklearn_dgm.tags import DensityTags

# Pixels that say at most what a pixel is.
MAX_PIXELS = 2**20
# Images of a batch at least and at most: many small steps serve better than few of more images.
MIN_BATCH, MAX_BATCH = 16, 32


@describe_training
class PixelCNNDensity(
    ClassesMixin,
    EstimatedMarginalsMixin,
    ConditionalMixin,
    BaseEstimatedDensity,
    BaseNeuralDensity,
):
    """Density of images from gated convolutions.

    ``log p(x) = sum_i log p(x_i | x_<i)``, pixel by pixel, row by row (PixelCNN [1]_): a stack of gated convolutions
    sees the rows above, another one what is to the left [2]_, so that they see all that is within their reach, and
    nothing else. A row of X is an image; its pixels stand row by row, and the channels of a pixel side by side, each
    given those before. All pixels are columns of one kind: uint8, floats that are multiples of 1/255 or of 1/16, and
    flags are found, and have probabilities; of few levels by a softmax, of many by a mixture of logistic distributions,
    cut into the levels [3]_. Training starts from regressions on the pixels next to each.

    Parameters
    ----------
    image_shape : tuple of int, default=None
        Height and width of the images, or height, width and number of channels. None for squares of one channel, if
        the number of columns is a square number, else for images of one row.
    n_channels : int, default=32
        Channels of each stack.
    n_layers : int, default=5
        Layers after the first one, which sees 3 pixels to each side; each further one sees one more.
    n_components : int, default=8
        Components of the mixtures.
    dropout : float, default=0.1
        Share of the channels dropped in training. Many images need less.
    $training_parameters

    Attributes
    ----------
    image_shape_ : tuple of int
        Height, width and number of channels.
    classes_ : ndarray of shape (n_classes,) or None
        The labels in `fit`; None without any.
    net_ : skorch.NeuralNet
        The net, with the best weights.
    history_ : list of dict
        Its epochs; see :class:`~sklearn_dgm.AutoregressiveDensity`. With labels the likelihood is that of image and
        label together.
    n_iter_ : int
        Number of epochs.
    objective_ : Objective
        What `history_` is of.
    schema_ : ImageSchema
        Kinds and scales of the columns, which is what all pixels say together.
    score_kind_ : {"exact", "estimate"}
        What `score_samples` returns of rows like those of `fit`; see :class:`~sklearn_dgm.AutoregressiveDensity`.
    n_features_in_ : int
        Number of columns seen in `fit`.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Their names, where X has string column names.

    See Also
    --------
    AutoregressiveDensity : For tables whose columns have no neighbours.

    Notes
    -----
    What a pixel can see is bounded: 3 pixels plus one for each further layer, to all sides. Images that are larger than
    that need more layers, or have to do without what is farther. The learning rate falls to zero in `max_epochs`, by
    half a cosine, so that this number is the effort: 30 passes are for a few thousand small images; of tens of
    thousands a few passes go a long way, at some 50,000 pixels a second.

    Floats of pixels have densities in their own unit. A density of tables takes a column of them that never varies, as
    at a border, for one with a probability, so that the two cannot be compared, or be members of one ensemble; hand
    whole numbers to both, which they count: 0 to 255 of an integer dtype.

    Labels `y` are those of a classifier: each value is a class. The network has numbers for each class then that shift
    its gates [2]_, scores are those of the image alone, summed over classes, which takes as many passes as there are
    classes, and `sample` draws images of a class. Other targets, such as numbers of a regression, are ignored.

    Pixels may be missing, in `fit` and in every question. Where all that are missing stand behind the others, as the
    lower part of an image, scores and draws are exact, and take no longer than those of whole images. Others are
    estimates by sequential importance sampling, but of missing flags of few joint outcomes. Training draws missing
    pixels anew for each pass, and takes some three times as long.

    `fit` reads tables larger than memory a chunk at a time, with `y` an array of the labels of all rows: all but those
    that validate train in a stream, the shares of the classes are of all, and the start and the rows that validate are
    of a sample. `partial_fit` goes on with images that have labels as the first ones had, or none: the classes are
    those of the first call, and another one is refused; their shares are those of the images of all calls.

    References
    ----------
    .. [1] A. van den Oord, N. Kalchbrenner, K. Kavukcuoglu, "Pixel Recurrent Neural Networks", ICML 2016,
       https://arxiv.org/abs/1601.06759
    .. [2] A. van den Oord et al., "Conditional Image Generation with PixelCNN Decoders", NeurIPS 2016,
       https://arxiv.org/abs/1606.05328
    .. [3] T. Salimans et al., "PixelCNN++: Improving the PixelCNN with Discretized Logistic Mixture Likelihood and
       Other Modifications", ICLR 2017, https://arxiv.org/abs/1701.05517

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from sklearn_dgm import PixelCNNDensity, bits_per_dim
    >>> X = load_digits().data
    >>> density = PixelCNNDensity(n_channels=8, n_layers=2, max_epochs=3, random_state=0).fit(X[:500])
    >>> bool(bits_per_dim(density, X[500:600]) < 2.5)
    True
    >>> density.sample(2, random_state=0).shape
    (2, 64)
    """

    _parameter_constraints: dict = {
        **BaseNeuralDensity._parameter_constraints,
        "image_shape": ["array-like", None],
        "n_channels": [Interval(Integral, 1, None, closed="left")],
        "n_layers": [Interval(Integral, 0, None, closed="left")],
        "n_components": [Interval(Integral, 1, None, closed="left")],
        "dropout": [Interval(Real, 0, 1, closed="left")],
    }
    _density_tags = DensityTags(missing=True, ties=True)
    _batch_rows = f"{MIN_BATCH} to {MAX_BATCH}"
    _n_steps = 80
    _own_params = "image_shape n_channels n_layers n_components dropout"
    _shape_params = tuple(_own_params.split())

    def __init__(
        self,
        image_shape: Any = None,
        *,
        n_channels: int = 32,
        n_layers: int = 5,
        n_components: int = 8,
        dropout: float = 0.1,
        max_epochs: int = 30,
        lr: float = 6e-3,
        batch_size: Any = "auto",
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
    ) -> None:
        super().__init__(**handed_on(locals(), *self._own_params.split()))
        self.image_shape = image_shape
        self.n_channels = n_channels
        self.n_layers = n_layers
        self.n_components = n_components
        self.dropout = dropout

    def _make_schema(self):
        tags = self._density_tags
        return ImageSchema(missing=tags.missing, detect_ties=tags.ties, bounds=None)

    def _resolve_shape(self):
        """Return height, width and number of channels."""
        d = self.n_features_in_
        if self.image_shape is None:
            side = math.isqrt(d)
            return (side, side, 1) if side * side == d else (1, d, 1)
        return check_image_shape(self.image_shape, d)

    def _fit_or_restore(self, X, sample_weight, schema, y=None):
        with restored_on_failure(self):
            if self._fits_chunks(X):
                rows = self._start_chunks(X, sample_weight, schema=schema)
                label = self._read_labels(y, rows.chunks.n_rows, sample_weight)
                self._fit_chunks(rows if label is None else LabelledChunks(rows, label))
            else:
                Z, weight = self._start_fit(X, sample_weight, schema=schema)
                label = self._read_labels(y, num_samples(X), sample_weight)
                if label is not None:
                    Z = np.column_stack([Z, label[~np.isnan(label)]])
                self._fit(Z, weight)
        return self

    def _fit(self, Z, sample_weight):
        self.image_shape_ = self._resolve_shape()
        try:
            super()._fit(Z, sample_weight)
        finally:
            if hasattr(self, "net_"):  # a warm start that is interrupted keeps one
                is_estimate = self._is_estimated(Z[:, : len(self.schema_.columns_)]).any()
                self.score_kind_ = "estimate" if is_estimate else "exact"

    def _split(self, Z, weight, validation_fraction, seed, device):
        return ImageSplits(self.schema_.columns_, Z, weight, validation_fraction, seed, device)

    def _objective(self):
        objective = super()._objective()
        n_others = 0 if self.classes_ is None else 1
        return replace(objective, log_det=np.pad(objective.log_det, (0, n_others)))

    def _training_parameters(self, splits):
        parameters = super()._training_parameters(splits)
        if is_constant(self.schema_.columns_[0]):
            parameters["max_epochs"] = 1  # there is nothing to learn
        if self.batch_size == "auto":
            batch_size = int(np.clip(splits.n_train // self._n_steps, MIN_BATCH, MAX_BATCH))
            parameters["batch_size"] = batch_size
        return {**parameters, "lr_falls": True}

    def _builder(self, splits):
        column, d = self.schema_.columns_[0], len(self.schema_.columns_)

        def build(member, _):
            Z, weight = splits.to_start_from(member)
            some = some_of(len(Z), max(MAX_PIXELS // d, 1))
            pixels, of_pixels = Z[some, :d].reshape(-1, 1), np.repeat(weight[some], d)
            outline = outline_of(column, pixels[:, 0], of_pixels)
            (variable,) = variables_of([column], pixels, of_pixels, [outline])
            module = PixelCNN(
                variable,
                self.image_shape_,
                self.n_channels,
                self.n_layers,
                self.dropout,
                self.n_components,
                self._class_shares(splits, member),
            )
            module.start_from(torch.from_numpy(Z[some]).float(), weight[some])
            return module

        return build

    def _trainer(self, splits, rng, n_threads, continues):
        trainer = super()._trainer(splits, rng, n_threads, continues)
        trainer.started = copy.deepcopy(trainer.started)
        for member, module in enumerate(trainer.started):
            if self.classes_ is not None:  # which may be as frequent as they were not before
                module.set_class_shares(self._class_shares(splits, member))
        return trainer

    def _combine(self, modules):
        return Mixture(modules)

    def _trained_modules(self):
        return list(self._module.members)

    def _drawn_at_once(self):
        (module,) = self._module.members
        return int(np.clip(NUMBERS_AT_ONCE // module.width_of_visit, 1, ROWS_AT_ONCE))

    def _factors(self):
        (module,) = self._module.members
        module = module if self.classes_ is None else module.by_class()
        return NetworkFactors(module, self._module_device(), self._drawn_at_once())

    def sample(
        self, n_samples: int = 1, random_state: RandomState = None, *, y: Any = None
    ) -> MatrixLike:
        """Draw new images.

        Parameters
        ----------
        n_samples : int, default=1
            Number of images.
        random_state : int, RandomState, Generator or None, default=None
            Seed for reproducible images. With None two calls differ, and no global generator is touched.
        y : label or array-like of shape (n_samples,), default=None
            The class of all images, or that of each, if `fit` had labels; None for classes that are drawn, too.

        Returns
        -------
        X : {ndarray, DataFrame} of shape (n_samples, n_features)
            Flat images in the container, with the column names and dtypes seen in `fit`.

        Raises
        ------
        ValueError
            If `n_samples` is not a positive integer, or `y` has a label that is none of `classes_`, or not as many as
            images.
        """
        check_is_fitted(self)
        return self._sample(n_samples, random_state, partial(self._draw, y=y))

    def _draw(self, n_samples, rng, y=None):
        label, d = self._codes(y, n_samples), len(self.schema_.columns_)
        whole = self._whole(np.full((n_samples, d), np.nan))
        if label is not None:
            whole[:, d] = label
        return self._draw_after(whole, rng)

    def _draw_after(self, whole, rng):
        """Draw what rows of the module lack, each cell given those before; return the images."""
        (module,) = self._module.members

        def draw(rows, generator):
            z = torch.tensor(whole[rows.start : rows.stop], device=self._module_device())
            uniforms = torch.rand(
                z.shape, generator=generator, device=z.device, dtype=torch.float64
            )
            return module.fill(z, uniforms)[0]

        return self._draw_in_chunks(draw, len(whole), rng)[:, : len(self.schema_.columns_)]

    def _conditional_draws(self, Z, n_samples, rng, rows=None):
        """Return completed images; see :class:`ConditionalMixin`.

        Pixels behind all that are observed are drawn one by one, which is exact.
        """
        rows = np.arange(len(Z)) if rows is None else rows
        draws, ess = np.repeat(Z[:, None], n_samples, axis=1), np.full(len(Z), np.inf)
        missing = np.isnan(Z)
        is_between = (missing[:, :-1] & ~missing[:, 1:]).any(axis=1)
        if is_between.any():
            draws[is_between], ess[is_between] = super()._conditional_draws(
                Z[is_between], n_samples, rng, rows[is_between]
            )
        is_behind = missing.any(axis=1) & ~is_between
        if is_behind.any():
            given = Z[is_behind]
            log_p = self._log_density(given) if self.classes_ is None else self._log_joint(given)
            check_possible(log_p.reshape(len(given), -1).max(axis=1), rows[is_behind])
            whole = np.repeat(self._whole(given), n_samples, axis=0)
            if self.classes_ is not None:
                p = np.repeat(softmax(log_p, axis=1).cumsum(axis=1), n_samples, axis=0)
                whole[:, -1] = (rng.random((len(p), 1)) * p[:, -1:] >= p).sum(axis=1)
            draws[is_behind] = self._draw_after(whole, rng).reshape(-1, *draws.shape[1:])
        return draws, ess
