"""Sequences come back as they were, at the price that the density says."""

import numpy as np
import pandas as pd
import polars as pl
import pytest
from scipy import stats
from sklearn.base import clone

from sklearn_dgm import AutoregressiveSequenceDensity, DensityCodec, MarkovChainDensity
from sklearn_dgm._queries.factors import ColumnConditional, StepFactors
from tests.sequence.test_rows import assert_same
from tests.sequence.toys import CONTAINERS, IndependentSteps


class Shares(ColumnConditional):
    """Shares of categories, one row of them for each sequence."""

    def __init__(self, shares):
        self.below = np.cumsum(np.pad(shares, ((0, 0), (1, 0))), axis=1)

    def cdf(self, points):
        place = np.ceil(points).astype(int).clip(0, self.below.shape[1] - 1)
        return np.take_along_axis(self.below, place, axis=1)


class Normals(ColumnConditional):
    """Normal distributions, one for each sequence."""

    def __init__(self, mean, std):
        self.mean, self.std = mean, std

    def cdf(self, points):
        return stats.norm.cdf(points, self.mean[:, None], self.std)


class WalkFactors(StepFactors):
    """The first column of a step depends on that of the step before."""

    rows_at_once = 3

    def __init__(self, density):
        self.density = density

    def parameters(self):
        yield "walk"
        for params in self.density.params_:
            yield np.asarray(params)

    def start(self, n):
        return np.zeros(n)

    def take(self, state, rows):
        return state[rows]

    def stop_probability(self, state):
        return self.density.stop_of(state) if self.density._ends else None

    def visit(self, state, z):
        for j, params in enumerate(self.density.params_):
            if isinstance(params, tuple):
                mean, std = params
                yield j, Normals(mean + 0.5 * state * (j == 0), std)
            else:
                yield j, Shares(self.density.shares_given(params, state, j))

    def advance(self, state, z):
        return z[:, 0]


class WalkSteps(IndependentSteps):
    """As :class:`IndependentSteps`, but the first column and the end lean on the step before."""

    def __init__(self, *, length="auto", column_kinds=None):
        super().__init__(length=length, column_kinds=column_kinds)

    def shares_given(self, params, state, j):
        shares = np.tile(params + 0.05, (len(state), 1))
        if j == 0:
            shares[np.arange(len(state)), state.astype(int).clip(0, len(params) - 1)] += 1.0
        return shares / shares.sum(axis=1, keepdims=True)

    def stop_of(self, state):
        return np.where(state > 0, self.stop_, self.stop_ / 2)

    def _step_factors(self):
        return WalkFactors(self)

    def _log_prob_steps(self, Z):
        is_first = np.zeros(len(Z.steps), dtype=bool)
        is_first[Z.starts[Z.lengths > 0]] = True
        before = np.where(is_first, 0.0, np.roll(Z.steps[:, 0], 1))
        log_p = np.zeros(len(Z.steps))
        for j, (z, params) in enumerate(zip(Z.steps.T, self.params_, strict=True)):
            if isinstance(params, tuple):
                log_p += stats.norm.logpdf(z, params[0] + 0.5 * before * (j == 0), params[1])
            else:
                shares = self.shares_given(params, before, j)
                of_code = shares[np.arange(len(z)), z.astype(int)]
                log_p += np.log(np.where(z >= 0, of_code, 1.0)) + np.where(z >= 0, 0.0, -np.inf)
        last = np.zeros(len(Z))
        last[Z.lengths > 0] = Z.steps[(Z.starts + Z.lengths - 1)[Z.lengths > 0], 0]
        if self._ends:
            log_p += np.log1p(-self.stop_of(before))
        return log_p, np.log(self.stop_of(last))


def codec_of(X, **params):
    return DensityCodec(WalkSteps(**params)).fit(X)


@pytest.mark.parametrize("name", CONTAINERS)
def test_containers_come_back(name):
    X = CONTAINERS[name]
    codec = codec_of(X)
    assert_same(codec.decode(codec.encode(X)), X)
    twice = X[:1] if not isinstance(X, pd.DataFrame | pd.Series) else X.iloc[:1]
    assert_same(codec.decode(codec.encode(twice)), twice)
    nothing = X[:0] if not isinstance(X, pd.DataFrame | pd.Series) else X.iloc[:0]
    assert len(codec.decode(codec.encode(nothing))) == 0


def texts(n, seed, letters="abc"):
    rng = np.random.default_rng(seed)
    return ["".join(rng.choice(list(letters), rng.integers(0, 9))) for _ in range(n)]


@pytest.mark.parametrize("length", ["stop", "given"])
def test_the_price_is_what_the_density_says(length):
    X = texts(400, 0)
    codec = codec_of(X, length=length)
    bits = codec.code_length(X)
    np.testing.assert_allclose(bits, -codec.estimator_.score_samples(X) / np.log(2))
    stream = codec.encode(X)
    assert codec.decode(stream) == X
    lengths = 0 if length == "stop" else 10 * len(X)
    assert bits.sum() <= 8 * len(stream) <= bits.sum() * 1.001 + lengths + 1000


def test_numbers_come_back_to_the_last_bit():
    rng = np.random.default_rng(0)
    X = [rng.normal(size=(n, 2)) for n in (3, 0, 5, 1)]
    X[0][0] = -0.0, np.nextafter(1, 2)
    codec = codec_of(X)
    assert_same_bits(codec.decode(codec.encode(X)), X)
    in_cents = [np.round(row, 2) for row in X]
    coarse = DensityCodec(WalkSteps(), resolution=0.01).fit(in_cents)
    assert_same_bits(coarse.decode(coarse.encode(in_cents)), in_cents)
    bits = coarse.code_length(in_cents)
    assert bits.sum() < codec.code_length(X).sum() / 3
    with pytest.raises(ValueError, match="sequence 0, step 1, which is no multiple"):
        coarse.encode(X)


def assert_same_bits(actual, expected):
    for row, other in zip(actual, expected, strict=True):
        assert row.shape == other.shape
        np.testing.assert_array_equal(row.view(np.int64), other.view(np.int64))


def test_what_the_density_does_not_know_is_stored_apart():
    X = texts(50, 0)
    codec = codec_of(X)
    strange = [*X[:3], "abxab", "", "\ud800", "ca"]
    assert codec.decode(codec.encode(strange)) == strange
    assert np.isinf(codec.code_length(strange)[[3, 5]]).all()
    gaps = [[1.5, 2.0], [np.nan, 3.0], [np.inf], [2.0]]
    numbers = codec_of([[1.5, 2.0], [3.0], [2.5, 1.0]])
    made = numbers.decode(numbers.encode(gaps))
    for row, other in zip(made, gaps, strict=True):
        np.testing.assert_array_equal(row, other)
    table = np.array([["a", "b"], ["b", None], ["a", "a"]], dtype=object)
    of_table = codec_of(table)
    np.testing.assert_array_equal(of_table.decode(of_table.encode(table)), table)


def test_other_containers():
    X = texts(20, 0)
    codec = codec_of(X)
    as_array = np.array(X, dtype=object)
    assert_same(codec.decode(codec.encode(as_array)), as_array)
    with pytest.raises(
        ValueError, match=r"pandas series named None of \w+, but fit has seen a list"
    ):
        codec.encode(pd.Series(X))
    series = codec_of(pd.Series(X, name="text"))
    other = pd.Series(texts(5, 1), name="text")
    assert_same(series.decode(series.encode(other)), other)
    with pytest.raises(ValueError, match="polars"):
        series.encode(pl.Series("text", X))
    with pytest.raises(ValueError, match="named 'other'"):
        series.encode(pd.Series(X, name="other"))
    fixed = codec_of(np.eye(3))
    with pytest.raises(ValueError, match="all should have 3"):
        fixed.encode([[1.0, 0.0]])


def test_streams_of_other_models_and_broken_ones():
    X = texts(30, 0)
    codec = codec_of(X)
    stream = codec.encode(X)
    with pytest.raises(ValueError, match="another model"):
        codec_of(texts(30, 1)).decode(stream)
    with pytest.raises(ValueError, match="another model"):
        codec_of(X, length="given").decode(stream)
    with pytest.raises(ValueError, match="checksum"):
        codec.decode(stream[:-1])

    class Otherwise(WalkSteps):
        def stop_of(self, state):
            return 0.5 * super().stop_of(state)

    other = codec_of(X)
    other.estimator_.__class__ = Otherwise
    with pytest.raises(ValueError, match="do not come out as they went in"):
        other.decode(stream)


def test_a_density_that_tells_no_steps():
    with pytest.raises(TypeError, match="IndependentSteps does not"):
        DensityCodec(IndependentSteps()).fit(["ab"])
    codec = codec_of(["ab", "b"])
    assert not hasattr(codec, "n_features_in_")
    assert clone(codec).fit(np.eye(2)).n_features_in_ == 2


@pytest.mark.parametrize("length", ["stop", "given"])
def test_a_markov_chain_compresses_as_it_scores(length):
    X = [text * 4 for text in texts(200, 0)]
    codec = DensityCodec(MarkovChainDensity(order=4, length=length)).fit(X[:100])
    bits = codec.code_length(X)
    np.testing.assert_allclose(bits, -codec.estimator_.score_samples(X) / np.log(2))
    stream = codec.encode(X)
    assert codec.decode(stream) == X
    assert 8 * len(stream) <= bits.sum() * 1.001 + 3000
    numbers = np.random.default_rng(0).normal(size=(50, 6)).round(2)
    of_numbers = DensityCodec(MarkovChainDensity(order=2)).fit(numbers)
    np.testing.assert_array_equal(of_numbers.decode(of_numbers.encode(numbers)), numbers)


@pytest.mark.parametrize(
    ("cell", "ngram_order"), [("gru", 2), ("gru", None), ("transformer", None)]
)
def test_a_network_compresses_as_it_scores(cell, ngram_order):
    network = AutoregressiveSequenceDensity(
        cell, hidden_size=16, ngram_order=ngram_order, max_epochs=2, random_state=0
    )
    X = texts(60, 0)
    codec = DensityCodec(network).fit(X)
    bits = codec.code_length(X)
    np.testing.assert_allclose(bits, -codec.estimator_.score_samples(X) / np.log(2), rtol=1e-6)
    stream = codec.encode([*X, "abx"])
    assert codec.decode(stream) == [*X, "abx"]
    if ngram_order is None:
        frames = [row for row in CONTAINERS["frames of pandas"] for _ in range(8)]
        of_frames = DensityCodec(network).fit(frames)
        assert_same(of_frames.decode(of_frames.encode(frames[:5])), frames[:5])


CATEGORIES = pd.CategoricalDtype(["ab", "ba"])


@pytest.mark.parametrize(
    ("fitted", "X", "message"),
    [
        (pd.Series(["ab", "b"], dtype="category"), pd.Series(["ab"], dtype=CATEGORIES), "fit has"),
        (
            pd.DataFrame({"a": [1, 2], "b": [1.5, 2.0]}),
            pd.DataFrame({"a": [2**60 + 1, 2], "b": [1.5, 2.0]}),
            "come back as",
        ),
        ([np.array([1, 2]), np.array([1])], [np.array([1]), np.array([2], dtype="i1")], "row 1"),
        ([[(1.0,), (2.0,)], [(1.0,)]], [[(1.0,), (2.0,)]], "come back as"),
        ([[1.0], [2.0]], [pd.Series([1.0])], "come back as"),
    ],
)
def test_what_would_not_come_back_is_refused(fitted, X, message):
    with pytest.raises(ValueError, match=message):
        codec_of(fitted).encode(X)


def test_sequences_of_several_types_come_back():
    codec = codec_of([[1, 2], [3]])
    for X in ([[2**60 + 1, 1.5], [3]], [[1, True], [3]], [[1, 2.0], [3]]):
        made = codec.decode(codec.encode(X))
        assert [[(type(v), v) for v in row] for row in made] == [
            [(type(v), v) for v in row] for row in X
        ]


def test_tables_of_other_widths_than_the_shortest_fitted_sequence():
    codec = codec_of([[1, 2, 3], [2, 3]])
    X = np.array([[1, 2, 3], [3, 2, 1]])
    assert_same(codec.decode(codec.encode(X)), X)
    assert_same(codec.decode(codec.encode(X[:, :, None])), X[:, :, None])


def test_streams_of_other_containers():
    series = codec_of(pd.Series(["ab", "b"], name="q"))
    stream = series.encode(pd.Series(["ab"], name="q"))
    for other in (["ab", "b"], pd.Series(["ab", "b"], name="other")):
        with pytest.raises(ValueError, match="another model"):
            codec_of(other).decode(stream)
