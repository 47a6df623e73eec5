"""Which of several settings wins, and when."""

import math
import pickle
import threading
import warnings
from collections import Counter
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from sklearn.base import clone
from skorch.callbacks import Callback

from sklearn_dgm import AutoregressiveDensity, BayesianNetworkDensity
from sklearn_dgm._training.objective import Objective, log_likelihood
from sklearn_dgm._training.race import Race
from sklearn_dgm._training.splits import Splits
from sklearn_dgm._training.stacked import StackNet
from sklearn_dgm._training.trainer import Trainer
from sklearn_dgm.nn.made import MADE
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


def test_who_is_not_first_has_to_lead():
    objective, runs = log_likelihood(), [run_of([1, 1]), run_of([1.5, 1])]
    assert Race(lead=0.4).decide(runs, objective, is_over=True) == (runs[1], 2)
    assert Race(lead=0.6).decide(runs, objective, is_over=True) == (runs[0], 2)


@pytest.mark.parametrize("n_columns", [2, 4])
def test_axes_have_to_lead_by_more_on_few_rows(n_columns):
    """On 35 rows leads of 0.02 nats a column came by chance; where axes served 35 rows, they led by 0.14."""
    X = np.random.default_rng(0).normal(size=(50, n_columns))
    density = AutoregressiveDensity()
    density.schema_ = density.learn_schema(X)

    def lead(n_valid):
        splits = SimpleNamespace(n_train=9 * n_valid, n_valid=n_valid)
        return density._training_parameters(splits)["race"].lead / n_columns

    assert 0.05 < lead(35) < 0.1
    assert lead(400) == pytest.approx(0.02)
    assert lead(1600) == pytest.approx(lead(400) / 2)
    density.schema_ = density.learn_schema(categories())
    assert density._training_parameters(SimpleNamespace(n_train=90, n_valid=10))["race"].lead == 0


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
    ended = run_of([5])
    for further in ([], [9, 9]):  # which comes after the decision
        other = run_of([1, 2, 2, 2, 2, *further])
        assert race.decide([ended, other], objective) == (ended, 5)
        assert race.decide([run_of([]), other], objective)[0] is other


def test_what_is_kept_decides():
    # Of a run that never bettered its start, that is kept, whatever its epochs were.
    runs = [run_of([3]), run_of([2, 1])]
    for record in runs[0].records:
        record["best"] = False
    assert Race().decide(runs, log_likelihood(), is_over=True) == (runs[1], 2)
    runs[1].records[0]["best"] = False
    assert Race().decide(runs[::-1], log_likelihood(), is_over=True) == (runs[1], 2)


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


@pytest.mark.parametrize("broken", [0, 1])
def test_a_loser_that_diverged_is_no_news(monkeypatch, broken):
    original = StackNet.get_loss

    def get_loss(self, y_pred, y_true, *args, **kwargs):
        if len(y_pred) == 2:
            y_pred = y_pred * torch.where(torch.arange(2) == broken, torch.nan, 1.0)[:, None]
        return original(self, y_pred, y_true, *args, **kwargs)

    monkeypatch.setattr(StackNet, "get_loss", get_loss)
    settings = {"hidden_layer_sizes": (16,), "n_orders": 1, "lr": 0.02}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        density = AutoregressiveDensity(**settings, random_state=0).fit(spirals())
    assert density._setting.along_axes == (not broken)


@pytest.fixture
def three_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    yield
    torch.set_num_threads(before)


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("batch_size", [32, 256])  # in one stack, and two at a time
def test_same_whatever_the_threads(batch_size, three_threads):
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


def test_the_others_begin_while_the_winner_goes_on(three_threads, monkeypatch):
    """The winner's next epoch waits for the others, and these wait for a setting."""
    begun, original, decide = threading.Event(), Trainer._train_stack, Trainer._decide

    def train_stack(self, runs):
        if runs != self._rivals:
            begun.set()
        return original(self, runs)

    def wait(self, *args, **kwargs):
        setting = decide(self, *args, **kwargs)
        if setting is not None and not kwargs:
            assert begun.wait(timeout=60)
        return setting

    monkeypatch.setattr(Trainer, "_train_stack", train_stack)
    monkeypatch.setattr(Trainer, "_decide", wait)
    settings = {"hidden_layer_sizes": (16,), "n_orders": 3, "random_state": 0}
    density = AutoregressiveDensity(**settings).fit(spirals())
    assert begun.is_set()
    assert len(density.net_.module_.members) == 3


def interrupted(monkeypatch, n_epochs, **settings):
    """A density whose fit was interrupted after some epochs of its first stack."""
    original = StackNet.train_step

    def train_step(self, batch, **kwargs):
        if len(self.history) > n_epochs:
            raise KeyboardInterrupt
        return original(self, batch, **kwargs)

    monkeypatch.setattr(StackNet, "train_step", train_step)
    density = AutoregressiveDensity((16,), warm_start=True, random_state=0, **settings)
    with pytest.raises(KeyboardInterrupt):
        density.fit(spirals())
    monkeypatch.undo()
    return density


@pytest.mark.parametrize("n_threads", [1, 3])
def test_ctrl_c_in_a_race_keeps_the_first_order_alone(monkeypatch, three_threads, n_threads):
    torch.set_num_threads(n_threads)
    density = interrupted(monkeypatch, 2, n_orders=3)
    assert len(density.net_.module_.members) == 1
    assert {record["member"] for record in density.history_} == {0}
    assert len(density.history_) == 4


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_ctrl_c_after_a_race_keeps_the_setting_that_has_won(monkeypatch):
    density = interrupted(monkeypatch, 40, n_orders=2)
    by_setting = Counter(record["setting"] for record in density.history_)
    assert by_setting[density._setting] == max(by_setting.values()) > min(by_setting.values())
    density.set_params(max_epochs=2).fit(spirals())
    others = [record["setting"] for record in density.history_ if record["member"] == 1]
    assert set(others) == {density._setting}


WAVES = np.random.default_rng(0).uniform(-1, 1, (600, 2))
WAVES[:, 1] = np.sign(np.sin(15 * WAVES[:, 0])) + 0.1 * WAVES[:, 1]
OF_WAVES = {"hidden_layer_sizes": (32,), "max_epochs": 12, "random_state": 0}


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("n_orders", [1, 2])
def test_networks_that_were_trained_along_axes_are_as_any(n_orders):
    density = AutoregressiveDensity(**OF_WAVES, n_orders=n_orders).fit(WAVES)
    assert density._setting.along_axes
    module = density.net_.module_
    assert all(member.axes is None for member in module.members)
    # They have the likelihood that training recorded.
    Z, log_det = density.schema_.encode(WAVES)
    splits = Splits(Z, np.ones(len(Z)), 0.1, density._split_seed, torch.device("cpu"))
    for k, member in enumerate(module.members):
        recorded = max(
            record["valid_log_likelihood"]
            for record in density.history_
            if record["member"] == k and record["setting"] == density._setting
        )
        _, valid = splits.indices(k)
        found = member.log_prob(torch.from_numpy(Z[valid])).mean().item() + log_det[valid].mean()
        assert found == pytest.approx(recorded, abs=1e-3)
    # Draws come from the same density, and it goes through a pickle.
    draws = density.sample(2000, random_state=0)
    scores = [density.score_samples(X).mean() for X in (draws, WAVES)]
    assert scores[0] == pytest.approx(scores[1], abs=0.5)
    again = pickle.loads(pickle.dumps(density))
    np.testing.assert_array_equal(again.score_samples(WAVES), density.score_samples(WAVES))
    assert again.dropout_ == density.dropout_ == 0.2


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_one_by_one_along_axes_is_the_same():
    together = AutoregressiveDensity(**OF_WAVES, n_orders=2).fit(WAVES)
    alone = AutoregressiveDensity(**OF_WAVES, n_orders=2, callbacks=[Nothing()]).fit(WAVES)
    assert together._setting.along_axes
    assert alone._setting.along_axes
    scores = [density.score_samples(WAVES).mean() for density in (together, alone)]
    assert scores[0] == pytest.approx(scores[1], abs=0.05)


def categories(n=200, seed=0):
    a, b = np.random.default_rng(seed).integers(0, 3, (2, n))
    return np.column_stack([a, b, (a + b) % 3]).astype(str).astype(object)


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize(
    "density",
    [
        AutoregressiveDensity((8,), n_orders=1),
        AutoregressiveDensity((8,), order="given"),
        AutoregressiveDensity((8,), order="any"),
        BayesianNetworkDensity(hidden_layer_sizes=(8,), conditional="network", dropout="auto"),
    ],
    ids=str,
)
@pytest.mark.parametrize("seed", [0, 1])
def test_a_single_network_has_the_setting_that_is_said(density, seed):
    density = clone(density).set_params(max_epochs=6, random_state=seed).fit(categories(seed=seed))
    best = {}
    for record in density.history_:
        if record["best"]:
            best.setdefault(record["setting"], []).append(record["valid_log_likelihood"])
    assert density._setting == max(best, key=lambda setting: max(best[setting]))
    modules = [m for m in density.net_.module_.modules() if isinstance(m, MADE)]
    assert modules
    assert all(module.dropout == density.dropout_ for module in modules)


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize(
    ("X", "settings", "n_settings"),
    [
        (spirals(), {}, 2),
        (spirals(), {"effort": "fast"}, 1),
        (spirals(), {"dropout": 0.3}, 2),
        (spirals(), {"hidden_layer_sizes": ()}, 1),
        (spirals(), {"order": "any"}, 1),
        (spirals(), {"early_stopping": False}, 1),
        (spirals(50), {}, 1),  # too few rows would choose
        (spirals()[:, :1], {}, 1),
        (np.where(np.arange(400).reshape(200, 2) % 7, spirals(), np.nan), {}, 1),
        (categories(), {"effort": "fast"}, 1),
        (categories(), {}, 2),
    ],
)
def test_what_is_tried(X, settings, n_settings):
    settings = {"hidden_layer_sizes": (8,), "n_orders": 1, "max_epochs": 1, **settings}
    density = AutoregressiveDensity(**settings, random_state=0).fit(X)
    assert len({record["setting"] for record in density.history_}) == n_settings


def test_nobody_waits_for_a_race_that_failed(three_threads, monkeypatch):
    def fail(self, member):
        raise ArithmeticError("one plus one")

    monkeypatch.setattr(Splits, "__call__", fail)
    with pytest.raises(ArithmeticError, match="one plus one"):
        AutoregressiveDensity((16,), n_orders=3, random_state=0).fit(spirals())
