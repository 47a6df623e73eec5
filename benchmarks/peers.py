"""Peers: each a small adapter with one way to fit, to score, and to tell its version."""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

import numpy as np
import pandas as pd
from sklearn.mixture import GaussianMixture
from sklearn.model_selection import GridSearchCV, KFold
from sklearn.neighbors import KernelDensity

from benchmarks.flows import nflows_nsf, zuko_flow
from benchmarks.mixed_peers import fit_cells, fit_dequantised_mixture
from benchmarks.results import version_of
from benchmarks.trees import ChowLiuTree, Independent, best_pseudo_count
from sklearn_dgm import AutoregressiveDensity, FlowDensity

OURS = "AutoregressiveDensity"
BANDWIDTHS = np.geomspace(0.02, 2, 30)
BANDWIDTH_ROWS = 10_000
N_COMPONENTS = (1, 2, 3, 5, 8, 12, 16, 24, 32, 48)


@dataclass(frozen=True)
class Fitted:
    """A fitted peer.

    Attributes
    ----------
    log_prob : callable
        Takes rows; returns their log-densities, of shape (n_rows,).
    notes : str
        What fitting chose.
    figures : dict
        Further figures of the fit, as they are kept.
    """

    log_prob: Callable
    notes: str = ""
    figures: dict = field(default_factory=dict)


@dataclass(frozen=True)
class Peer:
    """A density to compare with.

    Attributes
    ----------
    name : str
        As it is printed.
    package : str or None
        Distribution whose version counts; None for what is written here.
    fit : callable
        Takes training rows, validation rows and a seed; returns a :class:`Fitted`.
    """

    name: str
    package: str | None
    fit: Callable

    @property
    def version(self):
        """Version of the package; None if it is not installed."""
        return version_of(self.package) if self.package else "here"


def both_parts(train, valid):
    """Training and validation rows in one."""
    join = pd.concat if isinstance(train, pd.DataFrame) else np.concatenate
    return join([train, valid])


def fit_ours(train, valid, seed, kind=None, estimator=AutoregressiveDensity):
    """Nothing set but perhaps one kind for all columns, on all rows: it keeps a validation part of its own."""
    kinds = None if kind is None else dict.fromkeys(range(train.shape[1]), kind)
    density = estimator(column_kinds=kinds, random_state=seed)
    density.fit(both_parts(train, valid))
    mixed = [str(c.label) for c in density.schema_.columns_ if c.kind == "mixed"]
    notes = f"{density.n_iter_} epochs"
    if mixed:  # atoms: on another measure than the peers
        notes += f", with atoms: {', '.join(mixed)}"
    return Fitted(density.score_samples, notes)


def fit_kernel_density(train, valid, seed):
    """Fit a kernel density to all rows, with the bandwidth that is best in five folds."""
    both = np.concatenate([train, valid])
    some = np.random.default_rng(seed).permutation(both)[:BANDWIDTH_ROWS]
    folds = KFold(5, shuffle=True, random_state=seed)
    # A relative tolerance of 1e-3 moves a score by at most 1e-3 nats and saves half the time.
    search = GridSearchCV(
        KernelDensity(rtol=1e-3), {"bandwidth": BANDWIDTHS}, cv=folds, refit=False
    )
    best = search.fit(some).best_params_
    return Fitted(
        KernelDensity(**best).fit(both).score_samples, f"bandwidth {best['bandwidth']:.3g}"
    )


def choose_mixture(train, valid, seed):
    """Return the mixture that is best for the validation rows, as fitted to the training rows."""
    best_score, best = -np.inf, None
    for n_components in N_COMPONENTS:
        if n_components >= len(train):
            break
        for reg_covar in (1e-4, 1e-6):
            mixture = GaussianMixture(n_components, reg_covar=reg_covar, random_state=seed)
            score = mixture.fit(train).score(valid)
            if best is None or score > best_score:
                best_score, best = score, mixture
    return best, f"{best.n_components} components, reg_covar {best.reg_covar:g}"


def fit_mixture(train, valid, seed):
    mixture, notes = choose_mixture(train, valid, seed)
    return Fitted(mixture.score_samples, notes)


def fit_flow(train_flow, train, valid, seed):
    log_prob, n_epochs = train_flow(train, valid, seed)
    return Fitted(log_prob, f"{n_epochs} epochs")


def fit_binary_tree(train, valid, seed):
    """Fit the tree of the training rows, with a pseudo-count chosen on the validation rows."""
    train, valid = train.astype(np.int64), valid.astype(np.int64)
    tree, _, alpha = best_pseudo_count(ChowLiuTree, train, valid, [2] * train.shape[1])
    return Fitted(lambda rows: tree.log_prob(rows.astype(np.int64)), f"pseudo-count {alpha:g}")


def fit_by_cells(model, train, valid, seed):
    return Fitted(*fit_cells(model, train, valid))


def fit_mixed_mixture(train, valid, seed):
    return Fitted(*fit_dequantised_mixture(choose_mixture, train, valid, seed))


OURS_PEER = Peer(OURS, "sklearn-dgm", fit_ours)
MAF = partial(zuko_flow, "MAF", (64, 64))
NSF = partial(zuko_flow, "NSF", (128, 128))
PEERS = {
    "continuous": [
        # Peers see no grid to which values were rounded, either.
        Peer(OURS, "sklearn-dgm", partial(fit_ours, kind="continuous")),
        Peer(
            "FlowDensity",
            "sklearn-dgm",
            partial(fit_ours, kind="continuous", estimator=FlowDensity),
        ),
        Peer("GaussianMixture", "scikit-learn", fit_mixture),
        Peer("KernelDensity", "scikit-learn", fit_kernel_density),
        Peer("zuko MAF", "zuko", partial(fit_flow, MAF)),
        Peer("zuko NSF", "zuko", partial(fit_flow, NSF)),
        Peer("nflows NSF", "nflows", partial(fit_flow, nflows_nsf)),
    ],
    "binary": [OURS_PEER, Peer("Chow-Liu tree", None, fit_binary_tree)],
    "mixed": [
        OURS_PEER,
        Peer("independent columns", None, partial(fit_by_cells, Independent)),
        Peer("Chow-Liu tree on bins", None, partial(fit_by_cells, ChowLiuTree)),
        Peer("mixture of dequantised codes", "scikit-learn", fit_mixed_mixture),
    ],
}
