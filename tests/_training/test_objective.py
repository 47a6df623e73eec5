"""What is recorded of a training, and in which units."""

import pickle

import numpy as np
import pytest
import torch

from sklearn_dgm import AutoregressiveDensity, BayesianNetworkDensity
from sklearn_dgm._training.batches import WeightedRows
from sklearn_dgm._training.objective import Objective, log_likelihood

LOG_DET = np.array([1.0, 20.0, 300.0])


def test_complete_rows_have_the_log_jacobian_of_all_columns():
    rows = WeightedRows(torch.randn(4, 3), torch.ones(4))
    assert log_likelihood(LOG_DET).offset(rows) == 321.0
    assert log_likelihood(LOG_DET).offset(None) == 321.0
    assert log_likelihood().offset(rows) == 0.0


def test_missing_cells_have_no_log_jacobian():
    z = torch.tensor([[0.0, torch.nan, 0.0], [torch.nan, torch.nan, 0.0], [0.0, 0.0, 0.0]])
    weight = torch.tensor([2.0, 0.5, 0.5])
    expected = 0.0
    for row, share in zip(z, weight / weight.sum(), strict=True):
        for cell, log_det in zip(row, LOG_DET, strict=True):
            expected += 0.0 if cell.isnan() else float(share) * log_det
    found = log_likelihood(LOG_DET).offset(WeightedRows(z, weight))
    assert found == pytest.approx(expected)


def test_a_likelihood_rises_and_a_loss_falls():
    likelihood, loss = log_likelihood(), Objective("critic_loss")
    assert likelihood.of_loss(2.0, 5.0) == 3.0
    assert loss.of_loss(2.0, 5.0) == 2.0
    assert likelihood.score(1.0) > likelihood.score(0.0)
    assert loss.score(0.0) > loss.score(1.0)
    assert (likelihood.label, loss.label) == ("log-likelihood", "critic loss")


@pytest.mark.parametrize("family", [AutoregressiveDensity, BayesianNetworkDensity])
def test_the_objective_of_densities_is_in_the_units_of_the_rows(family):
    X = np.random.default_rng(0).normal(size=(60, 2))
    density = family(hidden_layer_sizes=(), max_epochs=1, random_state=0)
    objective = density.fit(X * [1.0, 1000.0]).objective_
    assert objective.name == "log_likelihood"
    assert objective.log_det[0] - objective.log_det[1] == pytest.approx(np.log(1000), abs=0.5)
    assert {"train_log_likelihood", "valid_log_likelihood"} <= density.history_[0].keys()
    copied = pickle.loads(pickle.dumps(density)).objective_
    np.testing.assert_array_equal(copied.log_det, objective.log_det)


def test_tables_alone_have_no_objective():
    X = np.random.default_rng(0).integers(0, 3, (60, 2)).astype(float)
    density = BayesianNetworkDensity("empty", conditional="network", max_epochs=1, random_state=0)
    assert hasattr(density.fit(X), "objective_")
    assert not hasattr(density.set_params(conditional="table").fit(X), "objective_")
