"""The normalising flow: a density that is a normal distribution, transformed."""

from functools import lru_cache
from numbers import Integral
from typing import Any, Literal

import numpy as np
import torch

from sklearn_dgm._queries.given import GivenMixin
from sklearn_dgm._queries.normal_scores import NormalScoresMixin
from sklearn_dgm._sklearn import Interval, StrOptions
from sklearn_dgm._training.parameters import describe_training, handed_on
from sklearn_dgm._training.tables import TableNetworkDensity
from sklearn_dgm._training.variables import variables_of
from sklearn_dgm._typing import RandomState
from sklearn_dgm.base import BaseEstimatedDensity
from sklearn_dgm.nn.better_start import better_regressed
from sklearn_dgm.nn.flows import Flow, FlowMixture
from sklearn_dgm.nn.inputs import TableInputs
from sklearn_dgm.nn.made import MADE
from sklearn_dgm.nn.moments import moments
from sklearn_dgm.nn.start import start_from
from sklearn_dgm.nn.transforms import require_zuko
from sklearn_dgm.tags import DensityTags

# The masked network of categories: its activation, the components of mixtures, their family, and its dropout.
NETWORK_OF_CATEGORIES = ("relu", 8, "logistic", 0.2)


@describe_training
class FlowDensity(
    NormalScoresMixin,
    GivenMixin,
    BaseEstimatedDensity,
    TableNetworkDensity,
):
    """Density from a normalising flow.

    ``log p(x) = log q(f(x)) + log |det f'(x)|``, with independent normals `q` and a function `f` that has an inverse:
    a chain of transforms, in each of which a masked network says, for every column, what becomes of it given those
    before it (MAF [1]_, with splines NSF [2]_; of zuko, ``pip install "sklearn-dgm[flow]"``). Numbers are standardised
    before, and whitened after the transforms (or before, if they all but determine each other), which start as the
    identity, so that training starts from the Gaussian with a shrunk covariance and has to learn only what this
    misses. Flows are at their best on numbers that depend on each other smoothly.

    Categories, numbers of few values and columns in which single values repeat have a masked network, as that of
    :class:`~sklearn_dgm.AutoregressiveDensity`; the flow is that of the other numbers given these. Counts and rounded
    numbers are spread over their cells [3]_: the probability of a cell is the mean density in it.

    Parameters
    ----------
    transformation : {"spline", "affine", "bernstein"}, default="spline"
        What a transform does to a number: a monotonic rational-quadratic spline, a shift and a scale, or a Bernstein
        polynomial [4]_. An affine flow of a single column is a normal distribution.
    n_transforms : int, default=3
        Number of transforms.
    hidden_layer_sizes : array-like of int or int, default=(128, 128)
        Units of each hidden layer of the network of a transform.
    coupling : bool, default=False
        Whether a transform leaves one half of the columns as it is, and the other half depends on that alone. Draws
        take two passes for each transform then, not one for each column. On one split of each table, in nats a row,
        it cost 3.85 on breast_cancer (24 columns), 0.45 on vowels (12), 0.50 on boston_housing (5) and nothing on
        kin8nm (8).
    n_bins : int, default=8
        Bins of a spline; half the degree of a polynomial.
    base : {"normal", "student"}, default="normal"
        Distribution that rows are transformed to; "student" has degrees of freedom that are learnt, for heavy tails
        [5]_. With "normal", too, standardised numbers beyond 5 enter by their logarithm: tails of a log-normal.
    n_flows : int, default=1
        Number of flows, trained with other validation rows each, of which the density is the mean.
    given : array-like of str or int, default=None
        Columns, by name or index, that scores and draws are conditional on, which have no density themselves. There is
        `conditional_sample` in place of `sample` then. Given a category that `fit` has not seen, or a fraction in a
        column of integers, scores are what the network makes of it, but nothing is drawn.
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
        The net, with the best weights.
    history_ : list of dict
        Its epochs; see :class:`~sklearn_dgm.AutoregressiveDensity`.
    n_iter_ : int
        Number of epochs.
    objective_ : Objective
        What `history_` is of; see :class:`~sklearn_dgm.AutoregressiveDensity`.
    schema_ : ColumnSchema
        Kinds and scales of the columns.
    score_kind_ : {"exact", "estimate"}
        What `score_samples` returns: exact log-densities, or, if the flow has counts or rounded numbers, estimates from
        16 points of each cell, the same for all rows; low in expectation by half of their squared standard error.
    n_features_in_ : int
        Number of columns seen in `fit`.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Their names, where X has string column names.

    See Also
    --------
    AutoregressiveDensity : Takes missing cells, categories and counts as they are, and answers more questions.
    TransformedDensity : With a logit in front of a flow for numbers that have bounds.
    DensityImputer : Fills in missing cells, which a flow takes none of.

    References
    ----------
    .. [1] G. Papamakarios, T. Pavlakou, I. Murray, "Masked Autoregressive Flow for Density Estimation", NeurIPS 2017,
       https://arxiv.org/abs/1705.07057
    .. [2] C. Durkan, A. Bekasov, I. Murray, G. Papamakarios, "Neural Spline Flows", NeurIPS 2019,
       https://arxiv.org/abs/1906.04032
    .. [3] L. Theis, A. van den Oord, M. Bethge, "A note on the evaluation of generative models", ICLR 2016,
       https://arxiv.org/abs/1511.01844
    .. [4] B. Sick, T. Hothorn, O. Dürr, "Deep transformation models", ICPR 2020, https://arxiv.org/abs/2004.00464
    .. [5] M. Laszkiewicz, J. Lederer, A. Fischer, "Marginal Tail-Adaptive Normalizing Flows", ICML 2022,
       https://arxiv.org/abs/2206.10311

    Examples
    --------
    >>> from sklearn.datasets import make_moons
    >>> from sklearn_dgm import FlowDensity
    >>> X, _ = make_moons(400, noise=0.1, random_state=0)
    >>> density = FlowDensity(hidden_layer_sizes=32, max_epochs=10, random_state=0).fit(X)
    >>> density.sample(3, random_state=0).shape
    (3, 2)

    Rows become independent normals, and normals rows:

    >>> import numpy as np
    >>> bool(np.allclose(density.from_normal_scores(density.normal_scores(X)), X))
    True
    """

    _parameter_constraints: dict = {
        **TableNetworkDensity._parameter_constraints,
        "transformation": [StrOptions({"spline", "affine", "bernstein"})],
        "n_transforms": [Interval(Integral, 1, None, closed="left")],
        "coupling": ["boolean"],
        "n_bins": [Interval(Integral, 2, None, closed="left")],
        "base": [StrOptions({"normal", "student"})],
        "n_flows": [Interval(Integral, 1, None, closed="left")],
        "given": ["array-like", None],
    }
    # With 20, of twice the rows, kin8nm ends 0.05 nats lower on validation rows.
    _n_steps = 40
    _density_tags = DensityTags(ties=True)
    _own_params = "transformation n_transforms coupling n_bins base n_flows given"
    _shape_params = (*TableNetworkDensity._shape_params, *_own_params.split())

    def __init__(
        self,
        transformation: Literal["spline", "affine", "bernstein"] = "spline",
        *,
        n_transforms: int = 3,
        hidden_layer_sizes: Any = (128, 128),
        coupling: bool = False,
        n_bins: int = 8,
        base: Literal["normal", "student"] = "normal",
        n_flows: int = 1,
        given: Any = None,
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
    ) -> None:
        super().__init__(**handed_on(locals(), *self._own_params.split()))
        self.transformation = transformation
        self.n_transforms = n_transforms
        self.coupling = coupling
        self.n_bins = n_bins
        self.base = base
        self.n_flows = n_flows
        self.given = given

    def _n_members(self):
        return self.n_flows

    def _combine(self, modules):
        return FlowMixture(modules)

    def _prepare(self, splits):
        require_zuko()
        if self.schema_.given_.all():
            raise ValueError(
                f"All columns are given (n_features={len(self.schema_.given_)}), so that there is none to have a density."
            )

    def _builder(self, splits):
        given = self.schema_.given_
        sizes = self._resolve_hidden_layer_sizes()

        @lru_cache(maxsize=1)
        def learn(member):
            Z, weight = splits.to_start_from(member)
            variables = variables_of(self.schema_.columns_, Z, weight, splits.outlines)
            inputs = TableInputs(variables)
            return variables, inputs, moments(inputs, torch.from_numpy(Z), weight)

        def build(member, _):
            variables, inputs, learnt = learn(member)
            in_network = np.array(
                [v.has_indicators or (bool(v.atoms) and not v.whole) for v in variables]
            )
            numbers = np.flatnonzero(~in_network & ~given).tolist()
            targets = np.flatnonzero(in_network & ~given).tolist()
            discrete = None
            if targets:
                discrete = self._network(
                    variables, targets, sizes, learnt, splits.to_choose_by(member)
                )
            flow = Flow(
                variables,
                numbers,
                np.flatnonzero(in_network | given).tolist(),
                self.transformation,
                self.n_transforms,
                sizes,
                self.coupling,
                self.n_bins,
                self.base,
                discrete,
            )
            if numbers:
                flow.start_from(learnt, inputs)
            return flow

        return build

    def _network(self, variables, targets, sizes, learnt, valid):
        """Make the masked network of the columns beside the flow, each given those before and the given ones."""
        adjacency = np.zeros((len(variables),) * 2, dtype=bool)
        adjacency[np.ix_(targets, targets)] = np.triu(np.ones((len(targets),) * 2, dtype=bool), 1)
        adjacency[np.ix_(self.schema_.given_, targets)] = True

        def network():
            return MADE(variables, adjacency, sizes, *NETWORK_OF_CATEGORIES, targets=targets)

        regressed = frozenset() if valid is None else better_regressed(network, learnt, *valid)
        module = network()
        start_from(module, learnt, regressed)
        return module

    def _fit(self, Z, sample_weight):
        try:
            super()._fit(Z, sample_weight)
        finally:
            if hasattr(self, "net_"):  # a warm start that is interrupted keeps one
                has_cells = any(flow.whole for flow in self._module.members)
                self.score_kind_ = "estimate" if has_cells else "exact"

    def _log_density_and_std(self, Z):
        def of_rows(z):
            return torch.stack(self._module.log_prob_and_std(z), dim=1)

        log_p, std = np.ascontiguousarray(self._in_chunks(of_rows, Z).T)
        return log_p, std

    def _draw_given(self, Z, rng):
        Z = torch.tensor(np.where(self.schema_.given_, Z, 0.0), device=self._module_device())

        def draw(rows, generator):
            return self._module.sample_given(Z[rows.start : rows.stop], generator)

        return self._draw_in_chunks(draw, len(Z), rng)

    def _only_flow(self):
        """Return the flow of all columns, if there is one."""
        if self.n_flows > 1 or self.schema_.given_.any():
            raise ValueError(
                "Normal scores are those of a single flow of all columns; set n_flows=1 and given=None."
            )
        return self._module.members[0]

    def _to_normal(self, Z):
        flow = self._only_flow()
        return flow.base.to_normal(self._in_chunks(lambda z: flow.to_base(*flow.parts(z))[0], Z))

    def _from_normal(self, scores):
        flow = self._only_flow()
        return self._in_chunks(
            lambda base: flow.from_base(base, *flow.parts(base)[1:]), flow.base.from_normal(scores)
        )
