"""Fits of tables that are read a chunk at a time: those of counts are the fits of all rows to the last count."""

import numpy as np
import pandas as pd
import polars as pl
import pyarrow.dataset as ds
import pytest
from sklearn.base import clone

from sklearn_dgm import (
    AveragedOneDependenceClassifier,
    HistogramDensity,
    NaiveBayesClassifier,
    TreeAugmentedNaiveBayesClassifier,
)
from sklearn_dgm.base import BaseGenerator
from sklearn_dgm.chunks import ROWS_AT_ONCE, is_chunked, sum_of
from tests.chunks.tables import N_ROWS, Parts, mixed


@pytest.fixture(autouse=True)
def small_samples(monkeypatch):
    monkeypatch.setattr("sklearn_dgm.chunks._sampling.SAMPLE_ROWS", 200)
    monkeypatch.setattr("sklearn_dgm.chunks._sources.SAMPLE_ROWS", 200)


def check_same_counts(density, whole):
    assert np.array_equal(density.cells_, whole.cells_)
    assert np.array_equal(density.counts_, whole.counts_)
    assert density.total_ == whole.total_
    assert density.score_kind_ == whole.score_kind_
    for one, other in zip(density.edges_, whole.edges_, strict=True):
        assert np.array_equal(one, other)


def parquet(X, folder):
    for i, rows in enumerate(np.array_split(np.arange(len(X)), 3)):
        X.iloc[rows].to_parquet(folder / f"{i}.parquet", index=False, row_group_size=400)
    return folder


SOURCES = {
    "folder": lambda X, path: str(parquet(X, path)),
    "paths": lambda X, path: sorted(parquet(X, path).glob("*.parquet")),
    "dataset": lambda X, path: ds.dataset(parquet(X, path)),
    "lazy": lambda X, path: pl.from_pandas(X).lazy(),
    "scanned": lambda X, path: pl.scan_parquet(parquet(X, path) / "*.parquet"),
    "parts": lambda X, path: Parts(X, 431),
    "small parts": lambda X, path: Parts(X, 100),
}


@pytest.mark.parametrize("source", SOURCES)
def test_counts_of_all_rows(source, tmp_path):
    X = mixed()
    whole = HistogramDensity(bins={"float": 5, "date": 7, "single": [0, 2, 5, 100]}).fit(X)
    density = HistogramDensity(**whole.get_params()).fit(SOURCES[source](X, tmp_path))
    check_same_counts(density, whole)
    assert list(density.feature_names_in_) == list(X)
    drawn = density.sample(50, random_state=0)
    assert isinstance(drawn, pl.DataFrame if source in ("lazy", "scanned") else pd.DataFrame)
    if isinstance(drawn, pd.DataFrame):
        pd.testing.assert_frame_equal(drawn, whole.sample(50, random_state=0))


@pytest.mark.parametrize("rows_at_once", [97, 1000, 2999])
def test_counts_do_not_depend_on_the_chunks(rows_at_once, monkeypatch):
    X = mixed()
    density = HistogramDensity(alpha=0.1).fit(Parts(X, rows_at_once))
    check_same_counts(density, HistogramDensity(alpha=0.1).fit(X))


@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.int16])
def test_counts_of_maps_of_files_and_of_arrays(dtype, tmp_path):
    X = (10 * np.random.default_rng(0).normal(size=(N_ROWS, 3))).astype(dtype)
    X.tofile(tmp_path / "X")
    mapped = np.memmap(tmp_path / "X", dtype=dtype, mode="r", shape=X.shape)
    assert is_chunked(mapped)
    whole = HistogramDensity().fit(X)
    for source in (mapped, mapped[:], Parts(X, 700)):
        density = HistogramDensity().fit(source)
        check_same_counts(density, whole)
        assert density.sample(3).dtype == dtype
    check_same_counts(HistogramDensity().fit(mapped[::2]), HistogramDensity().fit(X[::2]))


def test_weights():
    X = mixed()
    weight = np.random.default_rng(0).integers(0, 3, N_ROWS).astype(float)
    density = HistogramDensity().fit(Parts(X, 250), sample_weight=weight)
    check_same_counts(density, HistogramDensity().fit(X, sample_weight=weight))
    score = density.score(Parts(X, 300), sample_weight=weight)
    assert score == pytest.approx(density.score(X, sample_weight=weight))


@pytest.mark.parametrize("rule", ["blocks", "knuth", "quantiles", "fd", "scott"])
def test_rules_that_look_at_values_see_a_sample(rule):
    X = np.random.default_rng(0).normal(size=(5000, 2))
    density = HistogramDensity(bins=rule).fit(Parts(X, 600))
    whole = HistogramDensity(bins=rule).fit(X)
    assert density.total_ == 5000
    for edges, of_all in zip(density.edges_, whole.edges_, strict=True):
        assert (edges[0], edges[-1]) == (of_all[0], of_all[-1])
    assert all(len(edges) < 40 for edges in density.edges_)


def test_categories_of_parquet(tmp_path):
    X = mixed()[["word", "float"]]
    X["word"] = X["word"].astype(pd.CategoricalDtype(["cocoa", "tea", "coffee", "milk"]))
    X.to_parquet(tmp_path / "X.parquet", row_group_size=100)
    whole = HistogramDensity().fit(pd.read_parquet(tmp_path / "X.parquet"))
    density = HistogramDensity().fit(tmp_path / "X.parquet")
    check_same_counts(density, whole)
    pd.testing.assert_frame_equal(density.sample(9, 0), whole.sample(9, 0))


def test_columns_of_names_whose_categories_differ_by_chunk():
    X = mixed()[["word"]]
    X["word"] = X["word"].astype("category")

    class Trimmed(Parts):
        def __iter__(self):
            for part in super().__iter__():
                yield part.assign(word=part["word"].cat.remove_unused_categories())

    whole = HistogramDensity().fit(X)
    density = HistogramDensity().fit(Trimmed(X, 500))
    assert set(density.schema_.columns_[0].categories) == set(X["word"])
    assert np.allclose(density.score_samples(X), whole.score_samples(X))


def test_whole_numbers_that_are_missing_in_one_chunk():
    X = pd.DataFrame({"a": np.arange(900) % 5, "b": np.arange(900) % 3})
    parts = [X[:300], X[300:600].astype({"a": "float64"}), X[600:]]
    density = HistogramDensity(bins=5).fit(Listed(parts))
    check_same_counts(density, HistogramDensity(bins=5).fit(pd.concat(parts)))


class Listed:
    """Given tables, one after the other."""

    def __init__(self, tables):
        self.tables = tables

    def __iter__(self):
        return iter(self.tables)


@pytest.mark.parametrize(
    "classifier",
    [
        NaiveBayesClassifier(),
        TreeAugmentedNaiveBayesClassifier(),
        AveragedOneDependenceClassifier(),
    ],
    ids=lambda classifier: type(classifier).__name__,
)
@pytest.mark.parametrize("weighted", [False, True])
def test_classifiers_count_all_rows(classifier, weighted):
    X, rng = mixed(missing=True).drop(columns="empty"), np.random.default_rng(0)
    y = np.where(rng.random(N_ROWS) < 0.5, "yes", np.where(X["two"] == 1, "no", "perhaps"))
    weight = rng.integers(0, 3, N_ROWS).astype(float) if weighted else None
    bins = {"float": [-1, 0, 1], "single": [1, 2], "integer": [4.5, 8.5], "two": [0.5, 3.5]}
    bins["date"] = np.array(["2020-01-09T12", "2020-02-01T12"], "M8[ms]")
    classifier = clone(classifier).set_params(bins=bins)
    whole = clone(classifier).fit(X, y, sample_weight=weight)
    classifier.fit(Parts(X, 310), y, sample_weight=weight)
    assert np.array_equal(classifier.classes_, whole.classes_)
    assert np.array_equal(classifier.class_count_, whole.class_count_)
    assert np.array_equal(classifier._counts.cells, whole._counts.cells)
    for pairs, of_whole in zip(classifier._counts.pairs, whole._counts.pairs, strict=True):
        assert np.array_equal(pairs, of_whole)
    scores = classifier.score_samples(Parts(X, 999))
    assert np.allclose(scores, classifier.score_samples(X))


def test_classes_of_chunks():
    X, y = mixed(), np.arange(N_ROWS) % 2
    with pytest.raises(ValueError, match="y has 2999 entries, but X has 3000 rows"):
        NaiveBayesClassifier().fit(Parts(X, 500), y[1:])


def test_rows_of_no_class_count_by_a_pass_for_each_step():
    X, rng = mixed()[["integer", "two"]], np.random.default_rng(0)
    y = np.where(rng.random(N_ROWS) < 0.2, 6, 5)
    X.loc[y == 6] += [3, 1]
    y[::2] = -1
    bins = {"integer": [-4.5, 4.5, 6.5, 8.5, 15.5], "two": [-0.5, 0.5, 1.5, 6.5]}
    classifier = NaiveBayesClassifier(bins=bins, tol=1e-8)
    whole, read = clone(classifier).fit(X, y), classifier.fit(Parts(X, 500), y)
    assert read.n_iter_ == whole.n_iter_ > 1
    np.testing.assert_allclose(read._counts.cells, whole._counts.cells, rtol=1e-9)
    np.testing.assert_allclose(read.class_count_, whole.class_count_, rtol=1e-9)


def test_schema_of_more_rows():
    X = mixed()
    schema = HistogramDensity().learn_schema(Parts(X, 400))
    some = Parts(X[:2000], 300)
    density = HistogramDensity().fit(some, schema=schema)
    check_same_counts(density, HistogramDensity().fit(X[:2000], schema=schema))
    few = HistogramDensity().learn_schema(X[:2000])
    with pytest.raises(ValueError, match="column 'word' has a category in row 2999"):
        HistogramDensity().fit(Parts(X, 400), schema=few)


def test_failed_fits_leave_the_estimator_and_name_the_row():
    X = mixed()
    density = HistogramDensity(bins={"float": [-10, 0, 10]})
    with pytest.raises(ValueError, match="column 'float', row 2999; widen"):
        density.fit(Parts(X, 400))
    assert not hasattr(density, "schema_")
    weight = np.ones(N_ROWS)
    weight[:100] = 0  # rows that are left out count, too
    with pytest.raises(ValueError, match="column 'float', row 2999; widen"):
        density.fit(Parts(X, 400), sample_weight=weight)
    with pytest.raises(ValueError, match="feature names should match"):
        HistogramDensity().fit(X).score_samples(Parts(X[["float", "word"]], 50))
    other = X.copy()
    other.loc[1500, "float"] = np.inf
    with pytest.raises(ValueError, match="column 'float', row 1500"):
        HistogramDensity().fit(X).score_samples(Parts(other, 400))


def test_densities_of_tables_in_memory_say_so(tmp_path):
    class InMemory(BaseGenerator):
        def _fit(self, Z, sample_weight):
            self.rows_ = Z

        def _draw(self, n_samples, rng):
            return rng.choice(self.rows_, n_samples)

    mixed()[["float", "single"]].to_numpy().tofile(tmp_path / "X")
    mapped = np.memmap(tmp_path / "X", dtype=np.float64, mode="r", shape=(N_ROWS, 2))
    assert is_chunked(mapped)
    assert len(InMemory().fit(mapped).rows_) == N_ROWS  # which is an array as well
    with pytest.raises(TypeError, match="InMemory learns from rows in memory alone"):
        InMemory().fit(Parts(mixed(), 100))


@pytest.mark.parametrize("n", [1, 2, 3, 7, 8, 100])
def test_sum_of_parts(n):
    class Part:
        def __init__(self, items):
            self.items = items

        def __add__(self, other):
            return Part(self.items + other.items)

    assert sum_of(Part([i]) for i in range(n)).items == list(range(n))
    assert ROWS_AT_ONCE == 65_536
