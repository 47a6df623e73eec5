"""log Z, by two enumerations, by quadrature, and annealed."""

import numpy as np
import pytest
from scipy.special import logsumexp
from sklearn.exceptions import ConvergenceWarning

from sklearn_dgm.energy._machine import BinaryUnits, BoltzmannMachine, binary_states
from sklearn_dgm.energy._partition import (
    annealed_partition,
    draw_features,
    enumerable,
    exact_partition,
)
from tests.energy.machines import binary_machine, mixed_table, random_machine, units_of


def test_enumerations_of_hidden_and_of_visible_units_agree():
    machine = binary_machine(12, 10)
    by_hidden, by_visible = (exact_partition(machine, of) for of in ("hidden", "visible"))
    assert by_hidden.log_z == pytest.approx(by_visible.log_z, abs=1e-10)
    v, h = binary_states(np.arange(2**12), 12), binary_states(np.arange(2**10), 10)
    energies = (v @ machine.visible)[:, None] + h @ machine.hidden + v @ machine.weights @ h.T
    assert by_hidden.log_z == pytest.approx(logsumexp(energies), abs=1e-10)


def test_enumerations_agree_with_categories():
    X = mixed_table()[:, :2]
    units, _ = units_of(X)
    machine = random_machine(units, 5)
    assert units.n_outcomes == 6
    assert enumerable(machine.units, machine.n_hidden) == "visible"
    by_hidden, by_visible = (exact_partition(machine, of) for of in ("hidden", "visible"))
    assert by_hidden.log_z == pytest.approx(by_visible.log_z, abs=1e-10)


def test_numbers_and_atoms_are_integrated_over():
    X = mixed_table()[:, [0, 2, 4]]
    units, _ = units_of(X)
    machine = random_machine(units, 3, scale=0.5)
    u = np.linspace(-14, 14, 701)
    width = u[1] - u[0]
    first, second = np.meshgrid(u, u)
    total = []
    for flag in (0.0, 1.0):
        # Features: the flag, a number, the atom, the gate, and the number behind it.
        at_atom = np.zeros((len(u), 5))
        at_atom[:, 0], at_atom[:, 1], at_atom[:, 2] = flag, u, 1.0
        beside = np.zeros((first.size, 5))
        beside[:, 0], beside[:, 3] = flag, 1.0
        beside[:, 1], beside[:, 4] = first.ravel(), second.ravel()
        total.append(logsumexp(machine.log_unnormalised(at_atom)) + np.log(width))
        total.append(logsumexp(machine.log_unnormalised(beside)) + 2 * np.log(width))
    assert exact_partition(machine, "hidden").log_z == pytest.approx(logsumexp(total), abs=1e-8)


def test_annealed_estimates_are_within_three_errors():
    machine, within, errors = binary_machine(12, 10, scale=1.0), 0, []
    truth = exact_partition(machine, "hidden").log_z
    for seed in range(20):
        partition = annealed_partition(machine, np.zeros(12), 100, 400, np.random.default_rng(seed))
        errors.append((partition.log_z - truth) / partition.std_error)
        within += abs(errors[-1]) < 3
    assert within >= 19
    assert abs(np.mean(errors)) < 4 / np.sqrt(20)  # neither low nor high
    assert np.std(errors) < 2


def test_annealing_takes_numbers_from_their_spread_to_that_of_the_machine():
    units, _ = units_of(mixed_table()[:, [0, 2, 4]])
    machine = random_machine(units, 4, scale=0.4)
    machine.precision = np.array([9.0, 4.0])
    machine.weights[1] *= 5
    truth = exact_partition(machine, "hidden").log_z
    partition = annealed_partition(machine, np.zeros(5), 400, 1000, np.random.default_rng(0))
    assert partition.log_z == pytest.approx(truth, abs=4 * partition.std_error)
    lower, upper = partition.bracket
    assert lower == pytest.approx(upper, abs=0.1)


def test_bracket_opens_where_annealing_is_too_fast():
    machine = binary_machine(12, 10, scale=3.0)
    truth = exact_partition(machine, "hidden").log_z
    ends = np.array(
        [
            annealed_partition(machine, np.zeros(12), 20, 8, np.random.default_rng(seed)).bracket
            for seed in range(20)
        ]
    )
    assert ends[:, 0].mean() < truth < ends[:, 1].mean()


def two_modes():
    """A machine whose units are nearly all off, or on; from units that are off few particles find the other mode."""
    n, H = 60, 4
    return BoltzmannMachine(
        BinaryUnits(n), np.ones((n, H)), np.full(n, -2.4), np.full(H, -0.05 * n), np.ones(0)
    )


def test_stated_errors_know_of_the_bracket_and_wide_ones_are_a_warning():
    machine = two_modes()
    truth = exact_partition(machine, "hidden").log_z
    with pytest.warns(ConvergenceWarning, match="raise n_temperatures or n_ais_chains"):
        partition = annealed_partition(
            machine, np.full(60, -2.4), 200, 30, np.random.default_rng(1)
        )
    lower, upper = partition.bracket
    assert upper - lower > 0.5
    assert partition.std_error >= (upper - lower) / 2
    assert abs(partition.log_z - truth) < 3 * partition.std_error
    with pytest.warns(ConvergenceWarning, match="10 annealed particles are worth"):
        annealed_partition(binary_machine(6, 4), np.zeros(6), 10, 200, np.random.default_rng(0))


@pytest.mark.parametrize("of", ["hidden", "visible", "particles"])
def test_draws_have_the_probabilities_of_states(of):
    machine = binary_machine(3, 4, scale=1.5)
    rng = np.random.default_rng(0)
    partition = (
        annealed_partition(machine, np.zeros(3), 2000, 300, rng)
        if of == "particles"
        else exact_partition(machine, of)
    )
    F = draw_features(machine, partition, 20_000, rng)
    shares = np.bincount((F @ [1, 2, 4]).astype(int), minlength=8) / len(F)
    p = np.exp(exact_partition(machine, "visible").log_p)
    np.testing.assert_allclose(shares, p, atol=0.03 if of == "particles" else 0.012)
