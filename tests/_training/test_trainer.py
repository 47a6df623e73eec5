"""How networks train, stop, fail and continue, on a network of two parameters."""

import copy
import pickle
import signal
import threading
import warnings

import numpy as np
import pytest
import torch
from sklearn.exceptions import ConvergenceWarning
from skorch.callbacks import Callback, Checkpoint, EarlyStopping, LRScheduler

from sklearn_dgm._training.splits import Splits
from tests._training.interrupted import interrupt
from tests._training.toy import ToyDensity


@pytest.fixture(autouse=True)
def _one_thread():
    """Members are trained one after the other, unless a test says otherwise."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(autouse=True)
def _ignore_unfinished_training():
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The validation likelihood was still rising")
        yield


@pytest.fixture
def X():
    return np.random.default_rng(0).normal(3, 2, (300, 3))


def several(**parameters):
    return ToyDensity(**{"n_members": 3, **parameters})


def members_of(density):
    return density.net_.module_.members


def epochs_of(density, member):
    return [record["epoch"] for record in density.history_ if record["member"] == member]


def weights_of(module):
    return torch.cat([weights.detach().flatten() for weights in module.parameters()])


def test_training_finds_the_likeliest_weights(X):
    density = ToyDensity(max_epochs=40, lr=0.1, early_stopping=False).fit(X)
    mean, log_scale = weights_of(density.net_.module_)
    assert mean == pytest.approx(0, abs=0.02)
    assert log_scale == pytest.approx(0, abs=0.02)


def test_history(X):
    density = ToyDensity(max_epochs=7).fit(X)
    assert density.n_iter_ == len(density.history_) == 7
    assert [record["epoch"] for record in density.history_] == list(range(1, 8))
    assert (
        density.history_[0]["valid_log_likelihood"] < density.history_[-1]["valid_log_likelihood"]
    )
    # In the units of the rows: the likelihood of training is about that of the fitted model.
    assert density.history_[-1]["train_log_likelihood"] == pytest.approx(
        density.score(X) / len(X), abs=0.3
    )
    without = ToyDensity(early_stopping=False).fit(X)
    assert "valid_log_likelihood" not in without.history_[0]


def test_early_stopping_keeps_the_best_weights(X):
    density = ToyDensity(max_epochs=300, n_iter_no_change=5, lr=0.02).fit(X)
    assert density.n_iter_ < 300
    last_best = [record["epoch"] for record in density.history_ if record["best"]][-1]
    assert density.n_iter_ == last_best + 5
    # The rows that validate, and their likelihood under the weights that were kept.
    parts = Splits(X, np.ones(300), 0.1, density._split_seed, torch.device("cpu"))
    found = density.score_samples(X[parts.indices(0)[1]]).mean()
    best = max(record["valid_log_likelihood"] for record in density.history_)
    assert found == pytest.approx(best, abs=1e-4)
    assert density.history_[last_best - 1]["valid_log_likelihood"] == pytest.approx(best, abs=1e-3)


def test_the_validation_likelihood_is_a_weighted_mean(X):
    weight = np.random.default_rng(0).lognormal(sigma=3, size=len(X))
    density = ToyDensity(lr=1e-12, max_epochs=1).fit(X, sample_weight=weight)
    parts = Splits(X, weight, 0.1, density._split_seed, torch.device("cpu"))
    for part, rows in zip(("train", "valid"), parts.indices(0), strict=True):
        record = density.history_[-1][f"{part}_log_likelihood"]
        mean = np.average(density.score_samples(X[rows]), weights=weight[rows])
        assert record == pytest.approx(mean, abs=1e-3)


def test_a_line_an_epoch(X, capsys):
    ToyDensity(verbose=1).fit(X)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 5
    assert "epoch    1  train -" in lines[0]
    assert "validation" in lines[0]
    ToyDensity().fit(X)
    assert capsys.readouterr().out == ""


def test_unfinished_training_is_said(X):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(ConvergenceWarning, match="raise max_epochs"):
            ToyDensity(max_epochs=5).fit(X)


class BreakLoss(Callback):
    """Make the loss NaN from some epoch on."""

    def __init__(self, epoch):
        self.epoch = epoch

    def on_epoch_begin(self, net, **kwargs):
        if len(net.history) == self.epoch:
            with torch.no_grad():
                net.module_.mean.fill_(float("nan"))


@pytest.mark.parametrize("early_stopping", [True, False])
def test_divergence_goes_back_to_the_best_weights(X, early_stopping):
    density = ToyDensity(max_epochs=10, early_stopping=early_stopping, callbacks=[BreakLoss(6)])
    with pytest.warns(ConvergenceWarning, match="in epoch 6.*Lower lr"):
        density.fit(X)
    assert density.n_iter_ == 5
    assert np.isfinite(density.score(X))


def test_a_learning_rate_beyond_reason_leaves_a_usable_model(X):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        density = ToyDensity(lr=1e6).fit(X)
    assert np.isfinite(density.score(X))


@pytest.mark.parametrize("wrong", ["quantum", "cuda:99", "meta"])
def test_a_device_that_is_not_available(X, wrong):
    with pytest.raises(ValueError, match=f"device='{wrong}' is not available"):
        ToyDensity(device=wrong).fit(X)


def test_net_params_reach_the_net(X):
    density = ToyDensity(net_params={"optimizer": torch.optim.SGD, "optimizer__momentum": 0.5})
    density.fit(X)
    assert isinstance(density.net_.optimizer_, torch.optim.SGD)


# Ctrl-C, and requests to stop


def test_ctrl_c_reaches_the_caller_and_undoes_the_fit(X):
    density = ToyDensity().fit(X)
    expected = density.score_samples(X)
    interrupt(density.set_params(max_epochs=50), X, at=40)
    np.testing.assert_array_equal(density.score_samples(X), expected)
    fresh = interrupt(ToyDensity(max_epochs=50), X, at=40)
    assert not hasattr(fresh, "net_")


class CtrlC(Callback):
    """Be struck by Ctrl-C while a callback is at work."""

    def on_epoch_end(self, net, **kwargs):
        if len(net.history) == 3:
            signal.raise_signal(signal.SIGINT)


def test_ctrl_c_during_a_callback_is_no_request_to_stop(X):
    density = ToyDensity(callbacks=[CtrlC()])
    with pytest.raises(KeyboardInterrupt):
        density.fit(X)
    assert not hasattr(density, "net_")
    with pytest.raises(KeyboardInterrupt):
        density.set_params(warm_start=True).fit(X)
    assert density.n_iter_ == 3


def test_ctrl_c_keeps_the_best_weights_under_warm_start(X):
    density = interrupt(ToyDensity(max_epochs=50, warm_start=True), X, at=40)
    assert 0 < density.n_iter_ < 50
    before = density.score(X)
    density.set_params(max_epochs=20).fit(X)
    assert density.score(X) > before


def test_a_callback_that_stops_is_not_ctrl_c(X):
    stop = EarlyStopping(patience=1, threshold=10, threshold_mode="abs")
    density = ToyDensity(callbacks=[stop], max_epochs=50).fit(X)
    assert density.n_iter_ < 50
    assert stop.misses_ == 0


class StopsAt(Callback):
    """Ask for the end of training in one of the hooks, as skorch's callbacks do."""

    def __init__(self, hook):
        self.hook = hook

    def notify(self, method_name, net, **kwargs):
        if method_name == self.hook:
            raise KeyboardInterrupt


@pytest.mark.parametrize("hook", ["on_train_begin", "on_batch_end", "on_train_end"])
def test_a_stop_in_any_hook_is_no_error(X, hook):
    density = ToyDensity()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        density.set_params(callbacks=[("stop", StopsAt(hook))]).fit(X)
    assert np.isfinite(density.score(X))


# Callbacks


def test_skorch_callbacks_see_every_epoch(X, tmp_path):
    checkpoint = Checkpoint(dirname=str(tmp_path))
    scheduler = LRScheduler("StepLR", step_size=2)
    density = ToyDensity(callbacks=[checkpoint, EarlyStopping(), scheduler]).fit(X)
    assert (tmp_path / "params.pt").exists()
    assert density.net_.history[:, "event_lr"][-1] < density.lr
    # One row serves for training and validation, so that whatever monitors the latter works.
    assert np.isfinite(density.fit(X[:1]).score(X[:1]))


def test_scikit_learn_callbacks(X):
    callback = pytest.importorskip("sklearn.callback")
    # ScoringMonitor scores only where there is a y.
    monitor = callback.ScoringMonitor(scoring={"mean": lambda e, X, y: e.score(X) / len(X)})
    density = ToyDensity(warm_start=True).set_callbacks(monitor, callback.ProgressBar())
    density.fit(X, np.zeros(len(X)))
    scores = [entry["mean"] for entry in monitor.get_logs().data if "mean" in entry]
    assert len(scores) >= 5
    assert scores[-1] == pytest.approx(density.score(X) / len(X), abs=0.5)
    restored = pickle.loads(pickle.dumps(density.set_callbacks()))
    np.testing.assert_array_equal(restored.score_samples(X), density.score_samples(X))


# Pickles and copies


def test_a_pickle_carries_no_rows(X):
    small = ToyDensity().fit(X)
    large = ToyDensity().fit(np.tile(X, (200, 1)))
    assert len(pickle.dumps(large)) < len(pickle.dumps(small)) + 20_000


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda d: pickle.loads(pickle.dumps(d))])
def test_copies_of_several_members(X, copied):
    density = several(warm_start=True).fit(X)
    other = copied(density)
    np.testing.assert_array_equal(other.score_samples(X), density.score_samples(X))
    np.testing.assert_array_equal(other.sample(9, 0), density.sample(9, 0))
    np.testing.assert_array_equal(other.fit(X).score_samples(X), density.fit(X).score_samples(X))


# Warm start


def test_warm_start_continues(X):
    density = ToyDensity(warm_start=True, max_epochs=3).fit(X)
    first = density.score(X)
    scale = density.schema_.columns_[0].scale
    density.set_params(lr=1e-3).fit(X + 0.1)
    assert density.n_iter_ == 6
    assert density.net_.lr == 1e-3
    assert density.schema_.columns_[0].scale == scale
    assert density.score(X) != first
    with pytest.raises(ValueError, match="expecting 3 features"):
        density.fit(X[:, :2])
    assert density.n_iter_ == 6


def test_warm_start_does_not_lose_what_was_better(X):
    density = ToyDensity(warm_start=True, max_epochs=40).fit(X)
    before = density.score(X)
    density.set_params(lr=0.5, max_epochs=3).fit(X)
    assert density.score(X) > before - 0.01 * len(X)


def test_warm_start_refuses_another_number_of_members(X):
    density = ToyDensity(warm_start=True).fit(X)
    with pytest.raises(ValueError, match="n_members=1.*warm_start=False"):
        density.set_params(n_members=2).fit(X)
    assert density.set_params(warm_start=False).fit(X).n_iter_ == 10


# Several members


def test_members_are_mixed_in_equal_parts(X):
    density = several().fit(X)
    Z, log_det = density.schema_.encode(X)
    with torch.no_grad():
        each = [m.log_prob(torch.from_numpy(Z)).numpy() for m in members_of(density)]
    assert np.ptp(each, axis=0).min() > 0
    expected = np.log(np.mean(np.exp(each), axis=0)) + log_det
    np.testing.assert_allclose(density.score_samples(X), expected)


class SeesRows(Callback):
    """Keep the rows that a member trains on."""

    rows = []

    def on_train_begin(self, net, X=None, **kwargs):
        self.rows.append(X.z[:, 0])


@pytest.mark.parametrize(("n_rows", "n_shared"), [(100, 0), (95, 5)])
def test_no_row_validates_twice_as_far_as_rows_go(n_rows, n_shared):
    SeesRows.rows.clear()
    x = np.arange(float(n_rows))[:, None] ** 1.01
    density = several(n_members=10, max_epochs=1, callbacks=[SeesRows()])
    Z = torch.from_numpy(density.fit(x).schema_.encode(x)[0][:, 0].astype(np.float32))
    assert len(SeesRows.rows) == 10
    times = sum(~torch.isin(Z, rows) for rows in (r for r in SeesRows.rows)).bincount()
    assert [len(Z) - len(rows) for rows in SeesRows.rows] == [10] * 10
    assert times.tolist() == ([0, 100] if n_shared == 0 else [0, 90, 5])


def test_lines_and_records_name_the_member(X, capsys):
    density = several(verbose=1, max_epochs=2).fit(X)
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[:5] for line in lines] == [
        ["member", f"{member},", "1.0", "epoch", str(epoch)]
        for member in range(3)
        for epoch in (1, 2)
    ]
    assert [epochs_of(density, member) for member in range(3)] == [[1, 2]] * 3
    assert density.n_iter_ == 6


def test_warm_start_continues_all_members(X):
    density = several(warm_start=True, max_epochs=2, early_stopping=False).fit(X)
    before = [weights_of(member) for member in members_of(density)]
    density.set_params(max_epochs=3, random_state=1).fit(X)
    for member, weights in enumerate(before):
        assert epochs_of(density, member) == [1, 2, 3, 4, 5]
        change = (weights_of(members_of(density)[member]) - weights).abs().mean()
        assert 0 < change < 0.5 * weights.abs().mean()


def test_ctrl_c_under_warm_start_keeps_the_members_so_far(X):
    # Nine steps an epoch, 45 a member.
    density = interrupt(several(warm_start=True), X, at=60)
    assert len(members_of(density)) == 2
    assert [epochs_of(density, member) for member in range(3)] == [[1, 2, 3, 4, 5], [1], []]
    whole = several().fit(X)
    first, same = (weights_of(members_of(d)[0]) for d in (density, whole))
    # The optimizer that was interrupted has no fused form, which rounds in another way.
    torch.testing.assert_close(first, same, rtol=0, atol=1e-6)
    before = density.score(X)
    density.fit(X)
    assert [len(epochs_of(density, member)) for member in range(3)] == [10, 6, 5]
    assert density.score(X) > before


def test_ctrl_c_in_a_second_fit_loses_no_member(X):
    density = several(warm_start=True, max_epochs=2, early_stopping=False).fit(X)
    before = [weights_of(member) for member in members_of(density)]
    interrupt(density.set_params(max_epochs=5), X, at=65)
    changed = [
        not torch.equal(weights_of(member), weights)
        for member, weights in zip(members_of(density), before, strict=True)
    ]
    assert changed == [True, True, False]
    assert density.n_iter_ == 3 * 2 + 5 + 1


def test_ctrl_c_between_two_members(X, monkeypatch):
    starts, original = [], Splits.__call__

    def parts(self, member):
        starts.append(member)
        if len(starts) == 2:
            raise KeyboardInterrupt
        return original(self, member)

    monkeypatch.setattr(Splits, "__call__", parts)
    density = several(warm_start=True)
    with pytest.raises(KeyboardInterrupt):
        density.fit(X)
    assert len(members_of(density)) == 1
    starts.clear()
    density = several()
    with pytest.raises(KeyboardInterrupt):
        density.fit(X)
    assert not hasattr(density, "net_")


# Threads


@pytest.mark.parametrize("n_threads", [2, 4])
def test_same_seed_same_bits_whatever_the_threads(X, n_threads):
    torch.set_num_threads(n_threads)
    density = several(n_members=4).fit(X)
    assert torch.get_num_threads() == n_threads
    torch.set_num_threads(1)
    again = several(n_members=4).fit(X)
    np.testing.assert_array_equal(density.score_samples(X), again.score_samples(X))
    records = [[{**record, "duration": 0} for record in d.history_] for d in (density, again)]
    assert records[0] == records[1]


def test_ctrl_c_in_threads(X):
    torch.set_num_threads(3)
    settings = {"callbacks": [CtrlC()], "max_epochs": 500, "early_stopping": False}
    density = several(**settings)
    with pytest.raises(KeyboardInterrupt):
        density.fit(X)
    assert not hasattr(density, "net_")
    density = several(**settings, warm_start=True)
    with pytest.raises(KeyboardInterrupt):
        density.fit(X)
    assert 1 <= len(members_of(density)) <= 3
    assert 3 <= density.n_iter_ < 500
    density.set_params(callbacks=None, max_epochs=1).fit(X)
    assert len(members_of(density)) == 3


def test_members_are_trained_side_by_side(X, monkeypatch):
    together, original = threading.Barrier(2), Splits.__call__

    def splits(self, member):
        together.wait(timeout=30)  # or it is broken, if one waits for the end of the other
        return original(self, member)

    monkeypatch.setattr(Splits, "__call__", splits)
    torch.set_num_threads(2)
    assert len(members_of(several(n_members=2, max_epochs=1).fit(X))) == 2


def test_a_failure_in_one_thread_ends_the_others(X, monkeypatch):
    original = Splits.__call__

    def parts(self, member):
        if member == 1:
            raise ArithmeticError("one plus one")
        return original(self, member)

    density = several().fit(X)
    expected = density.score_samples(X)
    monkeypatch.setattr(Splits, "__call__", parts)
    torch.set_num_threads(3)
    density.set_params(max_epochs=10_000, early_stopping=False)
    with pytest.raises(ArithmeticError, match="one plus one"):
        density.fit(X)
    np.testing.assert_array_equal(density.score_samples(X), expected)


# Several settings, of which the first member tries all


def test_the_first_member_chooses_the_setting(X):
    density = several(starts=(3.0, 1.0)).fit(X)
    tried = {3.0: [], 1.0: []}
    for record in density.history_[:10]:
        assert record["member"] == 0
        tried[record["setting"]].append(record["valid_log_likelihood"])
    assert [len(valid) for valid in tried.values()] == [5, 5]
    assert {record["setting"] for record in density.history_[10:]} == {1.0}
    # Training does not come far in so few steps.
    assert all(member.mean < 1.5 for member in members_of(density))


def test_without_validation_there_is_nothing_to_choose_by(X):
    density = ToyDensity(starts=(3.0, 1.0), early_stopping=False).fit(X)
    assert {record["setting"] for record in density.history_} == {3.0}
    assert density.n_iter_ == 5


def test_ctrl_c_while_a_second_setting_is_tried(X):
    finished = ToyDensity(warm_start=True).fit(X)
    density = ToyDensity(warm_start=True, starts=(1.0, 3.0))
    # In the first epoch of the second try.
    interrupt(density, X, at=9 * finished.n_iter_ + 3)
    assert density._setting == 1.0
    np.testing.assert_allclose(density.score_samples(X), finished.score_samples(X), atol=1e-4)
    n_iter = density.n_iter_
    density.set_params(max_epochs=1).fit(X)
    assert density.n_iter_ == n_iter + 1
