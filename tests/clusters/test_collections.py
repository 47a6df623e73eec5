"""Tables of Dask, whose partitions are summed up where they lie, beside one fit of all rows in memory."""

import dataclasses
import os

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone, is_classifier

from sklearn_dgm import (
    AutoregressiveDensity,
    AveragedOneDependenceClassifier,
    BayesianNetworkDensity,
    DensityOutlierDetector,
    HistogramDensity,
    MixtureDensity,
    NaiveBayesClassifier,
    TreeAugmentedNaiveBayesClassifier,
)
from sklearn_dgm.chunks import Chunks, EncodedChunks, TableSummary, _sampling, sum_of
from sklearn_dgm.columns import ColumnSchema
from sklearn_dgm.mixture._fitting import fit_mixture
from sklearn_dgm.mixture._rows import WeightedRows
from tests.mixture.test_chunks import start  # noqa: F401, a fixture
from tests.toys import Bootstrap, Gaussian, Noisy

da = pytest.importorskip("dask.array")
dd = pytest.importorskip("dask.dataframe")
delayed = pytest.importorskip("dask").delayed

N_ROWS = 600
# Numbers of rows of partitions: one, two, and seven that are uneven, some of them empty.
PARTITIONS = [(600,), (250, 350), (0, 1, 300, 0, 199, 100, 0)]
DENSITIES = [
    HistogramDensity(bins=6),
    HistogramDensity(bins="quantiles", alpha=0.5),
    BayesianNetworkDensity(conditional="table", random_state=0),
]
CLASSIFIERS = [
    NaiveBayesClassifier(),
    TreeAugmentedNaiveBayesClassifier(handle_unknown="rare"),
    AveragedOneDependenceClassifier(),
]


@pytest.fixture(autouse=True)
def tree(monkeypatch):
    """Let sums of seven partitions be a tree of several levels."""
    monkeypatch.setattr("sklearn_dgm.chunks._dask.SUMMED_AT_ONCE", 2)


def table(*, gaps=False):
    rng = np.random.default_rng(0)
    X = pd.DataFrame(
        {
            "length": rng.normal(10, 2, N_ROWS),
            "n": rng.poisson(3, N_ROWS),
            "colour": rng.choice(["red", "green", "blue"], N_ROWS, p=[0.6, 0.39, 0.01]),
        }
    )
    X["colour"] = X["colour"].astype("category")
    X["length"] += X["n"]
    return X.mask(rng.random(X.shape) < 0.1) if gaps else X


def labels():
    return np.random.default_rng(1).integers(0, 3, N_ROWS)


def weights():
    return np.random.default_rng(2).integers(0, 3, N_ROWS).astype(float)


def split(X, lengths):
    ends = np.cumsum(lengths)
    return [X[end - n : end] for end, n in zip(ends, lengths, strict=True)]


def frame(X, lengths):
    """A DataFrame of Dask, whose lengths it does not know."""
    return dd.from_delayed([delayed(part) for part in split(X, lengths)], meta=X[:0])


def column(values, lengths):
    """An array of Dask, in chunks of unknown length."""
    parts = [
        da.from_delayed(delayed(part), (np.nan,), values.dtype) for part in split(values, lengths)
    ]
    return da.concatenate(parts, allow_unknown_chunksizes=True)


def arrays_in(counts):
    """All arrays that counts consist of."""
    if dataclasses.is_dataclass(counts):
        counts = vars(counts)
    if isinstance(counts, dict):
        counts = list(counts.values())
    if isinstance(counts, list | tuple):
        return [array for one in counts for array in arrays_in(one)]
    return [np.asarray(counts)]


def assert_same_counts(one, other):
    for mine, its in zip(arrays_in(one._counts), arrays_in(other._counts), strict=True):
        np.testing.assert_array_equal(mine, its)


@pytest.mark.parametrize("lengths", PARTITIONS, ids=len)
@pytest.mark.parametrize("density", DENSITIES, ids=str)
@pytest.mark.parametrize("weighted", [False, True])
def test_densities_of_counts_are_those_of_all_rows(density, lengths, weighted):
    X = table(gaps=isinstance(density, BayesianNetworkDensity))
    weight = weights() if weighted else None
    whole = clone(density).fit(X, sample_weight=weight)
    of_dask = column(weight, lengths) if weighted else None
    counted = clone(density).fit(frame(X, lengths), sample_weight=of_dask)
    assert_same_counts(counted, whole)
    assert counted.n_features_in_ == 3
    assert list(counted.feature_names_in_) == list(X)
    scores = counted.score_samples(frame(X, lengths))
    assert isinstance(scores, da.Array)
    np.testing.assert_allclose(scores, whole.score_samples(X), rtol=1e-12)
    assert counted.score(frame(X, lengths)) == pytest.approx(whole.score(X), rel=1e-12)
    pd.testing.assert_frame_equal(counted.sample(20, 0), whole.sample(20, 0))


@pytest.mark.parametrize("lengths", PARTITIONS, ids=len)
def test_arrays_are_tables_too(lengths):
    X = np.random.default_rng(0).normal(size=(N_ROWS, 3))
    # Of which Dask may cut the columns, too.
    of_dask = da.from_array(X, chunks=(lengths, (2, 1)))
    whole, counted = HistogramDensity().fit(X), HistogramDensity().fit(of_dask)
    assert_same_counts(counted, whole)
    scores = counted.score_samples(of_dask)
    assert scores.shape == (N_ROWS,)
    np.testing.assert_array_equal(scores, whole.score_samples(X))
    assert isinstance(counted.sample(3), np.ndarray)
    some = X[X[:, 0] > 0]
    whole, counted = HistogramDensity().fit(some), HistogramDensity().fit(of_dask[X[:, 0] > 0])
    assert_same_counts(counted, whole)
    np.testing.assert_array_equal(
        counted.score_samples(of_dask[of_dask[:, 0] > 0]), whole.score_samples(some)
    )


@pytest.mark.parametrize("lengths", PARTITIONS, ids=len)
@pytest.mark.parametrize("classifier", CLASSIFIERS, ids=str)
@pytest.mark.parametrize("weighted", [False, True])
def test_classifiers_are_those_of_all_rows(classifier, lengths, weighted):
    X, y, weight = table(gaps=True), labels(), weights() if weighted else None
    whole = clone(classifier).fit(X, y, weight)
    for of_y in (y, column(y, lengths), frame(pd.Series(y), (300, 300))):
        counted = clone(classifier).fit(frame(X, lengths), of_y, weight)
        assert_same_counts(counted, whole)
        np.testing.assert_array_equal(counted.classes_, whole.classes_)
        np.testing.assert_array_equal(counted.predict_proba(X), whole.predict_proba(X))


@pytest.mark.parametrize("classifier", CLASSIFIERS, ids=str)
@pytest.mark.parametrize("of_words", [False, True])
def test_unlabelled_rows_count_as_in_memory(classifier, of_words):
    X, y = table(), labels()
    if of_words:
        y = np.array(["a", "b", "c"], dtype=object)[y]
    y[::3] = -1
    whole = clone(classifier).fit(X, y)
    assert whole.n_iter_ > 1
    lengths = PARTITIONS[-1]
    counted = clone(classifier).fit(frame(X, lengths), column(y, lengths))
    assert counted.n_iter_ == whole.n_iter_
    for mine, its in zip(arrays_in(counted._counts), arrays_in(whole._counts), strict=True):
        np.testing.assert_allclose(mine, its, rtol=1e-9, atol=1e-9)


def test_a_class_may_be_that_of_rows_without_weight():
    X, y = table(), np.where(np.arange(N_ROWS) < 5, 7, labels())
    counted = NaiveBayesClassifier().fit(frame(X, (100, 500)), y, (y < 7).astype(float))
    np.testing.assert_array_equal(counted.classes_, [0, 1, 2, 7])


@pytest.mark.parametrize("lengths", PARTITIONS, ids=len)
@pytest.mark.parametrize("component", ["independent", "gaussian", "tree"])
def test_mixtures_take_the_steps_of_one_in_memory(component, lengths, start, monkeypatch):  # noqa: F811
    monkeypatch.setattr("sklearn_dgm.chunks._sampling.SAMPLE_ROWS", 200)
    X, weight = table(gaps=True), weights()
    density = MixtureDensity(3, component, max_iter=5, tol=0.0, random_state=0)
    counted = density.fit(frame(X, lengths), sample_weight=column(weight, lengths))
    kept = np.flatnonzero(weight)
    Z = counted.schema_.encode(X)[0]
    shares = np.exp(start["mixture"].log_posterior_of(Z[kept]))
    rows = WeightedRows.of(Z[kept], weight[kept], shares)
    mixture, objectives = fit_mixture(start["mixture"], rows, 4, 0.0)
    np.testing.assert_allclose(counted.lower_bounds_[0][1:], objectives, rtol=1e-9)
    np.testing.assert_allclose(counted._mixture.log_prob(Z), mixture.log_prob(Z), rtol=1e-9)


def test_categories_of_all_partitions_are_known():
    words = np.array(["a", "b", "a", "c", "d", "a"] * 100)
    parts = [pd.DataFrame({"w": pd.Categorical(part)}) for part in np.split(words, [4, 50])]
    unknown = dd.from_delayed([delayed(part) for part in parts], verify_meta=False)
    known = dd.from_pandas(
        pd.DataFrame({"w": pd.Categorical(words, categories=list("abcde"))}), npartitions=3
    )
    plain = dd.from_pandas(pd.DataFrame({"w": words}), npartitions=3)
    counted = HistogramDensity().fit(unknown)
    assert sorted(counted.schema_.columns_[0].categories) == ["a", "b", "c", "d"]
    assert sorted(HistogramDensity().fit(plain).schema_.columns_[0].categories) == list("abcd")
    # What the dtype names, and no row holds, is a category as well.
    assert list(HistogramDensity().fit(known).schema_.columns_[0].categories) == list("abcde")
    new = pd.DataFrame({"w": list("abcd")})
    np.testing.assert_allclose(
        np.exp(counted.score_samples(new)), [1 / 2, 1 / 6, 1 / 6, 1 / 6], rtol=1e-12
    )


def test_a_part_keeps_no_more_than_its_share_of_the_sample(monkeypatch):
    monkeypatch.setattr("sklearn_dgm.chunks._sampling.SAMPLE_ROWS", 400)
    X, own = np.random.default_rng(0).normal(size=(20_000, 2)), ColumnSchema()
    whole = TableSummary(own)
    parts = [TableSummary(own, len(X)) for _ in range(20)]
    for chunk, part in zip(Chunks.of(X, 1000), parts, strict=True):
        whole.add(chunk)
        part.add(chunk)
    total = sum_of(parts)
    for part in parts:
        assert len(part.sample().table) < 100
    drawn, its = (of.sample().positions[of.sample().stands_for > 1] for of in (total, whole))
    assert len(drawn) == 400
    np.testing.assert_array_equal(drawn, its)


REFUSED = [
    (lambda X: {"X": frame(X[:0], (0, 0))}, ValueError, "X holds 0 sample"),
    (
        lambda X: {"X": frame(X, (600,)), "sample_weight": weights()[:-1]},
        ValueError,
        "sample_weight has 599 entries, but X has 600 rows",
    ),
    (
        lambda X: {"X": frame(X, (600,)), "sample_weight": column(-weights(), (300, 300))},
        ValueError,
        "Negative values in data",
    ),
    (
        lambda X: {"X": frame(X, (300, 300)), "sample_weight": np.zeros(600)},
        ValueError,
        "sample_weight is zero for every row",
    ),
    (
        lambda X: {"X": frame(X.assign(length=np.where(X.index == 407, np.inf, 1)), (400, 200))},
        ValueError,
        r"'length'.* row 407",
    ),
    (
        lambda X: {
            "X": dd.from_delayed(
                [delayed(X), delayed(X[["n", "length", "colour"]])], meta=X[:0], verify_meta=False
            )
        },
        ValueError,
        r"X has the columns \['n', 'length', 'colour'\] from row 600 on, but",
    ),
    (
        lambda X: {
            "X": dd.from_delayed(
                [delayed(X), delayed(X.assign(length="long"))], meta=X[:0], verify_meta=False
            )
        },
        ValueError,
        "column 'length' holds numbers in some rows, but strings in later ones",
    ),
]


@pytest.mark.parametrize(
    ("params", "error", "message"), REFUSED, ids=[case[-1] for case in REFUSED]
)
def test_what_is_no_table_is_refused(params, error, message):
    density = HistogramDensity()
    with pytest.raises(error, match=message):
        density.fit(**params(table()))
    assert vars(density) == vars(HistogramDensity())


def test_labels_of_another_length_are_refused():
    X = frame(table(), (300, 300))
    for y in (labels()[1:], column(labels()[1:], (599,))):
        with pytest.raises(ValueError, match="y has 599 entries, but X has 600 rows"):
            NaiveBayesClassifier().fit(X, y)
    with pytest.raises(ValueError, match="Input y contains NaN"):
        NaiveBayesClassifier().fit(X, column(np.where(labels() == 0, np.nan, 1.0), (300, 300)))


def test_what_learns_in_memory_alone_says_what_to_do():
    X = frame(table()[["length"]], (300, 300))
    for density in (Gaussian(), Bootstrap()):
        with pytest.raises(TypeError, match="Hand in a sample of its rows"):
            density.fit(X)
    with pytest.raises(TypeError, match="hand in a sample of the rows"):
        MixtureDensity(2, HistogramDensity()).fit(X)
    with pytest.raises(TypeError, match="partial_fit takes rows in memory"):
        HistogramDensity().partial_fit(X)


def test_other_densities_score_by_partition():
    X = np.random.default_rng(0).normal(size=(N_ROWS, 2))
    of_dask = da.from_array(X, chunks=((200, 0, 400), 2))
    density = Noisy().fit(X)
    scores, std = density.score_samples(of_dask, return_std=True)
    for mine, its in zip((scores, std), density.score_samples(X, return_std=True), strict=True):
        np.testing.assert_array_equal(mine, its)
    np.testing.assert_array_equal(density.score_samples(of_dask), scores)
    parts = list(density.iter_scores(of_dask))
    assert [len(part) for part in parts] == [200, 400]
    np.testing.assert_array_equal(np.concatenate(parts), scores)
    detector = DensityOutlierDetector(Gaussian()).fit(X)
    np.testing.assert_array_equal(detector.predict(of_dask), detector.predict(X))


def test_detectors_ask_partitions_of_unknown_lengths():
    X = table()
    of_dask = frame(X, (200, 0, 400))
    detector = DensityOutlierDetector(
        HistogramDensity(bins=3, alpha=1.0), calibration="holdout", random_state=0
    ).fit(X)
    for ask in ("score_samples", "decision_function", "predict", "p_values"):
        found, expected = getattr(detector, ask)(of_dask), getattr(detector, ask)(X)
        np.testing.assert_allclose(found.compute(), expected, rtol=1e-12)


@pytest.mark.parametrize("estimator", [*CLASSIFIERS, MixtureDensity(2, random_state=0)], ids=str)
def test_predictions_are_made_by_partition(estimator):
    X, y = table(), np.array(["no", "maybe", "yes"])[labels()]
    estimator = clone(estimator).fit(X, y)
    of_dask = frame(X, PARTITIONS[-1])
    names = ["predict", "predict_proba", "predict_joint_log_proba"]
    for name in names + ["predict_log_proba"] * is_classifier(estimator):
        expected, lazy = getattr(estimator, name)(X), getattr(estimator, name)(of_dask)
        assert isinstance(lazy, da.Array)
        assert lazy.dtype == expected.dtype
        assert lazy.shape[1:] == expected.shape[1:]
        if name == "predict":
            np.testing.assert_array_equal(lazy.compute(), expected)
        else:
            np.testing.assert_allclose(lazy.compute(), expected)
    if is_classifier(estimator):
        assert estimator.score(of_dask, y) == pytest.approx(estimator.score(X, y))


def test_networks_learn_from_one_partition_after_the_other(monkeypatch):
    monkeypatch.setattr("sklearn_dgm.chunks._sampling.SAMPLE_ROWS", 300)
    X = np.random.default_rng(0).normal(size=(900, 2))
    density = AutoregressiveDensity(n_orders=1, max_epochs=3, random_state=0)
    density.fit(da.from_array(X, chunks=((200, 0, 700), 2)))
    assert -3.2 < density.score(X) / len(X) < -2.7  # nats of two standard normals: -2.84


@pytest.mark.parametrize("lengths", PARTITIONS, ids=len)
def test_rows_can_be_read_one_partition_after_the_other(lengths):
    X = table()
    rows, schema = EncodedChunks.of(Chunks.of(frame(X, lengths), 130), ColumnSchema())
    for _ in range(2):
        Z, _, positions = zip(*rows.with_positions(), strict=True)
        np.testing.assert_array_equal(np.concatenate(Z), schema.encode(X)[0])
        np.testing.assert_array_equal(np.concatenate(positions), np.arange(N_ROWS))
        assert max(map(len, Z)) <= 130


def test_tables_are_drawn_by_partition_with_one_seed():
    density, seeds = HistogramDensity().fit(table()), np.random.SeedSequence(0).spawn(3)
    drawn = [
        dd.from_map(lambda seed: density.sample(50, np.random.default_rng(seed)), seeds)
        for _ in range(2)
    ]
    assert drawn[0].npartitions == 3
    first, second = (of.compute() for of in drawn)
    pd.testing.assert_frame_equal(first, second)
    assert len(first) == 150
    assert not first[:50].equals(first[50:100])


# On processes of a cluster.


class Counted(Gaussian):
    """A density that knows how often it has come to a process."""

    n_arrivals = 0

    def __setstate__(self, state):
        super().__setstate__(state)
        Counted.n_arrivals += 1


def test_parts_are_counted_in_other_processes(cluster):
    X, lengths, here = table(gaps=True), PARTITIONS[-1], os.getpid()

    class Told(BayesianNetworkDensity):
        def _count(self, Z, weight, **of_all):
            assert os.getpid() != here
            return super()._count(Z, weight, **of_all)

    whole = BayesianNetworkDensity(conditional="table", random_state=0).fit(X)
    with cluster.as_current():
        counted = Told(conditional="table", random_state=0).fit(frame(X, lengths))
        classifier = NaiveBayesClassifier().fit(frame(X, lengths), column(labels(), lengths))
        mixture = MixtureDensity(2, random_state=0).fit(frame(X, lengths))
    assert_same_counts(counted, whole)
    assert_same_counts(classifier, NaiveBayesClassifier().fit(X, labels()))
    here_too = MixtureDensity(2, random_state=0).fit(frame(X, lengths))
    np.testing.assert_allclose(mixture.weights_, here_too.weights_, rtol=1e-9)


def test_tables_beside_a_network_are_counted_in_other_processes(cluster, monkeypatch):
    monkeypatch.setattr(_sampling, "SAMPLE_ROWS", 100)
    X, lengths, here = table(gaps=True), PARTITIONS[-1], os.getpid()

    class Told(BayesianNetworkDensity):
        def _count(self, Z, weight, **of_all):
            assert os.getpid() != here
            return super()._count(Z, weight, **of_all)

    density = Told([("colour", "length")], hidden_layer_sizes=(4,), max_epochs=2, random_state=0)
    with cluster.as_current():
        density.fit(frame(X, lengths))
    assert density.graph_.nodes["length"]["conditional"] == "network"
    n_counted = {j: counts.alone.sum() for j, counts in density._counts.tables.items()}
    assert n_counted == {j: X.iloc[:, j].count() for j in n_counted}
    assert 2 in n_counted


def test_a_model_comes_to_a_process_once(cluster):
    X = np.random.default_rng(0).normal(size=(1000, 2))
    density = Counted().fit(X)
    with cluster.as_current():
        scores = density.score_samples(da.from_array(X, chunks=(50, 2))).compute()
    np.testing.assert_array_equal(scores, density.score_samples(X))
    n_arrivals = cluster.run(lambda: Counted.n_arrivals)
    # As part of the task that hands it out, and as its result.
    assert max(n_arrivals.values()) <= 2


def test_networks_score_partitions_side_by_side(cluster):
    X = np.random.default_rng(0).normal(size=(400, 2))
    density = AutoregressiveDensity(max_epochs=2, n_orders=1, random_state=0).fit(X)
    with cluster.as_current():
        scores = density.score_samples(da.from_array(X, chunks=(100, 2))).compute()
    np.testing.assert_allclose(scores, density.score_samples(X), rtol=1e-9)
