"""Held-out log-likelihood of EnsembleDensity beside its members, on continuous tables.

Tables and splits are those of `likelihood`: columns that look continuous, standardised by the training rows, so that
all members are densities of the same numbers. The ensemble is fitted to training and validation rows together, of which
it holds out a fifth at a time to find its weights; the members are its own, which it fits to all of them.

KernelDensity          the bandwidth, of ten, that is best in three folds
GaussianMixture        the number of components that is best in three folds
AutoregressiveDensity  nothing set, but columns that it would take for mixed are continuous: one measure for all
"""

import warnings
from pathlib import Path

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.mixture import GaussianMixture
from sklearn.model_selection import GridSearchCV, KFold
from sklearn.neighbors import KernelDensity

from benchmarks import likelihood
from benchmarks.peers import N_COMPONENTS, Fitted, Peer, both_parts
from benchmarks.results import Results
from sklearn_dgm import AutoregressiveDensity, ColumnSchema, EnsembleDensity

ENSEMBLE = "EnsembleDensity"
PACKAGES = {
    "KernelDensity": "scikit-learn",
    "GaussianMixture": "scikit-learn",
    "AutoregressiveDensity": "sklearn-dgm",
}
BANDWIDTHS = np.geomspace(0.03, 2, 10)


def add_arguments(parser):
    parser.add_argument("--data", type=Path, required=True, help="folder of the tables")
    parser.add_argument("--only", nargs="+", help="names of tables, such as texture")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0], help="seeds of split and fit")
    parser.add_argument("--max-rows", type=int, help="rows of a table at most")
    parser.add_argument("--n-jobs", type=int, help="fits at the same time")
    # As for `likelihood`, whose splits these are.
    parser.set_defaults(min_distinct=50, max_share=0.1)


def run(args):
    warnings.simplefilter("ignore", ConvergenceWarning)
    results = Results("ensemble", args.results)
    for split in likelihood.continuous_splits(args):
        shared = SharedFit(args.n_jobs)
        for peer in shared.peers():
            likelihood.measure(results, split, peer, ENSEMBLE)


class SharedFit:
    """An ensemble, and the members that it has fitted."""

    def __init__(self, n_jobs=None):
        self.n_jobs = n_jobs
        self.ensemble = None

    def peers(self):
        """Yield the ensemble, which is fitted, and then its members."""
        yield Peer(ENSEMBLE, "sklearn-dgm", self.fit)
        for name, package in PACKAGES.items():
            yield Peer(name, package, lambda *_, name=name: self.member(name))

    def fit(self, train, valid, seed):
        """Fit the ensemble; see :class:`~benchmarks.peers.Peer`."""
        rows = both_parts(train, valid)
        ensemble = EnsembleDensity(members_of(rows, seed), n_jobs=self.n_jobs, random_state=seed)
        self.ensemble = ensemble.fit(rows)
        weights = zip(PACKAGES, self.ensemble.weights_.round(4).tolist(), strict=True)
        return Fitted(self.ensemble.score_samples, figures={"weights": dict(weights)})

    def member(self, name):
        """One of its members."""
        return Fitted(self.ensemble.named_estimators_[name].score_samples)


def members_of(rows, seed):
    """Names and densities, all of them on the Lebesgue measure."""
    folds = KFold(3, shuffle=True, random_state=seed)
    columns = ColumnSchema(detect_ties=True).fit(rows).columns_
    kinds = {c.label: "continuous" for c in columns if c.kind != "rounded"}
    # In the ensemble's own folds there are two thirds of four fifths of the rows.
    n_components = [n for n in N_COMPONENTS if n < len(rows) // 3]
    grid = {"n_components": n_components, "reg_covar": [1e-4, 1e-6]}
    members = (
        # A relative tolerance of 1e-3 moves a score by at most 1e-3 nats and saves half the time.
        GridSearchCV(KernelDensity(rtol=1e-3), {"bandwidth": BANDWIDTHS}, cv=folds),
        GridSearchCV(GaussianMixture(), grid, cv=folds),
        AutoregressiveDensity(column_kinds=kinds),
    )
    return list(zip(PACKAGES, members, strict=True))
