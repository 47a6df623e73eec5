"""Causal networks that learn from sequences which are read a chunk at a time."""

import numpy as np
import pytest
import torch
from sklearn.base import clone

from sklearn_dgm import AutoregressiveSequenceDensity, Checkpoint
from sklearn_dgm._training import trainer
from sklearn_dgm.chunks import EncodedChunks, SequenceChunks, SequenceSummary
from sklearn_dgm.columns import ColumnSchema, SequenceSchema
from sklearn_dgm.counts.ngrams import NGrams
from sklearn_dgm.sequence._batches import (
    NGramsBeside,
    SequenceRows,
    SequenceSplits,
    StreamedSequences,
    log_prob_steps,
)
from tests._training.interrupted import Interrupted, interrupt
from tests.chunks.tables import Parts, let_samples_be_small

SAMPLE, EPOCH = 300, 250


@pytest.fixture(autouse=True)
def _small(monkeypatch):
    """Let few sequences be more than a sample."""
    let_samples_be_small(monkeypatch, SAMPLE, 400, EPOCH)


def texts(n, seed=0):
    """Strings of two letters, in which a letter tends to be repeated."""
    rng = np.random.default_rng(seed)
    rows = []
    for length in rng.geometric(0.2, n) - 1:
        letter, text = rng.integers(2), ""
        for _ in range(length):
            letter = letter if rng.random() < 0.8 else 1 - letter
            text += "ab"[letter]
        rows.append(text)
    return rows


def numbered(n):
    """Sequences of one or two steps, the first of which is the number of the sequence."""
    return [[float(i)] * (1 + i % 2) for i in range(n)]


QUICK = {"hidden_size": 8, "batch_size": 25, "random_state": 0}


@pytest.fixture
def trained(monkeypatch):
    """The numbers of all sequences that train, a pass each."""
    seen = []
    original = StreamedSequences._take_next

    def take_next(self):
        original(self)
        firsts = self.starts.clamp(max=len(self.z) - 1)
        seen.append((self.z[firsts, 0].numpy().copy(), self.weight.numpy().copy()))

    monkeypatch.setattr(StreamedSequences, "_take_next", take_next)
    return seen


def test_few_sequences_are_learnt_as_in_memory(trained):
    X = texts(SAMPLE)
    density = AutoregressiveSequenceDensity(max_epochs=2, **QUICK)
    streamed, whole = (clone(density).fit(of) for of in (Parts(X, 70), X))
    np.testing.assert_array_equal(streamed.score_samples(X), whole.score_samples(X))
    assert vars(streamed).keys() == vars(whole).keys()
    assert not trained


def test_all_sequences_train_but_those_that_validate(trained, monkeypatch):
    validating = []
    original = trainer.Trainer._monitor

    def monitor(self, run, train, valid):
        validating.append(valid.z[valid.starts, 0].numpy().copy())
        return original(self, run, train, valid)

    monkeypatch.setattr(trainer.Trainer, "_monitor", monitor)
    density = AutoregressiveSequenceDensity(max_epochs=7, n_iter_no_change=7, **QUICK)
    density.fit(Parts(numbered(800), 90))
    assert len(trained) == 7
    seen = np.concatenate([numbers for numbers, _ in trained])
    (valid,) = validating
    assert len(valid) == SAMPLE // 10
    assert not np.isin(valid, seen).any()
    # All others, the stream going on where a pass ended: twice in seven passes of 250.
    assert len(np.unique(seen)) == 800 - len(valid)
    assert np.unique(seen, return_counts=True)[1].min() >= 2
    # Those that stood beside each other are far apart.
    numbers = trained[0][0] * density.schema_.steps.columns_[0].scale
    assert np.median(np.abs(np.diff(numbers))) > 50
    assert not hasattr(density, "_streamed")


@pytest.mark.parametrize("cell", ["gru", "transformer"])
@pytest.mark.parametrize("ngram_order", [3, None])
def test_as_good_as_from_memory(cell, ngram_order, trained):
    X, held_out = texts(1500), texts(1000, seed=1)
    density = AutoregressiveSequenceDensity(cell, ngram_order=ngram_order, max_epochs=12, **QUICK)
    sample, whole = (clone(density).fit(of) for of in (X[:40], X))
    trained.clear()
    streamed = clone(density).fit(Parts(X, 170))
    assert len(trained) == streamed.n_iter_
    scores = [one.score(held_out) / len(held_out) for one in (sample, streamed, whole)]
    assert scores[1] > scores[0] + 0.7 * (scores[2] - scores[0])
    if ngram_order:
        codes = whole.schema_.encode(held_out)[0]
        of_both = [log_prob_steps(one.ngrams_, codes)[0] for one in (streamed, whole)]
        np.testing.assert_allclose(*of_both)


def test_weights_count(trained):
    X, weight = texts(600) + ["bababa"] * 300, np.repeat([1.0, 3.0, 0.0], 300)
    density = AutoregressiveSequenceDensity(max_epochs=2, **QUICK)
    density.fit(Parts(X, 100), sample_weight=weight)
    of_pass = np.concatenate([weight for _, weight in trained])
    np.testing.assert_allclose(sorted(set((of_pass / of_pass.min()).round(6))), [1, 3])
    whole = AutoregressiveSequenceDensity(max_epochs=2, **QUICK).fit(X, sample_weight=weight)
    assert density._gram_counts.weight.sum() == whole._gram_counts.weight.sum()


@pytest.mark.parametrize("has_before", [False, True])
def test_ngrams_have_not_counted_what_they_are_trained_beside(has_before):
    X, weight = texts(900), np.random.default_rng(0).integers(1, 4, 900) / 2
    chunks = SequenceChunks.of(Parts(X, 130))
    own = SequenceSchema(ColumnSchema())
    rows, schema = EncodedChunks.of(chunks, own, weight, summarise=SequenceSummary)
    before = NGrams(2, 2, ends=True).count(np.array([0, 1]), np.array([2])) if has_before else None
    beside = NGramsBeside(2, 2, True, before)
    splits = SequenceSplits(*rows.sample, 0.1, 3, torch.device("cpu"), beside)
    splits.streamed = rows
    train, valid = splits(0)
    Z = schema.encode(X)[0]
    half, held_out = splits._half(np.arange(900)), splits.held_out(0)
    is_held_out = np.isin(np.arange(900), held_out)
    assert 350 < half.sum() < 550

    def counted(rows):
        counts = NGrams(2, 2, ends=True).count(*codes_of(Z[rows]), weight[rows])
        return NGrams(2, 2, ends=True).set_counts(counts if before is None else before + counts)

    def codes_of(Z):
        return Z.steps[:, 0].astype(int), Z.lengths

    by_half = [log_prob_steps(counted((half != k) & ~is_held_out), Z) for k in (0, 1)]
    expected = np.where(Z.of_steps(half) == 0, by_half[0][0], by_half[1][0])
    order = torch.arange(len(train))
    train.arranged(order, 25)
    (padded, lengths, of_steps, of_ends), _ = train[order]
    found = {}  # by text
    for i in range(900):
        text = tuple(Z[[i]].steps[:, 0].tolist())
        log_p = float(by_half[half[i]][1][i] + Z.split(expected)[i].sum())
        found.setdefault(text, set()).add(round(log_p, 3))
    for i in range(len(train)):
        n = int(lengths[i])
        total = float(of_ends[i] + of_steps[i, :n].sum())
        nearest = found[tuple(padded[i, :n, 0].tolist())]
        assert min(abs(total - one) for one in nearest) < 2e-3
    of_valid = log_prob_steps(counted(~is_held_out), Z[held_out])
    np.testing.assert_allclose(np.sort(valid.others[1]), np.sort(of_valid[1]), rtol=1e-5)


def test_batches_hold_sequences_of_about_one_length():
    X = texts(900)
    rows, _ = EncodedChunks.of(
        SequenceChunks.of(Parts(X, 130)),
        SequenceSchema(ColumnSchema()),
        summarise=SequenceSummary,
    )
    Z = rows.sample[0]
    splits = SequenceSplits(Z, np.ones(len(Z)), None, 0, torch.device("cpu"))
    splits.streamed = rows
    train, valid = splits(0)
    assert valid is None
    assert isinstance(train, SequenceRows)
    order = train.arranged(torch.randperm(len(train)), 10)
    assert sorted(order.tolist()) == list(range(EPOCH))
    spread = [np.ptp(train.lengths[batch].numpy()) for batch in order.split(10)]
    assert np.mean(spread) < 3


def test_a_fit_that_is_killed_goes_on_with_the_stream(tmp_path):
    X = Parts(texts(700), 90)
    density = AutoregressiveSequenceDensity(max_epochs=6, **QUICK)
    Interrupted.steps, Interrupted.at = 0, -1
    whole = clone(density).set_params(net_params={"optimizer": Interrupted}).fit(X)
    checkpoint = Checkpoint(tmp_path / "fit", every=2, resume=True)
    parts = clone(density).set_params(callbacks=[checkpoint])
    interrupt(parts, X, at=45)
    assert checkpoint.path.exists()
    Interrupted.steps, Interrupted.at = 0, -1
    parts.set_params(net_params={"optimizer": Interrupted}).fit(X)
    np.testing.assert_array_equal(parts.score_samples(X.table), whole.score_samples(X.table))
