"""Autoregressive densities of sequences: normalisation, draws, prefixes, n-grams beside networks, batches."""

import functools
import itertools
import json
import pickle
from collections import Counter

import numpy as np
import pandas as pd
import pytest
import torch
from scipy import stats
from sklearn.base import clone

from sklearn_dgm import AutoregressiveSequenceDensity, MarkovChainDensity
from sklearn_dgm._state import fitted_state, set_fitted_state
from sklearn_dgm._training.batches import RowBatches
from sklearn_dgm._training.partial import N_PASSES
from sklearn_dgm.columns import Sequences
from sklearn_dgm.counts.ngrams import NGrams
from sklearn_dgm.sequence._batches import NGramsBeside, SequenceRows, SequenceSplits
from tests.sequence.toys import CONTAINERS

QUICK = {"hidden_size": 8, "max_epochs": 3, "random_state": 0}
CELLS = ["gru", "transformer"]


def texts(n=80, seed=0):
    """Strings of two letters, in which a letter tends to be repeated."""
    rng = np.random.default_rng(seed)
    rows = []
    for _ in range(n):
        text = rng.choice(["a", "b"])
        while rng.random() < 0.7:
            text += text[-1] if rng.random() < 0.8 else rng.choice(["a", "b"])
        rows.append(text)
    return [*rows, ""]


def fitted(cell="gru", X=None, **params):
    return AutoregressiveSequenceDensity(cell, **{**QUICK, **params}).fit(
        texts() if X is None else X
    )


@functools.cache
def of_texts(cell="gru", ngram_order="auto"):
    """A density that is only asked."""
    return fitted(cell, ngram_order=ngram_order)


def strings(longest, alphabet="ab"):
    return ["".join(s) for n in range(longest + 1) for s in itertools.product(alphabet, repeat=n)]


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("ngram_order", [None, 2])
def test_all_strings_together_have_probability_one(cell, ngram_order):
    density, longest = of_texts(cell, ngram_order), 6
    every = strings(longest)
    total = sum(
        np.exp(steps[:-1].sum() if len(string) == longest else steps.sum())
        for string, steps in zip(every, density.score_steps(every), strict=True)
    )
    assert total == pytest.approx(1, abs=1e-12)


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("ngram_order", [None, 2])
def test_draws_and_draws_after_a_prefix_follow_the_density(cell, ngram_order):
    density, n = of_texts(cell, ngram_order), 4000
    every = strings(3)
    p = np.exp(density.score_samples(every))
    for prefix in ("", "ab"):
        of_prefix = np.array([s.startswith(prefix) for s in every])
        begins = np.exp(density.score_steps([prefix + "a"])[0][: len(prefix)].sum())
        drawn = Counter(density.sample(n, random_state=1, prefix=prefix))
        assert all(s.startswith(prefix) for s in drawn)
        counts = np.array([drawn[s] for s in np.array(every)[of_prefix]])
        expected = n * p[of_prefix] / begins
        counts, expected = (np.append(x, n - x.sum()) for x in (counts, expected))
        assert stats.chisquare(counts, expected).pvalue > 1e-3


@pytest.mark.parametrize("ngram_order", [None, 2])
def test_temperature_sharpens_each_conditional(ngram_order):
    X = [list(text[:2].ljust(2, "b")) for text in texts()]
    density, n = fitted(X=X, length="fixed", ngram_order=ngram_order), 4000
    every = [list(s) for s in itertools.product("ab", repeat=2)]
    steps = np.exp(np.stack(density.score_steps(every)))
    steps = np.stack([steps, 1 - steps]) ** (1 / 0.4)
    expected = n * (steps[0] / steps.sum(axis=0)).prod(axis=1)
    drawn = Counter(map(tuple, density.sample(n, random_state=0, temperature=0.4)))
    counts = [drawn[tuple(s)] for s in every]
    assert stats.chisquare(counts, expected).pvalue > 1e-3
    coldest = density.sample(50, random_state=0, temperature=1e-3)
    assert len(set(map(tuple, coldest))) == 1
    ends = of_texts(ngram_order=ngram_order)
    lengths = [np.mean([len(s) for s in ends.sample(500, 0, temperature=t)]) for t in (0.5, 1.0)]
    assert lengths[0] != lengths[1]


@pytest.mark.parametrize("name", CONTAINERS)
def test_scores_are_sums_of_steps_in_any_container(name):
    X = CONTAINERS[name]
    if "polars" in name and isinstance(X, type(CONTAINERS["frame of polars"])):
        X = X[:1]  # the second row lacks a step
    density = AutoregressiveSequenceDensity(**QUICK).fit(X)
    drawn = density.sample(5, random_state=0)
    assert type(drawn) is type(X)
    scores = density.score_samples(drawn)
    assert np.isfinite(scores).all()
    np.testing.assert_allclose([part.sum() for part in density.score_steps(drawn)], scores)


def mixed_frames(n=60):
    """Frames whose number follows the category of its row and the number before."""
    rng = np.random.default_rng(0)
    frames = []
    for _ in range(n):
        kind = rng.integers(2, size=rng.integers(1, 5))
        size = np.cumsum(rng.normal(kind, 0.1))
        frames.append(pd.DataFrame({"kind": np.array(["x", "y"])[kind], "size": size}))
    return frames


@pytest.mark.parametrize("cell", CELLS)
def test_steps_of_mixed_columns_integrate_to_one(cell):
    density = fitted(cell, X=mixed_frames(), length="given")
    grid = np.linspace(-30, 30, 401)
    first = pd.DataFrame({"kind": ["x"], "size": [0.3]})
    for before in ([], [first]):
        total = 0.0
        for kind in ("x", "y"):
            steps = [pd.DataFrame({"kind": [kind], "size": [value]}) for value in grid]
            sequences = [pd.concat([*before, step], ignore_index=True) for step in steps]
            of_last = [scores[-1] for scores in density.score_steps(sequences)]
            total += np.trapezoid(np.exp(of_last), grid)
        assert total == pytest.approx(1, abs=5e-3)


def test_it_learns_what_follows():
    X = mixed_frames(150)
    density = fitted(X=X, hidden_size=16, max_epochs=12, dropout=0.1)
    # Of a cumulative sum: standard normals of scale 0.1, a coin, and the length.
    best = -0.5 * np.log(2 * np.pi * np.e * 0.01) - np.log(2)
    lengths = [len(frame) for frame in X]
    mean = density.score(X) / sum(lengths)
    assert mean == pytest.approx(best - len(X) * np.log(4) / sum(lengths), abs=0.5)
    drawn = pd.concat(density.sample(100, random_state=0))
    assert set(drawn["kind"]) == {"x", "y"}


def test_an_ngram_beside_the_network_helps():
    rng = np.random.default_rng(0)
    words = ["".join(rng.choice(list("abcdefgh"), 6)) for _ in range(20)]
    X = [words[i] for i in rng.integers(20, size=300)]
    alone, beside = (fitted(X=X, ngram_order=order) for order in (None, 3))
    assert beside.score(X) > alone.score(X)
    assert alone.ngrams_ is None
    assert beside.ngrams_.order == 3
    assert fitted(X=X[:15]).ngrams_ is None


def test_ngrams_have_not_counted_what_they_are_trained_beside():
    rng = np.random.default_rng(0)
    Z = Sequences(rng.integers(3, size=(200, 1)).astype(float), np.full(50, 4))
    weight = rng.integers(1, 3, 50).astype(float)

    def ngrams(Z, weight):
        return NGrams(3, 2, ends=True).fit(Z.steps[:, 0].astype(int), Z.lengths, weight)

    splits = SequenceSplits(Z, weight, 0.2, 0, torch.device("cpu"), NGramsBeside(3, 2, True))
    train, valid = splits.indices(0)
    rows, of_valid = splits(0)
    parts = np.random.default_rng(0).integers(10, size=40)
    for k in (0, 3):
        for i in np.flatnonzero(parts == k):
            others = train[parts != k]
            expected = ngrams(Z[others], weight[others]).log_prob(
                Z[train[[i]]].steps[:, 0].astype(int), np.array([4])
            )
            (_, _, of_steps, of_ends), _ = rows[torch.tensor([i])]
            np.testing.assert_allclose(of_steps[0], expected[:4], rtol=1e-5)
            np.testing.assert_allclose(of_ends[0], expected[4], rtol=1e-5)
    expected = ngrams(Z[train], weight[train]).log_prob(
        Z[valid].steps[:, 0].astype(int), Z.lengths[valid]
    )
    (_, _, of_steps, of_ends), _ = of_valid[:]
    np.testing.assert_allclose(of_steps.flatten(), np.delete(expected, np.s_[4::5]), rtol=1e-5)
    np.testing.assert_allclose(of_ends, expected[4::5], rtol=1e-5)


def test_batches_hold_sequences_of_about_one_length():
    rng = np.random.default_rng(0)
    lengths = rng.integers(0, 30, 500)
    Z = Sequences(np.repeat(np.arange(500.0), lengths)[:, None], lengths)
    rows = SequenceRows(Z, torch.arange(500.0), torch.tensor)
    seen, n_padded = [], 0
    passes = []
    for _ in range(2):
        order = []
        for (padded, of_batch), numbers in RowBatches(rows, 16, shuffle=True):
            for z, length, number in zip(padded, of_batch, numbers, strict=True):
                assert (z[:length] == number).all()
            order += numbers.tolist()
            n_padded += padded.shape[0] * padded.shape[1]
            seen.append(len(numbers))
        assert sorted(order) == list(range(500))
        passes.append(order)
    assert passes[0] != passes[1]
    assert n_padded < 2 * 1.2 * lengths.sum()
    assert set(seen[:31]) == {16}


def test_lengths_are_fixed_or_given():
    X = [text for text in texts() if len(text) > 1]
    given = fitted(X=X, length="given")
    drawn = given.sample(500, random_state=0, prefix="ab")
    assert {len(text) for text in drawn} <= {len(text) for text in X}
    assert given.score_steps(["ab"])[0].shape == (2,)
    table = np.random.default_rng(0).normal(size=(40, 3))
    fixed = fitted(X=table)
    drawn = fixed.sample(4, random_state=0, prefix=[0.5, 1.0])
    np.testing.assert_allclose(drawn[:, :2], [[0.5, 1.0]] * 4)
    whole = fixed.sample(2, random_state=0, prefix=table[0])
    np.testing.assert_allclose(whole, table[[0, 0]])


def test_weights_are_repeats_in_full_batches():
    X, weight = texts(40), np.random.default_rng(0).integers(1, 4, 41)
    repeated = [text for text, n in zip(X, weight, strict=True) for _ in range(n)]
    params = {"early_stopping": False, "batch_size": 1000, "dropout": 0.0, "ngram_order": None}
    of_weights = AutoregressiveSequenceDensity(**QUICK, **params).fit(X, sample_weight=weight)
    of_repeats = fitted(X=repeated, **params)
    np.testing.assert_allclose(of_weights.score_samples(X), of_repeats.score_samples(X), rtol=2e-3)


def test_a_score_does_not_depend_on_the_rows_beside_it():
    X = texts()
    density = fitted("transformer", n_layers=2)
    expected = density.score_samples(X)
    np.testing.assert_allclose(density.score_samples(X[::-1])[::-1], expected, rtol=1e-12)
    np.testing.assert_allclose(
        [density.score_samples([text])[0] for text in X[-5:]], expected[-5:], rtol=1e-12
    )


@pytest.mark.parametrize("cell", CELLS)
def test_state_and_pickle(cell):
    density, X = of_texts(cell), texts()
    state = fitted_state(density)
    json.dumps(state, default=np.ndarray.tolist)
    for twin in (set_fitted_state(clone(density), state), pickle.loads(pickle.dumps(density))):
        np.testing.assert_array_equal(twin.score_samples(X), density.score_samples(X))
        assert twin.sample(20, random_state=0) == density.sample(20, random_state=0)


def test_warm_start_goes_on():
    density = fitted(warm_start=True)
    n_epochs, before = density.n_iter_, density.score(texts())
    density.fit(texts())
    assert density.n_iter_ > n_epochs
    assert density.score(texts()) > before
    with pytest.raises(ValueError, match="warm_start continues a model with cell='gru'"):
        density.set_params(cell="transformer").fit(texts())


def test_unknown_symbols_are_impossible():
    density = of_texts()
    steps = density.score_steps(["axb"])[0]
    assert np.isneginf(steps).tolist() == [False, True, False, False]
    assert np.isneginf(density.score_samples(["ax"]))[0]


@pytest.mark.parametrize(
    ("X", "params", "message"),
    [
        ([[1.5, 2.0], [0.5]] * 20, {"ngram_order": 3}, "ngram_order=3 is for steps that are"),
        (texts(), {"cell": "transformer", "hidden_size": 12}, "hidden_size=12 should be a mult"),
        (texts(), {"cell": "lstm"}, "cell"),
        ([[1.0, np.nan]], {}, "NaN in column 0, sequence 0, step 1"),
    ],
)
def test_what_cannot_be_fitted(X, params, message):
    density = AutoregressiveSequenceDensity(**{**QUICK, **params})
    with pytest.raises(ValueError, match=message):
        density.fit(X)
    assert not hasattr(density, "schema_")


def test_what_cannot_be_drawn():
    of_strings, of_numbers = of_texts(), fitted(X=np.random.default_rng(0).normal(size=(40, 3)))
    with pytest.raises(ValueError, match="temperature should be a positive number, got 0"):
        of_strings.sample(temperature=0)
    with pytest.raises(ValueError, match=r"temperature=0.5 is for categories, but column 0 holds"):
        of_numbers.sample(temperature=0.5)
    with pytest.raises(ValueError, match="prefix has a value in column 0, step 1, that was not"):
        of_strings.sample(prefix="ax")
    with pytest.raises(ValueError, match="prefix has 4 steps, but sequences have 3 at most"):
        of_numbers.sample(prefix=[1.0, 2.0, 3.0, 4.0])
    with pytest.raises(ValueError, match=r"steps of X have 1 column\(s\), those of fit had 2"):
        fitted(X=mixed_frames()).sample(prefix="ab")


def test_it_is_no_worse_than_counting():
    rng = np.random.default_rng(0)
    # The third letter repeats the first, which a chain of first order cannot know.
    X = ["".join([u, v, u]) for u, v in zip(*rng.choice(list("abc"), (2, 400)), strict=True)]
    density = fitted(X=X, hidden_size=16, max_epochs=10, dropout=0.1, lr=0.01)
    chain = MarkovChainDensity(order=2).fit(X)
    assert density.score(X) > chain.score(X) + 200


@pytest.mark.parametrize("ngram_order", ["auto", None])
def test_a_temperature_near_zero_draws_the_most_probable_and_ends(ngram_order):
    density = of_texts(ngram_order=ngram_order)
    longest = 10 * max(map(len, texts()))
    for temperature in (1e-3, 1e-310):
        drawn = density.sample(20, random_state=0, temperature=temperature)
        assert max(map(len, drawn)) <= longest
        assert len(set(drawn)) == 1
    with pytest.raises((TypeError, ValueError), match="prefix is no part of a sequence"):
        density.sample(prefix=5)


def test_a_warm_start_with_few_sequences_keeps_the_mixture():
    density = fitted(X=texts(), warm_start=True)
    assert density.ngrams_ is not None
    density.fit(texts()[:5])
    assert density.ngrams_ is not None
    assert np.isfinite(density.score_samples(texts()[:5])).all()


def per_text(density, X):
    return density.score(X) / len(X)


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("ngram_order", ["auto", None])
def test_further_sequences_are_learnt_from(cell, ngram_order):
    first, held_out = texts(40), texts(500, seed=9)
    density = AutoregressiveSequenceDensity(cell, ngram_order=ngram_order, **QUICK)
    scores = [per_text(density.partial_fit(first), held_out)]
    same = fitted(cell, first, ngram_order=ngram_order)
    np.testing.assert_array_equal(density.score_samples(first), same.score_samples(first))
    for seed in (1, 2):
        scores.append(per_text(density.partial_fit(texts(seed=seed)), held_out))
    assert scores == sorted(scores)
    assert density.n_iter_ == 3 + 2 * N_PASSES


def test_n_grams_of_parts_are_those_of_all_sequences():
    first, further = texts(60), texts(30, seed=1)
    weight = np.random.default_rng(0).uniform(0.5, 2, len(further))
    density = AutoregressiveSequenceDensity(ngram_order=3, **QUICK).partial_fit(first)
    density.partial_fit(further, sample_weight=weight)
    weight = np.append(np.ones(len(first)), weight)
    Z = density.schema_.encode(first + further)[0]
    whole = NGrams(2, 3, ends=True).fit(Z.steps[:, 0].astype(int), Z.lengths, weight)
    of_both = [
        ngrams.log_prob(Z.steps[:, 0].astype(int), Z.lengths) for ngrams in (density.ngrams_, whole)
    ]
    np.testing.assert_allclose(*of_both)


@pytest.mark.parametrize("ngram_order", [2, None])
def test_unknown_symbols_are_not_counted_but_as_what_comes_before_others(ngram_order):
    density = AutoregressiveSequenceDensity(ngram_order=ngram_order, **QUICK)
    density.partial_fit(texts())
    # After an unknown letter comes "b", which is rare after both others.
    other = pickle.loads(pickle.dumps(density))
    before = density.score_steps(["a?b"])[0]
    density.partial_fit(["?bbbb"] * 60)
    after = density.score_steps(["a?b"])[0]
    assert np.isneginf(after).tolist() == [False, True, False, False]
    assert after[2] > before[2] + 0.1
    # Which one it is does not matter.
    other.partial_fit(["!bbbb"] * 60)
    np.testing.assert_array_equal(other.score_samples(texts()), density.score_samples(texts()))
    drawn = density.sample(200, random_state=0)
    assert set("".join(drawn)) == {"a", "b"}


def test_of_a_step_with_an_unknown_category_the_other_columns_tell():
    rng = np.random.default_rng(0)
    frames = [
        pd.DataFrame({"k": rng.choice(["u", "v"], 4), "x": rng.normal(size=4)}) for _ in range(40)
    ]
    density = AutoregressiveSequenceDensity(**QUICK).partial_fit(frames)
    shifted = [frame.assign(x=frame["x"] + 3) for frame in frames]
    before = per_text(density, shifted)
    density.partial_fit([frame.assign(k="new") for frame in shifted])
    assert np.isfinite(before)
    assert per_text(density, shifted) > before + 1


def test_a_schema_announces_symbols():
    every = [*texts(40), "ac", "ca", "cc"]
    density = AutoregressiveSequenceDensity(**QUICK)
    schema = density.learn_schema(every)
    density.partial_fit(every[:40], schema=schema).partial_fit(every[40:])
    assert np.isfinite(density.score_samples(every)).all()
    with pytest.raises(ValueError, match="schema is for the first call"):
        density.partial_fit(every, schema=schema)


@pytest.mark.parametrize(
    ("X", "params", "message"),
    [
        (texts(), {"sample_weight": -np.ones(81)}, "sample_weight"),
        ([["a"], [["b"]]], {}, "row 1 of X"),
        ([], {}, "0 sequence"),
    ],
)
def test_a_call_that_fails_leaves_it_as_it_was(X, params, message):
    density = AutoregressiveSequenceDensity(**QUICK).partial_fit(texts())
    state = vars(density).copy()
    with pytest.raises(ValueError, match=message):
        density.partial_fit(X, **params)
    assert vars(density) == state


def test_further_sequences_do_not_change_the_network():
    density = AutoregressiveSequenceDensity(**QUICK).partial_fit(texts())
    with pytest.raises(ValueError, match="partial_fit continues a model with hidden_size=8"):
        density.set_params(hidden_size=16).partial_fit(texts())
    floats = AutoregressiveSequenceDensity(**QUICK).partial_fit([[1, 2, 4], [3, 1, 2]] * 20)
    with pytest.raises(ValueError, match="Sequence 0, step 0, is impossible under the model that"):
        floats.partial_fit([[1.5, 2.0, 3.0]])
