"""Batches of a family's own: sequences of different lengths, padded."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

from sklearn_dgm._training.batches import RowBatches, WeightedRows
from sklearn_dgm._training.objective import log_likelihood
from sklearn_dgm._training.splits import Splits
from sklearn_dgm._training.trainer import Trainer

PARAMETERS = {
    "max_epochs": 60,
    "lr": 0.05,
    "batch_size": 16,
    "weight_decay": 0.0,
    "n_iter_no_change": 99,
    "least_patience": 99,
    "lr_falls": False,
    "verbose": 0,
    "callbacks": None,
    "net_params": None,
    "n_steps": 20,
}


class Sequences(WeightedRows):
    """Sequences of numbers, padded to the length of the longest in a batch."""

    def __getitem__(self, index):
        numbers = torch.arange(len(self))[index].tolist()
        chosen = [self.z[i] for i in numbers]
        padded = nn.utils.rnn.pad_sequence(chosen, batch_first=True)
        return (padded, torch.tensor([len(z) for z in chosen])), self.weight[index]


class SequenceSplits(Splits):
    """Splits of a list of arrays."""

    def rows(self, index):
        numbers = np.arange(len(self.Z))[index]
        return Sequences([self.tensor(self.Z[i]) for i in numbers], self.weights(index))


class NormalSequences(nn.Module):
    """All numbers of all sequences are draws of one normal distribution."""

    def __init__(self):
        super().__init__()
        self.mean = nn.Parameter(torch.zeros(()))
        self.log_scale = nn.Parameter(torch.zeros(()))

    def forward(self, batch):
        padded, lengths = batch
        losses = ((padded - self.mean) / self.log_scale.exp()) ** 2 / 2 + self.log_scale
        is_real = torch.arange(padded.shape[1]) < lengths[:, None]
        return (losses * is_real).sum(dim=1)


def sequences(n=80):
    rng = np.random.default_rng(0)
    return [rng.normal(2, 3, rng.integers(1, 12)) for _ in range(n)]


def trainer(validation_fraction, weight, **parameters):
    Z = sequences(len(weight))
    splits = SequenceSplits(Z, weight, validation_fraction, 0, torch.device("cpu"))
    parameters = SimpleNamespace(**{**PARAMETERS, **parameters})
    rng = np.random.default_rng(0)
    return Trainer(parameters, log_likelihood(), splits, rng, splits.device)


@pytest.mark.parametrize("shuffle", [False, True])
def test_a_pass_over_sequences_visits_each_with_its_weight(shuffle):
    Z = [torch.full((k,), float(k)) for k in range(1, 11)]
    rows = Sequences(Z, torch.arange(1.0, 11.0))
    seen = []
    for (padded, lengths), weight in RowBatches(rows, 3, shuffle):
        assert padded.shape[1] == lengths.max()
        assert torch.equal(lengths.float(), weight)
        assert torch.equal(padded[:, 0], weight)
        seen += lengths.tolist()
    assert sorted(seen) == list(range(1, 11))
    assert (seen == sorted(seen)) != shuffle


@pytest.mark.parametrize("batch_size", [16, 80])
def test_sequences_of_different_lengths_train(batch_size):
    weight = np.array([3.0 if z.mean() > 2 else 1.0 for z in sequences()])
    lr = 0.01 if batch_size == 16 else 0.1
    training = trainer(None, weight, batch_size=batch_size, max_epochs=200, lr=lr)
    (module,), history = training.train(lambda member, setting: NormalSequences())
    values = np.concatenate(sequences())
    repeated = np.repeat(weight, [len(z) for z in sequences()])
    mean = np.average(values, weights=repeated)
    std = np.sqrt(np.average((values - mean) ** 2, weights=repeated))
    assert module.mean.item() == pytest.approx(mean, abs=0.15)
    assert module.log_scale.item() == pytest.approx(np.log(std), abs=0.05)
    assert len(history) == 200


def test_sequences_validate():
    training = trainer(0.2, np.ones(80), max_epochs=3)
    (module,), history = training.train(lambda member, setting: NormalSequences())
    valid = training.splits(0)[1]
    assert len(valid) == 16
    best = max(record["valid_log_likelihood"] for record in history)
    batch, _ = valid[:]
    assert -module(batch).mean().item() == pytest.approx(best, rel=1e-4)
