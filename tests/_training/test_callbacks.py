"""The monitor: what is best, when to stop, what is recorded."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from sklearn_dgm._training.batches import WeightedRows
from sklearn_dgm._training.callbacks import Monitor, copy_of_state
from sklearn_dgm._training.net import Diverged, StopTraining
from sklearn_dgm._training.objective import Objective, log_likelihood
from sklearn_dgm._training.sklearn_callbacks import EpochReport


class Run:
    """A training run of which only the ends of the epochs happen."""

    def __init__(
        self,
        patience=2,
        log_det=0.0,
        verbose=0,
        history=None,
        start=float("inf"),
        z=0.0,
        least_patience=None,
        objective=None,
    ):
        self.history = [] if history is None else history
        rows = WeightedRows(torch.tensor([[z], [0.0]]), torch.ones(2))
        self.monitor = Monitor(
            self.history,
            objective or log_likelihood(np.array([log_det])),
            member=1,
            setting=0.2,
            train=WeightedRows(torch.zeros(2, 1), torch.ones(2)),
            valid=None if patience is None else rows,
            patience=patience,
            least_patience=patience if least_patience is None else least_patience,
            verbose=verbose,
        )
        module = torch.nn.Linear(1, 1)
        self.net = SimpleNamespace(
            module_=module, plain_module=module, history=[], mean_loss=lambda rows: start
        )
        self.monitor.on_train_begin(self.net)

    def epoch(self, valid=None, train=0.0, weight=0.0):
        """End an epoch with some losses, when the averaged weights are all equal to `weight`."""
        for parameter in self.net.average.module.parameters():
            torch.nn.init.constant_(parameter, weight)
        record = {"train_loss": train, "dur": 0.25, "batches": [{"train_loss": train}] * 7}
        self.net.history.append(record if valid is None else {**record, "valid_loss": valid})
        self.monitor.on_epoch_begin(self.net)
        self.monitor.on_epoch_end(self.net)

    @property
    def best_weight(self):
        return self.monitor.best_state["weight"].item()


def test_patience_grows_with_the_epochs_that_brought_progress():
    for n_good, expected in [(1, 2), (8, 2), (12, 3), (100, 6)]:
        run = Run(patience=6, least_patience=2)
        for k in range(n_good):
            run.epoch(valid=-float(k))
        for _ in range(expected - 1):
            run.epoch(valid=1.0)
        with pytest.raises(StopTraining):
            run.epoch(valid=1.0)


def test_a_copy_of_a_state_is_left_alone():
    module = torch.nn.Linear(2, 1)
    state = copy_of_state(module)
    torch.nn.init.constant_(module.weight, 7.0)
    assert (state["weight"] != 7).all()
    assert not state["weight"].requires_grad


def test_the_best_weights_are_those_of_the_best_validation():
    run = Run(patience=9)
    for weight, valid in enumerate([3.0, 1.0, 2.0, 1.5]):
        run.epoch(valid, weight=weight)
    assert run.best_weight == 1
    assert [record["best"] for record in run.history] == [True, True, False, False]


def test_before_the_first_epoch_the_best_weights_are_the_first():
    run = Run()
    assert run.best_weight == run.net.module_.weight.item()


def test_the_start_stays_the_best_if_training_makes_it_worse():
    run = Run(patience=9, start=0.5)
    for valid in (3.0, 1.0):
        run.epoch(valid, weight=7)
    assert run.best_weight == run.net.module_.weight.item()
    assert not any(record["best"] for record in run.history)


def test_it_stops_after_epochs_without_progress():
    run = Run(patience=2)
    for valid in (3.0, 4.0, 2.0, 2.5):
        run.epoch(valid)
    with pytest.raises(StopTraining):
        run.epoch(2.1)
    assert len(run.history) == 5


def test_a_loss_is_the_better_the_lower_it_is():
    run = Run(patience=2, objective=Objective("critic_loss"), start=5.0)
    for valid in (3.0, 4.0, 1.0, 2.0):
        run.epoch(valid, train=7.0)
    assert [record["best"] for record in run.history] == [True, False, True, False]
    assert [record["valid_critic_loss"] for record in run.history] == [3.0, 4.0, 1.0, 2.0]
    assert run.history[0]["train_critic_loss"] == 7.0
    with pytest.raises(StopTraining):
        run.epoch(1.5)


@pytest.mark.parametrize("level", [-500.0, 0.0, 500.0])
def test_progress_is_absolute_whatever_the_level(level):
    run = Run(patience=1)
    run.epoch(level)
    run.epoch(level - 0.01)  # better by more than the tolerance
    assert run.history[-1]["best"]
    with pytest.raises(StopTraining):
        run.epoch(level - 0.01 - Monitor.tolerance / 2)
    assert not run.history[-1]["best"]


def test_without_validation_the_last_weights_are_best_and_nothing_stops():
    run = Run(patience=None)
    for weight, train in enumerate([1.0, 2.0, 3.0, 4.0]):
        run.epoch(train=train, weight=weight)
    assert run.best_weight == 3
    assert all("valid_log_likelihood" not in record for record in run.history)


def test_weights_that_are_not_finite_are_never_kept():
    run = Run(patience=None)
    run.epoch(weight=1.0)
    with pytest.raises(Diverged):
        run.epoch(weight=float("nan"))
    assert run.best_weight == 1
    assert len(run.history) == 1


def test_the_record_is_in_the_units_of_the_rows_and_continues():
    history = [{"member": m, "setting": s, "epoch": 1} for m, s in [(0, 0.2), (1, 0.5), (1, 0.2)]]
    run = Run(log_det=2.0, history=history)
    run.epoch(valid=5.0, train=4.0)
    assert run.history[3] == {
        "member": 1,
        "setting": 0.2,
        "epoch": 2,
        "train_log_likelihood": -2.0,
        "valid_log_likelihood": -3.0,
        "best": True,
        "duration": 0.25,
    }


def test_cells_that_are_missing_have_no_units():
    run = Run(log_det=2.0, z=float("nan"))
    run.epoch(valid=5.0)
    assert run.history[0]["valid_log_likelihood"] == -4.0


def test_the_net_keeps_one_batch_of_an_epoch():
    run = Run()
    run.epoch(1.0)
    assert len(run.net.history[0]["batches"]) == 1


def test_a_line_marks_the_best(capsys):
    run = Run(verbose=1)
    run.epoch(1.0)
    run.epoch(2.0)
    better, worse = capsys.readouterr().out.splitlines()
    assert "member 1, 0.2  epoch    1" in better
    assert "validation -1.0000" in better
    assert "*" in better
    assert "*" not in worse


class Task:
    """Stands in for scikit-learn's context of a fit, and asks for a stop after some epochs."""

    def __init__(self, n_epochs):
        self.left, self.begun = n_epochs, 0

    def subcontext(self, task_name):
        assert task_name == "epoch"
        return self

    def call_on_fit_task_begin(self, **hooks):
        self.begun += 1

    def call_on_fit_task_end(self, **hooks):
        self.left -= 1
        return self.left == 0


def test_callbacks_of_scikit_learn_hear_of_epochs_and_can_stop_them():
    run, task = Run(patience=None), Task(2)
    run.monitor.report_to(EpochReport(task, {"X": None}, None), [])
    run.epoch()
    with pytest.raises(StopTraining):
        run.epoch()
    assert task.begun == len(run.history) == 2


def test_nothing_of_training_is_left_after_release():
    run = Run()
    run.epoch(1.0)
    run.monitor.release()
    assert run.monitor.best_state is None
    assert run.monitor.report is None
