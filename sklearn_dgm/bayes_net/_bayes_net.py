"""The Bayesian network over columns, with tables and networks for its conditionals."""

from numbers import Integral, Real
from typing import Any, Literal

from sklearn_dgm._sklearn import Interval, StrOptions
from sklearn_dgm._training.masked import MaskedNetworkDensity
from sklearn_dgm._training.parameters import describe_training, handed_on
from sklearn_dgm._typing import RandomState
from sklearn_dgm.bayes_net._learning import BayesNetLearningMixin
from sklearn_dgm.bayes_net._queries import BayesNetQueriesMixin


@describe_training
class BayesianNetworkDensity(BayesNetQueriesMixin, BayesNetLearningMixin):
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
        as it is counted in few cells, those of the search, less what would be there by chance. Where a network computes
        the child, the rows are those of `fit`, or of the sample.
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

    X may be a table that is read a chunk at a time: a sample of 131,072 rows settles the graph, the cells and which
    conditionals are tables. Tables count all rows; all rows but those that validate, which are of the sample, train a
    network in a stream.

    `partial_fit` learns from further rows: tables count them, and a network trains on them in ten passes. The first
    rows settle the graph, the cells, which conditionals are tables and how numbers are distributed within a cell;
    strengths of edges between tables follow from the counts of all rows, in the few cells of the first. With
    ``conditional="table"`` rows in several calls are as rows in one, and `merge` adds the counts of two densities of
    one graph and the same cells.

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
        "structure",
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

    @property
    def n_params_(self):
        """Number of free parameters: probabilities of the tables, connections and biases of the network."""
        network = self._module.members_given(None)[0].network
        of_tables = sum(table.n_params for table in self._tables.values())
        return of_tables + (network.n_params if network else 0)
