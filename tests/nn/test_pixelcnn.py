"""Densities of images against enumeration, derivatives and draws by full passes."""

import itertools

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from sklearn_dgm.nn.completion import (
    completions,
    log_marginal_and_std,
    log_marginal_at,
    redraw,
)
from sklearn_dgm.nn.inputs import Variable
from sklearn_dgm.nn.mixture import Mixture
from sklearn_dgm.nn.pixelcnn import PixelCNN

FLAG = Variable(2, False)
FIVE_CATEGORIES = Variable(5, False)
FIVE_LEVELS = Variable(5, True, 2.0, 1.4, (-1.4, 0.0, 1.4), support=(0.0, 0.0, 4.0, 4.0, 0.0))
NUMBER = Variable(None, False, 0.1, 1.2, (-1.0, 0.0, 1.0))
MANY_LEVELS = Variable(
    None, True, 90.0, 60.0, (-1.0, 0.0, 1.0), (0.0,), support=(0.0, 0.0, 255.0, 255.0, 0.0)
)


def network(variable, shape, n_layers=1, class_shares=()):
    """Return a network with random weights."""
    torch.manual_seed(0)
    module = PixelCNN(variable, shape, 6, n_layers, 0.0, 3, class_shares).double().eval()
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(0.4 * torch.randn_like(parameter))
    return module


def all_rows(n_values, n_columns):
    values = [float(value) for value in range(n_values)]
    return torch.tensor(list(itertools.product(values, repeat=n_columns)), dtype=torch.float64)


SHAPES = [((3, 3, 1), ()), ((1, 9, 1), ()), ((2, 2, 2), ()), ((2, 3, 1), (0.2, 0.8))]


@pytest.mark.parametrize(("shape", "class_shares"), SHAPES)
@torch.no_grad()
def test_all_images_sum_to_one(shape, class_shares):
    module = network(FLAG, shape, 2, class_shares)
    log_p = module.log_prob(all_rows(2, len(module.variables)))
    assert torch.exp(log_p).sum() == pytest.approx(1, abs=1e-12)
    assert log_p.std() > 0.5


@pytest.mark.parametrize(("shape", "n_layers"), [((6, 5, 1), 4), ((3, 3, 3), 2), ((1, 6, 1), 3)])
def test_a_pixel_sees_all_before_it_and_nothing_else(shape, n_layers):
    module = network(NUMBER, shape, n_layers)
    z = torch.randn(1, len(module.variables), dtype=torch.float64)
    jacobian = torch.autograd.functional.jacobian(lambda z: module.log_prob_features(z)[0], z)
    depends = jacobian[:, 0].numpy() != 0  # heads have no derivative by what they score
    np.testing.assert_array_equal(depends, np.tril(np.ones_like(depends), -1))


@pytest.mark.parametrize("class_shares", [(), (0.5, 0.3, 0.2)])
@pytest.mark.parametrize("variable", [FLAG, FIVE_LEVELS, NUMBER, MANY_LEVELS])
@pytest.mark.parametrize("shape", [(4, 5, 1), (3, 4, 2)])
@torch.no_grad()
def test_conditionals_pixel_by_pixel_are_those_of_a_full_pass(shape, variable, class_shares):
    module = network(variable, shape, 2, class_shares)
    z = module.sample(3, torch.Generator().manual_seed(0))
    expected, filled = module.log_prob_features(z), torch.full_like(z, torch.nan)
    visited = []
    for j, conditional in module.visit(filled):
        torch.testing.assert_close(
            conditional.log_prob(z[:, j]), expected[:, j], rtol=1e-9, atol=1e-9
        )
        filled[:, j] = z[:, j]
        visited.append(j)
    assert sorted(visited) == list(range(z.shape[1]))


@pytest.mark.parametrize("shape", [(4, 4, 1), (2, 3, 2)])
@torch.no_grad()
def test_draws_are_those_of_full_passes(shape):
    module = network(FLAG, shape, 2)
    uniforms = torch.rand(
        20, len(module.variables), generator=torch.Generator().manual_seed(1), dtype=torch.float64
    )
    naive = torch.zeros_like(uniforms)
    for j in range(uniforms.shape[1]):  # a full pass for each column, of which one number is used
        of_zero = naive.clone()
        of_zero[:, j] = 0
        p_zero = module.log_prob_features(of_zero)[:, j].exp()
        naive[:, j] = (uniforms[:, j] >= p_zero).double()
    drawn, _ = module.fill(torch.full_like(uniforms, torch.nan), uniforms)
    torch.testing.assert_close(drawn, naive, rtol=0, atol=0)
    assert 0.1 < drawn.mean() < 0.9


@torch.no_grad()
def test_the_class_is_summed_out():
    module = with_classes((2, 3, 1), (0.1, 0.6, 0.3))
    images = all_rows(2, 6)
    of_class = [module.log_prob(F.pad(images, (0, 1), value=c)) for c in range(3)]
    unknown = F.pad(images, (0, 1), value=torch.nan)
    marginal, std = log_marginal_and_std(Mixture([module]), unknown)
    torch.testing.assert_close(marginal, torch.stack(of_class).logsumexp(dim=0))
    assert not std.any()
    parts = module.by_class()
    of_members = [member.log_prob(images) for member in parts.members]
    shares = torch.tensor(parts.log_shares, dtype=torch.float64)[:, None]
    torch.testing.assert_close((torch.stack(of_members) + shares).logsumexp(dim=0), marginal)
    assert (of_members[0] - of_members[1]).abs().max() > 0.1


def with_classes(shape, shares, variable=FLAG):
    module = network(variable, shape, 1, shares)
    with torch.no_grad():
        for layer in module.stacks.layers:
            layer.of_class.weight.normal_(generator=torch.Generator().manual_seed(0))
    return module


@pytest.mark.parametrize("class_shares", [(), (0.1, 0.6, 0.3)])
@torch.no_grad()
def test_a_marginal_is_a_sum_over_missing_pixels_within_its_error(class_shares):
    module = (
        with_classes((2, 2, 1), class_shares, FIVE_LEVELS)
        if class_shares
        else network(FIVE_LEVELS, (2, 2, 1))
    )
    every = all_rows(5, 4)
    unknown = F.pad(every, (0, len(class_shares) and 1), value=torch.nan)
    log_p = log_marginal_and_std(Mixture([module]), unknown)[0]
    rows = unknown[::61].clone()
    rows[:, 0] = rows[:, 2] = torch.nan
    estimate, std = log_marginal_and_std(Mixture([module]), rows)
    agrees = (every[:, [1, 3]] == rows[:, None, [1, 3]]).all(dim=2)
    exact = torch.where(agrees, log_p, -torch.inf).logsumexp(dim=1)
    assert ((estimate - exact).abs() < 4 * std + 1e-3).all()
    assert 0 < std.max() < 0.2


@torch.no_grad()
def test_completions_given_the_pixels_above_are_worth_as_many_draws():
    module = with_classes((4, 4, 1), (0.5, 0.5), FIVE_LEVELS)
    z = module.sample(5, torch.Generator().manual_seed(0))
    z[:, 8:] = torch.nan
    (part,) = completions(module, z, 64, torch.Generator().manual_seed(0))
    assert (part.effective_sample_size > 50).all()


@torch.no_grad()
def test_values_far_out_are_no_numbers_of_doubt():
    module = network(NUMBER, (2, 2, 1))
    z = torch.tensor([[1e300, 0.0, 0.0, 0.0], [0.0, -1e120, 1e40, 0.0]], dtype=torch.float64)
    log_p = module.log_prob_features(z)
    assert not log_p.isnan().any()
    assert log_p[0, 0] == log_p[1, 1] == -torch.inf


def images_like(module, image, missing):
    """Return all images of five categories with the observed pixels of one."""
    every = image.repeat(5 ** len(missing), 1)
    every[:, missing] = all_rows(5, len(missing))
    return every


@pytest.mark.parametrize("class_shares", [(), (0.1, 0.6, 0.3)])
@pytest.mark.parametrize("shape", [(2, 3, 1), (1, 3, 2)])
@torch.no_grad()
def test_one_pass_sums_over_missing_pixels_behind_all_others(shape, class_shares, monkeypatch):
    module = (
        with_classes(shape, class_shares, FIVE_CATEGORIES)
        if class_shares
        else network(FIVE_CATEGORIES, shape)
    )
    n_classes = max(len(class_shares), 1)
    image = module.sample(1, torch.Generator().manual_seed(0))[:, :6]
    behind, holes = [3, 4, 5], [1, 3, 4, 5]
    joint = {}
    for missing in (behind, holes):
        every = images_like(module, image, missing)
        rows = (
            [F.pad(every, (0, 1), value=c) for c in range(n_classes)] if class_shares else [every]
        )
        joint[len(missing)] = torch.stack([module.log_prob(of).logsumexp(dim=0) for of in rows])
    z = image.repeat(2, 1)
    z[0, behind] = z[1, holes] = torch.nan
    z = F.pad(z, (0, 1), value=torch.nan) if class_shares else z
    monkeypatch.setattr(PixelCNN, "visit", None)  # nothing is drawn
    log_p, std = log_marginal_and_std(Mixture([module]), z)
    expected = torch.stack([joint[3].logsumexp(dim=0), joint[4].logsumexp(dim=0)])
    torch.testing.assert_close(log_p, expected)
    assert not std.any()
    shares = Mixture([module]).log_prob_features(z)
    torch.testing.assert_close(shares.sum(dim=1), expected)
    assert not shares[0, behind].any()
    (part,) = completions(Mixture([module]), z[:1], of_observed=True)
    torch.testing.assert_close(part.log_weight[0], joint[3])
    if not class_shares:
        torch.testing.assert_close(shares[0, :3], module.log_prob_features(image)[0, :3])


@torch.no_grad()
def test_numbers_behind_all_others_are_integrated_out():
    module = network(NUMBER, (2, 2, 1))
    z = module.sample(4, torch.Generator().manual_seed(0))
    z[:, 2:] = torch.nan
    expected = module.log_prob_features(z.nan_to_num(0.0))[:, :2].sum(dim=1)
    log_p, std = log_marginal_and_std(Mixture([module]), z)
    torch.testing.assert_close(log_p, expected)
    assert not std.any()


@torch.no_grad()
def test_scores_need_no_draws_behind_the_last_observed_pixel(monkeypatch):
    module, visited = with_classes((4, 4, 1), (0.5, 0.5), FIVE_LEVELS), []
    z = module.sample(3, torch.Generator().manual_seed(0))
    z[:, [0, 1, 2, 3, 9, *range(10, 17)]] = torch.nan
    drawn = torch.logsumexp(completions_of(module, z).log_weight, dim=1)
    visit = PixelCNN.visit

    def noting(self, z):
        for j, conditional in visit(self, z):
            visited.append(j)
            yield j, conditional

    monkeypatch.setattr(PixelCNN, "visit", noting)
    log_p, std = log_marginal_and_std(Mixture([module]), z)
    assert max(set(visited) - {16}) == 9  # where it ends
    assert std.any()
    torch.testing.assert_close(log_p, drawn)


def completions_of(module, z):
    (part,) = completions(Mixture([module]), z)
    return part


@torch.no_grad()
def test_many_classes_are_summed_out_in_chunks(monkeypatch):
    shares = np.random.default_rng(0).dirichlet(np.ones(300))
    module = with_classes((2, 3, 1), tuple(shares))
    images = all_rows(2, 6)[::7]
    of_class = [module.log_prob(F.pad(images, (0, 1), value=c)) for c in range(300)]
    n_at_once, log_prob_features = [], PixelCNN.log_prob_features

    def noting(self, z):
        n_at_once.append(len(z))
        return log_prob_features(self, z)

    monkeypatch.setattr(PixelCNN, "log_prob_features", noting)
    monkeypatch.setattr("sklearn_dgm.nn.completion.NUMBERS_AT_ONCE", 40 * module.width)
    z = F.pad(images, (0, 1), value=torch.nan)
    log_p, std = log_marginal_and_std(Mixture([module]), z)
    torch.testing.assert_close(log_p, torch.stack(of_class).logsumexp(dim=0))
    assert not std.any()
    assert max(n_at_once) == 40
    x = torch.tensor([[0.0, 1.0]], dtype=torch.float64).expand(len(z), 2)
    at = log_marginal_at(Mixture([module]), z, 2, x)
    torch.testing.assert_close(at.gather(1, images[:, 2:3].long())[:, 0], log_p)
    assert max(n_at_once) == 40


@torch.no_grad()
def test_training_completes_as_many_images_at_once_as_their_visit_has_room_for(monkeypatch):
    module = network(FLAG, (6, 6, 1))
    assert module.width > module.width_of_visit
    z = module.sample(25, torch.Generator().manual_seed(0))
    current, n_at_once, fill = z.clone(), [], module.fill
    z[:, 3:9] = torch.nan
    monkeypatch.setattr(module, "fill", lambda z, u: n_at_once.append(len(z)) or fill(z, u))
    monkeypatch.setattr(
        "sklearn_dgm.nn.completion.NUMBERS_AT_ONCE", 20 * module.n_proposals * module.width_of_visit
    )
    completed = redraw(module, z, current)
    assert n_at_once == [20 * module.n_proposals, 5 * module.n_proposals]
    assert (completed[:, 9:] == current[:, 9:]).all()
    assert not completed.isnan().any()
