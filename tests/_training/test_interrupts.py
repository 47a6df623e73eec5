"""A request to stop and Ctrl-C are both KeyboardInterrupt, and are told apart by where they arise."""

import signal

import pytest
from skorch.callbacks import Callback

from sklearn_dgm._training.interrupts import is_raised_by_callback


class Asks(Callback):
    def on_epoch_end(self, net, **kwargs):
        raise KeyboardInterrupt


class AsksFromAMethodOfIts(Callback):
    def on_epoch_end(self, net, **kwargs):
        self.ask("enough")

    def ask(self, why):
        raise KeyboardInterrupt(why)


class AsksAgain(Callback):
    def on_epoch_end(self, net, **kwargs):
        try:
            raise KeyboardInterrupt
        except KeyboardInterrupt as error:
            raise error


class IsStruck(Callback):
    def on_epoch_end(self, net, **kwargs):
        signal.raise_signal(signal.SIGINT)


class IsStruckInALoop(Callback):
    def on_epoch_end(self, net, **kwargs):
        for i in range(3):
            if i == 1:
                signal.raise_signal(signal.SIGINT)


class NoCallback:
    """Such as an optimizer, in which the user's own Ctrl-C is handed on."""

    def on_epoch_end(self, net, **kwargs):
        raise KeyboardInterrupt


class CallsAnother(Callback):
    def on_epoch_end(self, net, **kwargs):
        NoCallback().on_epoch_end(net)


@pytest.mark.parametrize(
    ("callback", "is_request"),
    [
        (Asks(), True),
        (AsksFromAMethodOfIts(), True),
        (AsksAgain(), True),
        (IsStruck(), False),
        (IsStruckInALoop(), False),
        (NoCallback(), False),
        (CallsAnother(), False),
    ],
    ids=lambda case: type(case).__name__ if isinstance(case, object) else None,
)
def test_requests_of_callbacks_are_told_from_ctrl_c(callback, is_request):
    with pytest.raises(KeyboardInterrupt) as caught:
        callback.on_epoch_end(None)
    assert is_raised_by_callback(caught.value) == is_request
