"""Sequences that are read a chunk at a time: what chunks are, what is learnt of all of them, and what is refused."""

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from sklearn.base import clone

from sklearn_dgm import HiddenMarkovDensity, MarkovChainDensity
from sklearn_dgm.chunks import (
    Chunks,
    SequenceChunks,
    SequenceSummary,
    TableSample,
    _sampling,
    are_chunks_of_sequences,
)
from sklearn_dgm.columns import ColumnSchema, SequenceSchema
from tests.chunks.tables import Given, Parts

N = 700


def words(n=N, seed=0):
    rng = np.random.default_rng(seed)
    return ["".join(rng.choice(list("aabc"), k)) for k in rng.integers(0, 9, n)] + ["zebra"]


def objects(rows):
    array = np.empty(len(rows), dtype=object)
    array[:] = rows
    return array


RNG = np.random.default_rng(0)
CONTAINERS = {
    "strings": words(),
    "lists": list(map(list, words())),
    "tuple of tuples": tuple(map(tuple, words())),
    "objects": objects(list(map(list, words()))),
    "series": pd.Series(words(), name="word"),
    "polars": pl.Series("word", words()),
    "table": RNG.integers(0, 4, (N, 5)),
    "frame": pd.DataFrame(RNG.integers(0, 4, (N, 3)), columns=["x", "y", "z"]),
    "array": RNG.integers(0, 4, (N, 6, 1)),
    "floats": [RNG.normal(size=k) for k in RNG.integers(1, 6, N)],
}
OF_CONTAINERS = pytest.mark.parametrize("name", CONTAINERS)


def assert_same_counts(one, other):
    for name in ("grams", "lengths"):
        mine, its = getattr(one._counts, name), getattr(other._counts, name)
        np.testing.assert_array_equal(mine.grams, its.grams)
        np.testing.assert_array_equal(mine.weight, its.weight)


def assert_as_in_memory(X, **params):
    """Counts, scores and draws of chunks are those of one fit."""
    whole = MarkovChainDensity(3).fit(X, **params)
    density = MarkovChainDensity(3).fit(Parts(X, 90), **params)
    assert_same_counts(density, whole)
    np.testing.assert_array_equal(density.score_samples(X), whole.score_samples(X))
    assert type(density.sample(3)) is type(whole.sample(3))
    assert str(density.sample(9, random_state=0)) == str(whole.sample(9, random_state=0))
    assert density.schema_.lengths_.tolist() == whole.schema_.lengths_.tolist()
    np.testing.assert_allclose(density.schema_.length_shares_, whole.schema_.length_shares_)
    assert vars(density).keys() == vars(whole).keys()


@OF_CONTAINERS
def test_few_sequences_are_fitted_as_in_memory(name):
    assert_as_in_memory(CONTAINERS[name])
    weight = np.arange(len(CONTAINERS[name])) % 3.0
    assert_as_in_memory(CONTAINERS[name], sample_weight=weight)


@pytest.mark.parametrize("name", [name for name in CONTAINERS if name != "floats"])
def test_symbols_of_more_than_a_sample_are_counted_to_the_last_one(name, monkeypatch):
    monkeypatch.setattr(_sampling, "SAMPLE_ROWS", 100)
    assert_as_in_memory(CONTAINERS[name])
    weight = np.arange(len(CONTAINERS[name])) % 3.0
    assert_as_in_memory(CONTAINERS[name], sample_weight=weight)


def test_cells_of_numbers_are_those_of_a_sample_and_its_extremes(monkeypatch):
    X = CONTAINERS["floats"]
    monkeypatch.setattr(_sampling, "SAMPLE_ROWS", 100)
    density = MarkovChainDensity(2, bins=7).fit(Parts(X, 90))
    whole = MarkovChainDensity(2, bins=7).fit(X)
    assert_same_counts(density, whole)  # equal bins between the smallest and the largest number


@OF_CONTAINERS
def test_scores_come_a_chunk_at_a_time(name):
    X = CONTAINERS[name]
    density = MarkovChainDensity(2).fit(X)
    expected = density.score_samples(X)
    for rows in (Parts(X, 90), iter(Parts(X, 90))):
        np.testing.assert_array_equal(density.score_samples(rows), expected)
    parts = list(density.iter_scores(Parts(X, 90), chunk_rows=50))
    assert max(map(len, parts)) == 50
    np.testing.assert_array_equal(np.concatenate(parts), expected)
    drawn = list(density.iter_samples(7, chunk_rows=3, random_state=0))
    assert [len(part) for part in drawn] == [3, 3, 1]
    assert density.score(Parts(X, 90)) == pytest.approx(expected.sum())


LISTS = list(map(list, words(50)))


@pytest.mark.parametrize(
    ("column", "expected"),
    [
        (LISTS, LISTS),
        (words(50), words(50)),
        (RNG.integers(0, 3, (50, 4)).tolist(), None),
    ],
    ids=["lists", "strings", "numbers"],
)
def test_cells_of_a_file_of_one_column_are_sequences(column, expected, tmp_path):
    path = tmp_path / "X.parquet"
    pq.write_table(pa.table({"words": column}), path)
    whole = MarkovChainDensity(2).fit(column)
    for X in (path, str(path), [path], tmp_path, pl.scan_parquet(path)):
        density = MarkovChainDensity(2).fit(X)
        assert_same_counts(density, whole)
        np.testing.assert_array_equal(density.score_samples(X), whole.score_samples(column))
    assert density.schema_.length_ == "stop"


@pytest.mark.parametrize("name", ["strings", "lists", "objects", "series", "polars", "floats"])
def test_what_is_drawn_is_written_as_it_is_read(name, tmp_path):
    X, path = CONTAINERS[name], tmp_path / "X.parquet"
    density = MarkovChainDensity(2).fit(X)
    density.sample_to_parquet(path, 40, chunk_rows=15, random_state=0)
    drawn = [row for part in density.iter_samples(40, 15, random_state=0) for row in part]
    np.testing.assert_array_equal(density.score_samples(path), density.score_samples(drawn))


def test_columns_of_a_file_are_steps(tmp_path):
    X = CONTAINERS["frame"]
    X.to_parquet(tmp_path / "X.parquet")
    density, whole = MarkovChainDensity(2).fit(tmp_path), MarkovChainDensity(2).fit(X)
    assert_same_counts(density, whole)
    assert density.feature_names_in_.tolist() == ["x", "y", "z"]
    assert density.schema_.length_ == "fixed"


def test_a_map_of_a_file_is_a_table(tmp_path, monkeypatch):
    X = CONTAINERS["table"]
    X.tofile(tmp_path / "X")
    mapped = np.memmap(tmp_path / "X", dtype=X.dtype, mode="r", shape=X.shape)
    assert not are_chunks_of_sequences(mapped)
    monkeypatch.setattr("sklearn_dgm.chunks._sources.SAMPLE_ROWS", 400)
    assert are_chunks_of_sequences(mapped)
    assert_same_counts(MarkovChainDensity(2).fit(mapped), MarkovChainDensity(2).fit(X))


@pytest.mark.parametrize(
    "X",
    [
        *CONTAINERS.values(),
        [np.zeros((3, 2)), np.zeros((4, 2))],
        [pd.DataFrame({"a": [1]}), pd.DataFrame({"a": [2]})],
        ["a.parquet", "b.parquet"],
        [["ab", "c"], ["d"]],
        {"ab", "c"},
    ],
    ids=lambda X: type(X).__name__,
)
def test_containers_of_sequences_are_in_memory(X):
    assert not are_chunks_of_sequences(X)


def test_a_schema_of_all_sequences_serves_parts():
    X = words()
    density = MarkovChainDensity(2)
    schema = density.learn_schema(Parts(X, 90))
    assert not hasattr(density, "schema_")
    assert schema.columns_[0].categories.tolist() == list("abcerz")
    parts = [clone(density).fit(Parts(part, 90), schema=schema) for part in (X[:300], X[300:])]
    assert_same_counts(parts[0].merge(parts[1]), clone(density).fit(X))
    other = density.learn_schema(words()[:-1])
    with pytest.raises(ValueError, match="a category in sequence 700, step 0 that the schema"):
        clone(density).fit(Parts(X, 90), schema=other)


def test_shares_of_new_symbols_are_those_of_all():
    X = words()
    density = MarkovChainDensity(2, handle_unknown="rare")
    whole, chunked = clone(density).fit(X), clone(density).fit(Parts(X, 90))
    assert chunked.score_samples(["q"]) == whole.score_samples(["q"])


def test_samples_do_not_depend_on_chunks_and_hold_no_more_steps_than_cells(monkeypatch):
    monkeypatch.setattr(_sampling, "SAMPLE_CELLS", 200)
    X = words()
    samples = []
    for n in (30, 90, 5000):
        sample = TableSample()
        for positions, rows in SequenceChunks.of(Parts(X, n)):
            sample.add(rows, positions, np.ones(len(rows)), cells=np.array(list(map(len, rows))))
        sample.settle()
        samples.append(sample.table)
    assert samples[0] == samples[1] == samples[2]
    assert 190 < sum(map(len, samples[0])) <= 200
    assert [X[i] for i in sample.positions] == sample.table


def test_a_sample_has_what_it_might_lack(monkeypatch):
    monkeypatch.setattr(_sampling, "SAMPLE_ROWS", 20)
    summary = SequenceSummary(SequenceSchema(ColumnSchema()))
    weight = np.append(np.ones(N), 2.0)
    for chunk in SequenceChunks.of(Parts(words(), 90)):
        summary.add(chunk, weight[chunk.positions])
    rows = summary.sample()
    assert rows.table[-1] == "zebra"
    assert (summary.n_rows, summary.total_weight, summary.largest_weight) == (N + 1, N + 2, 2)
    assert rows.stands_for.sum() == N + 1


@pytest.mark.parametrize(
    ("X", "error", "message"),
    [
        (iter([words()]), TypeError, "X is a list_iterator, which can be read but once"),
        (Given("abc", "d"), ValueError, "In the chunk of X from row 0 on: X is a string"),
        (Given(["ab"], [1.0, 2.0]), ValueError, "In the chunk of X from row 1 on: .* one sequence"),
        (Given(["ab"], ["c", None]), ValueError, "row 2 of X is missing"),
        (Given(["ab"], ["c", ["d"]]), ValueError, "row 2 of X is a list, row 1 a string"),
        (
            Given(["ab"], [["c"]]),
            ValueError,
            "form list with .* from row 1 on, but of the form string",
        ),
        (Given([[1.0]], [[2.0, 3.0], [np.nan]]), ValueError, "NaN in column 0, sequence 2, step 0"),
        (Given([[1.0]], [[2.0], [3.0, "x"]]), ValueError, "'x' .* in sequence 2, step 1"),
        (Given(np.zeros((2, 3)), np.zeros((2, 4))), ValueError, "4 columns .* from row 2 on"),
        (Given(["", ""], [""]), ValueError, "X holds no step at all"),
        (Given(), ValueError, "X holds 0 sample"),
    ],
)
def test_what_is_no_chunk_of_sequences_is_refused(X, error, message):
    density = MarkovChainDensity(2).fit(words())
    before = vars(density).copy()
    with pytest.raises(error, match=message):
        density.fit(X)
    assert vars(density) == before


def test_lengths_that_are_fixed_are_so_in_all_chunks():
    with pytest.raises(ValueError, match=r"sequence 3 has 3 step\(s\), but all should have 2"):
        MarkovChainDensity(length="fixed").fit(Given(["ab", "ba"], ["ab", "abc"]))
    with pytest.raises(ValueError, match="sample_weight has 3 entries, but X has at least 4 rows"):
        MarkovChainDensity().fit(Given(["ab", "ba"], ["ab", "abc"]), sample_weight=np.ones(3))


def test_lists_without_steps_are_of_any_type():
    nested = Given([[], []], [[[1.0, 2.0]], []], [[]])
    chunks = list(SequenceChunks.of(nested))
    summary = SequenceSummary(SequenceSchema(ColumnSchema()))
    for chunk in chunks:
        summary.add(chunk)
    assert len(summary.fit_schema().columns_) == 2
    assert isinstance(SequenceChunks.of(nested), Chunks)


def test_questions_about_steps_are_of_sequences_in_memory():
    density = MarkovChainDensity(2).fit(words())
    with pytest.raises(TypeError, match="this method of MarkovChainDensity takes rows in memory"):
        density.score_steps(Parts(words(), 90))


def test_a_file_whose_sequences_are_all_missing_is_one_of_sequences(tmp_path):
    sequences = ["ab", None]
    for k, one in enumerate(sequences):
        table = pa.table({"w": pa.array([one] * 3, pa.string())})
        pq.write_table(table, tmp_path / f"{k}.parquet")
    with pytest.raises(ValueError, match="row 3 of X is missing"):
        MarkovChainDensity(2).fit(tmp_path)


def test_a_file_whose_steps_are_all_missing_is_one_of_steps(tmp_path):
    for k, one in enumerate([True, None]):
        pq.write_table(pa.table({"w": pa.array([one] * 30, pa.bool_())}), tmp_path / f"{k}.parquet")
    assert np.isfinite(HiddenMarkovDensity(2, random_state=0).fit(tmp_path).score(tmp_path))
