"""The masked network: one pass, fast sampling, and where training starts."""

import numpy as np
import pytest
import torch
from scipy import stats

from sklearn_dgm.nn.made import MADE, PIECE_WEIGHT, Variable
from sklearn_dgm.nn.masks import complete_adjacency, topological_order
from sklearn_dgm.nn.start import shrunk_covariance, start_from_gaussian

MIXED = [
    Variable(None, False, knots=(-1.0, 0.0, 0.5, 2.0)),
    Variable(3, False),
    Variable(5, True, 2.0, 1.5, knots=(-1.0, 1.0)),
    Variable(None, True, 50.0, 20.0, knots=(-2.0, 0.0, 2.0)),
    Variable(2, False),
    Variable(3, False),
]


def build(variables=MIXED, order=None, hidden_sizes=(32, 24), base="logistic"):
    torch.manual_seed(0)
    order = np.arange(len(variables)) if order is None else order
    module = MADE(variables, complete_adjacency(order), hidden_sizes, "silu", 3, base)
    with torch.no_grad():
        module.bias.normal_(0, 0.5)
    return module.double().eval()


def sample_slowly(module, n_samples, generator):
    """Ancestral sampling with one full forward pass for each column."""
    z = torch.zeros(n_samples, len(module.variables), dtype=torch.float64)
    with torch.no_grad():
        for j in topological_order(module.adjacency):
            params = module.params(z)[:, np.flatnonzero(module.param_label == j)]
            group = next(g for g, columns in enumerate(module.head_columns) if j in columns)
            column = module.head_columns[group].index(j)
            z[:, j] = module.heads[group].draw(params, column, generator)
    return z


@pytest.mark.parametrize("hidden_sizes", [(), (32,), (32, 24)])
@pytest.mark.parametrize("order", [None, [3, 1, 5, 0, 4, 2]])
def test_fast_sampling_equals_ancestral_sampling(order, hidden_sizes):
    module = build(order=order, hidden_sizes=hidden_sizes)
    fast = module.sample(200, torch.Generator().manual_seed(1))
    slow = sample_slowly(module, 200, torch.Generator().manual_seed(1))
    np.testing.assert_allclose(fast, slow, atol=1e-9)


def test_fast_sampling_equals_ancestral_sampling_far_out():
    module = build()
    for group in (0, 3):
        module.heads[group].spread.fill_(1e4)
    fast = module.sample(200, torch.Generator().manual_seed(1))
    slow = sample_slowly(module, 200, torch.Generator().manual_seed(1))
    assert fast.abs().max() > 1e4
    np.testing.assert_allclose(fast, slow, rtol=1e-9, atol=1e-9)


def test_row_sums_are_the_log_density():
    module = build()
    z = module.sample(50, torch.Generator().manual_seed(0))
    torch.testing.assert_close(module.log_prob_features(z).sum(1), module.log_prob(z))
    torch.testing.assert_close(module.loss(z), -module.log_prob(z))


def test_probabilities_of_a_small_table_sum_to_one():
    variables = [Variable(3, False), Variable(2, False), Variable(4, False)]
    module = build(variables, order=[2, 0, 1])
    cells = torch.cartesian_prod(*(torch.arange(v.n_levels).double() for v in variables))
    assert module.log_prob(cells).exp().sum().item() == pytest.approx(1)


def test_an_unknown_category_is_impossible_and_hurts_no_other_column():
    module = build()
    z = module.sample(2, torch.Generator().manual_seed(0))
    z[0, 1] = -1
    scores = module.log_prob_features(z)
    assert torch.isneginf(scores[0]).tolist() == [False, True, False, False, False, False]
    assert torch.isfinite(scores[1]).all()


def test_pieces_say_how_far_a_number_has_come():
    variables = [Variable(2, False), Variable(None, False, 10.0, 2.0, (-1.0, 0.0, 3.0))]
    module = build(variables)
    z = torch.tensor([[0.0, 7.0], [0.0, 9.0], [0.0, 13.0], [0.0, 99.0]]).double()
    pieces = module.inputs(module.features(z))[:, len(module.feature_label) :] / PIECE_WEIGHT
    expected = [[0, 0], [0.5, 0], [1, 0.5], [1, 1]]
    torch.testing.assert_close(pieces, torch.tensor(expected).double())


def test_training_starts_from_the_shrunk_gaussian():
    rng = np.random.default_rng(0)
    Z = rng.normal(size=(300, 4)) @ rng.normal(size=(4, 4))
    weight = np.ones(300)
    module = MADE(
        [Variable(None, False)] * 4, complete_adjacency([2, 0, 3, 1]), (16,), "relu", 8, "gaussian"
    )
    start_from_gaussian(module, torch.from_numpy(Z), weight)
    std = Z.std(axis=0)
    covariance = shrunk_covariance((Z - Z.mean(axis=0)) / std, weight) * np.outer(std, std)
    expected = stats.multivariate_normal(Z.mean(axis=0), covariance).logpdf(Z)
    with torch.no_grad():
        scores = module.double().log_prob(torch.from_numpy(Z)).numpy()
    assert np.abs(scores - expected).mean() < 0.1


def test_shrunk_covariance_agrees_with_scikit_learn_and_takes_weights_as_repeats():
    from sklearn.covariance import ledoit_wolf

    rng = np.random.default_rng(0)
    F = rng.normal(size=(40, 6)) @ rng.normal(size=(6, 6))
    expected, _ = ledoit_wolf(F, assume_centered=True)
    np.testing.assert_allclose(shrunk_covariance(F, np.ones(40)), expected)
    weight = rng.integers(1, 4, 40)
    np.testing.assert_allclose(
        shrunk_covariance(F, weight.astype(float)),
        shrunk_covariance(np.repeat(F, weight, axis=0), np.ones(weight.sum())),
    )
