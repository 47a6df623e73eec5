"""Scores and draws a chunk at a time."""

import os
import sys

import numpy as np
import pandas as pd
import polars as pl
import pyarrow.parquet as pq
import pytest
from sklearn.exceptions import NotFittedError

from sklearn_dgm import (
    AveragedOneDependenceClassifier,
    DensityOutlierDetector,
    EnsembleDensity,
    HiddenMarkovDensity,
    HistogramDensity,
    MarkovChainDensity,
    MixtureDensity,
    NaiveBayesClassifier,
    TreeAugmentedNaiveBayesClassifier,
)
from tests.chunks.tables import Parts, mixed


@pytest.fixture(scope="module")
def density():
    return HistogramDensity(alpha=0.1).fit(mixed())


def test_scores_of_chunks_are_those_of_all_rows(density):
    X = mixed()
    expected = density.score_samples(X)
    assert np.array_equal(density.score_samples(Parts(X, 170)), expected)
    for source in (X, Parts(X, 450)):
        parts = list(density.iter_scores(source, chunk_rows=200))
        assert max(map(len, parts)) <= 200
        assert np.array_equal(np.concatenate(parts), expected)
    assert density.score(Parts(X, 450)) == pytest.approx(expected.sum())


def test_what_reads_once_takes_iterators(density):
    X = mixed()
    expected = density.score_samples(X)
    assert np.array_equal(np.concatenate(list(density.iter_scores(iter(Parts(X, 450))))), expected)
    assert np.array_equal(density.score_samples(part for part in Parts(X, 450)), expected)
    assert density.score(iter(Parts(X, 450))) == pytest.approx(expected.sum())
    numbers = X[["float", "single"]]
    detector = DensityOutlierDetector(MixtureDensity(2, random_state=0)).fit(numbers)
    told = detector.predict(iter(Parts(numbers, 700)))
    assert np.array_equal(told, detector.predict(numbers))
    with pytest.raises(TypeError, match="can be read but once, and fit"):
        HistogramDensity().fit(iter(Parts(X, 450)))


def test_meta_estimators_score_chunks():
    X = mixed()[["float", "integer"]]
    ensemble = EnsembleDensity([("one", HistogramDensity(alpha=1)), ("two", HistogramDensity(5))])
    ensemble.fit(X)
    parts = Parts(X, 700)
    for scores, expected in zip(
        ensemble.score_samples(parts, return_std=True),
        ensemble.score_samples(X, return_std=True),
        strict=True,
    ):
        assert np.allclose(scores, expected)
    scores = np.concatenate(list(ensemble.iter_scores(parts)))
    assert np.allclose(scores, ensemble.score_samples(X))


def test_classifiers_score_chunks():
    X = mixed()[["float", "word"]]
    classifier = NaiveBayesClassifier().fit(X, mixed()["two"] > 0)
    assert np.allclose(classifier.score_samples(Parts(X, 300)), classifier.score_samples(X))


def test_sequences_are_scored_some_at_a_time():
    words = ["anna", "hanna", "ann"] * 5
    density = MarkovChainDensity(order=1).fit(words)
    parts = list(density.iter_scores(words, chunk_rows=4))
    assert list(map(len, parts)) == [4, 4, 4, 3]
    assert np.allclose(np.concatenate(parts), density.score_samples(words))


def test_sequences_of_vectors_are_no_tables():
    X = [np.random.default_rng(n).normal(size=(n, 2)) for n in range(3, 12)]
    density = HiddenMarkovDensity(2, random_state=0).fit(X)
    parts = list(density.iter_scores(X, chunk_rows=4))
    assert list(map(len, parts)) == [4, 4, 1]
    assert np.allclose(np.concatenate(parts), density.score_samples(X))


@pytest.mark.parametrize("container", ["pandas", "polars", "array"])
def test_draws_in_chunks(container, tmp_path):
    X = mixed()
    if container == "polars":
        X = pl.from_pandas(X)
    elif container == "array":
        X = X[["float", "integer"]].to_numpy()
    density = HistogramDensity().fit(X)
    parts = list(density.iter_samples(1000, chunk_rows=300, random_state=0))
    assert list(map(len, parts)) == [300, 300, 300, 100]
    assert all(type(part) is type(X) for part in parts)
    path = tmp_path / "drawn.parquet"
    path.write_text("what stood there")
    density.sample_to_parquet(path, 1000, chunk_rows=300, random_state=0)
    assert os.listdir(tmp_path) == ["drawn.parquet"]
    file = pq.ParquetFile(path)
    groups = [file.metadata.row_group(i).num_rows for i in range(file.num_row_groups)]
    assert groups == [300, 300, 300, 100]
    if container == "pandas":
        pd.testing.assert_frame_equal(pd.read_parquet(path), pd.concat(parts, ignore_index=True))
    elif container == "polars":
        assert pl.read_parquet(path).equals(pl.concat(parts))
    else:
        read = pd.read_parquet(path)
        assert list(read) == ["x0", "x1"]
        assert np.array_equal(read, np.concatenate(parts))
    # What was drawn can be fitted to.
    assert HistogramDensity().fit(path).total_ == 1000


def test_arrays_of_objects_are_written(tmp_path):
    X = mixed()[["float", "word"]].to_numpy(dtype=object)
    density = HistogramDensity().fit(X)
    density.sample_to_parquet(tmp_path / "drawn.parquet", 50, random_state=0)
    read = pd.read_parquet(tmp_path / "drawn.parquet").to_numpy(dtype=object)
    assert np.array_equal(read, density.sample(50, np.random.default_rng(0)))


@pytest.mark.parametrize(
    "classifier",
    [
        NaiveBayesClassifier(),
        TreeAugmentedNaiveBayesClassifier(),
        AveragedOneDependenceClassifier(),
    ],
    ids=lambda classifier: type(classifier).__name__,
)
def test_classifiers_draw_in_chunks(classifier, tmp_path):
    X = mixed()[["float", "integer"]]
    classifier.fit(X, mixed()["two"])
    parts = list(classifier.iter_samples(50, chunk_rows=20, random_state=0))
    assert list(map(len, parts)) == [20, 20, 10]
    classifier.sample_to_parquet(tmp_path / "drawn.parquet", 50, chunk_rows=20, random_state=0)
    read = pd.read_parquet(tmp_path / "drawn.parquet")
    pd.testing.assert_frame_equal(read, pd.concat(parts, ignore_index=True))


def test_files_that_are_not_complete_do_not_stay(density, tmp_path, monkeypatch):
    def interrupted(n_samples, random_state):
        if n_samples < 100:
            raise KeyboardInterrupt
        return HistogramDensity.sample(density, n_samples, random_state)

    (tmp_path / "drawn.parquet").write_text("what stood there")
    monkeypatch.setattr(density, "sample", interrupted)
    with pytest.raises(KeyboardInterrupt):
        density.sample_to_parquet(tmp_path / "drawn.parquet", 250, chunk_rows=100)
    assert os.listdir(tmp_path) == ["drawn.parquet"]
    assert (tmp_path / "drawn.parquet").read_text() == "what stood there"


def test_bad_requests(density, tmp_path, monkeypatch):
    with pytest.raises(NotFittedError):
        HistogramDensity().iter_scores(mixed())
    with pytest.raises(NotFittedError):
        HistogramDensity().iter_samples(3)
    for call in (
        lambda: density.iter_scores(mixed(), chunk_rows=0),
        lambda: density.iter_samples(3, chunk_rows=0),
        lambda: density.iter_samples(0),
        lambda: density.sample_to_parquet(tmp_path / "x.parquet", -1),
    ):
        with pytest.raises(ValueError, match="should be a positive integer"):
            call()
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(ImportError, match="pip install pyarrow"):
        density.sample_to_parquet(tmp_path / "x.parquet", 3)
    assert not os.listdir(tmp_path)
