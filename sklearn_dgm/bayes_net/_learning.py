"""How a Bayesian network learns: tables by counting, all other conditionals by training a network."""

from functools import partial
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike
from sklearn.utils.metaestimators import available_if

from sklearn_dgm._training.masked import MaskedNetworkDensity
from sklearn_dgm._training.splits import as_counts
from sklearn_dgm._training.variables import outline_of, variables_of
from sklearn_dgm._typing import MatrixLike
from sklearn_dgm.bayes_net._graph import BayesNetGraphMixin
from sklearn_dgm.columns._bulk import REACH
from sklearn_dgm.counts.sufficient import CountsMixin
from sklearn_dgm.counts.tables import CountsOfTables, Table, TableCounts
from sklearn_dgm.nn.bayes_net import BayesNet
from sklearn_dgm.nn.config import module_of_state, state_of
from sklearn_dgm.nn.start import start_from

# Attributes that a fit without networks does not have.
OF_NETWORKS = ("net_", "history_", "n_iter_", "objective_", "_setting")


def _is_counted(density):
    """Refuse, as a check of attributes, conditionals that networks may compute."""
    if density.conditional != "table":
        raise AttributeError(
            "networks may compute conditionals, but counts of tables alone add up; set conditional='table' in place of "
            f"{density.conditional!r}"
        )
    return True


# Counts come last: unless all conditionals are tables, a fit is that of a network.
class BayesNetLearningMixin(BayesNetGraphMixin, MaskedNetworkDensity, CountsMixin):
    """Mixin of a Bayesian network that fits it: settles the graph, counts tables, and trains a network for the rest."""

    def _fit(self, Z, sample_weight):
        continues = self._continues()
        if not continues:
            self._forget_networks()
            if self.conditional == "table":
                CountsMixin._fit(self, Z, sample_weight)
                return
        if self._is_further_part():
            # Before the network trains, for without a pseudo-count what no table has seen is impossible.
            self._add(self._count(Z, sample_weight))
        super()._fit(Z, sample_weight)
        if continues:
            self._hand_out_tables()  # of which training has copies

    def _fit_chunks(self, rows):
        continues = self._continues()
        if self.conditional == "table" and not continues:
            self._forget_networks()
            self._settle(*rows.sample)
        else:
            super()._fit_chunks(rows)
            if continues or len(rows.sample[0]) == rows.n_rows:
                return
        of_all = {"mean": rows.mean_weight, "largest": rows.largest_weight}
        self._set_counts(rows.total(partial(self._count, **of_all)))

    def _continued_by(self):
        # Of tables alone there is no warm start.
        return super()._continued_by() if hasattr(self, "net_") else "partial_fit"

    def _params_of_shape(self):
        names = super()._params_of_shape()
        if self.conditional != "table":
            return names
        # Tables are smoothed in each call, and have no layers.
        return [
            name for name in names if name not in (*MaskedNetworkDensity._shape_params, "alpha")
        ]

    def _forget_networks(self):
        """Drop what an earlier fit may have had."""
        for name in OF_NETWORKS:
            vars(self).pop(name, None)

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

    def _n_members(self):
        return 1 if self._targets else 0

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

    def partial_fit(
        self,
        X: MatrixLike,
        y: Any = None,
        sample_weight: ArrayLike | None = None,
        *,
        schema: Any = None,
    ) -> Self:
        """Learn from further rows: tables count them, and a network trains on them, in ten passes from its weights.

        The first call is a `fit`: it settles the graph, the cells, and which conditionals are tables. In later calls
        all rows train, at a learning rate that falls from `lr` to zero. Categories that the first call has not seen are
        not counted, as if their cells were missing, and with ``handle_unknown="error"`` they raise; numbers beyond its
        range are counted in the outer cells, and learnt as tails.

        Parameters
        ----------
        X : {array-like, DataFrame} of shape (n_samples, n_features)
            Rows to learn from.
        y : None
            Ignored, present for API consistency by convention.
        sample_weight : array-like of shape (n_samples,), default=None
            Non-negative weights. For a network their ratios within a call count. For tables shares, which are all below
            one, are scaled to a mean of one, in each call.
        schema : ColumnSchema, default=None
            In the first call, what :meth:`learn_schema` has learnt from more rows than these, so that categories and
            ranges to come are known.

        Returns
        -------
        self : estimator
            The density of all rows so far. If a call fails, it is as it was before.

        Raises
        ------
        ValueError
            If a row is impossible under the density so far (a number beyond its bounds, no whole number in an integer
            column), a parameter would change the graph, the cells or a network, or a schema is handed in later than in
            the first call; nothing is counted then.
        TypeError
            If X is to be read a chunk at a time; this is what :meth:`fit` does.
        """
        is_first = not hasattr(self, "schema_")
        if self.conditional == "table" if is_first else not self._targets:
            return CountsMixin.partial_fit(self, X, y, sample_weight, schema=schema)
        self._check_part(X, schema, is_first=is_first)
        try:
            return super().partial_fit(X, y, sample_weight, schema=schema)
        except BaseException:
            if not is_first:
                self._hand_out_tables()  # those before, which are restored
            raise

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
            If graphs or cells differ, and the message names the column; or one of them has a network.
        """
        return super().merge(other)

    def _check_same_cells(self, other):
        super()._check_same_cells(other)
        if self._targets or other._targets:
            raise ValueError(
                "merge adds counts of tables, but a network was fitted; call fit first."
            )
        if not np.array_equal(self._adjacency, other._adjacency):
            raise ValueError("the models have different graphs; hand both the same structure.")

    @property
    def _module(self):
        return self.net_.module_ if hasattr(self, "net_") else self._tables_alone

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


def _counts_of(Z, sample_weight, **of_all):
    """Return how many rows each row stands for; see :func:`~sklearn_dgm._training.splits.as_counts`."""
    return np.ones(len(Z)) if sample_weight is None else as_counts(sample_weight, **of_all)
