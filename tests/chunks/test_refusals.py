"""Where tables that are read a chunk at a time, and paths, are refused: in one line that says why."""

from pathlib import Path

import numpy as np
import pandas as pd
import polars
import pytest
from scipy.sparse import csr_array
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
    LatentDirichletAllocationDensity,
    MarkovChainDensity,
    MixtureDensity,
    NaiveBayesClassifier,
    TransformedDensity,
    compare_densities,
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
        with pytest.raises(TypeError, match=f"{named(estimator)} learns from rows in memory"):
            fit(chunked, Y)
    assert not hasattr(estimator, "n_features_in_")


def test_rows_that_become_others_are_in_memory(path):
    rows = pd.read_parquet(path)
    imputer = DensityImputer(MixtureDensity(2)).fit(rows)
    codec = DensityCodec(HISTOGRAM).fit(rows)
    for chunked in (path, Parts(rows, 20)):
        for ask in (imputer.transform, imputer.multiple_impute, codec.encode):
            with pytest.raises(TypeError, match="takes rows in memory; ask it of one part"):
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
        with pytest.raises(TypeError, match=f"{named(estimator)} learns from rows in memory"):
            clone(estimator).fit(chunked, Y[:20])
        with pytest.raises(
            TypeError, match=f"this method of {named(estimator)} takes rows in memory"
        ):
            fitted.score_samples(chunked)


def test_paths_of_sequences_are_paths():
    for X in (Path("typo"), [Path("typo")], "typo.parquet"):
        with pytest.raises(FileNotFoundError, match="X names 'typo.*', where there is no file"):
            MarkovChainDensity().fit(X)
    with pytest.raises(ValueError, match="X is a string, which is one sequence"):
        MarkovChainDensity().fit("typo")


def test_questions_about_rows_in_memory_say_so(path):
    rows = pd.read_parquet(path)
    mixture = MixtureDensity(2, random_state=0).fit(rows)
    for chunked in (path, [X, X], Parts(rows, 20)):
        with pytest.raises(TypeError, match="this method of MixtureDensity takes rows in memory"):
            mixture.conditional_sample(chunked)
        with pytest.raises(TypeError, match="compare_densities learns from rows in memory"):
            compare_densities({"one": HISTOGRAM}, chunked)


def test_the_same_generator_in_each_loop_is_told():
    class Once:
        def __init__(self):
            self.parts = iter(np.array_split(X, 3))

        def __iter__(self):
            return self.parts

    with pytest.raises(ValueError, match="X had 60 rows when it was read before, and 0 now"):
        clone(HISTOGRAM).fit(Once())


@pytest.mark.parametrize("weight", [np.ones((2, 60)), np.ones((120, 2)), "k", 2.0])
def test_weights_of_another_shape(weight):
    with pytest.raises(ValueError, match="sample_weight should have one weight for each row"):
        clone(HISTOGRAM).fit([X, X], sample_weight=weight)


def test_weights_that_are_too_few():
    with pytest.raises(ValueError, match="sample_weight has 99 entries, but X has at least 100"):
        clone(HISTOGRAM).fit(Parts(np.vstack([X, X]), 20), sample_weight=np.ones(99))


def test_frames_of_two_libraries():
    rows = pd.DataFrame(X, columns=["a", "b"])
    both = [rows, polars.from_pandas(rows)]
    message = "X is a DataFrame of polars from row 60 on, but of pandas before"
    with pytest.raises(ValueError, match=message):
        clone(HISTOGRAM).fit(both)

    class Frame(pd.DataFrame):
        pass

    assert clone(HISTOGRAM).fit([Frame(rows), rows]).total_ == 120


def test_places_that_are_no_disk():
    for X in ("s3://bucket/rows.parquet", Path("s3://bucket/rows.parquet")):
        with pytest.raises(FileNotFoundError, match=r"hand in a pyarrow\.dataset\.Dataset"):
            clone(HISTOGRAM).fit(X)


def test_files_that_cannot_be_written(tmp_path):
    density = clone(HISTOGRAM).fit(X)
    for write in (density.save, lambda path: density.sample_to_parquet(path, 5)):
        with pytest.raises(FileNotFoundError, match="rows cannot be written: there is no folder"):
            write(tmp_path / "typo" / "rows")
        with pytest.raises(TypeError, match="path should be a string or a Path, got None"):
            write(None)


def test_sparse_rows_have_no_file(tmp_path):
    counts = csr_array(np.arange(60).reshape(20, 3) % 4)
    density = LatentDirichletAllocationDensity(2, random_state=0).fit(counts)
    with pytest.raises(TypeError, match="rows that are drawn are sparse matrices"):
        density.sample_to_parquet(tmp_path / "rows.parquet", 5)
    assert not list(tmp_path.iterdir())
