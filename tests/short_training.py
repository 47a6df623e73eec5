"""Training of two epochs, for tests of what is done with a network, whatever it has learnt."""

from skorch.callbacks import Callback

from sklearn_dgm import AutoregressiveDensity, BayesianNetworkDensity, FlowDensity


class StopsEarly(Callback):
    """Ask for the end of training after two epochs, of which nobody is warned."""

    def on_epoch_end(self, net, **kwargs):
        if len(net.history) == 2:
            raise KeyboardInterrupt


def shorten_training(monkeypatch):
    """Let networks train for two epochs, unless they are given callbacks; all else is as a script has it."""
    for density in (AutoregressiveDensity, BayesianNetworkDensity, FlowDensity):
        monkeypatch.setitem(density.__init__.__kwdefaults__, "callbacks", [StopsEarly()])
