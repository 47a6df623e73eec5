"""What is read a chunk at a time, in which order, and what is no such thing."""

import sys
from pathlib import Path

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.dataset as ds
import pytest
from joblib import Parallel, delayed

from sklearn_dgm import HistogramDensity, MixtureDensity
from sklearn_dgm.chunks import Chunks, is_chunked
from tests.chunks.tables import Parts


@pytest.fixture
def frame():
    n = 1000
    return pd.DataFrame({"a": np.arange(n) / 2, "b": np.arange(n) % 7, "c": list("xyzw") * 250})


@pytest.fixture
def folder(frame, tmp_path):
    folder = tmp_path / "table"
    folder.mkdir()
    for name, part in (("1", frame[:400]), ("2", frame[400:])):
        part.to_parquet(folder / f"{name}.parquet", row_group_size=150, index=False)
    return folder


SOURCES = {
    "folder": lambda frame, folder: str(folder),
    "Path": lambda frame, folder: folder,
    "file": lambda frame, folder: [str(folder / "1.parquet"), folder / "2.parquet"],
    "dataset": lambda frame, folder: ds.dataset(folder),
    "lazy": lambda frame, folder: pl.from_pandas(frame).lazy(),
    "scanned": lambda frame, folder: pl.scan_parquet(folder / "*.parquet"),
    "parts": lambda frame, folder: Parts(frame, 130),
    "parts of polars": lambda frame, folder: Parts(pl.from_pandas(frame), 999),
    "list": lambda frame, folder: [frame[:130], frame[130:200], frame[200:]],
    "tuple": lambda frame, folder: (pl.from_pandas(frame[:900]), pl.from_pandas(frame[900:])),
}


@pytest.mark.parametrize("rows_at_once", [64, 5000])
@pytest.mark.parametrize("source", SOURCES)
def test_all_rows_come_in_their_order_each_time(source, rows_at_once, frame, folder):
    X = SOURCES[source](frame, folder)
    assert is_chunked(X)
    chunks = Chunks.of(X, rows_at_once)
    for _ in range(2):
        parts = list(chunks)
        assert all(len(part.table) == len(part.positions) <= rows_at_once for part in parts)
        assert np.array_equal(np.concatenate([part.positions for part in parts]), np.arange(1000))
        for name in frame:
            values = np.concatenate([np.asarray(part.table[name]) for part in parts])
            assert np.array_equal(values, frame[name])
    assert chunks.n_rows == 1000


def test_polars_without_batches_is_read_in_slices(frame, monkeypatch):
    monkeypatch.delattr(pl.LazyFrame, "collect_batches", raising=False)
    parts = [part.table for part in Chunks.of(pl.from_pandas(frame).lazy(), 300)]
    assert list(map(len, parts)) == [300, 300, 300, 100]
    assert pl.concat(parts).equals(pl.from_pandas(frame))


def test_wide_tables_come_in_fewer_rows(monkeypatch):
    monkeypatch.setattr("sklearn_dgm.chunks._sources.CELLS_AT_ONCE", 300)
    X = pl.DataFrame({"a": range(1000), "b": range(1000), "c": range(1000)})
    assert max(len(part.table) for part in Chunks.of(X.lazy())) == 100
    assert max(len(part.table) for part in Chunks.of(X.lazy(), 70)) == 70


@pytest.mark.parametrize("mode", ["r", "r+", "c"])
def test_maps_of_files(mode, tmp_path, monkeypatch):
    X = np.random.default_rng(0).normal(size=(500, 3))
    X.tofile(tmp_path / "X")
    mapped = np.memmap(tmp_path / "X", dtype=np.float64, mode=mode, shape=X.shape)
    assert not is_chunked(mapped)  # small ones are arrays, as joblib hands them to workers
    monkeypatch.setattr("sklearn_dgm.chunks._sources.SAMPLE_ROWS", 400)
    if mode != "r":
        X[7], mapped[7] = 1, 1  # in mode "c" in memory alone
    assert is_chunked(mapped)
    part = mapped[100:]
    assert np.array_equal(np.concatenate([c.table for c in Chunks.of(part, 60)]), X[100:])
    for _ in range(2):
        assert np.array_equal(np.concatenate([c.table for c in Chunks.of(mapped, 60)]), X)


def test_what_joblib_hands_to_processes_is_an_array():
    X = np.zeros((140_000, 1))
    handed = Parallel(n_jobs=2, backend="multiprocessing")(
        delayed(is_memmap_and_chunked)(X) for _ in range(2)
    )
    assert handed == [(True, False)] * 2


def is_memmap_and_chunked(X):
    return isinstance(X, np.memmap), is_chunked(X)


@pytest.mark.parametrize(
    "X",
    [
        np.zeros((3, 2)),
        [[1.0, 2.0]],
        [[1.0, 2.0], [3.0, 4.0]],
        [np.array([1.0, 2.0]), np.array([3.0, 4.0])],
        [[[1.0, 2.0]], [[3.0, 4.0]]],
        [pd.DataFrame({"a": [1]}), [1]],
        np.zeros((3, 2, 2)),
        [],
        ["a", "b"],
        "abc",
        pd.DataFrame({"a": [1]}),
        pl.DataFrame({"a": [1]}),
        pd.Series([1]),
        {"a": [1]},
        {1, 2},
        None,
        3.0,
    ],
    ids=repr,
)
def test_what_lies_in_memory_is_none(X):
    assert not is_chunked(X)


def test_chunks_without_some_rows_keep_the_positions_of_the_others(frame):
    left_out = np.array([3, 64, 65, 999])
    rest = Chunks.of(frame, 64).without(left_out)
    positions = np.concatenate([part.positions for part in rest])
    assert np.array_equal(positions, np.delete(np.arange(1000), left_out))
    for part in rest:
        assert np.array_equal(part.table["a"], part.positions / 2)

    def refuse(table):
        raise ValueError("row 3 is odd")

    with pytest.raises(ValueError, match="row 4 is odd"):
        next(iter(rest.map(refuse)))


def test_what_is_wrong_with_a_source_is_said(frame, folder, tmp_path):
    def error(X, kind):
        with pytest.raises(kind) as raised:
            HistogramDensity().fit(X)
        return str(raised.value)

    assert "generator, which can be read but once" in error((x for x in [frame]), TypeError)
    assert "map, which can be read but once" in error(map(id, [frame]), TypeError)
    missing = str(tmp_path / "missing.parquet")
    assert repr(missing) in error(missing, FileNotFoundError)
    assert repr(missing) in error([folder / "1.parquet", Path(missing)], FileNotFoundError)
    assert repr(missing[:-8]) in error(missing[:-8], FileNotFoundError)
    (tmp_path / "none").mkdir()
    assert "none', in which there are no Parquet files" in error(tmp_path / "none", ValueError)
    assert "0 sample(s)" in error(Parts(frame[:0], 5), ValueError)
    (tmp_path / "text.parquet").write_text("a,b\n1,2\n")
    assert "text.parquet" in error(tmp_path / "text.parquet", ValueError)

    class Once(Parts):
        def __iter__(self):
            rows, self.table = super().__iter__(), self.table[:0]
            return iter(list(rows))

    assert "1000 rows when it was read before, and 0 now" in error(Once(frame, 100), ValueError)

    class Fewer(Parts):
        def __iter__(self):
            rows, self.table = list(super().__iter__()), self.table[:-100]
            return iter(rows)

    assert "1000 rows when it was read before, and 900 now" in error(Fewer(frame, 50), ValueError)


def test_chunks_have_the_same_columns():
    def error(*tables):
        class Tables:
            def __iter__(self):
                return iter(tables)

        with pytest.raises((TypeError, ValueError)) as raised:
            HistogramDensity().fit(Tables())
        return str(raised.value)

    first = pd.DataFrame({"a": [1.0, 2.0], "b": ["x", "y"]})
    assert "from row 2 on" in error(first, first.rename(columns={"b": "c"}))
    assert "['b', 'a'] from row 2 on" in error(first, first[["b", "a"]])
    assert "2 columns without names from row 2 on" in error(first, first.to_numpy())
    assert "3 columns without names from row 4 on" in error(np.ones((4, 2)), np.ones((4, 3)))
    strings = first.assign(a=["1", "z"])
    said = f"column 'a' holds '1' (dtype {strings['a'].dtype}) in row 2, but numbers before"
    assert said in error(first, strings)
    assert "from row 2 on: Expected 2D array, got 1D" in error(first, first["a"])
    assert "a dict; make a DataFrame" in error({"a": [1]})


def test_lists_of_arrays_are_fitted_like_all_rows():
    X = np.random.default_rng(0).normal(size=(300, 2))
    whole = HistogramDensity(bins=5, alpha=1).fit(X)
    parts = [X[:100], X[100:]]
    density = HistogramDensity(bins=5, alpha=1).fit(parts)
    assert density.n_features_in_ == 2
    assert np.array_equal(density.counts_, whole.counts_)
    assert np.array_equal(density.score_samples(parts), whole.score_samples(X))
    with pytest.raises(ValueError, match="3 columns without names from row 300 on, but 2"):
        HistogramDensity().fit([X, np.ones((4, 3))])


def test_files_have_the_same_columns(frame, tmp_path):
    frame.to_parquet(tmp_path / "1.parquet")
    frame[["a", "b"]].to_parquet(tmp_path / "2.parquet")
    for X in (tmp_path, [tmp_path / "1.parquet", tmp_path / "2.parquet"]):
        with pytest.raises(
            ValueError, match=r"2.parquet has the columns \['a', 'b'\], but .*1.parquet"
        ):
            HistogramDensity().fit(X)


def test_a_folder_is_read_like_the_list_of_its_files(frame, tmp_path):
    frame["d"] = None
    first, second = frame[:400].assign(a=1), frame[400:].assign(d="word")
    (tmp_path / "z").mkdir()
    first.to_parquet(tmp_path / "1.parquet")  # whole numbers, and a column that Arrow calls null
    second.to_parquet(tmp_path / "z" / "0.pq")
    (tmp_path / "README.txt").write_text("Rows.")
    (tmp_path / ".hidden").mkdir()
    frame.to_parquet(tmp_path / ".hidden" / "1.parquet")
    files = [tmp_path / "1.parquet", tmp_path / "z" / "0.pq"]
    read = [[part.table for part in Chunks.of(X, 300)] for X in (tmp_path, files)]
    for of_folder, of_list in zip(*read, strict=True):
        pd.testing.assert_frame_equal(of_folder, of_list)
    whole = pd.concat([first, second])
    X = pd.concat(read[0])
    for name in X:
        assert X[name].tolist() == whole[name].tolist()
    mixture = MixtureDensity(2, random_state=0)
    assert np.allclose(mixture.fit(tmp_path).score(whole), mixture.fit(whole).score(whole))
    # One that is none says so, by its name.
    (tmp_path / "z" / "1.parquet").write_text("Rows.")
    with pytest.raises(ValueError, match=r"z/1\.parquet"):
        mixture.fit(tmp_path)


def test_names_of_folders_are_of_one_type(tmp_path):
    for value in ("1", "two"):
        (tmp_path / f"key={value}").mkdir()
        pd.DataFrame({"a": [0.5, 1.5]}).to_parquet(tmp_path / f"key={value}" / "0.parquet")
    read = pd.concat([part.table for part in Chunks.of(tmp_path)])
    assert read["key"].tolist() == ["1", "1", "two", "two"]


def test_datasets_of_other_formats_and_partitions(frame, tmp_path):
    frame.to_csv(tmp_path / "X.csv", index=False)
    for X in (ds.dataset(tmp_path / "X.csv", format="csv"), ds.dataset(pa.table(frame))):
        parts = [part.table for part in Chunks.of(X, 300)]
        assert np.array_equal(pd.concat(parts)["b"], frame["b"])
    frame.to_parquet(tmp_path / "by", partition_cols=["c"])
    whole = HistogramDensity().fit(pd.read_parquet(tmp_path / "by"))
    density = HistogramDensity().fit(tmp_path / "by")
    assert np.array_equal(density.counts_, whole.counts_)
    assert list(density.feature_names_in_) == ["a", "b", "c"]


@pytest.mark.parametrize(("library", "what"), [("pyarrow", "pyarrow"), ("pandas", "pandas")])
def test_libraries_that_are_missing_are_named(library, what, folder, monkeypatch):
    hidden = {name: None for name in sys.modules if name.split(".")[0] == library}
    hidden |= {library: None, "pyarrow.dataset": None} if library == "pyarrow" else {"polars": None}
    for name in hidden:
        monkeypatch.setitem(sys.modules, name, None)
    if library == "pandas":
        monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(ImportError, match=f"pip install {what}"):
        next(iter(Chunks.of(str(folder))))


def test_frames_are_those_of_polars_where_pandas_is_missing(folder, monkeypatch):
    monkeypatch.setitem(sys.modules, "pandas", None)
    assert isinstance(next(iter(Chunks.of(folder))).table, pl.DataFrame)
