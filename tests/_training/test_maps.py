"""Further rows in a map of a file, which is an array as well, whatever a sample takes."""

import numpy as np
import pytest
from sklearn.base import clone

from sklearn_dgm import (
    AutoregressiveDensity,
    BayesianNetworkDensity,
    ContinuousMixtureDensity,
    EnergyDensity,
    FlowDensity,
    HistogramDensity,
    PixelCNNDensity,
    TabularGAN,
    VariationalAutoencoderDensity,
)
from sklearn_dgm.chunks import _sampling, _sources

SMALL = {"max_epochs": 2, "random_state": 0}
DENSITIES = [
    AutoregressiveDensity((8,), n_orders=1, **SMALL),
    BayesianNetworkDensity(conditional="network", hidden_layer_sizes=(8,), **SMALL),
    ContinuousMixtureDensity(2, hidden_layer_sizes=(8,), n_points=16, n_points_fit=16, **SMALL),
    EnergyDensity(HistogramDensity(4, alpha=0.5), hidden_layer_sizes=(8,), **SMALL),
    FlowDensity(hidden_layer_sizes=(8,), **SMALL),
    PixelCNNDensity(n_channels=2, n_layers=0, **SMALL),
    TabularGAN(hidden_layer_sizes=(8,), batch_size=60, **SMALL),
    VariationalAutoencoderDensity(1, (8,), **SMALL),
]


@pytest.fixture(autouse=True)
def _small(monkeypatch):
    """Let small tables be larger than a sample."""
    for module in (_sampling, _sources):
        monkeypatch.setattr(module, "SAMPLE_ROWS", 200)


def told(density, X):
    drawn = density.sample(200, random_state=0)
    return drawn, density.score_samples(X) if hasattr(density, "score_samples") else 0.0


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("density", DENSITIES, ids=lambda density: type(density).__name__)
def test_a_map_is_learnt_from_as_the_array_is(density, tmp_path):
    rng = np.random.default_rng(0)
    first, further = rng.integers(0, 4, (150, 4)), rng.integers(0, 3, (300, 4))
    file = np.memmap(tmp_path / "rows", further.dtype, "w+", shape=further.shape)
    file[:] = further
    mapped, in_memory = (
        clone(density).partial_fit(first).partial_fit(rows) for rows in (file, further)
    )
    for one, other in zip(told(mapped, first), told(in_memory, first), strict=True):
        np.testing.assert_array_equal(one, other)
