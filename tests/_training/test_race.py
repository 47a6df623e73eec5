"""Which of several settings wins, and when."""

import math
from collections import Counter
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from skorch.callbacks import Callback

from sklearn_dgm import AutoregressiveDensity
from sklearn_dgm._training.objective import Objective, log_likelihood
from sklearn_dgm._training.race import Race
from sklearn_dgm._training.splits import Splits
from sklearn_dgm.nn.stack import MADEStack


def run_of(scores, name="log_likelihood"):
    """A run with some validation scores."""
    best, records = -math.inf, []
    for score in scores:
        value = score if name == "log_likelihood" else -score
        records.append({f"valid_{name}": value, "best": score > best})
        best = max(best, score)
    return SimpleNamespace(records=records)


@pytest.mark.parametrize("objective", [log_likelihood(), Objective("loss")])
def test_the_best_wins_once_each_has_stalled(objective):
    race = Race(patience=2, max_epochs=10)
    quick, slow = [3, 5, 4, 4, 4, 4, 4, 9], [1, 2, 3, 4, 3, 3, 9, 9]
    for n in range(1, 6):
        runs = [run_of(scores[:n], objective.name) for scores in (quick, slow)]
        assert race.decide(runs, objective) is None
    runs = [run_of(scores, objective.name) for scores in (quick, slow)]
    # What comes later does not count, so that it may as well not have come.
    assert race.decide(runs, objective) == (runs[0], 6)
    assert race.decide(runs[::-1], objective) == (runs[0], 6)


def test_no_race_takes_forever():
    race, objective = Race(patience=2, max_epochs=3), log_likelihood()
    runs = [run_of([1, 2, 3, 9]), run_of([2, 3, 4, 5])]
    assert race.decide(runs, objective) == (runs[1], 3)


def test_without_limits_the_end_decides():
    runs, objective = [run_of([1, 2, 2, 5]), run_of([2, 3, 4])], log_likelihood()
    assert Race().decide(runs, objective) is None
    assert Race().decide(runs, objective, is_over=True) == (runs[0], 4)


def test_a_run_that_has_ended_keeps_nobody_waiting():
    race, objective = Race(patience=3), log_likelihood()
    runs = [run_of([5]), run_of([1, 2, 2, 2, 2])]
    assert race.decide(runs, objective) == (runs[0], 5)
    assert race.decide([run_of([]), runs[1]], objective)[0] is runs[1]


class Nothing(Callback):
    """With a callback, networks train one by one."""


def spirals(n=200, seed=0):
    rng = np.random.default_rng(seed)
    t = rng.uniform(0, 3, n)
    noise = 0.05 * rng.normal(size=(n, 2))
    return np.column_stack([np.cos(6 * t), np.sin(6 * t)]) * t[:, None] + noise


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_the_loser_goes_and_the_winner_goes_on(monkeypatch):
    kept, original = [], MADEStack.keep

    def keep(self, indices):
        kept.append((len(self.members), len(indices)))
        original(self, indices)

    monkeypatch.setattr(MADEStack, "keep", keep)
    settings = {"hidden_layer_sizes": (16,), "n_orders": 2, "lr": 0.02, "max_epochs": 40}
    density = AutoregressiveDensity(**settings, random_state=0).fit(spirals())
    first, second = (
        [record for record in density.history_ if record["member"] == k] for k in (0, 1)
    )
    n_epochs = Counter(record["setting"] for record in first)
    winner = density._setting
    (loser,) = n_epochs.keys() - {winner}
    assert n_epochs[loser] < n_epochs[winner]
    assert (2, 1) in kept
    assert {record["setting"] for record in second} == {winner}
    # One by one it comes to the same.
    alone = AutoregressiveDensity(**settings, random_state=0, callbacks=[Nothing()])
    alone.fit(spirals())
    assert alone._setting == winner
    assert Counter(r["setting"] for r in alone.history_ if r["member"] == 0) == n_epochs


@pytest.fixture
def three_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    yield
    torch.set_num_threads(before)


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("batch_size", [32, 129])  # in one stack, and two at a time
def test_the_others_do_not_wait_for_the_winner_and_come_to_the_same(batch_size, three_threads):
    settings = {"hidden_layer_sizes": (16,), "n_orders": 4, "max_epochs": 10, "random_state": 0}
    density = AutoregressiveDensity(**settings, batch_size=batch_size).fit(spirals())
    torch.set_num_threads(1)
    alone = AutoregressiveDensity(**settings, batch_size=batch_size).fit(spirals())
    np.testing.assert_array_equal(
        density.score_samples(spirals(50)), alone.score_samples(spirals(50))
    )
    for records in zip(density.history_, alone.history_, strict=True):
        first, second = ({**record, "duration": None} for record in records)
        assert first == second


def test_nobody_waits_for_a_race_that_failed(three_threads, monkeypatch):
    def fail(self, member):
        raise ArithmeticError("one plus one")

    monkeypatch.setattr(Splits, "__call__", fail)
    with pytest.raises(ArithmeticError, match="one plus one"):
        AutoregressiveDensity((16,), n_orders=3, random_state=0).fit(spirals())
