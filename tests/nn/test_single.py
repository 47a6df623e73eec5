"""Scores in single precision where that is enough: close to those in double precision, and the same in any batch."""

import copy
import pickle

import numpy as np
import pytest
import torch

from sklearn_dgm.nn import outputs, single
from sklearn_dgm.nn.bayes_net import BayesNet
from sklearn_dgm.nn.heads.mixture import MixtureHead
from sklearn_dgm.nn.inputs import Variable
from sklearn_dgm.nn.made import MADE
from sklearn_dgm.nn.masks import complete_adjacency
from sklearn_dgm.nn.mixture import LOWEST_LOG_PROB, REACH, Mixture
from sklearn_dgm.nn.single import BLOCK_SIZE, StaircaseLinear, asinh
from tests.nn.test_stack import members, rows

FAR_OUT = [1e3, -1e5, 1e30, 1e99, 1e101, -1e300]


def mixture_of(**settings):
    return Mixture(module.double().eval() for module in members(**settings))


def with_far_out(z, seed=0):
    """Return rows of which one in ten has a number that is far out, and one in ten an impossible category."""
    z, rng = z.clone(), np.random.default_rng(seed)
    kind = rng.integers(0, 10, len(z))
    for i in np.flatnonzero(kind == 0):
        z[i, rng.choice([0, 3, 4])] = rng.choice(FAR_OUT)
    z[kind == 1, 1] = 7
    return z


@pytest.mark.parametrize(
    ("base", "activation", "max_linear"),
    [("logistic", "relu", 128), ("gaussian", "tanh", 128), ("logistic", "silu", 0)],
)
def test_it_is_as_in_double_precision(base, activation, max_linear, monkeypatch):
    monkeypatch.setattr(outputs, "MAX_LINEAR_FEATURES", max_linear)
    mixture = mixture_of(base=base, activation=activation)
    z = with_far_out(rows(1500).double())
    mixed = mixture.in_mixed_precision()
    assert mixed is not mixture
    with torch.no_grad():
        log_p, shares = mixture.log_prob(z), mixture.log_prob_features(z)
    assert (log_p.isneginf() == mixed.log_prob(z).isneginf()).all()
    possible = log_p.isfinite()
    assert 300 < possible.sum() < 1500
    error = (mixed.log_prob(z) - log_p)[possible].abs()
    assert error.max() > 0
    assert (error < 2e-5 + 1e-13 * log_p[possible].abs()).all()
    torch.testing.assert_close(mixed.log_prob_features(z), shares, rtol=1e-13, atol=2e-5)
    assert (error == 0).float().mean() < 0.4  # some rows are left to double precision


@pytest.mark.parametrize("without", [0, 1])
def test_one_network_may_have_pieces_and_another_none(without):
    networks = []
    for k in range(2):
        torch.manual_seed(k)
        knots = () if k == without else (-1.0, 0.0, 1.0)
        variables = [Variable(None, False, knots=knots), Variable(3, False)]
        module = MADE(variables, complete_adjacency([0, 1]), (16,), "relu", 3, "logistic")
        with torch.no_grad():
            for parameter in module.parameters():
                parameter.add_(0.5 * torch.randn_like(parameter))
        networks.append(module.double().eval())
    mixture, z = Mixture(networks), rows(300).double()[:, :2]
    with torch.no_grad():
        found, expected = mixture.in_mixed_precision().log_prob(z), mixture.log_prob(z)
    torch.testing.assert_close(found, expected, rtol=0, atol=2e-5)


@pytest.mark.parametrize("product_rows", [64, 128, 256])
def test_a_row_has_the_same_bits_in_any_batch(product_rows, request, monkeypatch):
    if request.config.pluginmanager.hasplugin("tests.last_bits"):
        pytest.skip("products on this processor depend on the place of a row")
    monkeypatch.setattr(single, "ROWS_OF_PRODUCT", (64, product_rows))
    mixture, z = mixture_of().in_mixed_precision(), with_far_out(rows(2600).double())
    assert mixture.stack.product_rows == product_rows
    together, shares = mixture.log_prob(z), mixture.log_prob_features(z)
    assert together.isneginf().any()
    rng = np.random.default_rng(1)
    for n in [1, 2, 3, 31, 33, 64, 511, 512, 513, 1025, 2600, *rng.integers(1, 2600, 15)]:
        chosen = torch.from_numpy(rng.permutation(2600)[:n])
        assert torch.equal(mixture.log_prob(z[chosen]), together[chosen])
        assert torch.equal(mixture.log_prob_features(z[chosen]), shares[chosen])


def test_products_have_one_shape_and_few_rows_take_one_of_each(monkeypatch):
    mixture = mixture_of().in_mixed_precision()
    shapes = []

    def recorded(product):
        def record(a, b, *others, **kwargs):
            shapes.append(others[0].shape if others else b.shape)
            return product(a, b, *others, **kwargs)

        return record

    monkeypatch.setattr(torch, "bmm", recorded(torch.bmm))
    monkeypatch.setattr(torch.Tensor, "baddbmm_", recorded(torch.Tensor.baddbmm_))
    n_products = {}
    for n in (1, 100, 256, 257, 2000):
        shapes.clear()
        mixture.log_prob(rows(1).double().expand(n, -1))
        n_products[n] = len(shapes)
        assert {n_columns for *_, n_columns in shapes} == {mixture.stack.product_rows}
    assert mixture.stack.product_rows == 256
    assert n_products[1] == n_products[100] == n_products[256]
    assert n_products[257] == 2 * n_products[1]
    assert n_products[2000] == 8 * n_products[1]


@pytest.mark.parametrize("k", [1, 4])
@pytest.mark.parametrize("width", [30, 340, 2040, 10**6])
def test_wide_networks_take_smaller_products_and_chunks(k, width):
    n_rows = single.NUMBERS_AT_ONCE / (k * width)
    product_rows, chunk_rows = single.rows_at_once(k * width, torch.device("cpu"))
    assert chunk_rows % product_rows == 0
    assert 64 <= product_rows <= 256
    assert 2 <= chunk_rows / product_rows <= 4
    assert chunk_rows <= max(2 * n_rows, 128)
    product_rows, chunk_rows = single.rows_at_once(k * width, torch.device("cuda"))
    assert product_rows == chunk_rows
    assert 64 <= product_rows <= 2**14
    assert k * width * product_rows <= max(2**26, 64 * k * width)


def test_what_is_far_out_or_beyond_the_range_is_left_to_double_precision():
    mixture, z = mixture_of(), rows(200).double()
    for column, value in [(0, 1.2 * REACH), (0, -1e4), (3, 1e6), (4, 95.0), (2, 5.0)]:
        z[:, column] = value
        with torch.no_grad():
            expected = mixture.log_prob(z)
        found = mixture.in_mixed_precision().log_prob(z)
        torch.testing.assert_close(found, expected, rtol=1e-13, atol=0)
        z[:, column] = rows(200).double()[:, column]


def test_what_is_far_out_but_not_unlikely_is_left_to_double_precision():
    mixture, z = mixture_of(), rows(200).double()
    for member in mixture.members:
        head, place, _ = member.bank.place(0)
        head.spread[place] = 100.0
    z[:, 0] = 1.2 * REACH
    with torch.no_grad():
        expected, shares = mixture.log_prob(z), mixture.log_prob_features(z)
    assert shares[:, 0].mean() > LOWEST_LOG_PROB / 2
    found = mixture.in_mixed_precision().log_prob(z)
    torch.testing.assert_close(found, expected, rtol=1e-13, atol=0)


def test_the_end_of_a_range_that_is_wide_beside_components():
    variable = Variable(None, False, 0.0, 1.0, support=(-3.0, -2.9, 2.9, np.inf, 0.01))
    head = MixtureHead.of([variable], 4, "logistic", True).double().eval()
    head.spread.fill_(0.01)
    rng = np.random.default_rng(0)
    z = torch.from_numpy(2.9 - 0.02 * rng.random((300, 1)))
    params = torch.from_numpy(rng.normal(size=(300, 1, head.n_params)))
    shift = torch.full_like(z, 2.89 / 0.01)
    shifted = params.clone()
    shifted[..., 0] += shift
    expected = head.log_prob(shifted, z)
    found = head.log_prob(params.float(), z, shift=shift).double()
    torch.testing.assert_close(found, expected, rtol=0, atol=5e-6)


def test_what_is_unlikely_is_left_to_double_precision():
    mixture = mixture_of(base="gaussian")
    z = rows(500).double()
    z[:, 0] *= 8
    with torch.no_grad():
        shares = torch.stack([member.log_prob_features(z) for member in mixture.members])
        is_low = (shares[..., 0] < LOWEST_LOG_PROB - 0.1).any(dim=0) & (z[:, 0].abs() < 0.9 * REACH)
        expected = mixture.log_prob(z)
    assert is_low.sum() > 20
    found = mixture.in_mixed_precision().log_prob(z)
    torch.testing.assert_close(found[is_low], expected[is_low], rtol=1e-13, atol=0)


@pytest.mark.parametrize("spread", [1e-1, 1e-3, 1e-5])
def test_columns_that_determine_each_other(spread):
    """What others leave of a column is small beside it, and single precision would lose most of its digits."""
    modules = []
    for k, order in enumerate([[0, 1, 2], [2, 1, 0]]):
        torch.manual_seed(k)
        variables = [Variable(None, False, knots=(-1.0, 0.0, 1.0))] * 2 + [Variable(3, False)]
        module = MADE(variables, complete_adjacency(order), (16, 16), "relu", 4, "logistic")
        given, last = (0, 1) if order[0] == 0 else (1, 0)
        with torch.no_grad():
            module.out.weight.mul_(2)
            head, place, at = module.bank.place(last)
            head.spread[place] = spread
            module.bias[at.start] = (3 if last else -3) / spread
            module.skip.start[list(module.bank.linear_rows).index(at.start), given] = 1 / spread
            module.residuals.slopes[last] = 0
            module.residuals.slopes[last, [last, given]] = torch.tensor([1.0, -1.0]) / spread
        modules.append(module.double().eval())
    rng = np.random.default_rng(0)
    x = rng.normal(size=2000)
    noise = spread * rng.normal(size=2000)
    z = torch.from_numpy(np.stack([x, x + 3 + noise, rng.integers(0, 3, 2000)], axis=1))
    mixture = Mixture(modules)
    with torch.no_grad():
        expected = mixture.log_prob(z)
        is_likely = expected > expected.median()
    error = (mixture.in_mixed_precision().log_prob(z) - expected).abs()
    assert error.max() < 2e-5
    assert (error[is_likely] > 1e-12).float().mean() > 0.9


def test_large_whole_numbers_keep_their_digits():
    variables = [Variable(None, True, 3e9, 50.0, knots=(-1.0, 0.0, 1.0)), Variable(2, False)]
    torch.manual_seed(0)
    module = MADE(variables, complete_adjacency([0, 1]), (8,), "relu", 4, "logistic").double()
    mixture = Mixture([module.eval()])
    z = torch.stack([3e9 + torch.arange(-100.0, 100.0).double(), torch.ones(200).double()], dim=1)
    with torch.no_grad():
        expected = mixture.log_prob(z)
    assert (mixture.in_mixed_precision().log_prob(z) - expected).abs().max() < 2e-5
    assert mixture.in_mixed_precision().log_prob(z + 0.5).isneginf().all()


def test_members_of_a_network_may_compute_some_of_the_columns():
    torch.manual_seed(0)
    variables = [Variable(None, False), Variable(3, False), Variable(None, False)]
    graph = np.array([[0, 1, 1], [0, 0, 1], [0, 0, 0]], dtype=bool)
    network = MADE(variables, graph, (8,), "relu", 3, "logistic", targets=[0, 2])

    class Uniform:
        log_p = np.zeros((1, 3))

        def log_prob(self, Z):
            return np.where(np.isin(Z[:, 1], [0, 1, 2]), -np.log(3), -np.inf)

    mixture = Mixture([BayesNet(variables, graph, network, {1: Uniform()})]).double().eval()
    z = torch.from_numpy(np.random.default_rng(0).integers(-2, 3, (300, 3)).astype(float))
    with torch.no_grad():
        expected = mixture.log_prob_features(z)
    found = mixture.in_mixed_precision()
    assert found is not mixture
    torch.testing.assert_close(found.log_prob_features(z), expected, rtol=0, atol=1e-5)
    torch.testing.assert_close(found.log_prob(z), expected.sum(dim=1), rtol=0, atol=1e-5)


def test_members_without_a_stack_score_in_double_precision():
    variables = [Variable(None, False), Variable(None, False)]
    settings = "relu", 3, "logistic"
    graph = complete_adjacency([0, 1])
    shapes = [[(8,), (9,)], [(), ()]]
    for sizes in shapes:
        mixture = Mixture(MADE(variables, graph, size, *settings) for size in sizes)
        assert mixture.in_mixed_precision() is mixture


def test_it_is_no_part_of_the_state():
    mixture = mixture_of()
    before = len(pickle.dumps(mixture))
    mixed = mixture.in_mixed_precision()
    assert mixture.in_mixed_precision() is mixed
    assert len(pickle.dumps(mixture)) == before
    assert copy.deepcopy(mixture).in_mixed_precision() is not mixed


def _changed_in_place(mixture):
    with torch.no_grad():
        mixture.members[2].out.weight[-1, -1] += 1


def _loaded(mixture):
    mixture.load_state_dict(mixture_of(base="gaussian").state_dict())


def _cast_and_back(mixture):
    mixture.float().double()  # into memory that has just become free


def _buffer_changed_in_place(mixture):
    mixture.members[1].inputs.location += 0.1


def _buffer_replaced(mixture):
    mixture.members[0].residuals.slopes = 2 * mixture.members[0].residuals.slopes


def _data_replaced(mixture):
    mixture.members[0].bias.data = 1 - mixture.members[0].bias.data


@pytest.mark.parametrize(
    "change",
    [
        _changed_in_place,
        _loaded,
        _cast_and_back,
        _buffer_changed_in_place,
        _buffer_replaced,
        _data_replaced,
    ],
)
def test_it_is_made_anew_when_anything_changes(change):
    mixture, z = mixture_of(), rows(100).double()
    mixed = mixture.in_mixed_precision()
    change(mixture)
    assert mixture.in_mixed_precision() is not mixed
    with torch.no_grad():
        expected = mixture.log_prob(z)
    found = mixture.in_mixed_precision().log_prob(z)
    torch.testing.assert_close(found, expected, rtol=1e-13, atol=2e-5)


def test_it_scores_in_inference_mode():
    z = rows(100).double()
    with torch.inference_mode():
        mixture = mixture_of()
        expected = mixture.log_prob(z)
        found = mixture.in_mixed_precision().log_prob(z)
        mixture.members[0].bias += 1
        changed = mixture.in_mixed_precision().log_prob(z)
    torch.testing.assert_close(found, expected, rtol=1e-13, atol=2e-5)
    assert (changed - found).abs().max() > 0.01


def test_a_staircase_is_the_product():
    rng = np.random.default_rng(0)
    n_out, n_in = 3 * BLOCK_SIZE // 2, 40
    weights = []
    for _ in range(3):
        n_used = rng.integers(0, n_in + 1, n_out)
        weight = rng.normal(size=(n_out, n_in)) * (np.arange(n_in) < n_used[:, None])
        weights.append(torch.from_numpy(weight))
    biases = [torch.from_numpy(rng.normal(size=n_out)) for _ in range(3)]
    x = torch.from_numpy(rng.normal(size=(3, n_in, 10))).float()
    weights, biases = torch.stack(weights).float(), torch.stack(biases).float()
    layer = StaircaseLinear(weights, biases)
    expected = weights @ x + biases[..., None]
    torch.testing.assert_close(layer(x, 5), expected, rtol=0, atol=1e-5)
    n_multiplied = sum(weight.numel() for _, weight in layer.blocks)
    assert n_multiplied < 0.9 * 3 * n_out * n_in


def test_asinh_is_exact_for_a_single_number():
    x = torch.tensor([0.0, 1e-8, -1e-3, 0.5, -3.0, 30.0, 1e6])
    torch.testing.assert_close(asinh(x), torch.asinh(x.double()).float(), rtol=2e-7, atol=2e-7)
