"""Small networks that train for two epochs, for tests of what is done with a network, whatever it has learnt."""

from skorch.callbacks import Callback

from sklearn_dgm import (
    AutoregressiveDensity,
    BayesianNetworkDensity,
    ContinuousMixtureDensity,
    EnergyDensity,
    FlowDensity,
    PixelCNNDensity,
    TabularGAN,
    VariationalAutoencoderDensity,
)

NETWORKS = (
    AutoregressiveDensity,
    BayesianNetworkDensity,
    ContinuousMixtureDensity,
    EnergyDensity,
    FlowDensity,
    PixelCNNDensity,
    TabularGAN,
    VariationalAutoencoderDensity,
)


class StopsEarly(Callback):
    """Ask for the end of training after two epochs, of which nobody is warned."""

    def on_epoch_end(self, net, **kwargs):
        if len(net.history) == 2:
            raise KeyboardInterrupt


def shorten_training(monkeypatch):
    """Let networks be small and train for two epochs, unless they are given other parameters."""
    defaults = {"callbacks": [StopsEarly()], "hidden_layer_sizes": (16,), "n_orders": 2}
    for density in NETWORKS:
        init = density.__init__
        for name in defaults.keys() & init.__kwdefaults__.keys():
            monkeypatch.setitem(init.__kwdefaults__, name, defaults[name])
    _, *others = AutoregressiveDensity.__init__.__defaults__
    by_position = (defaults["hidden_layer_sizes"], *others)
    monkeypatch.setattr(AutoregressiveDensity.__init__, "__defaults__", by_position)
    monkeypatch.setattr(TabularGAN.__init__, "__defaults__", ((16,),))
    monkeypatch.setattr(
        VariationalAutoencoderDensity.__init__, "__defaults__", ("auto", (16,), None)
    )
