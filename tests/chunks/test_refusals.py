"""Where tables that are read a chunk at a time, and paths, are refused: in one line that says why."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.preprocessing import StandardScaler

from sklearn_dgm import (
    DensityCodec,
    DensityImputer,
    DensityOutlierDetector,
    EnergyDensity,
    EnsembleDensity,
    GenerativeClassifier,
    GenerativeOverSampler,
    HistogramDensity,
    MarkovChainDensity,
    MixtureDensity,
    NaiveBayesClassifier,
    TransformedDensity,
)
from tests.chunks.tables import Parts

X = np.random.default_rng(0).normal(size=(60, 2))
Y = np.arange(60) % 2
HISTOGRAM = HistogramDensity(bins=4, alpha=1)
ON_DENSITIES = [
    EnsembleDensity([("one", HISTOGRAM)]),
    TransformedDensity(StandardScaler(), MixtureDensity(2)),
    GenerativeClassifier(HISTOGRAM),
    DensityImputer(MixtureDensity(2)),
    DensityCodec(HISTOGRAM),
    GenerativeOverSampler(HISTOGRAM),
]


def named(estimator):
    return type(estimator).__name__


@pytest.fixture
def path(tmp_path):
    pd.DataFrame(X, columns=["a", "b"]).to_parquet(tmp_path / "X.parquet")
    return tmp_path / "X.parquet"


@pytest.mark.parametrize("estimator", ON_DENSITIES, ids=named)
def test_what_is_built_on_densities_learns_in_memory(estimator, path):
    estimator = clone(estimator)
    fit = estimator.fit_resample if hasattr(estimator, "fit_resample") else estimator.fit
    for chunked in (path, str(path.parent), [path], [X, X], Parts(X, 20)):
        with pytest.raises(TypeError, match=f"{named(estimator)} learns from tables in memory"):
            fit(chunked, Y)
    assert not hasattr(estimator, "n_features_in_")


def test_rows_that_become_others_are_in_memory(path):
    rows = pd.read_parquet(path)
    imputer = DensityImputer(MixtureDensity(2)).fit(rows)
    codec = DensityCodec(HISTOGRAM).fit(rows)
    for chunked in (path, Parts(rows, 20)):
        for ask in (imputer.transform, imputer.multiple_impute, codec.encode):
            with pytest.raises(TypeError, match=r"takes tables in memory alone"):
                ask(chunked)


@pytest.mark.parametrize(
    "estimator",
    [
        *ON_DENSITIES[:-1],
        EnergyDensity(HISTOGRAM),
        HISTOGRAM,
        NaiveBayesClassifier(),
        DensityOutlierDetector(),
    ],
    ids=named,
)
def test_paths_that_are_none_of_parquet_files(estimator, tmp_path):
    estimator = clone(estimator)
    for wrong in ("typo", "X.csv"):
        with pytest.raises(ValueError, match=f"X is the path '{wrong}', which is no Parquet file"):
            estimator.fit(wrong, Y)
    with pytest.raises(ValueError, match=r"X\[1\] is the path 'X.csv', which is no Parquet file"):
        estimator.fit(["X.parquet", "X.csv"], Y)


def test_folders_and_their_paths_in_lists(path, tmp_path):
    whole = HistogramDensity(bins=4, alpha=1).fit(X).total_
    for read in ([tmp_path], [str(tmp_path)], (str(path),), [str(tmp_path), path]):
        assert HistogramDensity(bins=4, alpha=1).fit(read).total_ == len(read) * whole
    (tmp_path / "X.csv").write_text("a,b")
    for wrong in (tmp_path / "X.csv", str(tmp_path / "X.csv"), [path, tmp_path / "X.csv"]):
        with pytest.raises(ValueError, match=r"X\.csv', which is no Parquet file"):
            HistogramDensity().fit(wrong)
        with pytest.raises(ValueError, match=r"X\.csv', which is no Parquet file"):
            HistogramDensity().fit(X).score_samples(wrong)


def test_parts_are_in_memory(path):
    for paths in (path, str(path), [str(path)], str(path.parent)):
        with pytest.raises(TypeError, match="partial_fit takes rows in memory"):
            HistogramDensity().partial_fit(paths)


OF_SEQUENCES = [
    DensityOutlierDetector(MarkovChainDensity(2)),
    EnsembleDensity([("one", MarkovChainDensity(2))]),
    GenerativeClassifier(MarkovChainDensity(2)),
]


@pytest.mark.parametrize("estimator", OF_SEQUENCES, ids=named)
def test_what_is_built_on_densities_of_sequences_learns_in_memory(estimator, path):
    words = ["abab", "ba", "b", "bab"] * 5
    fitted = clone(estimator).fit(words, Y[:20])
    for chunked in (path, str(path), [path], Parts(words, 5)):
        with pytest.raises(TypeError, match=f"{named(estimator)} learns from tables in memory"):
            clone(estimator).fit(chunked, Y[:20])
        with pytest.raises(TypeError, match=f"{named(estimator)} takes tables in memory"):
            fitted.score_samples(chunked)


def test_paths_of_sequences_are_paths():
    for X in (Path("typo"), [Path("typo")], "typo.parquet"):
        with pytest.raises(FileNotFoundError, match="X names 'typo.*', where there is no file"):
            MarkovChainDensity().fit(X)
    with pytest.raises(ValueError, match="X is a string, which is one sequence"):
        MarkovChainDensity().fit("typo")
