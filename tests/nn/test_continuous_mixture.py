"""The decoder of a continuous mixture, against loops, enumeration and closed forms."""

import itertools

import numpy as np
import pytest
import torch
from scipy import stats
from scipy.special import logsumexp

from sklearn_dgm.nn.continuous_mixture import CellLogits, ContinuousMixture
from sklearn_dgm.nn.randomness import drawing_from

N_LEVELS, REFERENCE = (3, 2, 1, 4), (1, 0, 0, 3)
TREES = {"independent": (-1, -1, -1, -1), "tree": (-1, 0, 1, 0)}


def decoder(parents, least_scales=(), hidden=(5,), n_points=16, **others):
    torch.manual_seed(0)
    module = ContinuousMixture(
        N_LEVELS, parents, REFERENCE, least_scales, 2, hidden, n_points, **others
    )
    return module.double().eval()


@pytest.fixture(params=TREES)
def parents(request):
    return TREES[request.param]


def all_rows():
    codes = np.array(list(itertools.product(*map(range, N_LEVELS))), dtype=float)
    return torch.tensor(np.column_stack([codes, np.zeros(len(codes))]))


def slow_log_joint(module, row, h):
    """Look up each cell in the table given that of its parent."""
    with torch.no_grad():
        log_cells = module.tables.log_cells(module.decode(h)[0]).numpy()
    total, start = np.zeros(len(h)), 0
    for j, (size, i) in enumerate(zip(N_LEVELS, module.tables.parents, strict=True)):
        n_given = N_LEVELS[i] if i >= 0 else 1
        of_column = log_cells[:, start : start + n_given * size].reshape(-1, n_given, size)
        start += n_given * size
        np.testing.assert_allclose(np.exp(of_column).sum(axis=2), 1)
        total += of_column[:, int(row[i]) if i >= 0 else 0, int(row[j])]
    return total


def test_log_densities_are_those_of_looking_up_each_cell(parents):
    module, h = decoder(parents), torch.randn(7, 2, dtype=torch.float64)
    rows = all_rows()
    with torch.no_grad():
        log_p = module.log_joint(rows, h).numpy()
    expected = [slow_log_joint(module, row, h) for row in rows.numpy()]
    np.testing.assert_allclose(log_p, expected, atol=1e-12)
    np.testing.assert_allclose(module.log_prob(rows).exp().sum().item(), 1)


def test_missing_cells_are_summed_out_and_their_gradients_are_right(parents):
    module, rows = decoder(parents), all_rows()
    for gaps in ([0], [1], [0, 3], [1, 2, 3], [0, 1, 2, 3]):
        given = rows[17].clone()
        given[gaps] = torch.nan
        observed = [j for j in range(4) if j not in gaps]
        agrees = (rows[:, observed] == given[observed]).all(dim=1)
        both = torch.stack([given, rows[3]])  # beside a complete row
        expected = torch.stack(
            [module.log_prob(rows[agrees]).logsumexp(0), module.log_prob(both)[1]]
        )
        actual = module.log_prob(both)
        torch.testing.assert_close(actual, expected)
        gradients = [
            torch.autograd.grad(
                of.sum(), module.parameters(), allow_unused=True, materialize_grads=True
            )
            for of in (actual, expected)
        ]
        for a, b in zip(*gradients, strict=True):
            torch.testing.assert_close(a, b, rtol=1e-7, atol=1e-10)


def test_of_a_linear_decoder_one_number_is_normal():
    module = ContinuousMixture((), (), (), (0.0,), 1, (), 4096).double().eval()
    slope, scale = 0.8, 1.0
    with torch.no_grad():
        module.last.weight.copy_(torch.tensor([[slope], [0.0]]))
        module.last.bias.copy_(torch.tensor([0.3, np.log(np.expm1(scale - 1e-3))]))
    x = np.linspace(-2, 2.5, 9)
    rows = torch.tensor(np.column_stack([x, np.zeros(9)]))
    expected = stats.norm(0.3, np.hypot(slope, scale)).logpdf(x)
    np.testing.assert_allclose(module.log_prob(rows).detach().numpy(), expected, atol=1e-3)


def test_numbers_are_normal_given_a_point_and_missing_ones_say_nothing():
    module, h = decoder(TREES["tree"], (0.0, 0.5)), torch.randn(3, 2, dtype=torch.float64)
    row = torch.tensor(
        [[0, 1, 0, 2, 1.3, -200.0, -0.5], [0, 1, 0, 2, 1.3, np.nan, 0.0]], dtype=torch.float64
    )
    with torch.no_grad():
        _, means, scales = (of.numpy() for of in module.decode(h))
        cells = module.log_joint(torch.tensor([[0, 1, 0, 2, np.nan, np.nan, 0.0]]).double(), h)
        log_p, cells = module.log_joint(row, h).numpy(), cells.numpy()
    assert (scales[:, 1] >= 0.5).all()
    of_first = stats.norm(means[:, 0], scales[:, 0]).logpdf(1.3)
    of_second = stats.norm(means[:, 1], scales[:, 1]).logpdf(-200.0)
    np.testing.assert_allclose(log_p[0], cells[0] + of_first + of_second - 0.5, rtol=1e-9)
    np.testing.assert_allclose(log_p[1], cells[0] + of_first, rtol=1e-12)


def test_it_starts_from_given_tables(parents):
    module = decoder(parents, (0.0, 2.0))
    sizes = module.tables.n_levels
    given = [sizes[i] if i >= 0 else 1 for i in parents]
    rng = np.random.default_rng(0)
    log_cells = np.concatenate(
        [np.log(rng.dirichlet(np.ones(k), n)).ravel() for k, n in zip(sizes, given, strict=True)]
    )
    module.start_from(log_cells)
    with torch.no_grad():
        module.last.weight.zero_()
        logits, means, scales = module.decode(torch.zeros(1, 2, dtype=torch.float64))
        started = module.tables.log_cells(logits)[0].numpy()
    np.testing.assert_allclose(started, log_cells, atol=1e-6)
    np.testing.assert_allclose(means.numpy(), 0)
    np.testing.assert_allclose(scales[0, 0].item(), 1, rtol=1e-6)


def test_training_shifts_the_points_by_the_generator_of_the_block():
    module, rows = decoder(TREES["independent"], n_points=64), all_rows()[:4]
    fixed = module.log_prob(rows)
    assert torch.equal(fixed, module.log_prob(rows))
    module.train()

    def shifted(seed):
        with drawing_from(torch.Generator().manual_seed(seed)):
            return module.log_prob(rows)

    assert torch.equal(shifted(0), shifted(0))
    assert not torch.equal(shifted(0), shifted(1))
    # Each shift of the net integrates over the normal distribution.
    means = [module.points(rows).mean(dim=0) for _ in range(20)]
    assert torch.stack(means).abs().max() < 0.1


def test_wide_logits_of_the_rarest_cells_stay_finite():
    tables = CellLogits((2,) * 500, (-1,) * 500, (0,) * 500)
    logits = torch.full((1, 500), -90.0)
    codes = torch.ones(1, 500)
    assert tables.log_prob(codes, logits).item() == pytest.approx(-90.0 * 500, rel=1e-5)
    assert logsumexp(tables.log_cells(logits)[0, :2].numpy()) == pytest.approx(0, abs=1e-6)


def test_a_single_point_is_shifted_over_the_whole_space():
    module = decoder(TREES["independent"], n_points=1).train()
    points = torch.cat([module.points(torch.zeros(1).double()) for _ in range(500)])
    assert stats.kstest(points[:, 0].numpy(), stats.norm.cdf).pvalue > 1e-3
