"""Passes over a chain of states beside sums over all paths."""

import itertools

import numpy as np
import pytest

from sklearn_dgm.sequence import _step_order
from sklearn_dgm.sequence._chain import Chain, ChainCounts
from sklearn_dgm.sequence._step_order import StepOrder

LENGTHS = np.array([3, 0, 6, 1, 4, 0, 5])


def random_chain(n_states=3, stops=True, seed=0):
    rng, chain = np.random.default_rng(seed), Chain(n_states, 0.5 if stops else None)
    chain.start = rng.dirichlet(np.ones(n_states))
    chain.transition = rng.dirichlet(np.ones(n_states), n_states)
    if stops:
        chain.stop, chain.empty = rng.random(n_states) / 2, 0.1
    return chain


def paths(chain, log_b):
    """Return all paths of a sequence, and the probability of each together with the steps."""
    found = list(itertools.product(range(len(chain.start)), repeat=len(log_b)))
    p = []
    for path in found:
        states = list(path)
        steps = np.prod(chain.transition[states[:-1], states[1:]] * (1 - chain.stop[states[:-1]]))
        first = (1 - chain.empty) * chain.start[states[0]]
        end = chain.stop[states[-1]] if chain.stops else 1.0
        p.append(first * steps * end * np.exp(log_b[np.arange(len(path)), states].sum()))
    return np.array(found), np.array(p)


@pytest.fixture(params=[False, True], ids=["whole", "pieces"])
def cut(request, monkeypatch):
    if request.param:
        monkeypatch.setattr(_step_order, "LONG", 2)
        monkeypatch.setattr(_step_order, "LENGTH_OF_PIECES", 2)
    return request.param


@pytest.mark.parametrize("stops", [True, False])
def test_passes_are_sums_over_all_paths(cut, stops):
    chain = random_chain(stops=stops)
    log_b = 3 * np.random.default_rng(1).normal(size=(LENGTHS.sum(), 3))
    steps = StepOrder(LENGTHS, 3)
    assert bool(steps.pieces) == cut
    passed = chain.forward(steps, log_b, steps.order)
    posterior, ratio = chain.backward(steps, passed)
    weight = np.repeat(np.arange(1.0, len(LENGTHS) + 1), LENGTHS)
    counts = chain.count(steps, passed, posterior, ratio, weight[steps.order], 8.0)
    pairs, start = np.zeros((3, 3)), np.zeros(3)
    ends = iter(passed.log_end)
    for i, part in enumerate(np.split(np.arange(LENGTHS.sum()), np.cumsum(LENGTHS)[:-1])):
        if not len(part):
            continue
        found, p = paths(chain, log_b[part])
        log_p = steps.back(passed.log_prob)[part].sum() + next(ends)
        assert log_p == pytest.approx(np.log(p.sum()), rel=1e-12)
        share = p / p.sum()
        expected = [[share[found[:, t] == k].sum() for k in range(3)] for t in range(len(part))]
        np.testing.assert_allclose(steps.back(posterior)[part], expected, atol=1e-12)
        for states, s in zip(found, share, strict=True):
            np.add.at(pairs, (states[:-1], states[1:]), s * (i + 1))
            start[states[0]] += s * (i + 1)
    np.testing.assert_allclose(counts.pairs, pairs, rtol=1e-10)
    np.testing.assert_allclose(counts.start, start, rtol=1e-10)
    assert counts.n_sequences == pytest.approx(start.sum() + 8)


@pytest.mark.parametrize("stops", [True, False])
def test_the_most_probable_path_and_draws_given_steps(stops):
    chain = random_chain(stops=stops)
    log_b = np.random.default_rng(1).normal(size=(4, 3))
    found, p = paths(chain, log_b)
    steps = StepOrder(np.array([4]))
    np.testing.assert_array_equal(chain.most_probable(steps, log_b), found[p.argmax()])
    many = StepOrder(np.full(20_000, 4))
    rows = np.tile(np.arange(4), 20_000)[many.order]
    passed = chain.forward(many, log_b, rows)
    states = many.back(chain.draw_given(many, passed, np.random.default_rng(0))).reshape(-1, 4)
    numbers = np.ravel_multi_index(states.T, (3,) * 4)
    shares = np.bincount(numbers, minlength=81) / len(states)
    assert np.abs(shares - p / p.sum()).sum() < 0.05


def test_small_densities_are_no_impossible_ones(cut):
    chain = Chain(3, None)
    chain.start = np.array([1.0, 0.0, 0.0])
    chain.transition = np.array([[0.5, 0.5, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]])
    log_b = np.zeros((7, 3))
    log_b[3, :2] = -900, -901  # the third state is out of reach
    log_b[5] = -np.inf
    steps = StepOrder(np.array([7]), 3)
    log_p = steps.back(chain.forward(steps, log_b, steps.order).log_prob)
    expected = np.logaddexp(-900 + np.log(1 / 8), -901 + np.log(7 / 8))
    assert log_p[3] == pytest.approx(expected, rel=1e-12)
    assert np.isneginf(log_p[5])
    np.testing.assert_allclose(log_p[[0, 1, 2, 4, 6]], 0, atol=1e-12)
    posterior = chain.backward(steps, chain.forward(steps, log_b, steps.order))[0]
    np.testing.assert_allclose(posterior.sum(axis=1), 1)


def test_draws_have_the_probabilities_of_the_chain():
    chain = random_chain()
    states, lengths = chain.draw(50_000, None, np.random.default_rng(0))
    assert np.mean(lengths == 0) == pytest.approx(chain.empty, abs=0.01)
    starts = (np.cumsum(lengths) - lengths)[lengths > 0]
    shares = np.bincount(states[starts]) / len(starts)
    np.testing.assert_allclose(shares, chain.start, atol=0.01)
    is_last = np.zeros(len(states), dtype=bool)
    is_last[np.cumsum(lengths)[lengths > 0] - 1] = True
    for k in range(3):
        own = states == k
        assert is_last[own].mean() == pytest.approx(chain.stop[k], abs=0.01)
        after = states[np.flatnonzero(own & ~is_last) + 1]
        shares = np.bincount(after, minlength=3) / len(after)
        np.testing.assert_allclose(shares, chain.transition[k], atol=0.015)
    given, lengths = chain.draw(3, np.array([2, 0, 5]), np.random.default_rng(0))
    assert len(given) == 7
    assert lengths.tolist() == [2, 0, 5]


def test_nothing_counted_is_the_prior():
    chain = random_chain()
    counts = ChainCounts(np.array([2.0, 0, 0]), np.array([2.0, 0, 0]), np.zeros((3, 3)), 0.0)
    for alpha in (0.0, 1.5):
        chain.learn(counts, alpha)
        np.testing.assert_allclose(chain.transition, 1 / 3)
        np.testing.assert_allclose(chain.stop[1:], 0.5)
        assert np.isfinite([*chain.start, *chain.stop, chain.empty]).all()
