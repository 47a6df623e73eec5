"""Densities and rows that the tests of this folder share."""

import numpy as np
import pandas as pd
from scipy import stats
from sklearn.datasets import load_iris

from sklearn_dgm import (
    AutoregressiveDensity,
    BaseDensity,
    BayesianNetworkDensity,
)

TABLES = BayesianNetworkDensity("empty", conditional="table")


class Normals(BaseDensity):
    """Independent normal distributions by exact maximum likelihood."""

    def _fit(self, Z, sample_weight):
        self.mean_ = np.average(Z, axis=0, weights=sample_weight)
        self.std_ = np.sqrt(np.average((Z - self.mean_) ** 2, axis=0, weights=sample_weight))

    def _log_density(self, Z):
        return stats.norm.logpdf(Z, self.mean_, self.std_).sum(axis=1)

    def _draw(self, n_samples, rng):
        return rng.normal(self.mean_, self.std_, (n_samples, len(self.mean_)))


def network(**parameters):
    defaults = {"hidden_layer_sizes": (16,), "max_epochs": 8, "order": "given", "dropout": 0.2}
    return AutoregressiveDensity(**{**defaults, "random_state": 0, **parameters})


def iris():
    return load_iris(return_X_y=True)


def two_clusters(n=200, n_labelled=6, seed=0):
    rng = np.random.default_rng(seed)
    truth = np.append([0, 1] * (n_labelled // 2), rng.integers(0, 2, n - n_labelled))
    X = rng.normal(size=(n, 3)) * [1.0, 2.0, 0.5] + 2.0 * truth[:, None]
    return X, truth, np.where(np.arange(n) < n_labelled, truth, -1)


def mixed(n=120, seed=0):
    rng = np.random.default_rng(seed)
    y = rng.choice(["high", "low"], n)
    frame = pd.DataFrame(
        {
            "size": rng.normal(size=n) + 2 * (y == "high"),
            "count": rng.poisson(3 + 3 * (y == "high")),
            "city": pd.Categorical(rng.choice(["Oslo", "Rome"], n), categories=["Rome", "Oslo"]),
            "flag": rng.random(n) < 0.3,
        }
    )
    return frame, y
