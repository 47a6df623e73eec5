"""Flows against quadrature, automatic derivatives, their own inverses and the Gaussian that they start from."""

import itertools
import json
import subprocess
import sys

import numpy as np
import pytest
import torch
from scipy import stats

from sklearn_dgm.nn import transforms
from sklearn_dgm.nn.config import config_of, module_of
from sklearn_dgm.nn.flows import Flow, FlowMixture
from sklearn_dgm.nn.inputs import TableInputs, Variable
from sklearn_dgm.nn.made import MADE
from sklearn_dgm.nn.moments import moments
from sklearn_dgm.nn.transforms import inverse_log_tails, log_tails

NUMBER = Variable(None, False, 0.3, 1.4, (-1.0, 0.0, 1.0))
OTHER = Variable(None, False, -2.0, 0.5)
COUNT = Variable(None, True, 4.0, 2.0)
CATEGORY = Variable(3, False)
KINDS = ("spline", "affine", "bernstein")
EVERY = list(itertools.product(KINDS, ("normal", "student"), (False, True)))


def flow(variables, numbers, kind="spline", base="normal", coupling=False, discrete=None, seed=0):
    """A flow with weights as after a wild training."""
    torch.manual_seed(seed)
    context = [j for j in range(len(variables)) if j not in numbers]
    module = Flow(variables, numbers, context, kind, 2, (8,), coupling, 4, base, discrete)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(0.4 * torch.randn_like(parameter))
        p = len(numbers)
        module.standardisation.location.copy_(
            torch.tensor([variables[j].location for j in numbers])
        )
        module.standardisation.scale.copy_(torch.tensor([variables[j].scale for j in numbers]))
        mean = np.zeros(p + module.inputs.n_features)
        root = np.random.default_rng(seed).normal(size=(len(mean), len(mean)))
        covariance = root @ root.T + np.eye(len(mean))
        correlation = module.standardisation.start_from(mean, covariance)
        module.first.start_from(correlation)
        module.last.start_from(correlation)
    return module.double().eval()


def line(n=6001, reach=12.0):
    t = torch.linspace(-reach, reach, n, dtype=torch.float64)
    return torch.sinh(t), torch.log(torch.cosh(t) * (t[1] - t[0]))


def random_rows(module, n=40, seed=0):
    rng = np.random.default_rng(seed)
    columns = [
        rng.integers(v.n_levels, size=n)
        if v.n_levels
        else rng.integers(-3, 12, size=n)
        if v.whole
        else rng.normal(v.location, 4 * v.scale, size=n)
        for v in module.variables
    ]
    return torch.from_numpy(np.column_stack(columns).astype(float))


@pytest.mark.parametrize(("kind", "base"), itertools.product(KINDS, ("normal", "student")))
def test_one_column_integrates_to_one(kind, base):
    module = flow([NUMBER], [0], kind, base)
    x, log_weights = line()
    with torch.no_grad():
        total = (module.log_prob(x[:, None]) + log_weights).exp().sum().item()
    assert total == pytest.approx(1, abs=1e-4)


@pytest.mark.parametrize("kind", KINDS)
def test_two_columns_integrate_to_one_given_a_category(kind):
    module = flow([NUMBER, CATEGORY, OTHER], [0, 2], kind)
    x, log_weights = line(601, 6.0)
    z = torch.cartesian_prod(x, torch.tensor([2.0], dtype=torch.float64), x)
    log_weights = (log_weights[:, None] + log_weights).flatten()
    with torch.no_grad():
        total = (module.log_prob(z) + log_weights).exp().sum().item()
    assert total == pytest.approx(1, abs=2e-3)


@pytest.mark.parametrize(("kind", "base", "coupling"), EVERY)
def test_log_determinants_are_those_of_jacobians(kind, base, coupling):
    module = flow([NUMBER, CATEGORY, OTHER, NUMBER], [0, 2, 3], kind, base, coupling)
    z = random_rows(module, 8)
    x, *context = module.parts(z)
    _, log_det = module.to_base(x, *context)
    for i in range(len(z)):
        row = [part[i : i + 1] for part in context]
        jacobian = torch.autograd.functional.jacobian(
            lambda x, row=row: module.to_base(x[None], *row)[0][0], x[i]
        )
        expected = torch.linalg.slogdet(jacobian).logabsdet.item()
        assert log_det[i].item() == pytest.approx(expected, abs=1e-8)


@pytest.mark.parametrize(("kind", "base", "coupling"), EVERY)
@torch.no_grad()
def test_the_way_back_is_the_inverse(kind, base, coupling):
    module = flow([NUMBER, CATEGORY, OTHER, NUMBER], [0, 2, 3], kind, base, coupling)
    x, *context = module.parts(random_rows(module, 200))
    base = module.to_base(x, *context)[0]
    np.testing.assert_allclose(module.from_base(base, *context), x, atol=1e-5)
    assert kind == "bernstein" or np.allclose(module.from_base(base, *context), x, atol=1e-9)


@torch.no_grad()
def test_a_coupling_takes_two_passes():
    variables = [NUMBER] * 5
    assert {t.passes for t in flow(variables, [*range(5)], coupling=True).transforms} == {2}
    assert {t.passes for t in flow(variables, [*range(5)]).transforms} == {5}


def test_tails_are_logarithms_and_come_back():
    x = torch.tensor([-1e15, -6.0, -4.9, 0.0, 4.9, 7.0, 1e6], dtype=torch.float64)
    y, log_slope = log_tails(x, 5.0)
    assert torch.equal(y[2:5], x[2:5])
    assert y.abs().max() < 40
    torch.testing.assert_close(inverse_log_tails(y, 5.0), x)
    slope = torch.autograd.functional.jacobian(lambda x: log_tails(x, 5.0)[0], x).diag()
    torch.testing.assert_close(log_slope, slope.log())


@pytest.mark.parametrize("kind", KINDS)
@torch.no_grad()
def test_it_starts_as_the_gaussian_given_the_context(kind):
    rng = np.random.default_rng(0)
    code = rng.integers(3, size=500)
    mixing = np.array([[1.0, 0.9], [0.0, 0.1]])
    numbers = rng.normal(size=(500, 2)) @ mixing + np.array([[0, 0], [1, -1], [3, 2]])[code]
    Z, weight = np.column_stack([numbers[:, 0], code, numbers[:, 1]]), rng.integers(1, 4, 500)
    variables = [Variable(None, False, 1.0, 2.0), CATEGORY, Variable(None, False)]
    inputs = TableInputs(variables)
    learnt = moments(inputs, torch.from_numpy(Z), weight.astype(float))
    module = Flow(variables, [0, 2], [1], kind, 3, (16,), False, 8, "normal")
    module.start_from(learnt, inputs)
    z = torch.from_numpy(Z)
    log_p = module.double().eval().log_prob(z)
    # By the joint Gaussian of all features, in the order of the inputs: both numbers, then three indicators.
    features = np.column_stack([(Z[:, 0] - 1) / 2, Z[:, 2], code[:, None] == np.arange(3)])
    joint = stats.multivariate_normal(learnt.mean, learnt.covariance)
    given = stats.multivariate_normal(learnt.mean[2:], learnt.covariance[2:, 2:])
    expected = joint.logpdf(features) - given.logpdf(features[:, 2:]) - np.log(2)
    np.testing.assert_allclose(log_p, expected, atol=1e-4)


def test_whole_numbers_have_the_mass_of_their_cells():
    module = flow([COUNT, NUMBER], [0])
    counts = torch.arange(-400, 400, dtype=torch.float64)
    z = torch.stack([counts, torch.full_like(counts, 0.7)], dim=1)
    with torch.no_grad():
        log_p, std = module.log_prob_and_std(z)
        total = log_p.exp().sum().item()
        assert abs(total - 1) < 0.01
        # The rule of Gauss and Legendre in each of the cells about the centre.
        nodes, weights = map(torch.from_numpy, np.polynomial.legendre.leggauss(50))
        x, *context = module.parts(z[380:420].repeat_interleave(50, dim=0))
        base, log_det = module.to_base(x + nodes.repeat(40)[:, None] / 2, *context)
        p = (module.base.log_prob(base) + log_det).exp().reshape(40, 50)
        mass = p @ weights / 2
        error = log_p[380:420].exp() - mass
        assert (error.abs() <= 4 * mass * std[380:420] + 1e-9).all()
        assert error.abs().sum() < 0.02
        assert (std[380:420] > 0).all()
        assert module.log_prob(z + torch.tensor([0.5, 0.0])).eq(-torch.inf).all()
    module.train()
    assert (
        module.loss(z[390:410]) != module.loss(z[390:410])
    ).all()  # at other points of the cells


def network(variables, targets, seed=0):
    torch.manual_seed(seed)
    adjacency = np.zeros((len(variables),) * 2, dtype=bool)
    adjacency[targets[0], targets[1:]] = True
    return MADE(variables, adjacency, (8,), "relu", 2, "logistic", targets=targets)


@torch.no_grad()
def test_categories_and_numbers_are_a_density_together():
    variables = [CATEGORY, NUMBER, CATEGORY]
    module = flow(variables, [1], discrete=network(variables, [0, 2])).double()
    x, log_weights = line()
    total = 0.0
    of_categories = []
    for a, b in itertools.product(range(3), range(3)):
        z = torch.stack([torch.full_like(x, a), x, torch.full_like(x, b)], dim=1)
        mass = (module.log_prob(z) + log_weights).exp().sum().item()
        of_categories.append(module.discrete.log_prob(z[:1]).exp().item())
        assert mass == pytest.approx(of_categories[-1], abs=1e-4)
        total += mass
    assert total == pytest.approx(1, abs=1e-4)
    drawn = module.sample(20_000, torch.Generator().manual_seed(0))
    counts = np.bincount((3 * drawn[:, 0] + drawn[:, 2]).int().numpy(), minlength=9)
    assert stats.chisquare(counts, 20_000 * np.array(of_categories)).pvalue > 1e-3


@pytest.mark.parametrize(("kind", "base", "coupling"), EVERY)
@torch.no_grad()
def test_draws_follow_the_density(kind, base, coupling):
    module = flow([NUMBER], [0], kind, base, coupling)
    x, log_weights = line()
    mass = (module.log_prob(x[:, None]) + log_weights).exp().numpy()
    drawn = module.sample(5000, torch.Generator().manual_seed(1))[:, 0].numpy()
    edges = np.interp(np.arange(1, 20) / 20, np.cumsum(mass), x)
    counts = np.bincount(np.searchsorted(edges, drawn), minlength=20)
    expected = np.bincount(np.searchsorted(edges, x), mass, minlength=20)
    assert stats.chisquare(counts, 5000 * expected / expected.sum()).pvalue > 1e-3


@torch.no_grad()
def test_a_mixture_averages_densities_and_errors():
    members = [flow([COUNT, NUMBER], [0, 1], seed=seed) for seed in (0, 1)]
    z = random_rows(members[0])
    mixture = FlowMixture(members)
    log_p, std = mixture.log_prob_and_std(z)
    each = [member.log_prob_and_std(z) for member in members]
    np.testing.assert_allclose(log_p.exp(), sum(p.exp() for p, _ in each) / 2)
    upper = sum(p.exp() * s for p, s in each) / 2 / log_p.exp()
    np.testing.assert_allclose(std, upper)
    drawn = mixture.sample_given(z, torch.Generator().manual_seed(0))
    assert drawn.isfinite().all()
    assert (drawn[:, 0] == drawn[:, 0].round()).all()


@pytest.mark.parametrize("base", ["normal", "student"])
@torch.no_grad()
def test_what_is_far_out_is_improbable_and_no_catastrophe(base):
    module = flow([NUMBER, OTHER], [0, 1], base=base)
    z = torch.tensor([[0.0, 0.0], [99_999.0, 0.0], [1e15, 0.0], [1e120, 0.0]], dtype=torch.float64)
    log_p = module.log_prob(z)
    assert (log_p.diff() < 0).all()
    assert log_p[2] > -10_000
    assert log_p[3] == -torch.inf


@pytest.mark.parametrize(("kind", "base", "coupling"), EVERY)
@torch.no_grad()
def test_a_flow_is_its_config_and_its_state(kind, base, coupling):
    variables = [NUMBER, CATEGORY, COUNT, CATEGORY]
    module = flow(variables, [0, 2], kind, base, coupling, network(variables, [1, 3]))
    mixture = FlowMixture([module])
    again = module_of(json.loads(json.dumps(config_of(mixture)))).double()
    again.load_state_dict(mixture.state_dict())
    z = random_rows(module)
    assert torch.equal(again.eval().log_prob(z), mixture.log_prob(z))


@torch.no_grad()
def test_scores_are_of_rows_alone():
    module = flow([NUMBER, COUNT, OTHER], [0, 1, 2])
    z = random_rows(module)
    alone = torch.cat([module.log_prob(row[None]) for row in z])
    np.testing.assert_allclose(module.log_prob(z), alone, atol=1e-9)


AS_IT_WAS = """
import pickle, sys
from torch.distributions import Distribution, Normal
before = dict(vars(Distribution))
{load}
assert "zuko" in sys.modules
assert dict(vars(Distribution)) == before
try:
    Normal(0.0, -1.0)
except ValueError:
    pass
else:
    raise AssertionError("a negative scale is accepted")
import warnings, zuko
warnings.simplefilter("error")
zuko.flows.MAF(2)().sample()  # as it is without this package
"""


def test_torch_stays_as_it_was_without_zuko(tmp_path):
    file = tmp_path / "flow.pickle"
    torch.save(flow([NUMBER], [0]), file)
    loads = [
        "import sklearn_dgm.nn.flows",
        f"import torch; torch.load({str(file)!r}, weights_only=False)",
    ]
    for load in loads:
        subprocess.run([sys.executable, "-c", AS_IT_WAS.format(load=load)], check=True)


def test_an_error_names_the_extra(monkeypatch):
    monkeypatch.setattr(transforms, "zuko", None)
    with pytest.raises(ImportError, match=r'pip install "sklearn-dgm\[flow\]"'):
        Flow([NUMBER], [0], [], "spline", 1, (8,), False, 8, "normal")


def test_drawing_leaves_the_generator_of_torch_alone():
    module = flow([NUMBER, OTHER], [0, 1], base="student")
    state = torch.default_generator.get_state()
    module.sample(5, torch.Generator().manual_seed(0))
    assert torch.equal(torch.default_generator.get_state(), state)
