"""Batches, the average of the weights, and the weighted loss."""

import signal

import pytest
import torch
from skorch.callbacks import Callback, EarlyStopping
from skorch.helper import predefined_split

from sklearn_dgm._training.batches import RowBatches, WeightedRows
from sklearn_dgm._training.callbacks import Monitor
from sklearn_dgm._training.net import Diverged, RowNet, StopTraining, WeightAverage
from sklearn_dgm._training.objective import log_likelihood


def rows(n=10, weight=None):
    return WeightedRows(
        torch.arange(float(n))[:, None], torch.ones(n) if weight is None else weight
    )


class SquaredDistance(torch.nn.Module):
    """The loss of a row is its squared distance to the one parameter."""

    def __init__(self):
        super().__init__()
        self.center = torch.nn.Parameter(torch.zeros(1))

    def forward(self, z):
        return (z[:, 0] - self.center).square()


def make_net(*callbacks, valid=None, **parameters):
    monitor = Monitor(
        [],
        log_likelihood(),
        member=0,
        setting=None,
        train=rows(),
        valid=valid,
        patience=9,
        least_patience=9,
        verbose=0,
    )
    net = RowNet(
        SquaredDistance(),
        criterion=torch.nn.Identity,
        iterator_train=RowBatches,
        iterator_valid=RowBatches,
        train_split=None if valid is None else predefined_split(valid),
        callbacks=[("monitor", monitor), *callbacks],
        callbacks__print_log=None,
        **{"batch_size": 4, "lr": 0.1, "max_epochs": 3, **parameters},
    )
    return net.initialize()


def train(net, train_rows):
    net.notify("on_train_begin", X=train_rows, y=None)
    net.fit_loop(train_rows)
    return net


@pytest.mark.parametrize("batch_size", [1, 3, 10, 99])
@pytest.mark.parametrize("shuffle", [False, True])
def test_a_pass_visits_every_row_once(batch_size, shuffle):
    batches = list(RowBatches(rows(), batch_size, shuffle))
    assert all(len(z) == len(weight) <= batch_size for z, weight in batches)
    seen = torch.cat([z[:, 0] for z, _ in batches])
    assert torch.equal(seen.sort().values, torch.arange(10.0))
    if not shuffle:
        assert torch.equal(seen, torch.arange(10.0))


@pytest.mark.parametrize("shuffle", [False, True])
def test_a_pass_can_be_bounded(shuffle):
    batches = list(RowBatches(rows(), 3, shuffle, max_rows=6))
    assert [len(z) for z, _ in batches] == [3, 3]
    assert len(torch.cat([z for z, _ in batches]).unique()) == 6


def test_passes_are_shuffled_anew_and_weights_stay_with_their_rows():
    weighted = rows(weight=torch.arange(10.0) / 4.5)
    batches = RowBatches(weighted, 4, shuffle=True)
    passes = [torch.cat([torch.stack([z[:, 0], w]) for z, w in batches], dim=1) for _ in range(2)]
    assert not torch.equal(*passes)
    for values, weight in passes:
        torch.testing.assert_close(values / 4.5, weight)


def test_the_average_follows_and_does_not_share_weights():
    module = torch.nn.Linear(2, 1)
    average = WeightAverage(module)
    start = module.weight.detach().clone()
    with torch.no_grad():
        module.weight += 1
    assert torch.equal(average.module.weight, start)
    average.update(module)
    moved = (average.module.weight - start).detach()
    assert ((moved > 0) & (moved < 1)).all()
    for _ in range(2000):
        average.update(module)
    torch.testing.assert_close(average.module.weight, module.weight)


def test_the_average_is_steadier_than_what_it_averages():
    module = torch.nn.Linear(1, 1, bias=False)
    average = WeightAverage(module)
    for step in range(1000):
        torch.nn.init.constant_(module.weight, (-1) ** step)
        average.update(module)
    assert average.module.weight.abs().item() < 0.02


def test_the_loss_is_a_weighted_mean():
    net = make_net()
    losses, weight = torch.tensor([1.0, 5.0]), torch.tensor([1.5, 0.5])
    assert net.get_loss(losses, weight).item() == pytest.approx(2.0)
    with pytest.raises(Diverged):
        net.get_loss(torch.tensor([1.0, float("nan")]), weight)
    with pytest.raises(Diverged):
        net.get_loss(torch.tensor([1.0, float("inf")]), weight)


def test_training_finds_the_weighted_optimum():
    weight = torch.tensor([3.0, 1.0, 0.0])
    weighted = WeightedRows(torch.tensor([[0.0], [4.0], [100.0]]), weight / weight.mean())
    net = train(make_net(max_epochs=200), weighted)
    assert net.module_.center.item() == pytest.approx(1.0, abs=1e-3)


def test_validation_judges_the_average():
    valid = rows(3)
    net = train(make_net(valid=valid, max_epochs=2), rows())
    with torch.no_grad():
        expected = net.average.module(valid.z).mean().item()
        current = net.module_(valid.z).mean().item()
    assert net.history[-1, "valid_loss"] == pytest.approx(expected)
    assert expected != pytest.approx(current)


class Request(Callback):
    """Ask for a stop as skorch's callbacks do."""

    def on_epoch_end(self, net, **kwargs):
        raise KeyboardInterrupt


class CtrlC(Callback):
    """Be struck by Ctrl-C while at work."""

    def on_epoch_end(self, net, **kwargs):
        signal.raise_signal(signal.SIGINT)


def test_a_request_to_stop_is_not_ctrl_c():
    with pytest.raises(StopTraining):
        train(make_net(Request()), rows())
    with pytest.raises(KeyboardInterrupt):
        train(make_net(CtrlC()), rows())


def test_a_callback_that_misses_the_validation_rows_is_told_why():
    with pytest.raises(ValueError, match="early_stopping=False keeps no rows for validation"):
        train(make_net(EarlyStopping()), rows())
