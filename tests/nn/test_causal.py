"""The causal network: normalisation, causality, padding, and draws step by step."""

import copy
import itertools

import numpy as np
import pytest
import torch

from sklearn_dgm.nn.causal import CELLS, MAX_LOG_ODDS, CausalNetwork
from sklearn_dgm.nn.inputs import Variable

LETTERS = [Variable(2, False)]
NUMBERS = [Variable(None, False, knots=(-1.0, 0.0, 1.0)), Variable(None, False, 0.5, 2.0)]
MIXED = [Variable(3, False), Variable(None, False), Variable(4, True, 1.5, 1.0)]


def build(variables, cell, ends=True, n_layers=1, mixes=False, sizes=None):
    torch.manual_seed(0)
    sizes = (() if len(variables) == 1 else (12,)) if sizes is None else sizes
    module = CausalNetwork(variables, cell, 16, n_layers, sizes, 0.3, ends, mixes)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    return module.double().eval()


def log_probs(module, sequences):
    """Log-densities of steps and of ends, of sequences of shape (n_steps, d), padded with what should play no part."""
    lengths = torch.tensor([len(z) for z in sequences])
    padded = torch.full((len(sequences), int(lengths.max()), len(module.variables)), 1.0)
    padded = padded.double()
    for row, z in zip(padded, sequences, strict=True):
        row[: len(z)] = torch.as_tensor(np.asarray(z)).reshape(len(z), row.shape[1])
    with torch.no_grad():
        log_p = module.log_prob((padded, lengths))
    n_steps = int(lengths.sum())
    return log_p[:n_steps].split(lengths.tolist()), log_p[n_steps:]


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("n_layers", [1, 2])
def test_all_strings_together_have_probability_one(cell, n_layers):
    module, longest = build(LETTERS, cell, n_layers=n_layers), 5
    strings = [s for n in range(longest + 1) for s in itertools.product([0.0, 1.0], repeat=n)]
    steps, ends = log_probs(module, strings)
    total = sum(
        torch.exp(of_steps.sum() + (end if len(string) < longest else 0.0))
        for string, of_steps, end in zip(strings, steps, ends, strict=True)
    )
    assert total.item() == pytest.approx(1, abs=1e-12)


@pytest.mark.parametrize("cell", CELLS)
def test_no_step_sees_later_ones_and_each_sees_all_before(cell):
    module = build(NUMBERS, cell, n_layers=2)
    n_steps = 5
    z = torch.randn(1, n_steps, 2, dtype=torch.float64)

    def of_terms(z):
        return module.log_prob((z, torch.tensor([n_steps])))

    jacobian = torch.autograd.functional.jacobian(of_terms, z)[:, 0]
    for t in range(n_steps):
        assert (jacobian[t, t + 1 :] == 0).all()
        assert (jacobian[t, :t].abs() > 1e-12).all()
    assert (jacobian[n_steps].abs() > 1e-12).all()


@pytest.mark.parametrize(
    "variables", [LETTERS, NUMBERS, MIXED], ids=["letters", "numbers", "mixed"]
)
@pytest.mark.parametrize("cell", CELLS)
def test_padding_plays_no_part(cell, variables):
    module = build(variables, cell)
    rng = np.random.default_rng(0)
    sequences = [rng.integers(0, 2, (n, len(variables))).astype(float) for n in (3, 0, 7, 1, 3)]
    steps, ends = log_probs(module, sequences)
    for i, sequence in enumerate(sequences):
        (alone,), end = log_probs(module, [sequence])
        np.testing.assert_allclose(alone, steps[i], rtol=1e-12)
        np.testing.assert_allclose(end[0], ends[i], rtol=1e-12)


@pytest.mark.parametrize("cell", CELLS)
def test_steps_one_by_one_have_the_contexts_of_all_at_once(cell):
    module = build(LETTERS, cell, n_layers=2)
    x = torch.randn(3, 6, module.inputs.n_inputs + 1, dtype=torch.float64)
    with torch.no_grad():
        expected, _ = module.cell(x)
        actual, state = module.cell(x[:, :2])
        parts = [actual]
        for t in range(2, 6):
            part, state = module.cell(x[:, t : t + 1], state)
            parts.append(part)
    np.testing.assert_allclose(torch.cat(parts, dim=1), expected, atol=1e-12)


@pytest.mark.parametrize("cell", CELLS)
def test_columns_of_a_step_are_given_the_context(cell):
    module = build(MIXED, cell, ends=False)
    generator = torch.Generator().manual_seed(0)
    n, lengths = 400, torch.tensor([3, 1] * 200)
    steps, drawn_lengths = module.sample(n, generator, lengths)
    assert torch.equal(drawn_lengths, lengths)
    assert steps.shape == (int(lengths.sum()), 3)
    of_steps, of_ends = log_probs(module, [z.numpy() for z in steps.split(lengths.tolist())])
    assert (of_ends == 0).all()
    assert torch.isfinite(torch.cat(of_steps)).all()


def test_every_sequence_ends():
    module = build(LETTERS, "gru")
    with torch.no_grad():
        module.end.bias.fill_(-1e9)
    _, ends = log_probs(module, [[0.0, 1.0]])
    assert ends.item() == pytest.approx(-MAX_LOG_ODDS, abs=1e-3)


def test_values_far_out_are_impossible_and_what_follows_is_finite():
    module = build(NUMBERS, "gru")
    (steps,), ends = log_probs(module, [[[0.0, 0.0], [1e200, 0.0], [0.0, 0.0]]])
    assert torch.isneginf(steps).tolist() == [False, True, False]
    assert torch.isfinite(ends).all()


@pytest.mark.parametrize("mixes", [False, True])
def test_the_loss_is_minus_the_log_probability(mixes):
    module = build(LETTERS, "gru", mixes=mixes)
    padded, lengths = torch.tensor([[[0.0], [1.0]], [[1.0], [0.0]]]).double(), torch.tensor([2, 1])
    others = (torch.full((2, 2), -0.7).double(), torch.full((2,), -0.3).double()) * mixes
    with torch.no_grad():
        log_p = module.log_prob((padded, lengths, *others))
        expected = torch.stack([log_p[:2].sum() + log_p[3], log_p[2] + log_p[4]])
        np.testing.assert_allclose(module((padded, lengths, *others)), -expected)
        if mixes:
            own, gate = module.log_prob_steps(padded, lengths)
            share, other = torch.sigmoid(gate), torch.tensor([-0.7] * 3 + [-0.3] * 2).double()
            by_hand = torch.log(share * own.exp() + (1 - share) * other.exp())
            np.testing.assert_allclose(log_p, by_hand)


def test_copies_hold_their_weights_in_one_piece(monkeypatch):
    module, gathered = build(LETTERS, "gru", n_layers=2), []
    monkeypatch.setattr(torch.nn.GRU, "flatten_parameters", lambda self: gathered.append(self))
    twin = copy.deepcopy(module)
    assert gathered == [layer for layer in twin.modules() if isinstance(layer, torch.nn.GRU)]
    assert len(gathered) == 2
