"""Nearest neighbours, against those of scikit-learn."""

import numpy as np
import pytest
import torch
from sklearn.neighbors import NearestNeighbors

from sklearn_dgm.nn.neighbours import nearest_neighbour_accuracy

RNG = np.random.default_rng(0)


def slow_shares(rows, reference, drawn):
    both = np.concatenate([reference, drawn])
    m = len(reference)
    neighbours = NearestNeighbors(n_neighbors=2).fit(both)
    of_rows = neighbours.kneighbors(rows, n_neighbors=1)[1][:, 0] < m
    of_drawn = neighbours.kneighbors(drawn)[1][:, 1] >= m
    return of_rows.mean(), of_drawn.mean(), 1 - of_drawn.mean()


def accuracy(rows, reference, drawn):
    weight = torch.ones(len(rows), dtype=torch.float64)
    rows, reference, drawn = (torch.from_numpy(x) for x in (rows, reference, drawn))
    return nearest_neighbour_accuracy(rows, weight, reference, drawn).item()


@pytest.mark.parametrize(("mean", "scale"), [(0.5, 1.5), (0.0, 0.4), (0.0, 1.0)])
def test_nearest_neighbours_are_those_of_scikit_learn(mean, scale):
    rows, reference = RNG.normal(size=(70, 3)), RNG.normal(size=(90, 3))
    drawn = RNG.normal(mean, scale, size=(90, 3))
    expected = max(slow_shares(rows, reference, drawn))
    assert accuracy(rows, reference, drawn) == pytest.approx(expected)


def test_several_lots_of_drawn_rows_are_a_mean():
    rows, reference, drawn = (RNG.normal(size=(n, 2)) for n in (40, 50, 150))
    each = [slow_shares(rows, reference, lot) for lot in np.split(drawn, 3)]
    assert accuracy(rows, reference, drawn) == pytest.approx(np.mean(each, axis=0).max())


def test_accuracies_of_equal_and_of_other_distributions():
    rows, reference, same = RNG.normal(size=(3, 300, 2))
    far, narrow = RNG.normal(9, 1, size=(300, 2)), RNG.normal(0, 0.2, size=(300, 2))
    assert accuracy(rows, reference, same) == pytest.approx(0.5, abs=0.08)
    assert accuracy(rows, reference, far) == 1.0
    # Either of too many of the drawn ones, or of too few of the rows, is noticed.
    assert accuracy(rows, reference, narrow) > 0.7
    assert accuracy(narrow[:150], narrow[150:], rows[:150]) > 0.7
    # Equally near neighbours say nothing.
    assert accuracy(0 * rows, 0 * rows, 0 * rows) == pytest.approx(0.5, abs=0.01)
    # Copies are noticed, and are no neighbours like others.
    assert accuracy(rows, reference, reference) == 1.0
    assert accuracy(rows[:1], rows[1:2], far[:1]) == 1.0


def test_weights_of_rows_count():
    rows = torch.tensor([[0.0], [5.0]])
    reference, drawn = torch.tensor([[0.1], [9.0]]), torch.tensor([[5.1], [9.0]])
    found = nearest_neighbour_accuracy(rows, torch.tensor([3.0, 1.0]).double(), reference, drawn)
    assert found.item() == pytest.approx(0.75)


@pytest.mark.parametrize("agreement", [0.5, 0.99])
def test_equally_near_neighbours_are_counted(agreement):
    """Of few categories, most rows have all others of their kind at distance 0; shares of these kinds tell."""
    rng = np.random.default_rng(0)

    def table(agreement, n=600):
        x = rng.integers(2, size=n)
        return np.column_stack([x, np.where(rng.random(n) < agreement, x, 1 - x)]).astype(float)

    rows, reference, drawn = table(0.9, 200), table(0.9), table(agreement)
    assert accuracy(rows, reference, table(0.9)) == pytest.approx(0.5, abs=0.02)
    assert accuracy(rows, reference, drawn) > 0.53
