"""Classifiers that are densities: naive Bayes, with a tree, and with each column in turn as a parent of all others."""

from numbers import Real
from typing import Any, Literal

import networkx as nx
import numpy as np
from sklearn.utils.validation import check_is_fitted

from sklearn_dgm._sklearn import Interval
from sklearn_dgm._training.parameters import handed_on
from sklearn_dgm.bayes_net._one_dependence import OneDependenceClassifier
from sklearn_dgm.counts.forests import maximum_spanning_forest
from sklearn_dgm.counts.pairs import MAX_PAIRS, blocks_of, mutual_information, starts_of


class NaiveBayesClassifier(OneDependenceClassifier):
    """Naive Bayes for columns of any kind, a classifier and a density.

    ``p(x, y) = p(y) prod_j p(x_j | y)``: given the class, columns are independent. Categories are counted, numbers are
    binned, and missing cells are left out, so that one estimator takes what scikit-learn's five separate classes cannot
    take together. It is also a density of X, ``p(x) = sum_y p(x, y)``, in the manner of
    :class:`sklearn.neighbors.KernelDensity`.

    Parameters
    ----------
    bins : int, str, array-like or dict, default="quantiles"
        How numbers are cut; see :class:`~sklearn_dgm.BayesianNetworkDensity`.
    alpha : float, default=0.5
        Dirichlet pseudo-count of each distribution of cells in a class, spread evenly over them; and of the classes.
    max_iter : int, default=100
        Steps of expectation and maximisation at most, where rows are unlabelled.
    tol : float, default=1e-4
        Change in the log-likelihood, in nats a row, below which these stop.
    categorical_features, integer_features, column_kinds, handle_unknown, bounds
        Kinds of columns, how probable unknown categories are, and where numbers can lie; see
        :class:`~sklearn_dgm.AutoregressiveDensity`. What class a row has does not depend on its unknown categories, nor
        on numbers beyond their bounds.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        The classes.
    class_count_ : ndarray of shape (n_classes,)
        Weight of the rows of each class.
    class_log_prior_ : ndarray of shape (n_classes,)
        Smoothed log-probabilities of the classes.
    n_iter_ : int
        Steps of expectation and maximisation; 1 if all rows are labelled.
    schema_ : ColumnSchema
        Kinds and scales of the columns.
    score_kind_ : {"exact"}
        `score_samples` returns exact log-densities, also of rows with missing cells.
    n_features_in_ : int
        Number of columns seen in `fit`.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Their names, where X has string column names.

    See Also
    --------
    TreeAugmentedNaiveBayesClassifier : Adds a tree over the columns.
    AveragedOneDependenceClassifier : Lets each column in turn be a parent of all others.
    sklearn.naive_bayes.GaussianNB : Normal distributions, for numbers alone.

    References
    ----------
    .. [1] D. D. Lewis, "Naive (Bayes) at forty: The independence assumption in information retrieval", ECML 1998,
       https://doi.org/10.1007/BFb0026666
    .. [2] A. P. Dempster, N. M. Laird, D. B. Rubin, "Maximum likelihood from incomplete data via the EM algorithm",
       Journal of the Royal Statistical Society B 39 (1977)

    Examples
    --------
    >>> import numpy as np
    >>> import pandas as pd
    >>> from sklearn_dgm import NaiveBayesClassifier
    >>> X = pd.DataFrame({"legs": [4, 2, 4, 2, None], "skin": ["fur", "feathers", None, "feathers", "fur"]})
    >>> y = ["cat", "hen", "cat", "hen", "cat"]
    >>> model = NaiveBayesClassifier().fit(X, y)
    >>> model.predict(pd.DataFrame({"legs": [None, 2], "skin": ["fur", None]}))
    array(['cat', 'hen'], dtype='<U3')
    >>> bool(np.isclose(model.score_samples(X.head(1)), model.predict_joint_log_proba(X.head(1)).max(), atol=0.1))
    True
    """

    _counts_pairs = False

    def _forests(self):
        return np.full((1, self.n_features_in_), -1)


class TreeAugmentedNaiveBayesClassifier(OneDependenceClassifier):
    """Naive Bayes with a tree over the columns (TAN), a classifier and a density.

    ``p(x, y) = p(y) prod_j p(x_j | y, x_parent(j))``: beside the class each column has one other column as a parent, in
    the tree of the largest mutual information given the class [1]_. It is also a density of X, in the manner of
    :class:`sklearn.neighbors.KernelDensity`.

    Parameters
    ----------
    bins, alpha, max_iter, tol, categorical_features, integer_features, column_kinds, handle_unknown, bounds
        See :class:`NaiveBayesClassifier`. What a column is given its parent and the class is pulled towards what it is
        given the class, as if five more rows had come from that.

    Attributes
    ----------
    graph_ : networkx.DiGraph
        The tree over the columns; the class is a parent of all of them. Its edges have an attribute `strength`, the
        mutual information of the two columns given the class, in nats.
    classes_, class_count_, class_log_prior_, n_iter_, schema_, score_kind_, n_features_in_, feature_names_in_
        See :class:`NaiveBayesClassifier`.

    See Also
    --------
    AveragedOneDependenceClassifier : Averages over many trees rather than choosing one.
    BayesianNetworkDisplay : Draws the tree.

    References
    ----------
    .. [1] N. Friedman, D. Geiger, M. Goldszmidt, "Bayesian Network Classifiers", Machine Learning 29 (1997),
       https://doi.org/10.1023/A:1007465528199

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklearn.model_selection import cross_val_score
    >>> from sklearn_dgm import TreeAugmentedNaiveBayesClassifier
    >>> X, y = load_iris(return_X_y=True, as_frame=True)
    >>> bool(cross_val_score(TreeAugmentedNaiveBayesClassifier(), X, y).mean() > 0.9)
    True
    >>> model = TreeAugmentedNaiveBayesClassifier().fit(X, y)
    >>> model.graph_.number_of_edges()
    3
    >>> model.sample(2, y=0, random_state=0).shape
    (2, 4)
    """

    _max_pairs = 2 * MAX_PAIRS  # each is held once

    def _forests(self):
        """Return the maximum spanning tree of the mutual information given the class."""
        share = self._counts.classes / self._counts.classes.sum()
        information = mutual_information(self._counts.pairs, self._n_levels)
        self._information = np.tensordot(share, information, 1)
        return maximum_spanning_forest(self._information)[None]

    @property
    def graph_(self):
        """The tree over the columns."""
        check_is_fitted(self)
        labels, (parents,) = [column.label for column in self.schema_.columns_], self._parents
        graph = nx.DiGraph()
        graph.add_nodes_from(labels)
        for j in np.flatnonzero(parents >= 0):
            i = parents[j]
            graph.add_edge(labels[i], labels[j], strength=float(self._information[i, j]))
        return graph


class AveragedOneDependenceClassifier(OneDependenceClassifier):
    """Averaged one-dependence estimators (AODE), a classifier and a density.

    ``p(x, y) = mean over columns i of p(y) p(x_i | y) prod_j p(x_j | y, x_i)``: each column in turn is a parent of all
    others, beside the class, and no structure is searched for [1]_. It is also a density of X, in the manner of
    :class:`sklearn.neighbors.KernelDensity`.

    Parameters
    ----------
    min_frequency : float, default=1
        Rows of weight 1 that must have a cell for it to be a parent. Where a cell is rarer, others depend on the class
        alone. (The paper leaves the column out of the mean then; the mean would be no distribution.)
    bins, alpha, max_iter, tol, categorical_features, integer_features, column_kinds, handle_unknown, bounds
        See :class:`NaiveBayesClassifier`. What a column is given its parent and the class is pulled towards what it is
        given the class, as if five more rows had come from that.

    Attributes
    ----------
    classes_, class_count_, class_log_prior_, n_iter_, schema_, score_kind_, n_features_in_, feature_names_in_
        See :class:`NaiveBayesClassifier`.

    See Also
    --------
    TreeAugmentedNaiveBayesClassifier : One tree, which is faster to ask.

    Notes
    -----
    It holds the counts of all pairs of cells in each class, and asks for all of them: memory grows with the square of
    the cells, the time of a question with that of the columns.

    References
    ----------
    .. [1] G. I. Webb, J. R. Boughton, Z. Wang, "Not So Naive Bayes: Aggregating One-Dependence Estimators", Machine
       Learning 58 (2005), https://doi.org/10.1007/s10994-005-4258-6

    Examples
    --------
    >>> from sklearn.datasets import load_wine
    >>> from sklearn.model_selection import cross_val_score
    >>> from sklearn_dgm import AveragedOneDependenceClassifier
    >>> X, y = load_wine(return_X_y=True)
    >>> bool(cross_val_score(AveragedOneDependenceClassifier(), X, y).mean() > 0.95)
    True
    """

    _parameter_constraints: dict = {
        **OneDependenceClassifier._parameter_constraints,
        "min_frequency": [Interval(Real, 0, None, closed="left")],
    }

    def __init__(
        self,
        *,
        min_frequency: float = 1,
        bins: Any = "quantiles",
        alpha: float = 0.5,
        max_iter: int = 100,
        tol: float = 1e-4,
        categorical_features: Any = "from_dtype",
        integer_features: Any = "from_dtype",
        column_kinds: dict[Any, Any] | None = None,
        handle_unknown: Literal["impossible", "error", "rare"] = "impossible",
        bounds: Any = None,
    ) -> None:
        super().__init__(**handed_on(locals(), "min_frequency"))
        self.min_frequency = min_frequency

    @property
    def _min_frequency(self):
        return self.min_frequency

    def _forests(self):
        """Return for each column a graph in which it is the parent of all others."""
        d = self.n_features_in_
        parents = np.tile(np.arange(d)[:, None], d)
        np.fill_diagonal(parents, -1)
        return parents

    def _lay_out_tables(self):
        """Lay out the tables of all columns given each other one."""
        starts = starts_of(self._n_levels)
        n_classes, n_cells, d = len(self.classes_), starts[-1], self.n_features_in_
        tables = np.empty((n_classes, n_cells + n_cells**2))
        tables[:, :n_cells] = self._log_cells
        pairs = tables[:, n_cells:].reshape(n_classes, n_cells, n_cells)
        for block, counts in zip(blocks_of(self._n_levels), self._counts.pairs, strict=True):
            own, later = (
                slice(starts[block.start], starts[block.stop]),
                slice(starts[block.start], None),
            )
            pairs[:, later, own] = self._log_given(np.swapaxes(counts, 1, 2), later, own)
            pairs[:, own, later] = self._log_given(counts, own, later)
        first = n_cells + n_cells * starts[:-1, None] + starts[:-1]
        np.fill_diagonal(first, starts[:-1])
        return tables, first, n_cells * (1 - np.eye(d, dtype=np.intp))
