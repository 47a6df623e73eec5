"""What is learnt of a table in parts is what is learnt of all of it: ranges, categories, shares, kinds."""

from dataclasses import fields

import numpy as np
import pandas as pd
import polars as pl
import pytest

from sklearn_dgm.chunks import (
    Chunks,
    EncodedChunks,
    TableSample,
    TableSummary,
    naming_rows,
    row_keys,
)
from sklearn_dgm.columns import ColumnSchema
from tests.chunks.tables import N_ROWS, Parts, mixed

# What of a column is learnt of a sample.
OF_SAMPLE = {"location", "scale", "atoms", "atom_shares", "grid"}


@pytest.fixture(autouse=True)
def small_samples(monkeypatch):
    monkeypatch.setattr("sklearn_dgm.chunks._sampling.SAMPLE_ROWS", 200)


def summary_of(schema, X, rows_at_once=640, weight=None):
    summary = TableSummary(schema)
    for chunk in Chunks.of(X, rows_at_once):
        summary.add(chunk, None if weight is None else weight[chunk.positions])
    return summary


def check_same_schema(schema, other, exact=False):
    assert schema._template == other._template or (
        schema._template.dtypes == other._template.dtypes
        and list(schema._template.labels) == list(other._template.labels)
    )
    for column, its in zip(schema.columns_, other.columns_, strict=True):
        for field in fields(column):
            mine, theirs = getattr(column, field.name), getattr(its, field.name)
            if field.name == "scale" and not exact:
                assert mine == pytest.approx(theirs, rel=0.5)
            elif field.name == "grid" and exact and mine is not None:
                assert all(map(np.array_equal, mine, theirs))
            elif not (field.name in OF_SAMPLE and not exact):
                assert np.array_equal(mine, theirs), (column.label, field.name)


OPTIONS = {
    "plain": {},
    "in units": {"standardize": False},
    "ties": {"detect_ties": True},
    "shares of unknown": {"handle_unknown": "rare", "detect_ties": True},
    "bounds": {"bounds": None, "handle_unknown": "rare"},
    "observed": {"bounds": "observed"},
    "categories": {"categorical_features": ["integer", "date", "word", "flag"]},
    "as numbers": {"integer_features": None},
    "chosen": {"column_kinds": {"integer": "continuous", "word": "categorical"}},
}


@pytest.mark.parametrize("missing", [False, True])
@pytest.mark.parametrize("options", OPTIONS)
@pytest.mark.parametrize("rows_at_once", [190, 2999])
def test_schema_is_that_of_all_rows(options, missing, rows_at_once):
    X = mixed(missing=missing)
    schema = ColumnSchema(**OPTIONS[options], missing=missing)
    whole = ColumnSchema(**OPTIONS[options], missing=missing).fit(X)
    check_same_schema(summary_of(schema, X, rows_at_once).fit_schema(), whole)
    assert not hasattr(schema, "columns_")


@pytest.mark.parametrize("n_zeros", [1, 2])
def test_one_zero_may_be_a_scalers_and_two_are_a_bound(n_zeros):
    X = np.random.default_rng(0).gamma(2, size=(N_ROWS, 1))
    X[[50, 2500][:n_zeros]] = 0
    whole = ColumnSchema(bounds=None).fit(X)
    assert np.isinf(whole.columns_[0].lower) == (n_zeros == 1)
    check_same_schema(summary_of(ColumnSchema(bounds=None), X, 100).fit_schema(), whole)


@pytest.mark.parametrize("library", ["polars", "arrays", "objects"])
def test_schema_of_other_containers(library):
    X = mixed(missing=True)
    if library == "polars":
        X = pl.from_pandas(X.drop(columns=["empty"]))
    elif library == "arrays":
        X = X[["float", "integer", "two"]].to_numpy()
    else:
        X = X[["float", "integer", "word"]].to_numpy(dtype=object)
    whole = ColumnSchema(missing=True, handle_unknown="rare").fit(X)
    parts = Chunks.of(Parts(X, 333))
    summary = TableSummary(ColumnSchema(missing=True, handle_unknown="rare"))
    for chunk in parts:
        summary.add(chunk)
    check_same_schema(summary.fit_schema(), whole)


@pytest.mark.parametrize("whole_numbers", [True, False])
def test_weights(whole_numbers):
    X, rng = mixed(missing=True), np.random.default_rng(1)
    weight = rng.integers(0, 4, N_ROWS) / (1.0 if whole_numbers else 16.0)
    weight[-5:] = 0, 0, 0, 0.5, 1
    schema = ColumnSchema(missing=True, handle_unknown="rare", bounds=None)
    whole = ColumnSchema(missing=True, handle_unknown="rare", bounds=None).fit(X, weight)
    summary = summary_of(schema, X, weight=weight)
    check_same_schema(summary.fit_schema(), whole)
    _, of_sample, positions, _ = summary.sample()
    assert (of_sample > 0).all()
    assert np.array_equal(of_sample, weight[positions])
    assert summary.n_rows == np.count_nonzero(weight)


def test_a_table_that_is_no_larger_than_the_sample_is_taken_as_it_is():
    X = mixed(200, missing=True)
    schema = ColumnSchema(missing=True, detect_ties=True)
    whole = ColumnSchema(missing=True, detect_ties=True).fit(X)
    check_same_schema(summary_of(schema, X, 30).fit_schema(), whole, exact=True)


def test_parts_add_up():
    X = mixed(missing=True)
    options = {"missing": True, "handle_unknown": "rare", "bounds": None}
    together = summary_of(ColumnSchema(**options), X)
    parts = [TableSummary(ColumnSchema(**options)) for _ in range(3)]
    for i, chunk in enumerate(Chunks.of(X, 70)):
        parts[i % 3].add(chunk)
    added = parts[2] + TableSummary(ColumnSchema(**options)) + parts[0] + parts[1]
    assert added.n_rows == N_ROWS
    check_same_schema(added.fit_schema(), ColumnSchema(**options).fit(X))
    together.sample()
    # The same rows are drawn, whichever the parts are.
    drawn = [set(s._sample.positions[s._sample.is_drawn]) for s in (together, added)]
    assert drawn[0] == drawn[1]
    assert len(drawn[0]) == 200


@pytest.mark.parametrize("rows_at_once", [7, 450, 10_000])
def test_sample_is_that_of_the_smallest_keys(rows_at_once):
    X = np.arange(4000.0)[:, None]
    sample = TableSample.of(Chunks.of(X, rows_at_once))
    expected = np.sort(np.argsort(row_keys(np.arange(4000)))[:200])
    assert np.array_equal(sample.positions, expected)
    assert np.array_equal(sample.table[:, 0], expected)


def test_a_sample_has_the_extremes():
    table, weight, positions, stands_for = summary_of(ColumnSchema(), mixed()).sample()
    assert 200 <= len(table) <= 260
    assert (np.diff(positions) > 0).all()
    assert np.array_equal(weight, np.ones(len(table)))
    assert stands_for.sum() == N_ROWS
    assert (stands_for == np.floor(stands_for)).all()
    assert np.ptp(stands_for[stands_for > 1]) <= 1
    assert np.count_nonzero(stands_for > 1) == 200
    pd.testing.assert_frame_equal(table, mixed().iloc[positions].reset_index(drop=True))


def test_keys_are_uniform_and_differ_by_seed():
    positions = np.arange(100_000)
    keys, others = row_keys(positions), row_keys(positions, seed=1)
    for k in (keys, others, row_keys(positions + 2**40)):
        assert 0 <= k.min() < k.max() < 1
        counts = np.histogram(k, 50, (0, 1))[0]
        assert ((counts - 2000) ** 2 / 2000).sum() < 100  # chi-squared with 49 degrees of freedom
        assert abs(np.corrcoef(k[1:], k[:-1])[0, 1]) < 0.015
    assert abs(np.corrcoef(keys, others)[0, 1]) < 0.015
    assert np.array_equal(row_keys(np.array([5, 3])), keys[[5, 3]])


def error_of(X, **options):
    with pytest.raises((ValueError, TypeError)) as raised:
        summary_of(ColumnSchema(**options), X, 100)
    return str(raised.value)


def test_errors_name_column_and_row_of_the_whole_table():
    X = mixed()
    X.loc[1234, "float"] = np.nan
    assert "column 'float', row 1234" in error_of(X)
    X.loc[1234, "float"] = np.inf
    assert "infinity (inf) in column 'float', row 1234" in error_of(X)
    X.loc[1234, "float"] = 0.25
    whole = X.assign(float=np.floor(X["float"]))
    whole.loc[1234, "float"] = 0.25
    assert "0.25 in row 1234" in error_of(whole, integer_features=["float"])
    words = X[["word"]].astype(object)
    words.loc[1234, "word"] = [["no hash"]]
    assert "column 'word', row 1234" in error_of(words, categorical_features=["word"])
    weight = np.ones(N_ROWS)
    weight[1234] = 0  # rows of weight 0 are checked, too
    X.loc[1234, "float"] = np.inf
    with pytest.raises(ValueError, match="row 1234"):
        summary_of(ColumnSchema(), X, 100, weight)


def test_columns_of_names_are_refused(monkeypatch):
    monkeypatch.setattr("sklearn_dgm.chunks._summary.MAX_CATEGORIES", 1000)
    X = pd.DataFrame({"a": [f"row {i}" for i in range(N_ROWS)]})
    assert "column 'a' has more than 1000 categories" in error_of(X)


def test_objects_of_several_types():
    cells = np.array(["a", "b", 1, 2.5] * 100, dtype=object)[:, None]
    sorted_cells = np.array(["a", "b"] * 100 + [1, 2.5] * 100, dtype=object)[:, None]
    named = {"categorical_features": [0]}  # or there are warnings
    summary = summary_of(ColumnSchema(**named), cells, 50)
    check_same_schema(summary.fit_schema(), ColumnSchema(**named).fit(cells))
    message = error_of(sorted_cells)
    assert "holds 1 (dtype object) in row 200, but strings before" in message


def test_encoded_chunks_are_the_encoded_rows():
    X, rng = mixed(missing=True), np.random.default_rng(2)
    weight = rng.integers(0, 3, N_ROWS).astype(float)
    weight[:200] = 0
    rows, schema = EncodedChunks.of(Chunks.of(X, 100), ColumnSchema(missing=True), weight)
    expected = schema.encode(X)[0][weight > 0]
    for _ in range(2):
        parts = list(rows.with_positions())
        Z, w, positions = (np.concatenate(part) for part in zip(*parts, strict=True))
        assert np.array_equal(Z, expected, equal_nan=True)
        assert np.array_equal(w, weight[weight > 0])
        assert np.array_equal(positions, np.flatnonzero(weight))
    assert rows.n_rows == len(expected)
    Z, w = rows.sample
    assert np.array_equal(Z, schema.encode(X)[0][rows.sample_positions], equal_nan=True)
    assert np.array_equal(w, weight[rows.sample_positions])


@pytest.mark.parametrize("n_weights", [10, N_ROWS - 1, N_ROWS + 1])
def test_weights_are_as_many_as_rows(n_weights):
    with pytest.raises(ValueError, match=f"sample_weight has {n_weights} entries"):
        EncodedChunks.of(Chunks.of(mixed(), 100), ColumnSchema(), np.ones(n_weights))


@pytest.mark.parametrize("rows_at_once", [10, 50, 137])
def test_a_sample_of_unequal_rows_does_not_depend_on_the_chunks(rows_at_once, monkeypatch):
    monkeypatch.setattr("sklearn_dgm.chunks._sampling.SAMPLE_CELLS", 500)
    X = np.arange(1000.0)[:, None]
    cells = np.random.default_rng(0).geometric(0.1, 1000)
    parts = [TableSample() for _ in range(2)]
    for i, (positions, table) in enumerate(Chunks.of(X, rows_at_once)):
        parts[i % 2].add(table, positions, np.ones(len(table)), (0,), cells[positions])
    (together := TableSample()).add(X, np.arange(1000), np.ones(1000), (), cells)
    drawn = []
    for sample in (parts[0] + parts[1], together):
        sample.settle()
        drawn.append(sample.positions[sample.is_drawn].tolist())
    assert drawn[0] == drawn[1]
    assert cells[drawn[0]].sum() <= 500 < cells[drawn[0]].sum() + 100


def test_errors_name_the_row_of_the_whole_table_and_columns_as_they_are():
    with (
        pytest.raises(ValueError, match="^Row 107 is odd: 'sequence 7' in row 101, row 12$"),
        naming_rows(np.arange(100, 110)),
    ):
        raise ValueError("Row 7 is odd: 'sequence 7' in row 1, row 12")
