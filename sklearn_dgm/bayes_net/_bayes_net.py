"""The Bayesian network over columns, with tables and networks for its conditionals."""

from functools import partial
from numbers import Integral, Real
from typing import Any, Literal, Self

import networkx as nx
import numpy as np
import torch
from numpy.typing import ArrayLike
from scipy.special import logsumexp
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import check_is_fitted

from sklearn_dgm._queries.conditioning import N_PREDICTION_PARTICLES, ConditionalMixin
from sklearn_dgm._sklearn import Interval, StrOptions
from sklearn_dgm._training.factors import NetworkFactors
from sklearn_dgm._training.masked import MaskedNetworkDensity
from sklearn_dgm._training.missing import first_completion
from sklearn_dgm._training.parameters import describe_training, handed_on
from sklearn_dgm._training.splits import as_counts
from sklearn_dgm._training.variables import outline_of, variables_of
from sklearn_dgm._typing import MatrixLike, RandomState
from sklearn_dgm._validation import check_generator
from sklearn_dgm.bayes_net._export import to_pgmpy
from sklearn_dgm.bayes_net._inference import Inference
from sklearn_dgm.bayes_net._structure import adjacency_of, search
from sklearn_dgm.columns import like_frame
from sklearn_dgm.columns._bulk import REACH
from sklearn_dgm.counts.axes import CategoryAxis, axes_of, merged_cells
from sklearn_dgm.counts.forests import maximum_spanning_forest
from sklearn_dgm.counts.pairs import (
    MAX_PAIRS,
    PairCounter,
    blocks_of,
    check_number_of_pairs,
    mutual_information,
)
from sklearn_dgm.counts.sufficient import CountsMixin
from sklearn_dgm.counts.tables import CountsOfTables, Table, TableCounts, edge_strength
from sklearn_dgm.nn.bayes_net import BayesNet
from sklearn_dgm.nn.common_numbers import common_uniforms
from sklearn_dgm.nn.completion import Completions, n_outcomes
from sklearn_dgm.nn.config import module_of_state, state_of
from sklearn_dgm.nn.start import start_from

# What passes through the network at once is bounded.
NUMBERS_AT_ONCE = 2**22
# Attributes that a fit without networks does not have.
OF_NETWORKS = ("net_", "history_", "n_iter_", "objective_", "_setting")
# With so many rows for each of its free probabilities a table is as good as a network.
ROWS_PER_PROBABILITY = 10


def _is_counted(density):
    """Refuse, as a check of attributes, conditionals that networks may compute."""
    if density.conditional != "table":
        raise AttributeError(
            f"networks may compute conditionals, but tables alone are counted; set conditional='table' in place of "
            f"{density.conditional!r}"
        )
    return True


@describe_training
class BayesianNetworkDensity(CountsMixin, ConditionalMixin, MaskedNetworkDensity):
    """Density from a Bayesian network over the columns, whose graph is given or learnt.

    ``log p(x) = sum_j log p(x_j | parents of x_j)``, with the parents of a directed acyclic graph. A conditional is a
    table of smoothed counts, or part of a masked network that computes all of them in one pass, each from its parents
    alone, and is trained by maximum likelihood as that of :class:`~sklearn_dgm.AutoregressiveDensity` is, whose graph
    is complete. What a graph saves in parameters it can spend on fewer rows, and what it leaves out can be read:
    columns are independent of those that are not their descendants, given their parents.

    Parameters
    ----------
    structure : {"learn", "chow-liu", "empty"}, networkx.DiGraph, list of edges or adjacency matrix, default="learn"
        The graph. "learn" searches for the best one by hill climbing with a tabu list, from the tree, on categories and
        a few cells of numbers (three, or more in large tables). Tables are to be best by the Bayesian information
        criterion, networks, which do not pay for each cell of a table, by that of Akaike. "chow-liu" is the tree of
        highest likelihood [1]_; "empty" has no edges. A graph has columns as nodes, by name or index; edges are pairs
        ``(parent, child)``; a matrix is 1 at [i, j] where column i is a parent of column j. (Two lists of two entries
        are taken for edges, an array of them for a matrix.)
    max_parents : int, default=5
        Parents of a column at most, where the graph is learnt.
    conditional : {"auto", "network", "table"}, default="auto"
        What conditionals are: parts of a network, for columns of any kind; tables, in which numbers are binned; or a
        table where column and parents are categories, or whole numbers of few values, with ten rows or more for each
        cell of the table, and parts of a network elsewhere.
    bins : int, str, array-like or dict, default="quantiles"
        How tables cut numbers: a number of equal bins, "quantiles" (as many bins of equal
        weight as the cube root of the rows), one of the other rules of :class:`~sklearn_dgm.HistogramDensity`, or an
        array of edges; or a list of these with an entry for each column, or a dict by column name or index. Whole
        numbers of at most 20 values have a cell each, unless edges are given. Within a bin, numbers are distributed as
        in all rows, and beyond the outer edges with exponential tails, up to the
        `bounds` of the column.
    alpha : float, default=0.5
        Dirichlet pseudo-count of each distribution in a table, spread evenly over its cells.
    hidden_layer_sizes, activation, n_components, dropout
        The network; see :class:`~sklearn_dgm.AutoregressiveDensity`. As a conditional has few parents here, layers are
        narrower, training is shorter and dropout is not tried out.
    $training_parameters
    categorical_features, integer_features, column_kinds, handle_unknown, bounds
        Kinds of columns, what unknown categories are, and where numbers can lie; see
        :class:`~sklearn_dgm.AutoregressiveDensity`.

    Attributes
    ----------
    graph_ : networkx.DiGraph
        The graph. Its nodes are the columns, in their order, with an attribute `conditional`, "table" or "network". Its
        edges have an attribute `strength`: the mutual information of child and parent given the other parents, in nats,
        as it is counted in few cells, those of the search, less what would be there by chance.
    n_params_ : int
        Number of free parameters: probabilities of the tables, connections and biases of the network.
    net_ : skorch.NeuralNet
        The net, if there is a network.
    history_ : list of dict
        Its epochs; see :class:`~sklearn_dgm.AutoregressiveDensity`.
    n_iter_ : int
        Number of epochs.
    objective_ : Objective
        What `history_` is of; see :class:`~sklearn_dgm.AutoregressiveDensity`.
    dropout_ : float
        Share of hidden units dropped in training.
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
    AutoregressiveDensity : The complete graph, in several orders.
    TreeAugmentedNaiveBayesClassifier : A tree in each class, for classification.
    BayesianNetworkDisplay : Draws the graph.

    Notes
    -----
    The reference measure is the Lebesgue measure on continuous columns and the counting measure on integer and
    categorical ones; kinds of columns are those of :class:`~sklearn_dgm.AutoregressiveDensity`.

    Cells may be missing (NaN, None, NA, NaT, null). In `fit`, tables leave out the rows of which they need a missing
    cell; the network draws such cells anew for each pass; and the search for a graph sees them filled in by chained
    equations. A row with missing cells scores the exact marginal of its observed ones, by variable elimination. That is
    impossible where a network asks for a missing number, unless it is whole and of few values, and where the sum goes
    over too large a table (65,536 cells); a ValueError says so. Cells of which nothing observed descends are no
    trouble. :meth:`conditional_sample` and :meth:`predict_column` answer in any case, by weighted draws where there is
    no exact answer. A missing category is taken for one of the known ones.

    Where rows validate a network, a graph is learnt from the others, or it would seem to fit them: on noise any graph
    does. Tables are of all rows in the end.

    With ``conditional="table"``, X may be a table that is read a chunk at a time: a sample of 131,072 rows settles the
    graph and the cells, and all rows are counted.

    With ``conditional="table"`` the counts of parts of the rows add up: `partial_fit` counts further rows, and `merge`
    adds the counts of two densities of one graph and the same cells. The first rows settle the graph, the cells and how
    numbers are distributed within these; strengths of edges follow from the counts of all rows, in the few cells of the
    first.

    The graph says what is independent of what, not what causes what.

    References
    ----------
    .. [1] C. Chow, C. Liu, "Approximating discrete probability distributions with dependence trees", IEEE Transactions
       on Information Theory 14 (1968), https://doi.org/10.1109/TIT.1968.1054142
    .. [2] D. Koller, N. Friedman, "Probabilistic Graphical Models", MIT Press, 2009

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_dgm import BayesianNetworkDensity
    >>> rng = np.random.default_rng(0)
    >>> rain = rng.random(1000) < 0.3
    >>> sprinkler = rng.random(1000) < np.where(rain, 0.05, 0.4)
    >>> wet = rng.random(1000) < np.where(rain | sprinkler, 0.95, 0.05)
    >>> X = np.column_stack([rain, sprinkler, wet])
    >>> density = BayesianNetworkDensity([(0, 1), (0, 2), (1, 2)]).fit(X)
    >>> np.exp(density.score_samples(np.array([[None, None, True]]))).round(2)  # how often it is wet
    array([0.6])
    >>> density.predict_column(np.array([[None, True, True]]), 0).probabilities.round(2)  # dry or rainy, given both
    array([[0.95, 0.05]])
    >>> density.graph_.nodes[2], density.n_params_
    ({'conditional': 'table'}, 7)
    """

    _parameter_constraints: dict = {
        **MaskedNetworkDensity._parameter_constraints,
        "structure": "no_validation",
        "max_parents": [Interval(Integral, 0, None, closed="left")],
        "conditional": [StrOptions({"network", "table", "auto"})],
        "bins": [Interval(Integral, 1, None, closed="left"), str, "array-like", dict],
        "alpha": [Interval(Real, 0, None, closed="left")],
    }
    _n_steps = 5
    _shape_params = (
        *MaskedNetworkDensity._shape_params,
        "max_parents",
        "conditional",
        "bins",
        "alpha",
    )

    def __init__(
        self,
        structure: Any = "learn",
        *,
        max_parents: int = 5,
        conditional: Literal["auto", "network", "table"] = "auto",
        bins: Any = "quantiles",
        alpha: float = 0.5,
        hidden_layer_sizes: Any = (128, 128),
        activation: Literal["relu", "tanh", "silu", "gelu"] = "relu",
        n_components: int = 8,
        dropout: Literal["auto"] | float = 0.2,
        max_epochs: int = 500,
        lr: float = 5e-3,
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
        bounds: Any = None,
    ) -> None:
        super().__init__(
            **handed_on(locals(), "structure", "max_parents", "conditional", "bins", "alpha")
        )
        self.structure = structure
        self.max_parents = max_parents
        self.conditional = conditional
        self.bins = bins
        self.alpha = alpha

    def _fit(self, Z, sample_weight):
        if self._continues():
            self._check_same_graph()
        else:
            self._forget_networks()
            if self.conditional == "table":
                CountsMixin._fit(self, Z, sample_weight)
                return
        MaskedNetworkDensity._fit(self, Z, sample_weight)

    def _forget_networks(self):
        """Drop what an earlier fit may have had."""
        for name in OF_NETWORKS:
            vars(self).pop(name, None)

    def _check_takes_chunks(self):
        if self.conditional != "table":
            raise TypeError(
                "BayesianNetworkDensity counts a table that is read a chunk at a time, but networks learn from tables in "
                f"memory alone; set conditional='table' in place of {self.conditional!r}, or hand in a sample of the rows."
            )

    def _fit_chunks(self, rows):
        self._forget_networks()
        self._settle(*rows.sample)
        of_all = {"mean": rows.mean_weight, "largest": rows.largest_weight}
        self._set_counts(rows.total(partial(self._count, **of_all)))

    def _n_members(self):
        return 1 if self._targets else 0

    def _settle(self, Z, sample_weight):
        """Settle the graph and the cells of tables, without a network."""
        columns, Z, weight = (
            self.schema_.columns_,
            Z.clip(-REACH, REACH),
            _counts_of(Z, sample_weight),
        )
        self._settle_graph(Z, weight)
        outlines = [outline_of(column, z, weight) for column, z in zip(columns, Z.T, strict=True)]
        variables = variables_of(columns, Z, weight, outlines)
        self._tables_alone = BayesNet(variables, self._adjacency, None).double()

    def _settle_graph(self, Z, weight):
        """Settle cells, the graph, and which conditionals are not held in tables; return the cells of rows."""
        codes = self._settle_cells(Z, weight)
        self._adjacency = self._resolve_structure(Z, codes, weight)
        self._fitted_structure = self.structure if isinstance(self.structure, str) else None
        self._targets = [j for j in range(Z.shape[1]) if not self._is_table(j, weight.sum())]
        return codes

    def _settle_cells(self, Z, weight):
        """Settle the cells of the columns, and the few that the search sees; return those of rows."""
        self._axes = axes_of(self.schema_.columns_, Z, weight, self.bins)
        codes = self._codes(Z)
        self._merged = self._merged_cells(codes, weight)
        return codes

    def _merged_cells(self, codes, weight):
        return [
            merged_cells(axis, code, weight) for axis, code in zip(self._axes, codes.T, strict=True)
        ]

    def _prepare(self, splits):
        """Settle the graph, and hold in tables what these are to hold."""
        # A network is to be judged by rows that had no say in the choice of its parents.
        rows = splits.to_learn_from(0)
        Z, weight = splits.Z[rows], splits.counts[rows]
        codes = self._settle_graph(Z, weight)
        self._learn_tables(self._count_codes(codes, weight), codes, weight)

    def _finish(self, splits):
        columns = self.schema_.columns_
        if splits.n_valid:
            codes, weight = self._settle_cells(splits.Z, splits.counts), splits.counts
            self._learn_tables(self._count_codes(codes, weight), codes, weight)
        if not self._targets:
            variables = variables_of(columns, splits.Z, splits.counts, splits.outlines)
            self._tables_alone = BayesNet(variables, self._adjacency, None).double()
        self._hand_out_tables()

    def _hand_out_tables(self):
        """Give the module its tables, which are no part of its state."""
        for member in self._module.members_given(None):
            member.tables = self._tables

    def _to_state(self):
        return self._with_plain_tables(super()._to_state())

    def _set_state(self, state):
        super()._set_state(state)
        self._hand_out_plain_tables(state)

    def __getstate__(self):
        # Without networks there is nothing of torch in a pickle, which skops could not read.
        return self._with_plain_tables(super().__getstate__())

    def __setstate__(self, state):
        super().__setstate__(state)
        self._hand_out_plain_tables(state)

    def _with_plain_tables(self, state):
        if "_tables_alone" not in state:
            return state
        return {**state, "_tables_alone": state_of(self._tables_alone)}

    def _hand_out_plain_tables(self, state):
        if "_tables_alone" in state:
            self._tables_alone = module_of_state(state["_tables_alone"])
        if "_tables" in state:
            self._hand_out_tables()

    def _count(self, Z, sample_weight, **of_all):
        """Count the cells of rows in tables; see :func:`_counts_of`."""
        return self._count_codes(self._codes(Z), _counts_of(Z, sample_weight, **of_all))

    def _count_codes(self, codes, weight):
        """Count in tables what is no target of the network."""
        return CountsOfTables(
            {
                j: TableCounts.of(self._axes, j, np.flatnonzero(parents), codes, weight)
                for j, parents in enumerate(self._adjacency.T)
                if j not in self._targets
            }
        )

    def _set_counts(self, counts):
        self._learn_tables(counts)
        self._hand_out_tables()

    def _learn_tables(self, counts, codes=None, weight=None):
        """Take over counts, and what follows: tables, and strengths of edges, in networks from the cells of rows."""
        self._counts = counts
        self._tables = {
            j: Table(self._axes, j, np.flatnonzero(self._adjacency[:, j]), of_column, self.alpha)
            for j, of_column in counts.tables.items()
        }
        self.graph_ = self._named_graph(codes, weight)

    def _cells(self):
        columns = self.schema_.columns_
        return [(axis, c.location, c.scale) for axis, c in zip(self._axes, columns, strict=True)]

    def _check_same_cells(self, other):
        super()._check_same_cells(other)
        if not np.array_equal(self._adjacency, other._adjacency):
            raise ValueError("the models have different graphs; hand both the same structure.")

    @available_if(_is_counted)
    def partial_fit(
        self,
        X: MatrixLike,
        y: Any = None,
        sample_weight: ArrayLike | None = None,
        *,
        schema: Any = None,
    ) -> Self:
        """Count further rows, if all conditionals are tables.

        The first call settles the graph and the cells, as :meth:`fit` does. Categories that it has not seen are not
        counted, as if their cells were missing, and with ``handle_unknown="error"`` they raise; numbers beyond its
        range are counted in the outer cells.

        Parameters
        ----------
        X : {array-like, DataFrame} of shape (n_samples, n_features)
            Rows to count.
        y : None
            Ignored, present for API consistency by convention.
        sample_weight : array-like of shape (n_samples,), default=None
            Non-negative weights. Shares, which are all below one, are scaled to a mean of one, in each call.
        schema : ColumnSchema, default=None
            In the first call, what :meth:`learn_schema` has learnt from more rows than these, so that categories and
            ranges to come are known.

        Returns
        -------
        self : estimator
            The density of all rows so far.

        Raises
        ------
        ValueError
            If a row is impossible under the density so far (a number beyond its bounds, no whole number in an integer
            column), networks were fitted before, or a schema is handed in later than in the first call; nothing is
            counted then.
        TypeError
            If X is to be read a chunk at a time; this is what :meth:`fit` does.
        """
        if getattr(self, "_targets", ()):
            raise ValueError(
                "partial_fit counts in tables, but the previous fit has a network; call fit first."
            )
        return super().partial_fit(X, y, sample_weight, schema=schema)

    @available_if(_is_counted)
    def merge(self, other: Self) -> Self:
        """Merge the counts of two densities that have the same graph and cells; see :meth:`CountsMixin.merge`.

        Parameters
        ----------
        other : BayesianNetworkDensity
            A fitted density of tables.

        Returns
        -------
        merged : estimator
            Equal to one with the parameters of `self`, fit on all rows in these cells; `self` and `other` stay as they
            are.

        Raises
        ------
        TypeError
            If `other` is of another class.
        ValueError
            If graphs or cells differ; the message names the column.
        """
        return super().merge(other)

    def _check_same_graph(self):
        """Refuse another graph than that of the fit which `warm_start` continues; a learnt one is kept."""
        if isinstance(self.structure, str):
            is_same = self.structure == self._fitted_structure
        elif self._fitted_structure is not None:
            is_same = False
        else:
            labels = [column.label for column in self.schema_.columns_]
            is_same = np.array_equal(adjacency_of(self.structure, labels), self._adjacency)
        if not is_same:
            raise ValueError(
                "warm_start continues with the graph of the previous fit, but structure is another one now; set "
                "warm_start=False to start anew."
            )

    def _codes(self, Z):
        return np.stack(
            [axis.encode(z)[0] for axis, z in zip(self._axes, Z.T, strict=True)], axis=1
        )

    def _resolve_structure(self, Z, codes, weight):
        """Return the adjacency matrix of the graph."""
        labels = [column.label for column in self.schema_.columns_]
        if not isinstance(self.structure, str):
            return adjacency_of(self.structure, labels)
        adjacency = np.zeros((len(labels), len(labels)), dtype=bool)
        n_levels = np.array([axis.n_levels for axis in self._axes])
        if self.structure == "chow-liu":
            check_number_of_pairs(self.schema_.columns_, n_levels, most=2 * MAX_PAIRS)
            counter = PairCounter(codes, n_levels, weight)
            information = mutual_information(map(counter.counts, blocks_of(n_levels)), n_levels)
            parents = maximum_spanning_forest(information)
            (children,) = np.nonzero(parents >= 0)
            adjacency[parents[children], children] = True
        elif self.structure == "learn":
            merged = self._merged
            if np.isnan(Z).any():
                rng = check_generator(self.random_state)
                codes = self._codes(first_completion(self.schema_.columns_, Z, weight, rng))
                merged = self._merged_cells(codes, weight)
            codes, n_levels = _in_few_cells(codes, merged), _numbers_of_cells(merged)
            # Networks do not pay for each cell of a table.
            criterion = "bic" if self.conditional == "table" else "aic"
            adjacency = search(codes, np.array(n_levels), self.max_parents, weight, criterion)
        elif self.structure != "empty":
            raise ValueError(
                "structure should be 'empty', 'chow-liu', 'learn', a networkx.DiGraph, a list of edges or an adjacency "
                f"matrix, got {self.structure!r}."
            )
        return adjacency

    def _is_table(self, j, n_rows):
        if self.schema_.columns_[j].constant:
            return True
        if self.conditional != "auto":
            return self.conditional == "table"
        family = [self._axes[i] for i in [j, *np.flatnonzero(self._adjacency[:, j])]]
        if not all(isinstance(axis, CategoryAxis) or axis.is_one_each for axis in family):
            return False
        n_probabilities = np.prod([float(axis.n_levels) for axis in family])
        return ROWS_PER_PROBABILITY * n_probabilities <= n_rows

    def _named_graph(self, codes, weight):
        graph, labels = nx.DiGraph(), [column.label for column in self.schema_.columns_]
        for j, label in enumerate(labels):
            graph.add_node(label, conditional="table" if j in self._tables else "network")
        for j, label in enumerate(labels):
            parents = np.flatnonzero(self._adjacency[:, j]).tolist()
            if not parents:
                continue
            family = [*parents, j]
            merged = [self._merged[i] for i in family]
            if j in self._tables:
                few, of_rows = self._counts.tables[j].merged(merged)
            else:
                few, of_rows = _in_few_cells(codes[:, family], merged), weight
            n_levels = _numbers_of_cells(merged)
            for place, i in enumerate(parents):
                others = [k for k in range(len(parents)) if k != place]
                strength = edge_strength(few, n_levels, of_rows, place, len(parents), others)
                graph.add_edge(labels[i], label, strength=strength)
        return graph

    def _builder(self, splits):
        def settings(dropout):
            params = self._network_params(dropout, "logistic", splits.counts)
            if not self._adjacency[:, self._targets].any():  # hidden units would see nothing
                params = ((), *params[1:])
            return params

        learn = self._learner(splits, settings, lambda member: self._adjacency, self._targets)

        def build(member, setting):
            new_network, learnt, regressed = learn(member)
            network = new_network(setting.dropout)
            start_from(network, learnt, regressed)
            return BayesNet(network.variables, self._adjacency, network, self._tables)

        return build

    @property
    def _module(self):
        return self.net_.module_ if hasattr(self, "net_") else self._tables_alone

    def _factors(self):
        """Return the conditionals of the columns, as :class:`~sklearn_dgm._queries.factors.Factors`."""
        of_tables = [table.log_p for table in self._tables.values()]
        of_axes = [part for axis in self._axes for part in vars(axis).values()]
        others = [*of_tables, *of_axes]
        return NetworkFactors(self._module, self._module_device(), self._rows_at_once(), others)

    @property
    def n_params_(self):
        """Number of free parameters: probabilities of the tables, connections and biases of the network."""
        network = self._module.members_given(None)[0].network
        of_tables = sum(table.n_params for table in self._tables.values())
        return of_tables + (network.n_params if network else 0)

    def _inference(self):
        return Inference(
            self.schema_.columns_,
            self._adjacency,
            self._axes,
            self._tables,
            self._log_density_features,
        )

    def _log_density(self, Z):
        log_p, is_gap = np.empty(len(Z)), np.isnan(Z).any(axis=1)
        if is_gap.any():
            log_p[is_gap] = self._inference().log_marginal(Z[is_gap], np.flatnonzero(is_gap))
        if not is_gap.all():
            log_p[~is_gap] = super()._log_density(Z[~is_gap])
        return log_p

    def _completions(self, Z, n_particles, rng=None):
        """Return weighted completions; of rows whose marginals are exact, independent draws."""
        inference = self._inference()
        z = torch.tensor(Z)
        is_drawn = n_outcomes(self._module, z, n_particles).numpy() == 0
        is_drawn[is_drawn] = inference.is_exact(Z[is_drawn])
        (others,), (drawn,) = np.nonzero(~is_drawn), np.nonzero(is_drawn)
        for part in super()._completions(Z[others], n_particles, rng):
            yield part._replace(rows=others[part.rows])
        step = max(NUMBERS_AT_ONCE // (n_particles * Z.shape[1]), 1)
        for start in range(0, len(drawn), step):
            rows = drawn[start : start + step]
            filled, log_marginal = self._exact_draws(inference, Z[rows], n_particles, rng)
            log_weight = np.tile(log_marginal[:, None] - np.log(n_particles), n_particles)
            ess = np.full(len(rows), float(n_particles))
            yield Completions(rows, filled, log_weight, ess)

    def _exact_draws(self, inference, Z, n_draws, rng):
        """Draw missing cells given observed ones, of shape (n, n_draws, d); with the log-marginals of these."""
        n, d = Z.shape

        if rng is None:  # the same for every row
            numbers = np.tile(common_uniforms(n_draws, 2 * d).numpy(), (n, 1))
        else:
            numbers = rng.random((n * n_draws, 2 * d))
        rows, log_marginal = inference.draw(np.repeat(Z, n_draws, axis=0), numbers[:, :d])
        device = self._module_device()
        z, u = (torch.tensor(x, device=device) for x in (rows, numbers[:, d:]))
        # Nothing observed descends from what is missing still.
        filled = self._module.members_given(None)[0].fill(z, u)[0]
        return filled.cpu().numpy().reshape(n, n_draws, d), log_marginal[::n_draws]

    def _log_density_at(self, z, Z, j):
        """Return the log-density of each row with each of its values in a column; an estimate where it is not exact."""
        gap, result = Z.copy(), np.full(z.shape, -np.inf)
        gap[:, j] = z[:, 0]
        is_exact = self._inference().is_exact(gap)
        if is_exact.any():
            result[is_exact] = super()._log_density_at(z[is_exact], Z[is_exact], j)
        (rows,) = np.nonzero(~is_exact)
        gap[:, j] = np.nan
        for part in self._completions(gap[rows], N_PREDICTION_PARTICLES):
            is_value = part.z[:, :, j, None] == z[rows[part.rows]][:, None]
            weighed = np.where(is_value, part.log_weight[..., None], -np.inf)
            result[rows[part.rows]] = logsumexp(weighed, axis=1)
        return result

    def marginal(self, columns: Any) -> Any:
        """Return the density of some of the columns; see :meth:`AutoregressiveDensity.marginal`.

        Parameters
        ----------
        columns : array-like of str or int
            Names or indices, in the order in which the marginal is to have them.

        Returns
        -------
        density : estimator
            A fitted density of tables with these columns, with exact scores.

        Raises
        ------
        ValueError
            If `columns` is empty, holds a column twice or one that is none of `fit`, or the marginal is not exact.
        """
        part = super().marginal(columns)
        probe = np.full((1, self.n_features_in_), np.nan)
        probe[:, part.columns] = 0.0
        if not self._inference().is_exact(probe).all():
            raise ValueError(
                f"There is no exact marginal of {list(columns)}: of the other columns, a network asks for numbers, "
                "or the sum goes over too large a table. Set conditional='table', or draw rows with sample."
            )
        return part

    def score_features(self, X: MatrixLike) -> MatrixLike:
        """Return the log-density of each column given its parents.

        Parameters
        ----------
        X : {array-like, DataFrame} of shape (n_samples, n_features)
            Rows to score.

        Returns
        -------
        log_density : {ndarray, DataFrame} of shape (n_samples, n_features)
            Conditional log-densities in nats, in the units of X, with column names and index if X is a DataFrame. The
            sums of the rows are `score_samples(X)`. If cells of X are missing, these have 0, and the others their
            density given the observed ones before them in topological order.

        Raises
        ------
        ValueError
            If there is no exact marginal of a row with missing cells.
        """
        check_is_fitted(self)
        X = self._validate(X, reset=False)
        Z = self.schema_.encode(X)[0]
        scores, is_gap = np.empty(Z.shape), np.isnan(Z).any(axis=1)
        if is_gap.any():
            scores[is_gap] = self._shares_of_marginal(Z[is_gap], np.flatnonzero(is_gap))
        if not is_gap.all():
            scores[~is_gap] = self._log_density_features(Z[~is_gap])
        return like_frame(scores + self.schema_.log_det_features(Z), X)

    def _shares_of_marginal(self, Z, places):
        """Return the log-density of each observed cell given those before it in topological order.

        Errors call the rows by their places in the whole table.
        """
        scores, inference = np.zeros(Z.shape), self._inference()
        so_far, before = np.full_like(Z, np.nan), np.zeros(len(Z))
        for j in nx.topological_sort(nx.DiGraph(self._adjacency)):
            so_far[:, j] = Z[:, j]
            after = inference.log_marginal(so_far, places)
            scores[:, j] = np.where(np.isneginf(after), after, after - before)
            before = after
        return scores

    def to_pgmpy(self) -> Any:
        """Hand the network over to pgmpy, for exact queries, reasoning about causes, and export.

        Returns
        -------
        network : pgmpy.models.DiscreteBayesianNetwork
            The same graph, with columns as nodes. The states of a column are its categories, its whole numbers, or its
            bins, as strings.

        Raises
        ------
        ImportError
            If pgmpy is not installed.
        ValueError
            If a network computes the conditional of a number, or one given a number, that is not whole and of few
            values; or a table would have more than a million entries.
        """
        check_is_fitted(self)
        return to_pgmpy(self.schema_.columns_, self._adjacency, self._axes, self._inference())


def _in_few_cells(codes, merged):
    """Return cells of columns, -1 where missing, as merged ones."""
    few = [np.append(of_cell, -1)[code] for of_cell, code in zip(merged, codes.T, strict=True)]
    return np.stack(few, axis=1)


def _numbers_of_cells(merged):
    return [int(of_cell.max(initial=-1)) + 1 for of_cell in merged]


def _counts_of(Z, sample_weight, **of_all):
    """Return how many rows each row stands for; see :func:`~sklearn_dgm._training.splits.as_counts`."""
    return np.ones(len(Z)) if sample_weight is None else as_counts(sample_weight, **of_all)
