"""The generator, its critic and what judges it, against slow references."""

import numpy as np
import pytest
import torch
from scipy import stats

from sklearn_dgm.nn.config import module_of_state, state_of
from sklearn_dgm.nn.gan import AdversarialPair, _relaxed, chosen

RNG = np.random.default_rng(0)
N = 600
CODES = RNG.choice(3, N, p=[0.6, 0.3, 0.1]).astype(float)
NUMBERS = RNG.multivariate_normal([0, 0], [[1, 0.8], [0.8, 1]], N)
Z = np.column_stack([NUMBERS[:, 0], CODES, NUMBERS[:, 1], RNG.integers(2, size=N)])
WEIGHT = np.ones(N)


def pair(sizes=(8,), conditions=(1, 3), pac=4, **others):
    torch.manual_seed(0)
    module = AdversarialPair(
        (None, 3, None, 2), 1000, [False, False], conditions, 5, sizes, pac, **others
    )
    module.start_from(Z, WEIGHT)
    return module


def with_given(z, which):
    return torch.cat([torch.from_numpy(z), torch.as_tensor(which)[:, None].double()], dim=1)


def test_rows_come_back_from_their_features():
    features = pair().features
    z = torch.from_numpy(Z)
    seen = features(z, torch.rand(z.shape, dtype=torch.float64))
    assert seen.shape == (N, 2 + 3 + 2)
    assert torch.allclose(features.rows(seen), z, atol=1e-9)


def test_distances_of_points_are_those_of_the_metric():
    features = pair().features
    one = torch.zeros(1, 7)
    one[0, [2, 5]] = 1.0
    other = torch.zeros(1, 7)
    other[0, [3, 5]] = 1.0
    assert torch.cdist(features.points(one), features.points(other)).item() == pytest.approx(1.0)
    other = one.clone()
    other[0, 0] = 1.0
    assert torch.cdist(features.points(one), features.points(other)).item() == pytest.approx(1.0)


def test_the_start_is_normal_scores_and_independent_categories():
    module = pair().double()
    torch.nn.init.zeros_(module.generator.out.weight)
    drawn = module.sample(20_000, torch.Generator().manual_seed(0)).numpy()
    assert np.corrcoef(drawn[:, [0, 2]].T)[0, 1] == pytest.approx(
        np.corrcoef(NUMBERS.T)[0, 1], abs=0.03
    )
    for j in (1, 3):
        counts, found = (np.bincount(of[:, j].astype(int)) for of in (Z, drawn))
        assert np.allclose(found / 20_000, counts / N, atol=0.02)
    assert stats.ks_2samp(drawn[:, 0], Z[:, 0]).pvalue > 0.01


def test_relaxed_categories_are_drawn_by_their_logits_and_have_the_gradient_of_a_softmax():
    logits = torch.tensor([[0.0, 1.0, -1.0]]).repeat(20_000, 1).requires_grad_()
    uniforms = torch.rand(20_000, 3, generator=torch.Generator().manual_seed(0))
    drawn = _relaxed(logits, uniforms)
    assert torch.allclose(drawn.sum(dim=1), torch.ones(20_000))
    assert set(drawn.detach().round(decimals=5).unique().tolist()) == {0.0, 1.0}
    expected = logits[0].softmax(dim=0).detach()
    assert torch.allclose(drawn.mean(dim=0), expected, atol=0.015)
    slopes = torch.tensor([1.0, 2.0, 4.0])
    (gradient,) = torch.autograd.grad((drawn @ slopes).sum(), logits)
    noisy = (logits - (-uniforms.log()).log()).detach().requires_grad_()
    (soft,) = torch.autograd.grad(((noisy / 0.5).softmax(dim=1) @ slopes).sum(), noisy)
    assert torch.allclose(gradient, soft, atol=1e-5)


def test_what_is_given_is_drawn():
    module = pair()
    which = torch.arange(N) % 2
    codes = torch.where(which == 0, torch.arange(N) % 3, torch.arange(N) // 2 % 2)
    noise = torch.randn(N, 5), torch.rand(N, 7)
    rows = module.features.rows(module.generate(*noise, which, codes))
    assert torch.equal(torch.where(which == 0, rows[:, 1], rows[:, 3]), codes.double())


def test_columns_are_given_evenly_and_their_categories_by_their_shares():
    conditions = pair().double().conditions
    which, codes = conditions.draw(torch.rand(50_000, 2, dtype=torch.float64))
    assert which.double().mean().item() == pytest.approx(0.5, abs=0.01)
    found = torch.bincount(codes[which == 0], minlength=3) / (which == 0).sum()
    assert np.allclose(found, np.bincount(CODES.astype(int)) / N, atol=0.015)


def test_a_category_without_a_share_is_never_chosen():
    uniforms = torch.tensor([0.0, 0.3, 0.9999999, 1.0])
    assert chosen(torch.tensor([0.0, 0.5, 0.5, 0.0]), uniforms).tolist() == [1, 1, 2, 2]


def test_the_penalty_is_of_gradients_of_packs():
    """Those of a linear critic are its weights, whatever the rows, but for what tells which column is given."""
    module = pair(sizes=(), pac=4, gradient_penalty=7.0)
    which = np.arange(N) % 2
    loss, distance = module.critic_loss(with_given(Z, which))
    slopes = module.critic[-1].weight.detach().reshape(4, -1)[:, :9]
    assert (loss + distance).item() == pytest.approx(7 * (slopes.norm().item() - 1) ** 2, rel=1e-4)


def test_the_distance_is_that_of_what_the_critic_says():
    """If it says the sign of a category, the distance is that of its frequencies."""
    module = pair(sizes=(), conditions=(), pac=1)
    with torch.no_grad():
        module.critic[-1].weight.zero_()
        module.critic[-1].bias.zero_()
        module.critic[-1].weight[0, 4] = 1.0  # numbers, then the column of two categories
        module.generator.skip.bias[4] = 20.0  # which draws nothing else
    _, distance = module.critic_loss(with_given(Z, np.zeros(N)))
    assert distance.item() == pytest.approx((CODES == 0).mean() - 1, abs=1e-4)
    assert module.generator_loss(with_given(Z, np.zeros(N))).item() == pytest.approx(-1, abs=1e-4)


def test_the_critic_sees_rows_in_packs():
    module = pair(sizes=(8,), pac=4)
    features, which = module.seen(torch.randn(12, 7)), torch.arange(12) % 2
    said = module.criticise(features, which)
    assert said.shape == (3,)
    changed = features.clone()
    changed[5] += 1
    moved = module.criticise(changed, which) != said
    assert moved.tolist() == [False, True, False]
    assert module.criticise(features, 1 - which)[0] != said[0]


def test_the_reference_is_by_weights():
    """Of two clouds, one of twenty times the weight of the other, the right shares are preferred."""
    module = AdversarialPair((None,), 100, [False], (), 2, (4,), 1)
    rng = np.random.default_rng(0)
    side = np.repeat([0.0, 1.0], 300)
    z, weight = (side + 0.1 * rng.normal(size=600))[:, None], np.where(side == 1, 20.0, 1.0)
    module.start_from(z, weight)
    module.keep_reference(torch.from_numpy(z), weight)
    share = (module.reference[:, 0] > torch.special.ndtri(torch.tensor(1 / 21))).double().mean()
    assert share.item() == pytest.approx(20 / 21, abs=0.01)


def test_draws_of_equal_rows_are_at_no_distance():
    module = pair(sizes=())
    with torch.no_grad():
        module.generator.skip.weight.zero_()
    module.keep_reference(torch.from_numpy(Z), WEIGHT)
    drawn = module.features.points(module._draw(20, torch.Generator())[0].to(module.reference))
    assert set(drawn[:, 2:].unique().tolist()) == {0.0, 0.5**0.5}


def test_it_settles_at_the_shares_of_categories():
    module = pair().double()
    with torch.no_grad():
        module.generator.skip.bias[2:] += torch.tensor([1.0, -1.0, 2.0, -1.0, 0.5])
        module.generator.out.weight *= 5  # which makes a row's categories a matter of its latents
    module.settle()
    drawn = module.sample(20_000, torch.Generator().manual_seed(1)).numpy()
    for j in (1, 3):
        counts, found = (np.bincount(of[:, j].astype(int)) for of in (Z, drawn))
        assert np.allclose(found / 20_000, counts / N, atol=0.02)


def test_categories_of_no_row_are_never_drawn():
    module = AdversarialPair((500, None), 1000, [False], (0,), 5, (8,), 4)
    module.start_from(np.column_stack([CODES, NUMBERS[:, 0]]), WEIGHT)
    drawn = module.sample(5000, torch.Generator().manual_seed(0))
    assert set(drawn[:, 0].unique().tolist()) == {0.0, 1.0, 2.0}


def test_without_a_reference_there_is_no_distance():
    module = pair()
    z, weight = torch.from_numpy(Z), torch.ones(N)
    assert module.distance(z[:50], weight[:50]).isnan()
    module.keep_reference(z[50:], WEIGHT[50:])
    # Margins are right, and how columns go together is not.
    assert 0.5 < module.distance(z[:50], weight[:50]) < 1


def test_scores_of_the_critic_do_not_depend_on_rows_beside():
    module = pair().double().eval()
    z = torch.from_numpy(Z)
    every = module.critic_scores(z)
    assert torch.allclose(every[:7], module.critic_scores(z[:7]), atol=1e-12)
    assert torch.allclose(every[[5]], module.critic_scores(z[[5]]), atol=1e-12)


def test_it_is_its_config_and_its_arrays():
    module = pair().double().eval()
    again = module_of_state(state_of(module))
    drawn = (of.sample(50, torch.Generator().manual_seed(1)) for of in (module, again))
    assert torch.equal(*drawn)
    assert torch.equal(*(of.critic_scores(torch.from_numpy(Z[:9])) for of in (module, again)))
