"""The masked network: one pass, fast sampling, and where training starts."""

import numpy as np
import pytest
import torch
from scipy import stats

from sklearn_dgm.nn import outputs
from sklearn_dgm.nn.heads import MixtureHead
from sklearn_dgm.nn.inputs import PIECE_WEIGHT, Variable
from sklearn_dgm.nn.layers import squash
from sklearn_dgm.nn.made import MADE
from sklearn_dgm.nn.masks import complete_adjacency, topological_order

MIXED = [
    Variable(None, False, knots=(-1.0, 0.0, 0.5, 2.0)),
    Variable(3, False),
    Variable(5, True, 2.0, 1.5, knots=(-1.0, 1.0)),
    Variable(None, True, 50.0, 20.0, knots=(-2.0, 0.0, 2.0)),
    Variable(2, False),
    Variable(3, False),
    Variable(None, False, knots=(-1.0, 1.0), atoms=(0.0, 0.5)),
    Variable(300, False),
    Variable(2, False),
    Variable(None, True, 40.0, 30.0, atoms=(0.0,), grid=(10.0, 3.0, 0.9)),
]
SHUFFLED = [3, 1, 7, 5, 8, 0, 9, 4, 6, 2]


def build(variables=MIXED, order=None, hidden_sizes=(32, 24), base="logistic"):
    torch.manual_seed(0)
    order = np.arange(len(variables)) if order is None else order
    module = MADE(variables, complete_adjacency(order), hidden_sizes, "silu", 3, base)
    with torch.no_grad():
        module.bias.normal_(0, 0.5)
        module.skip.weight.normal_(0, 0.1)
        from_parents = module.adjacency[module.inputs.feature_label][:, module.residuals.label].T
        module.residuals.slopes += 0.1 * torch.from_numpy(from_parents)
    return module.double().eval()


def sample_slowly(module, n_samples, generator):
    """Ancestral sampling with one full forward pass for each column."""
    z = torch.zeros(n_samples, len(module.variables), dtype=torch.float64)
    uniforms = torch.rand(z.shape, generator=generator, dtype=torch.float64)
    with torch.no_grad():
        for j in topological_order(module.adjacency):
            params = module.params(z)[:, np.flatnonzero(module.bank.param_label == j)]
            group = next(g for g, columns in enumerate(module.bank.head_columns) if j in columns)
            column = module.bank.head_columns[group].index(j)
            z[:, j] = module.bank.heads[group].sample(params, column, uniforms[:, j])
    return z


@pytest.mark.parametrize("hidden_sizes", [(), (32,), (32, 24)])
@pytest.mark.parametrize("order", [None, SHUFFLED])
def test_fast_sampling_equals_ancestral_sampling(order, hidden_sizes):
    module = build(order=order, hidden_sizes=hidden_sizes)
    fast = module.sample(200, torch.Generator().manual_seed(1))
    slow = sample_slowly(module, 200, torch.Generator().manual_seed(1))
    np.testing.assert_allclose(fast, slow, atol=1e-9)


def test_wide_tables_have_no_linear_paths_of_components(monkeypatch):
    narrow = build()
    monkeypatch.setattr(outputs, "MAX_LINEAR_FEATURES", 4)
    wide = build()
    n_mixtures = len(narrow.residuals.label)
    assert len(narrow.bank.linear_rows) - len(wide.bank.linear_rows) == 3 * 3 * n_mixtures
    fast = wide.sample(200, torch.Generator().manual_seed(1))
    slow = sample_slowly(wide, 200, torch.Generator().manual_seed(1))
    np.testing.assert_allclose(fast, slow, atol=1e-9)


def test_all_columns_see_the_context():
    torch.manual_seed(0)
    module = MADE(MIXED, complete_adjacency(SHUFFLED), (32, 24), "silu", 3, "logistic", n_context=4)
    module = module.double().eval()
    generator = torch.Generator().manual_seed(1)
    z = module.sample(20, generator)
    context = torch.randn(20, 4, dtype=torch.float64, generator=generator)
    with torch.no_grad():
        expected = module.log_prob_features(z, context)
        for j, conditional in module.visit(z, context):
            np.testing.assert_allclose(conditional.log_prob(z[:, j]), expected[:, j], atol=1e-9)
        assert (module.log_prob_features(z, context + 1) != expected).all()


def test_width_counts_the_logits_that_parameters_make():
    assert build([Variable(None, False), Variable(5000, False)]).width == 5000


def test_fast_sampling_equals_ancestral_sampling_far_out():
    module = build()
    for head in module.bank.heads:
        if isinstance(head, MixtureHead):
            head.spread.fill_(1e4)
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
    assert torch.isneginf(scores[0]).nonzero().tolist() == [[1]]
    assert torch.isfinite(scores[1]).all()


def test_pieces_say_how_far_a_number_has_come():
    variables = [Variable(2, False), Variable(None, False, 10.0, 2.0, (-1.0, 0.0, 3.0))]
    module = build(variables)
    z = torch.tensor([[0.0, 7.0], [0.0, 9.0], [0.0, 13.0], [0.0, 99.0]]).double()
    features = module.inputs.features(z)
    inputs = module.hidden_inputs(features, squash(features))
    pieces = inputs[:, len(module.inputs.feature_label) : -1] / PIECE_WEIGHT
    expected = [[0, 0], [0.5, 0], [1, 0.5], [1, 1]]
    torch.testing.assert_close(pieces, torch.tensor(expected).double())


def test_categories_are_signs_indicators_or_embeddings():
    variables = [Variable(2, False), Variable(3, False), Variable(300, False)]
    module = build(variables)
    features = module.inputs.features(torch.tensor([[0, 2, 7], [1, 0, 299], [-1, -1, -1]]).double())
    expected = [[-1, 0, 0, 1], [1, 1, 0, 0], [0, 0, 0, 0]]
    torch.testing.assert_close(features[:, :4], torch.tensor(expected).double())
    embedding = module.inputs.embeddings["2"].weight
    torch.testing.assert_close(features[:2, 4:], embedding[[7, 299]])
    assert not features[2, 4:].any()
    assert embedding.shape[1] < 300


def test_dropout_and_sparsity_act_only_in_training():
    def module(**parameters):
        torch.manual_seed(0)
        network = MADE(
            MIXED, complete_adjacency(SHUFFLED), (32,), "relu", 3, "gaussian", **parameters
        )
        torch.nn.init.normal_(network.skip.weight, 0, 0.1)
        return network.double()

    plain = module().eval()
    z = plain.sample(20, torch.Generator().manual_seed(0))
    for parameters in ({"dropout": 0.5}, {"input_dropout": 0.5}, {"sparsity": 0.1}):
        network = module(**parameters)
        torch.testing.assert_close(network.eval().loss(z), plain.loss(z))
        assert (network.train().loss(z) != plain.loss(z)).any()
    # The sparsity is that of the linear path to categories, and of the connections that it has.
    to = plain.bank.param_label[plain.bank.linear_rows]
    counts = torch.tensor([MIXED[j].has_indicators for j in to])[:, None] & plain.skip.mask.bool()
    penalty = 0.1 * plain.skip.weight[counts].abs().sum()
    torch.testing.assert_close(network.loss(z), plain.loss(z) + penalty)
    # Nothing is dropped on the linear path.
    network = module(dropout=0.5, input_dropout=0.5).train()
    torch.nn.init.zeros_(network.out.weight)
    torch.testing.assert_close(network.params(z), network.params(z), rtol=0, atol=0)


def of_some_columns():
    """A network of categories 0 and 2, given the number 1; column 0 is a parent of column 2."""
    torch.manual_seed(0)
    variables = [Variable(3, False), Variable(None, False), Variable(2, False)]
    adjacency = np.zeros((3, 3), dtype=bool)
    adjacency[1, [0, 2]] = adjacency[0, 2] = True
    module = MADE(variables, adjacency, (8,), "silu", 2, "logistic", targets=[0, 2])
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.normal_(0, 0.7)
    return module.double().eval()


def test_columns_that_are_no_targets_are_given():
    module = of_some_columns()
    every = torch.tensor([[a, 0.3, b] for a in range(3) for b in range(2)], dtype=torch.float64)
    with torch.no_grad():
        expected = module.log_prob(every).exp()
    assert expected.sum().item() == pytest.approx(1)
    z = torch.tensor([[torch.nan, 0.3, torch.nan]], dtype=torch.float64)
    u = torch.from_numpy(np.random.default_rng(0).random((20_000, 3)))
    filled, log_weight = module.fill(z.expand(len(u), 3), u)
    completed, shares = module.complete(z, u)
    for drawn in (filled, completed[0]):
        assert (drawn[:, 1] == 0.3).all()
        counts = np.bincount((2 * drawn[:, 0] + drawn[:, 2]).int().numpy(), minlength=6)
        assert stats.chisquare(counts, len(u) * expected.numpy()).pvalue > 1e-3
    assert log_weight.eq(0).all()
    assert shares.eq(0).all()
    # An observed target counts, a given column does not.
    later = torch.tensor([[1.0, 0.3, torch.nan]], dtype=torch.float64)
    of_first = expected.reshape(3, 2).sum(dim=1)[1].log().item()
    assert module.fill(later, u[:1])[1].item() == pytest.approx(of_first)
    assert module.log_prob(later).item() == pytest.approx(of_first)


def test_columns_that_are_given_cannot_be_missing():
    module, u = of_some_columns(), torch.full((4, 3), 0.5, dtype=torch.float64)
    z = torch.tensor([[0.0, torch.nan, 1.0]], dtype=torch.float64)
    for ask in (
        lambda: module.sample(2, torch.Generator()),
        lambda: module.fill(z, u[:1]),
        lambda: module.complete(z, u),
        lambda: module.log_prob(z),
    ):
        with pytest.raises(ValueError, match="Column 1 is given"):
            ask()
