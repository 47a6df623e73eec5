"""A mixture of networks: its density, its columns' shares, and its draws."""

import numpy as np
import pytest
import torch
from scipy import stats

from sklearn_dgm.nn.inputs import Variable
from sklearn_dgm.nn.made import MADE
from sklearn_dgm.nn.masks import complete_adjacency
from sklearn_dgm.nn.mixture import Mixture

VARIABLES = [Variable(3, False), Variable(2, False), Variable(4, False)]


def member(order, seed):
    torch.manual_seed(seed)
    module = MADE(VARIABLES, complete_adjacency(order), (8,), "relu", 2, "logistic")
    with torch.no_grad():
        module.bias.normal_(0, 1)
        module.out.weight.mul_(3)
    return module.double().eval()


@pytest.fixture(scope="module")
def mixture():
    return Mixture([member([0, 1, 2], 0), member([2, 0, 1], 1), member([1, 2, 0], 2)]).eval()


@pytest.fixture(scope="module")
def cells():
    return torch.cartesian_prod(*(torch.arange(float(v.n_levels)) for v in VARIABLES)).double()


def test_the_density_is_the_mean_of_the_members(mixture, cells):
    mean = torch.stack([m.log_prob(cells).exp() for m in mixture.members]).mean(dim=0)
    torch.testing.assert_close(mixture.log_prob(cells).exp(), mean)
    assert mixture.log_prob(cells).exp().sum().item() == pytest.approx(1)
    torch.testing.assert_close(mixture(cells), -mixture.log_prob(cells))


def test_shares_sum_to_the_density(mixture, cells):
    shares = mixture.log_prob_features(cells)
    torch.testing.assert_close(shares.sum(dim=1), mixture.log_prob(cells))
    alone = Mixture(mixture.members[:1])
    assert torch.equal(alone.log_prob_features(cells), mixture.members[0].log_prob_features(cells))


def test_an_impossible_cell_has_the_blame(mixture, cells):
    z = cells[:1].clone()
    z[0, 1] = -1
    assert torch.isneginf(mixture.log_prob_features(z))[0].tolist() == [False, True, False]


def test_draws_come_from_all_members_in_no_order(mixture, cells):
    z = mixture.sample(20_000, torch.Generator().manual_seed(0))
    expected = mixture.log_prob(cells).exp().detach().numpy()
    for part in (z, z[:5000], z[-5000:]):
        counts = [int((part == cell).all(dim=1).sum()) for cell in cells]
        assert stats.chisquare(counts, len(part) * expected).pvalue > 1e-3


def test_it_is_as_wide_as_its_widest_member(mixture):
    assert mixture.width == max(m.width for m in mixture.members)
    assert np.isfinite(mixture.width)
