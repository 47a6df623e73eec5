"""Charts beside sums over all derivations, and grammars that end."""

from itertools import product

import numpy as np
import pytest
from scipy import stats

from sklearn_dgm.grammar import _inside
from sklearn_dgm.grammar._inside import (
    Pairs,
    best_derivation,
    expected_counts,
    inside,
    prefixes,
)
from sklearn_dgm.grammar._proper import expected_lengths, made_proper, partition_functions
from sklearn_dgm.grammar._rules import Rules
from tests.grammar.toys import all_parses, length_probabilities, random_rules

SEEDS = [0, 1, 2]
BOTH = [False, True]


@pytest.fixture(params=[2**15, 20], ids=["at once", "in blocks"])
def blocks(request, monkeypatch):
    monkeypatch.setattr(_inside, "NUMBERS_AT_ONCE", request.param)
    monkeypatch.setattr(_inside, "SHARE_OF_DENSE", float(request.param > 20))


def charted(rules, codes, is_best=False):
    codes = np.asarray(codes)
    emission = rules.emission(codes.ravel()).reshape(rules.n_symbols, *codes.shape)
    pairs = Pairs(rules)
    return pairs, emission, inside(pairs, emission, is_best)


def log_prob(rules, codes):
    return charted(rules, codes)[2].log_prob(rules.root)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("n", [1, 2, 3, 4])
def test_scores_are_sums_over_all_parses(seed, n, blocks):
    rules = random_rules(seed=seed)
    every = list(product(range(2), repeat=n))
    expected = [all_parses(rules, words)[1].sum() for words in every]
    np.testing.assert_allclose(np.exp(log_prob(rules, every)), expected, rtol=1e-12)
    # They sum to the probability of the length.
    of_length = length_probabilities(rules, n)[n]
    assert sum(expected) == pytest.approx(of_length, rel=1e-12)
    any_words = np.full((1, n), -1)
    assert np.exp(log_prob(rules, any_words))[0] == pytest.approx(of_length, rel=1e-12)


@pytest.mark.parametrize("seed", SEEDS)
def test_the_best_derivation_is_the_greatest_of_all(seed, blocks):
    rules = random_rules(seed=seed)
    every = list(product(range(2), repeat=4))
    pairs, _, chart = charted(rules, every, is_best=True)
    for i, words in enumerate(every):
        found, p = all_parses(rules, words)
        spans = [(symbol, length) for symbol, _, length in best_derivation(pairs, chart, i)]
        assert p[found.index(spans)] == pytest.approx(p.max(), rel=1e-12)


@pytest.mark.parametrize("seed", SEEDS)
def test_expected_counts_are_those_of_all_parses_and_the_gradient(seed, blocks):
    rules, codes = random_rules(seed=seed), np.array([[0, 1, 1, 0], [1, 1, 0, 0]])
    weight = np.array([1.0, 2.5])
    pairs, _, chart = charted(rules, codes)
    counts = expected_counts(pairs, chart, codes, weight)
    root = np.zeros(rules.n_symbols)
    for own, words in zip(weight, codes, strict=True):
        found, p = all_parses(rules, tuple(words))
        for spans, share in zip(found, p / p.sum(), strict=True):
            root[spans[0][0]] += own * share
    np.testing.assert_allclose(counts.root, root, rtol=1e-10)
    assert counts.words.sum() == pytest.approx(weight.sum() * 4)
    assert counts.rules.sum() == pytest.approx(weight.sum() * 3)

    def objective(changed):
        return weight @ log_prob(changed, codes)

    step = 1e-6
    for name, expected in (("p", counts.rules), ("words", counts.words), ("root", counts.root)):
        array = getattr(rules, name)
        for place in np.ndindex(array.shape):
            ends = []
            for sign in (1, -1):
                moved = array.copy()
                moved[place] *= np.exp(sign * step)
                ends.append(objective(rules.replaced(**{name: moved})))
            slope = (ends[0] - ends[1]) / (2 * step)
            assert slope == pytest.approx(expected[place], abs=1e-6)


@pytest.mark.parametrize("seed", SEEDS)
def test_prefixes_are_sums_over_all_sequences_that_begin_so(seed):
    rules = random_rules(branches=0.1, seed=seed)
    codes = np.array([[0, 1, 1], [1, 0, 0]])
    pairs, emission, chart = charted(rules, codes)
    closure = np.linalg.inv(np.eye(rules.n_symbols) - rules.left_corner())
    prefix = prefixes(pairs, closure, chart, emission)
    found = np.tensordot(rules.root, prefix.value[:, :, 0], 1) * np.exp(prefix.log_scale[:, 0])
    for i, words in enumerate(codes):
        for t in (1, 2, 3):
            begun = words[:t]
            listed = sum(
                all_parses(rules, (*begun, *rest))[1].sum()
                for n in range(4 - t)
                for rest in product(range(2), repeat=n)
            )
            padded = [np.append(begun, np.full(n, -1)) for n in range(40)]
            total = sum(np.exp(log_prob(rules, [own])[0]) for own in padded)
            longer = 1 - np.sum(length_probabilities(rules, t + 39))
            assert longer < 1e-3
            assert listed < total < found[i, t] < total + longer


def test_long_sequences_of_rare_words_do_not_underflow():
    n, n_words = 120, 100_000
    rules = random_rules(n_words=1, seed=3)
    rules = rules.replaced(words=np.full((len(rules.emitters), n_words), 1 / n_words))
    expected = np.log(length_probabilities(rules, n)[n]) - n * np.log(n_words)
    assert expected < -1400
    found = log_prob(rules, np.arange(n)[None])
    np.testing.assert_allclose(found, expected, rtol=1e-12)
    pairs, _, chart = charted(rules, np.arange(n)[None])
    counts = expected_counts(pairs, chart, np.arange(n)[None], np.ones(1))
    np.testing.assert_allclose(counts.words.sum(axis=0)[:n], 1.0, rtol=1e-9)


def test_impossible_sequences_and_grammars_without_rules():
    rules = Rules(
        np.array([1.0, 0.0]),
        *np.array([[0], [1], [0]]),
        np.array([0.4]),
        np.array([0, 1]),
        np.array([[1.0, 0.0], [0.0, 1.0]]),
        np.array([0.6, 1.0]),
    )
    # b is what is before the last word.
    np.testing.assert_allclose(
        np.exp(log_prob(rules, [[1, 0, 0], [1, 1, 0], [1, 1, 1]])), [0, 0.4**2 * 0.6, 0]
    )
    pairs, _, chart = charted(rules, [[1, 0, 0], [1, 1, 0]], is_best=True)
    assert best_derivation(pairs, chart, 0) is None
    alone = Rules(
        np.ones(1),
        *np.empty((3, 0), int),
        np.empty(0),
        np.zeros(1, int),
        np.ones((1, 1)),
        np.ones(1),
    )
    np.testing.assert_allclose(log_prob(alone, [[0]]), 0)
    np.testing.assert_array_equal(log_prob(alone, [[0, 0]]), -np.inf)
    assert alone.draw(3, np.random.default_rng(0))[1].tolist() == [1, 1, 1]


def branching(p):
    """Return the grammar of S -> S S with probability p, S -> a."""
    zero = np.zeros(1, dtype=int)
    return Rules(
        np.ones(1), zero, zero, zero, np.array([p]), zero, np.ones((1, 1)), np.array([1 - p])
    )


def test_grammars_that_may_never_end_are_made_proper():
    assert partition_functions(branching(0.7))[0] == pytest.approx(3 / 7, abs=1e-12)
    assert partition_functions(branching(0.3))[0] == pytest.approx(1, abs=1e-12)
    assert partition_functions(branching(0.5))[0] == pytest.approx(1, abs=1e-6)
    assert expected_lengths(branching(0.7)) is None
    assert expected_lengths(branching(0.3))[0] == pytest.approx(0.7 / 0.4)
    proper = made_proper(branching(0.7))
    assert proper.p[0] == pytest.approx(0.3)
    assert proper.emits[0] == pytest.approx(0.7)
    for seed in SEEDS:
        rules = random_rules(branches=0.7, seed=seed)
        assert expected_lengths(rules) is None
        proper, Z = made_proper(rules), partition_functions(rules)
        sums = proper.emits + np.bincount(proper.parent, proper.p, proper.n_symbols)
        np.testing.assert_allclose(sums, 1, atol=1e-10)
        np.testing.assert_allclose(partition_functions(proper), 1, atol=1e-10)
        # Sequences are as probable as before, given that the derivation ends.
        every = list(product(range(2), repeat=4))
        np.testing.assert_allclose(
            log_prob(proper, every), log_prob(rules, every) - np.log(rules.root @ Z), atol=1e-9
        )


def test_lengths_sum_to_one_and_have_the_mean_that_is_expected():
    rules = made_proper(random_rules(branches=0.15))
    of_length = length_probabilities(rules, 400)
    assert of_length.sum() == pytest.approx(1, abs=1e-9)
    mean = np.arange(401) @ of_length
    assert mean == pytest.approx(rules.root @ expected_lengths(rules), rel=1e-6)


@pytest.mark.parametrize("is_given", BOTH)
def test_draws_follow_the_probabilities(is_given):
    rules, rng, n = made_proper(random_rules(branches=0.3)), np.random.default_rng(0), 20_000
    assert expected_lengths(rules) is not None
    if is_given:
        lengths = np.full(n, 3)
        codes = rules.draw_of_lengths(lengths, rng)
    else:
        codes, lengths = rules.draw(n, rng)
    drawn = [tuple(part) for part in np.split(codes, np.cumsum(lengths)[:-1])]
    every = [
        words for k in ((3,) if is_given else (1, 2, 3)) for words in product(range(2), repeat=k)
    ]
    expected = np.exp([log_prob(rules, [words])[0] for words in every])
    if is_given:
        expected /= length_probabilities(rules, 3)[3]
    observed = np.array([drawn.count(words) for words in every])
    if not is_given:
        expected = np.append(expected, 1 - expected.sum())
        observed = np.append(observed, n - observed.sum())
    assert stats.chisquare(observed, n * expected).pvalue > 1e-3
