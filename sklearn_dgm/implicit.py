"""Generators that draw rows and cannot score them."""

import copy
from collections.abc import Mapping
from functools import partial
from numbers import Integral, Real
from typing import Any, Literal

import narwhals as nw
import numpy as np
from numpy.typing import NDArray
from sklearn.utils.validation import check_is_fitted

from sklearn_dgm._sklearn import Interval
from sklearn_dgm._training.adversarial import AdversarialNet, DrawnSplits
from sklearn_dgm._training.base import NeuralMixin
from sklearn_dgm._training.objective import Objective
from sklearn_dgm._training.parameters import describe_training, handed_on, layer_sizes
from sklearn_dgm._training.variables import has_few_values, n_levels_of
from sklearn_dgm._typing import MatrixLike, RandomState
from sklearn_dgm.base import BaseGenerator
from sklearn_dgm.columns import is_frame
from sklearn_dgm.columns._names import position_of, shown
from sklearn_dgm.nn.gan import AdversarialPair
from sklearn_dgm.tags import DensityTags

# Rows of a batch at least and at most; how often a row is drawn in a pass, and batches of a pass at least.
MIN_BATCH, MAX_BATCH, N_DRAWS, N_BATCHES = 128, 512, 8, 20
# Rows that are drawn in a pass over a large table.
MAX_DRAWS = 2**16
# Distinct values that the distribution function of a column of numbers goes through, at most.
MAX_KNOTS = 1000


@describe_training
class TabularGAN(NeuralMixin, BaseGenerator):
    """Generator of rows of tables, trained against a critic.

    A network makes rows of standard normals, and learns from a second one, the critic, which learns to tell them from
    those of the table [1]_: by the Wasserstein distance with a gradient penalty [2]_. Numbers are seen as normal
    scores, categories are relaxed [4]_ in the generator's gradients. In training, each row is drawn for one of its
    categories, rare ones more often than they are, and the generator is given that category [5]_. Training starts from
    independent categories and jointly normal scores.

    There is no density: rows cannot be scored. :class:`AutoregressiveDensity` has one, answers what columns are given
    others, and takes missing cells; on two of four tables that were measured, its rows were harder to tell from real
    ones, on two those of the GAN. Prefer it, unless rows are all that you want.

    Parameters
    ----------
    hidden_layer_sizes : array-like of int or int, default=(256, 256)
        Units of each hidden layer of the generator and of the critic.
    n_latents : int, default=64
        Standard normals that a row is made of.
    n_critic : int, default=2
        Steps of the critic for one of the generator.
    gradient_penalty : float, default=10.0
        Weight of the penalty on gradients of the critic that are not of length one.
    pac : int, default=1
        Rows that the critic sees at once. With several, a generator that draws the same again and again is found out
        [3]_; on tables where one row at a time was no trouble, it learnt more slowly.
    conditional : bool, default=True
        Whether the generator is given a category of one column in training, so that rare ones are learnt, and `sample`
        takes `conditions`.
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
    net_ : skorch.NeuralNet
        The net, with the best weights of generator and critic.
    history_ : list of dict
        Its epochs, with "train_critic_distance", how far apart the critic says that rows and drawn ones are, which says
        nothing of how good these are; "valid_nearest_neighbour_accuracy", by which it is judged (see Notes); "best";
        and "duration" in seconds.
    n_iter_ : int
        Number of epochs.
    objective_ : Objective
        What `history_` is of.
    schema_ : ColumnSchema
        Kinds and scales of the columns.
    n_features_in_ : int
        Number of columns seen in `fit`.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Their names, where X has string column names.

    See Also
    --------
    AutoregressiveDensity : Draws better rows, and has a density.
    sklearn_dgm.metrics.energy_distance : How far drawn rows are from others.
    sklearn_dgm.metrics.classifier_two_sample_test : Whether a classifier tells them from others.

    Notes
    -----
    No loss says how good the rows are. Their nearest neighbours do, among rows of the table and as many that averaged
    weights draw: of a held-out row, and of a drawn one, that should be a drawn one in half of the cases [6]_. The worse
    one of both accuracies, as a moving average over epochs, is what is judged by, and the weights where it was least
    are kept. It follows how well a classifier tells rows from drawn ones; an energy distance hardly does, since it is a
    matter of columns one by one more than of how they go together.

    In a pass, rows are drawn about eight times each, 65,536 of them at most, and in 20 batches at least. A batch has a
    multiple of `pac` rows. What training starts from is not among the weights that may be kept; of the rows kept for
    validation, 1,000 are enough.

    After training, the constants of the generator are moved until categories are drawn as often as they are.

    Numbers are seen as normal scores, and beside these how far apart they are. A score is turned back by the
    distribution function of its column, so that numbers are drawn within the range of those seen, and whole numbers
    among them; values that repeat have a range of scores.

    `fit` reads tables larger than memory a chunk at a time: each pass draws its rows from the next 65,536 of a stream;
    the start, the distribution functions of numbers, the shares of categories and the rows that validate are of a
    sample. `partial_fit` trains both networks further, on rows that are drawn from those handed in, and keeps the last
    weights; the distribution functions, and with them the range of numbers, stay those of the first call, and the
    shares of categories become those of the rows of all calls.

    References
    ----------
    .. [1] I. Goodfellow et al., "Generative Adversarial Nets", NeurIPS 2014, https://arxiv.org/abs/1406.2661
    .. [2] I. Gulrajani, F. Ahmed, M. Arjovsky, V. Dumoulin, A. Courville, "Improved Training of Wasserstein GANs",
       NeurIPS 2017, https://arxiv.org/abs/1704.00028
    .. [3] Z. Lin, A. Khetan, G. Fanti, S. Oh, "PacGAN: The power of two samples in generative adversarial networks",
       NeurIPS 2018, https://arxiv.org/abs/1712.04086
    .. [4] E. Jang, S. Gu, B. Poole, "Categorical Reparameterization with Gumbel-Softmax", ICLR 2017,
       https://arxiv.org/abs/1611.01144
    .. [5] L. Xu, M. Skoularidou, A. Cuesta-Infante, K. Veeramachaneni, "Modeling Tabular Data using Conditional GAN",
       NeurIPS 2019, https://arxiv.org/abs/1907.00503
    .. [6] D. Lopez-Paz, M. Oquab, "Revisiting classifier two-sample tests", ICLR 2017, https://arxiv.org/abs/1610.06545

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklearn_dgm import TabularGAN
    >>> iris = load_iris(as_frame=True).frame.astype({"target": "category"})
    >>> gan = TabularGAN(hidden_layer_sizes=32, max_epochs=3, random_state=0).fit(iris)
    >>> gan.sample(3, random_state=0).shape
    (3, 5)
    >>> gan.sample(3, random_state=0, conditions={"target": 2})["target"].tolist()
    [2, 2, 2]
    """

    _parameter_constraints: dict = {
        **BaseGenerator._parameter_constraints,
        **NeuralMixin._parameter_constraints,
        "hidden_layer_sizes": ["array-like", Interval(Integral, 1, None, closed="left")],
        "n_latents": [Interval(Integral, 1, None, closed="left")],
        "n_critic": [Interval(Integral, 1, None, closed="left")],
        "gradient_penalty": [Interval(Real, 0, None, closed="left")],
        "pac": [Interval(Integral, 1, None, closed="left")],
        "conditional": ["boolean"],
    }
    _density_tags = DensityTags(score_kind="none", ties=True)
    _net_class = AdversarialNet
    _n_rows = 0.0  # of all calls; those of models of files that did not keep it do not count
    _batch_rows = f"{MIN_BATCH} to {MAX_BATCH}"
    _own_params = "hidden_layer_sizes n_latents n_critic gradient_penalty pac conditional"
    _shape_params = tuple(_own_params.split())

    def __init__(
        self,
        hidden_layer_sizes: Any = (256, 256),
        *,
        n_latents: int = 64,
        n_critic: int = 2,
        gradient_penalty: float = 10.0,
        pac: int = 1,
        conditional: bool = True,
        max_epochs: int = 40,
        lr: float = 2e-3,
        batch_size: Literal["auto"] | int = "auto",
        weight_decay: float = 0.0,
        early_stopping: bool = True,
        validation_fraction: float = 0.1,
        n_iter_no_change: int = 40,
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
        self.hidden_layer_sizes = hidden_layer_sizes
        self.n_latents = n_latents
        self.n_critic = n_critic
        self.gradient_penalty = gradient_penalty
        self.pac = pac
        self.conditional = conditional

    def sample(
        self,
        n_samples: int = 1,
        random_state: RandomState = None,
        *,
        conditions: Mapping[Any, Any] | None = None,
    ) -> MatrixLike:
        """Draw new rows.

        Parameters
        ----------
        n_samples : int, default=1
            Number of rows.
        random_state : int, RandomState, Generator or None, default=None
            Seed for reproducible rows. With None two calls differ, and no global generator is touched.
        conditions : dict, default=None
            A column, by label or position, and the category that all rows are to have there, as
            ``{"species": "Gentoo"}``: what the generator was given in training, one at a time.

        Returns
        -------
        X : {ndarray, DataFrame} of shape (n_samples, n_features)
            Rows in the container, with the column names and dtypes seen in `fit`.

        Raises
        ------
        ValueError
            If `n_samples` is not a positive integer, or `conditions` names something that the generator was not given
            in training.
        """
        check_is_fitted(self)
        given = None if conditions is None else self._given(conditions)
        return self._sample(n_samples, random_state, partial(self._draw, given=given))

    def _draw(self, n_samples, rng, given=None):
        sample = self._module.sample
        return self._draw_in_chunks(
            lambda rows, generator: sample(len(rows), generator, given), n_samples, rng
        )

    def _given(self, conditions):
        """Return which of the conditional columns is given, and the code of its category."""
        names = [self.schema_.columns_[j].label for j in self._module.conditions.columns]
        if not names:
            raise ValueError(
                "conditions asks for a generator that was given categories in training: one with conditional=True, "
                "fitted to a table with a column of categories."
            )
        if not isinstance(conditions, Mapping) or len(conditions) != 1:
            raise ValueError(
                f"conditions should be a dict of one column and its category, got {conditions!r}."
            )
        [(name, category)] = conditions.items()
        columns, of_table = self.schema_.columns_, self._module.conditions
        j = position_of(name, [column.label for column in columns], "conditions")
        if j not in of_table.columns:
            raise ValueError(
                f"conditions names {columns[j].where}, but can only name one of {shown(names)}."
            )
        which = of_table.columns.index(j)
        if np.ndim(category):
            raise ValueError(
                f"conditions should have one category for {columns[j].where}, got {category!r}."
            )
        shares = of_table.shares.split(of_table.n_levels)[which].tolist()
        known = {code: of for code, of in enumerate(self._categories(j)) if shares[code]}
        for code, of_code in known.items():
            if of_code == category:
                return which, code
        raise ValueError(
            f"conditions asks for {category!r} in {columns[j].where}, which was not given in training; given were "
            f"{shown(known.values())}."
        )

    def _categories(self, j):
        """Return the categories of a column as `sample` has them, by their codes."""
        Z = np.zeros((self._module.features.n_levels[j], len(self.schema_.columns_)))
        Z[:, j] = np.arange(len(Z))
        table = self.schema_.decode(Z)
        return nw.from_native(table)[:, j].to_list() if is_frame(table) else table[:, j].tolist()

    def critic_scores(self, X: MatrixLike) -> NDArray[np.float64]:
        """Return what the critic says of rows: the higher, the more it takes them for real ones.

        It is no density, nor a bound of one, and says nothing of rows unlike those that it has been shown.

        Parameters
        ----------
        X : {array-like, DataFrame} of shape (n_samples, n_features)
            Rows.

        Returns
        -------
        scores : ndarray of shape (n_samples,)
            Means over packs in which a row stands beside drawn ones, the same for all rows.

        Raises
        ------
        ValueError
            If a cell is missing or infinite, or is a category that was not seen in `fit`.
        """
        check_is_fitted(self)
        Z = self.schema_.encode(self._validate(X, reset=False))[0]
        self._check_categories(Z, "critic_scores")
        return self._in_chunks(self._module.critic_scores, Z)

    def _check_categories(self, Z, where):
        """Refuse categories that have no code."""
        for j, n_levels in enumerate(self._module.features.n_levels):
            if n_levels is None:
                continue
            (rows,) = np.nonzero(~np.isin(Z[:, j], np.arange(n_levels)))
            if len(rows):
                raise ValueError(
                    f"{where}: row {rows[0]} has a value in {self.schema_.columns_[j].where} that was not seen in fit."
                )

    def _check_continuation(self, Z):
        super()._check_continuation(Z)
        self._check_categories(Z, self._continued_by())

    def _trainer(self, splits, rng, n_threads, continues):
        trainer = super()._trainer(splits, rng, n_threads, continues)
        n_before = 0.0
        if self._is_further_part():
            n_before, trainer.started = self._n_rows, copy.deepcopy(trainer.started)
            for module in trainer.started:
                module.add_rows(splits.Z, splits.counts, n_before)
        self._n_rows = n_before + splits.counts.mean() * (splits.n_train + splits.n_valid)
        return trainer

    def _objective(self):
        return Objective("nearest_neighbour_accuracy", train_name="critic_distance")

    def _training_parameters(self, splits):
        batch_size = self._resolve_batch_size(splits.n_train)
        return super()._training_parameters(splits) | {"batch_size": batch_size}

    def _resolve_batch_size(self, n_train):
        if self.batch_size == "auto":
            size = int(np.clip(n_train // 3, MIN_BATCH, MAX_BATCH))
            return self.pac * max(size // self.pac, 1)
        if self.batch_size % self.pac:
            raise ValueError(
                f"batch_size={self.batch_size} should be a multiple of pac={self.pac}, the rows that the critic sees at "
                "once."
            )
        return self.batch_size

    def _split(self, Z, weight, validation_fraction, seed, device):
        def n_draws(n_train):
            size = self._resolve_batch_size(n_train)
            n_batches = min(N_DRAWS * n_train, MAX_DRAWS) // size
            return size * max(N_BATCHES, n_batches)

        conditions = self._conditions()
        return DrawnSplits(Z, weight, validation_fraction, seed, device, conditions, n_draws)

    def _n_levels(self):
        """Return the number of categories of each column, None of those that are seen as numbers."""
        return tuple(
            n_levels_of(column) if has_few_values(column) else None
            for column in self.schema_.columns_
        )

    def _conditions(self):
        """Return the columns of categories of which one may be given."""
        several = [j for j, n in enumerate(self._n_levels()) if n is not None and n > 1]
        return tuple(several) if self.conditional else ()

    def _builder(self, splits):
        columns, n_levels = self.schema_.columns_, self._n_levels()
        whole = [c.is_whole for c, n in zip(columns, n_levels, strict=True) if n is None]
        sizes = layer_sizes(self.hidden_layer_sizes, "hidden_layer_sizes")

        def build(member, _):
            train = splits.indices(member)[0]
            Z, weight = splits.Z[train], splits.counts[train]
            module = AdversarialPair(
                n_levels,
                min(MAX_KNOTS, len(Z)),
                whole,
                self._conditions(),
                self.n_latents,
                sizes,
                self.pac,
                self.gradient_penalty,
                self.n_critic,
            )
            module.start_from(Z, weight)
            return module

        return build
