"""What a Bayesian network settles first: the cells of columns, its graph, and which conditionals are tables."""

import networkx as nx
import numpy as np

from sklearn_dgm._continuation import ContinuationMixin
from sklearn_dgm._training.missing import first_completion
from sklearn_dgm._validation import check_generator
from sklearn_dgm.bayes_net._structure import adjacency_of, search
from sklearn_dgm.counts.axes import CategoryAxis, axes_of, merged_cells
from sklearn_dgm.counts.forests import maximum_spanning_forest
from sklearn_dgm.counts.pairs import (
    MAX_PAIRS,
    PairCounter,
    blocks_of,
    check_number_of_pairs,
    mutual_information,
)
from sklearn_dgm.counts.tables import edge_strength

# With so many rows for each of its free probabilities a table is as good as a network.
ROWS_PER_PROBABILITY = 10


class BayesNetGraphMixin(ContinuationMixin):
    """Mixin of a Bayesian network that settles its cells and its graph."""

    def _settle_graph(self, Z, weight):
        """Settle cells, the graph, and which conditionals are not held in tables; return the cells of rows."""
        codes = self._settle_cells(Z, weight)
        self._adjacency = self._resolve_structure(Z, codes, weight)
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

    def _is_unchanged(self, name, before, now):
        if name != "structure" or isinstance(now, str):
            return super()._is_unchanged(name, before, now)
        # A graph may be given in several forms, also the one that has been learnt.
        labels = [column.label for column in self.schema_.columns_]
        return np.array_equal(adjacency_of(now, labels), self._adjacency)

    def _named_graph(self, codes, weight):
        """Return the graph as users see it; without cells of rows, edges to networks are as strong as before."""
        graph, labels = nx.DiGraph(), [column.label for column in self.schema_.columns_]
        for j, label in enumerate(labels):
            graph.add_node(label, conditional="table" if j in self._tables else "network")
        for j, label in enumerate(labels):
            parents = np.flatnonzero(self._adjacency[:, j]).tolist()
            if codes is None and j not in self._tables:
                graph.add_edges_from(self.graph_.in_edges(label, data=True))
            elif parents:
                strengths = self._strengths(j, parents, codes, weight)
                for i, strength in zip(parents, strengths, strict=True):
                    graph.add_edge(labels[i], label, strength=strength)
        return graph

    def _strengths(self, j, parents, codes, weight):
        """Return the strengths of the edges to a column from its parents."""
        family = [*parents, j]
        merged = [self._merged[i] for i in family]
        if j in self._tables:
            few, of_rows = self._counts.tables[j].merged(merged)
        else:
            few, of_rows = _in_few_cells(codes[:, family], merged), weight
        n_levels, places = _numbers_of_cells(merged), range(len(parents))
        return [
            edge_strength(
                few, n_levels, of_rows, place, len(parents), [k for k in places if k != place]
            )
            for place in places
        ]

    def _cells(self):
        columns = self.schema_.columns_
        return [(axis, c.location, c.scale) for axis, c in zip(self._axes, columns, strict=True)]


def _in_few_cells(codes, merged):
    """Return cells of columns, -1 where missing, as merged ones."""
    few = [np.append(of_cell, -1)[code] for of_cell, code in zip(merged, codes.T, strict=True)]
    return np.stack(few, axis=1)


def _numbers_of_cells(merged):
    return [int(of_cell.max(initial=-1)) + 1 for of_cell in merged]
