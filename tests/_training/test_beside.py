"""Rows with others beside them, drawn anew for each pass, or once."""

import numpy as np
import pytest
import torch

from sklearn_dgm._training import beside
from sklearn_dgm._training.batches import RowBatches, WeightedRows
from sklearn_dgm._training.beside import RowsBeside, SplitsBeside
from sklearn_dgm.columns import ColumnSchema
from sklearn_dgm.nn.randomness import drawing_from


def draw(n_rows, seed):
    return torch.randn(n_rows, 2, generator=torch.Generator().manual_seed(seed))


def rows(n_rows=10):
    z = torch.arange(2.0 * n_rows).view(n_rows, 2)
    return WeightedRows(z, torch.arange(1.0, n_rows + 1))


def passes(of, n=2, **params):
    with drawing_from(torch.Generator().manual_seed(0)):
        return [list(RowBatches(of, 4, **params)) for _ in range(n)]


def test_each_pass_draws_anew_and_each_row_others():
    first, second = passes(RowsBeside(rows(), 3, draw))
    assert [tuple(batch.shape) for batch, _ in first] == [(4, 4, 2), (4, 4, 2), (2, 4, 2)]
    drawn = torch.cat([batch[:, 1:].flatten(0, 1) for batch, _ in first + second])
    assert len(torch.unique(drawn, dim=0)) == 60
    for batches in (first, second):
        assert torch.equal(torch.cat([batch[:, 0] for batch, _ in batches]), rows().z)
        assert torch.equal(torch.cat([weight for _, weight in batches]), rows().weight)
    again, _ = passes(RowsBeside(rows(), 3, draw))
    assert all(torch.equal(a, b) for (a, _), (b, _) in zip(first, again, strict=True))


def test_shuffled_rows_keep_what_belongs_to_them():
    fixed = rows().z[:, None] + 0.5
    for batches in passes(RowsBeside(rows(), 2, draw, fixed), shuffle=True):
        for batch, weight in batches:
            assert torch.equal(batch[:, 0, 0], 2 * weight - 2)
            assert torch.equal(batch[:, 1], batch[:, 0] + 0.5)
            assert batch.shape[1] == 4


def test_in_long_passes_what_is_drawn_serves_again(monkeypatch):
    monkeypatch.setattr(beside, "DRAWN_AT_ONCE", 14)
    (batches,) = passes(RowsBeside(rows(), 3, draw), 1)
    drawn = torch.cat([batch[:, 1:].flatten(0, 1) for batch, _ in batches])
    assert len(drawn) == 30
    assert torch.equal(drawn[7:14], drawn[:7])
    assert len(torch.unique(drawn, dim=0)) == 7


@pytest.mark.parametrize("with_fixed", [False, True])
def test_what_stands_beside_validation_rows_is_drawn_once(monkeypatch, with_fixed):
    monkeypatch.setattr(beside, "SETTLED_DRAWS", 100)
    Z = np.random.default_rng(0).normal(size=(50, 2))
    fixed = torch.tensor(Z, dtype=torch.float32)[:, None] if with_fixed else None
    splits = SplitsBeside(
        ColumnSchema().fit(Z).columns_, Z, np.ones(50), 0.2, 0, torch.device("cpu"), 2, draw, fixed
    )
    train, valid = splits(0)
    assert (len(train), len(valid)) == (40, 10)
    assert valid[:][0].shape == (10, 11 + with_fixed, 2)
    assert torch.equal(valid[:][0], splits(0)[1][:][0])
    (batches,) = passes(train, 1)
    for batch in (*[batch for batch, _ in batches], valid[:][0]):
        assert not with_fixed or torch.equal(batch[:, 0], batch[:, 1])
    everything = torch.cat([valid[:][0][:, 0], *[batch[:, 0] for batch, _ in batches]])
    assert torch.equal(everything.sort(dim=0).values, torch.tensor(Z).float().sort(dim=0).values)


def test_rows_of_a_group_validate_together():
    rng = np.random.default_rng(0)
    Z, groups = rng.normal(size=(60, 2)), rng.integers(15, size=60)
    splits = SplitsBeside(
        ColumnSchema().fit(Z).columns_, Z, np.ones(60), 0.2, 0, torch.device("cpu"), 2, draw
    )
    splits.keep_together(groups)
    train, valid = splits.indices(0)
    assert sorted([*train, *valid]) == list(range(60))
    assert not set(groups[train]) & set(groups[valid])
    assert 8 <= len(valid) <= 16
    assert [len(part) for part in splits(0)] == [len(train), len(valid)]
    assert splits.n_train == len(train)


def test_rows_of_groups_of_one_validate_as_without_groups():
    Z = np.random.default_rng(0).normal(size=(50, 2))
    columns = ColumnSchema().fit(Z).columns_
    alone, grouped, one = (
        SplitsBeside(columns, Z, np.ones(50), 0.2, 0, torch.device("cpu"), 2, draw)
        for _ in range(3)
    )
    grouped.keep_together(np.arange(50)[::-1])
    one.keep_together(np.zeros(50, dtype=int))
    for splits in (grouped, one):
        assert len(splits.indices(0)[1]) == 10
    assert np.array_equal(grouped.indices(0)[1], alone.indices(0)[1])
