"""What a network sees and says of a table serves any network: one without masks, and one for many steps at once."""

import numpy as np
import pytest
import torch
from torch import nn

from sklearn_dgm.nn.heads import HEADS, CategoricalHead, EmbeddedHead, MixtureHead, head_for
from sklearn_dgm.nn.inputs import Residuals, TableInputs, Variable
from sklearn_dgm.nn.outputs import HeadBank

VARIABLES = [
    Variable(None, False, 1.0, 2.0, knots=(-1.0, 0.0, 0.5)),
    Variable(3, False, unknown_share=0.1),
    Variable(4, True, 1.0, 1.5),
    Variable(None, True, 20.0, 5.0, atoms=(20.0,), grid=(10.0, 3.0, 0.9)),
    Variable(2, False),
    Variable(None, False, atoms=(0.0, 0.5)),
    Variable(300, False),
    Variable(None, False, 1.0, 1.0, (-1.0, 2.0), support=(0.0, 0.1, 5.0, np.inf, 0.01)),
    Variable(280, False),
    Variable(None, False, 1.0, 1.0, support=(-np.inf, -4.0, 2.0, 3.0, 0.01)),
]
# Values of the columns of codes and whole numbers that have all of their probability, but for some last digits.
VALUES = {1: [-1, 3], 2: [-3000, 3000], 3: [-3000, 3000], 4: [0, 2], 6: [0, 300], 8: [0, 280]}


class AutoEncoder(nn.Module):
    """A row goes in, and parameters for every column come out, each of which sees the whole row."""

    def __init__(self, variables, family="logistic"):
        super().__init__()
        self.inputs = TableInputs(variables)
        self.bank = HeadBank(variables, n_components=3, family=family)
        self.encoder = nn.Sequential(nn.Linear(self.inputs.n_inputs, 4), nn.Tanh())
        self.decoder = nn.Linear(4, self.bank.n_params)

    def forward(self, z):
        return self.decoder(self.encoder(self.inputs(z)))


@pytest.fixture(params=["gaussian", "logistic"])
def network(request):
    torch.manual_seed(0)
    return AutoEncoder(VARIABLES, request.param).double().eval()


def rows(n=4):
    rng = np.random.default_rng(0)
    columns = [
        rng.normal(size=n),
        rng.integers(-1, 3, n),
        rng.integers(4, size=n),
        rng.integers(40, size=n),
        rng.integers(2, size=n),
        rng.choice([0.0, 0.5, 1.3], n),
        rng.integers(300, size=n),
        rng.exponential(size=n),
        rng.integers(280, size=n),
        3 - rng.exponential(size=n),
    ]
    return torch.from_numpy(np.column_stack(columns).astype(float))


def probabilities(network, params, j, values):
    """Densities or masses of values of a column, all under the parameters of one row."""
    x = torch.as_tensor(values, dtype=torch.float64)
    own = params[network.bank.place(j)[2]].expand(len(x), -1)
    with torch.no_grad():
        return network.bank.conditional(j, own).log_prob(x).exp()


def test_conditionals_of_any_network_sum_to_one(network):
    with torch.no_grad():
        params = network(rows())
    for row in params:
        for j, (first, last) in VALUES.items():
            mass = probabilities(network, row, j, np.arange(float(first), last)).sum()
            assert mass.item() == pytest.approx(1, abs=1e-6)
        for j in (0, 5, 7, 9):
            u = torch.linspace(-11, 11, 20_001, dtype=torch.float64)
            x = torch.sinh(u) + 1e-9  # no atoms among them
            p = probabilities(network, row, j, x) * torch.cosh(u)
            mass = probabilities(network, row, j, VARIABLES[j].atoms).sum()
            assert (mass + torch.trapezoid(p, u)).item() == pytest.approx(1, abs=2e-3)


def test_a_conditional_is_the_column_of_the_bank(network):
    z = rows()
    with torch.no_grad():
        params = network(z)
        scores = network.bank.log_prob(params, z)
        assert set(network.bank.param_label.tolist()) == set(range(len(VARIABLES)))
        for j in range(len(VARIABLES)):
            _, _, own = network.bank.place(j)
            assert set(network.bank.param_label[own].tolist()) == {j}
            conditional = network.bank.conditional(j, params[:, own])
            torch.testing.assert_close(conditional.log_prob(z[:, j]), scores[:, j])
            # What evenly spaced numbers make is below a point as often as the distribution says.
            one = network.bank.conditional(j, params[:1, own].expand(5000, -1))
            drawn = one.sample((torch.arange(5000, dtype=torch.float64) + 0.5) / 5000)
            points = torch.tensor([0.5, 3.5, 20.5], dtype=torch.float64)
            share = (drawn[:, None] < points).double().mean(dim=0)
            below = conditional.cdf(points.expand(len(z), -1))[0]
            torch.testing.assert_close(share, below, atol=2e-3, rtol=0)


def test_rows_may_have_any_leading_axes(network):
    z = rows(12)
    with torch.no_grad():
        params = network(z)
        scores = network.bank.log_prob(params, z)
        for shape in ((3, 4), (2, 3, 2)):
            shaped = z.reshape(*shape, -1)
            together = network(shaped)
            torch.testing.assert_close(together.reshape(12, -1), params)
            found = network.bank.log_prob(together, shaped)
            torch.testing.assert_close(found.reshape(12, -1), scores)


def test_all_steps_may_share_one_variable():
    """As pixels do: a column is one of an image's, and its heads are asked at all places at once."""
    grey = [Variable(None, True, 128.0, 60.0, support=(0.0, 0.0, 255.0, 255.0, 0.0))]
    inputs, bank = TableInputs(grey), HeadBank(grey, n_components=2).double().eval()
    pixels = torch.arange(256.0, dtype=torch.float64).reshape(1, 16, 16, 1)
    assert inputs(pixels).shape == (1, 16, 16, 1)
    params = torch.randn(bank.n_params, dtype=torch.float64).expand(1, 16, 16, -1)
    assert bank.log_prob(params, pixels).exp().sum().item() == pytest.approx(1)


def test_writing_columns_one_by_one_makes_the_same_inputs(network):
    z = rows()
    inputs = torch.full((len(z), network.inputs.n_inputs), torch.nan).double()
    with torch.no_grad():
        features = network.inputs.features(z)
        for j in range(len(VARIABLES)):
            own = network.inputs.write(j, z[:, j], inputs)
            assert torch.equal(own, features[:, network.inputs.feature_label == j])
        assert torch.equal(inputs, network.inputs(z))


def test_residuals_are_bounded_numbers_until_training_starts():
    inputs = TableInputs(VARIABLES)
    residuals = Residuals(inputs, [0, 7])
    z = rows()
    features = inputs.features(z).float()
    expected = torch.asinh(features[:, [inputs.features_at[0].start, inputs.features_at[7].start]])
    torch.testing.assert_close(residuals(features), 3.0 * expected)


def test_a_column_gets_the_first_head_that_takes_it():
    kinds = [MixtureHead, CategoricalHead, CategoricalHead, MixtureHead]
    kinds += [CategoricalHead, MixtureHead, EmbeddedHead, MixtureHead, EmbeddedHead, MixtureHead]
    for family in ("gaussian", "logistic"):
        assert [head_for(variable, family) for variable in VARIABLES] == kinds
    assert set(kinds) == set(HEADS)
    bank = HeadBank(VARIABLES, targets=[6, 0, 2])
    assert sorted(bank.numbers) == [0]
    assert sorted(j for columns in bank.head_columns for j in columns) == [0, 2, 6]
    assert bank.width == 300
    # Very many categories share a head, bounds at different ends do not.
    columns = HeadBank(VARIABLES).head_columns
    assert [6, 8] in columns
    assert [7] in columns
