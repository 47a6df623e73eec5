"""Rows with missing cells: weighted completions against enumeration, quadrature and closed forms."""

import math

import numpy as np
import pytest
import torch
from scipy import stats

from sklearn_dgm.nn import completion
from sklearn_dgm.nn.completion import completions, log_marginal, redraw
from sklearn_dgm.nn.inputs import Variable
from sklearn_dgm.nn.made import MADE
from sklearn_dgm.nn.masks import complete_adjacency
from sklearn_dgm.nn.mixture import Mixture

CATEGORIES = [Variable(3, False), Variable(2, False), Variable(4, False)]
NUMBER = Variable(None, False, 0.0, 1.0, (-1.0, 0.0, 1.0))


def network(variables, order, seed=0, base="logistic"):
    torch.manual_seed(seed)
    module = MADE(variables, complete_adjacency(order), (24, 16), "silu", 3, base)
    with torch.no_grad():
        module.bias.normal_(0, 0.7)
        module.out.weight.mul_(3)
        module.skip.weight.normal_(0, 0.5)
    return module.double().eval()


def mixture(variables, orders):
    return Mixture([network(variables, order, k) for k, order in enumerate(orders)]).eval()


def every_cell():
    return torch.cartesian_prod(*(torch.arange(float(v.n_levels)) for v in CATEGORIES)).double()


def masked(z, *columns):
    z = z.clone()
    z[:, list(columns)] = torch.nan
    return z


def enumerated(module, rows):
    """Log-marginals of rows by the sum over all cells of the table that agree with them."""
    cells = every_cell()
    with torch.no_grad():
        log_p = module.log_prob(cells)
    agrees = ((rows[:, None] == cells) | rows[:, None].isnan()).all(dim=2)
    return torch.where(agrees, log_p, -torch.inf).logsumexp(dim=1)


@pytest.fixture(scope="module")
def module():
    return mixture(CATEGORIES, [[0, 1, 2], [2, 1, 0], [1, 2, 0]])


@pytest.mark.parametrize("columns", [(0,), (1,), (2,), (0, 1), (0, 2), (1, 2)])
def test_missing_categories_are_summed_exactly(module, columns):
    rows = masked(every_cell(), *columns)
    np.testing.assert_allclose(module.log_prob(rows), enumerated(module, rows), atol=1e-12)


@pytest.mark.parametrize("columns", [(0,), (2,), (0, 1), (1, 2)])
def test_particles_estimate_what_enumeration_gives(monkeypatch, module, columns):
    monkeypatch.setattr(completion, "OUTCOMES_PER_PARTICLE", 0)
    rows = masked(every_cell(), *columns)
    for n_particles, tolerance in ((128, 0.05), (3000, 2e-3)):
        estimate = log_marginal(module, rows, n_particles)
        np.testing.assert_allclose(estimate, enumerated(module, rows), atol=tolerance)


def test_weights_are_unbiased(module):
    rows = masked(every_cell()[:1], 0, 1).repeat(40_000, 1)
    for member in module.members:
        generator = torch.Generator().manual_seed(0)
        uniforms = torch.rand(rows.shape, generator=generator, dtype=torch.float64)
        _, log_weight = member.fill(rows, uniforms)
        weight = log_weight.exp().numpy()
        expected = float(enumerated(member, rows[:1]).exp())
        assert weight.mean() == pytest.approx(expected, abs=4 * stats.sem(weight) + 1e-12)


def test_a_number_is_integrated_out():
    module = mixture([NUMBER, *CATEGORIES[:2], NUMBER], [[0, 1, 2, 3], [3, 2, 1, 0]])
    z = torch.tensor([[0.3, 0, 1, -0.5], [1.5, 2, 0, 0.2]]).double()
    grid = torch.sinh(torch.linspace(-8, 8, 20_001)).double()
    for j in (0, 3):
        estimate = log_marginal(module, masked(z, j), 2000)
        for row, value in zip(z, estimate, strict=True):
            rows = row.repeat(len(grid), 1)
            rows[:, j] = grid
            with torch.no_grad():
                expected = torch.trapezoid(module.log_prob(rows).exp(), grid).log()
            assert value.item() == pytest.approx(expected.item(), abs=0.01)


def test_missing_columns_at_the_end_of_the_order_cost_nothing():
    member = network([NUMBER] * 3, [2, 0, 1])
    z = member.sample(20, torch.Generator().manual_seed(0))
    expected = member.log_prob_features(z)[:, [2, 0]].sum(dim=1).detach()
    np.testing.assert_allclose(log_marginal(member, masked(z, 1)), expected, atol=1e-12)


def test_a_row_without_cells_scores_zero():
    module = mixture([NUMBER, *CATEGORIES], [[0, 1, 2, 3], [3, 2, 1, 0]])
    assert module.log_prob(torch.full((2, 4), torch.nan).double()).tolist() == [0.0, 0.0]
    assert (module.log_prob_features(torch.full((2, 4), torch.nan).double()) == 0).all()


def test_a_score_depends_on_nothing_but_the_row(monkeypatch):
    module = mixture([NUMBER, *CATEGORIES, NUMBER], [[0, 1, 2, 3, 4], [4, 3, 2, 1, 0]])
    z = module.sample(60, torch.Generator().manual_seed(0))
    z[torch.rand(z.shape, generator=torch.Generator().manual_seed(1)) < 0.3] = torch.nan
    scores = module.log_prob(z)
    order = torch.randperm(60)
    np.testing.assert_allclose(module.log_prob(z[order]), scores[order], rtol=1e-10)
    alone = torch.cat([module.log_prob(row[None]) for row in z]).detach()
    np.testing.assert_allclose(alone, scores.detach(), rtol=1e-10)
    monkeypatch.setattr(completion, "ROWS_AT_ONCE", 300)
    np.testing.assert_allclose(module.log_prob(z), scores, rtol=1e-10)
    complete = ~z.isnan().any(dim=1)
    np.testing.assert_allclose(module.log_prob(z[complete]).detach(), scores[complete].detach())


def test_shares_of_observed_columns_sum_to_the_score():
    module = mixture([NUMBER, *CATEGORIES], [[0, 1, 2, 3], [3, 2, 1, 0]])
    z = module.sample(40, torch.Generator().manual_seed(0))
    z[torch.rand(z.shape, generator=torch.Generator().manual_seed(1)) < 0.3] = torch.nan
    shares = module.log_prob_features(z)
    assert (shares[z.isnan()] == 0).all()
    np.testing.assert_allclose(shares.sum(dim=1).detach(), module.log_prob(z).detach(), atol=1e-10)


def test_shares_of_impossible_cells():
    module = mixture([NUMBER, *CATEGORIES], [[0, 1, 2, 3], [3, 2, 1, 0]])
    z = torch.tensor([[math.nan, -1.0, 1.0, 2.0], [1e300, 0.0, math.nan, math.nan]]).double()
    assert torch.isneginf(module.log_prob(z)).all()
    assert torch.isneginf(module.log_prob_features(z).sum(dim=1)).all()


def test_a_missing_category_is_a_known_one():
    variables = [Variable(3, False, unknown_share=0.2), *CATEGORIES[1:]]
    module = mixture(variables, [[0, 1, 2], [2, 1, 0]])
    rows = masked(every_cell(), 0)
    expected = enumerated(module, rows) - math.log(0.8)
    np.testing.assert_allclose(module.log_prob(rows), expected, atol=1e-12)
    np.testing.assert_allclose(
        module.log_prob(masked(every_cell()[:1], 0, 1, 2)), [0.0], atol=1e-12
    )


def test_completions_keep_observed_cells_and_cover_all_rows():
    module = mixture([NUMBER, *CATEGORIES], [[0, 1, 2, 3], [3, 2, 1, 0]])
    z = module.sample(50, torch.Generator().manual_seed(0))
    z[torch.rand(z.shape, generator=torch.Generator().manual_seed(1)) < 0.4] = torch.nan
    seen = []
    for part in completions(module, z, 20, torch.Generator().manual_seed(2)):
        given = z[part.rows][:, None].expand_as(part.z)
        observed = ~given.isnan()
        assert torch.equal(part.z[observed], given[observed])
        assert torch.isfinite(part.z).all()
        assert part.effective_sample_size.isinf().all() == ~z[part.rows, 0].isnan().any()
        seen += part.rows.tolist()
    assert sorted(seen) == list(range(50))


@pytest.mark.parametrize("start", [0.0, torch.nan])
def test_redrawing_leaves_the_conditional_distribution_as_it_is(start):
    member = network(CATEGORIES, [0, 1, 2])
    with torch.no_grad():
        member.out.weight.mul_(4)
    given = masked(every_cell()[5:6], 0, 1)
    rows = given.repeat(20_000, 1)
    torch.manual_seed(0)
    completed = rows.nan_to_num(start)
    for _ in range(12):
        completed = redraw(member, rows, completed)
    assert torch.equal(completed[:, 2], rows[:, 2])
    cells = every_cell()
    cells = cells[cells[:, 2] == given[0, 2]]
    expected = (member.log_prob(cells) - enumerated(member, given)).exp().detach().numpy()
    counts = [int((completed == cell).all(dim=1).sum()) for cell in cells]
    assert stats.chisquare(counts, 20_000 * expected).pvalue > 1e-3


def test_a_chain_comes_to_where_proposals_hardly_ever_are():
    # With the observed column last, proposals do not know of it.
    variables = [Variable(None, False, 0.0, 1000.0), NUMBER]
    member = network(variables, [0, 1], base="gaussian")
    with torch.no_grad():
        member.out.weight.zero_()
        member.bias.zero_()
        member.skip.weight[len(member.bank.linear_rows) // 2, 0] = (
            10.0  # the location of the second
        )
    rows = torch.tensor([[math.nan, 3.0]]).double().repeat(400, 1)
    torch.manual_seed(0)
    completed = rows.nan_to_num(0.0)
    for _ in range(60):
        completed = redraw(member, rows, completed)
    # Two normals, the second around ten times the first in units of a thousand: 3 comes from 30 / 101.
    x = completed[:, 0] / 1000
    assert x.mean().item() == pytest.approx(30 / 101, abs=0.02)
    assert x.std().item() == pytest.approx(math.sqrt(1 / 101), abs=0.02)
