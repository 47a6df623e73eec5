"""Outlier detection where the training rows hold no outliers: area under the curve beside other detectors.

Tables of ADBench with at least 1,000 rows, split as in the literature: the first half of the normal rows, in the order
of the file, is what detectors are fitted to, standardised by their means and standard deviations; the other normal rows
and all anomalies are the test rows. Nothing is chosen by test rows. Seeds are those of the fits. With `--shuffled` the
normal rows are put into random order before, so that both halves are of one distribution; seeds are those of the order,
too. With `--contaminated` they are, too, and a tenth of the anomalies is among the training rows and not among the test
rows; all are standardised by the rows that train.

DensityOutlierDetector() with nothing set but random_state: a committee of kernel densities.
AutoregressiveDensity  in DensityOutlierDetector, with nothing set but random_state.
KernelDensity          in the same, with the bandwidth of Scott's rule.
GaussianMixture        in the same, with the components and form of covariance that are best for a fifth of the training
                       rows, then fitted to all.
all others             with their defaults, but LocalOutlierFactor for new rows.
"""

from functools import partial
from importlib import import_module
from pathlib import Path

import numpy as np
from sklearn.ensemble import IsolationForest
from sklearn.metrics import roc_auc_score
from sklearn.mixture import GaussianMixture
from sklearn.model_selection import train_test_split
from sklearn.neighbors import KernelDensity, LocalOutlierFactor
from sklearn.preprocessing import StandardScaler
from sklearn.svm import OneClassSVM

from benchmarks._measure import seconds_of
from benchmarks.peers import OURS
from benchmarks.results import Results, version_of
from sklearn_dgm import AutoregressiveDensity, DensityOutlierDetector

MIN_ROWS = 1000
COMMITTEE = "DensityOutlierDetector()"
SHARE_OF_ANOMALIES = 0.1
N_COMPONENTS = (1, 2, 4, 8, 16, 32)
REG_COVAR = 1e-3


def add_arguments(parser):
    parser.add_argument("--data", type=Path, required=True, help="folder of the tables")
    parser.add_argument("--only", nargs="+", help="names of tables, such as cardio")
    parser.add_argument("--peers", nargs="+", default=list(DETECTORS), help="who detects")
    protocol = parser.add_mutually_exclusive_group()
    protocol.add_argument("--shuffled", action="store_true", help="halves in random order")
    protocol.add_argument(
        "--contaminated",
        action="store_true",
        help="the same, and anomalies among the training rows",
    )
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2], help="seeds of the fits")


def run(args):
    suite = "outliers" + "_shuffled" * args.shuffled + "_contaminated" * args.contaminated
    results = Results(suite, args.results)
    share = SHARE_OF_ANOMALIES if args.contaminated else 0.0
    for name, X, y in tables(args.data):
        if args.only is not None and name not in args.only:
            continue
        for seed in args.seeds:
            order = np.arange(len(X))
            if args.shuffled or args.contaminated:
                order = np.random.default_rng(seed).permutation(len(X))
            train, test, is_anomaly = split(X[order], y[order], share)
            for peer in args.peers:
                package, fit = DETECTORS[peer]
                record = {"data": name, "seed": seed, "peer": peer, "version": version_of(package)}
                record |= {"rows": len(X), "columns": X.shape[1]}
                results.attempt(record, partial(measure, fit, train, test, is_anomaly, seed))


def tables(folder):
    """Names, rows and labels (1 for anomalies) of the tables that are large enough."""
    for path in sorted((folder / "adbench").glob("*.npz")):
        table = np.load(path)
        if len(table["X"]) >= MIN_ROWS:
            yield path.stem.partition("_")[2], table["X"].astype(np.float64), table["y"].ravel()


def split(X, y, share=0.0):
    """Training rows, with a share of the anomalies, test rows, and which of these are anomalies."""
    normal, anomalies = X[y == 0], X[y == 1]
    half, n_hidden = len(normal) // 2, round(share * len(anomalies))
    train = np.concatenate([normal[:half], anomalies[:n_hidden]])
    test = np.concatenate([normal[half:], anomalies[n_hidden:]])
    scaler = StandardScaler().fit(train)
    is_anomaly = np.arange(len(test)) >= len(normal) - half
    return scaler.transform(train), scaler.transform(test), is_anomaly


def measure(fit, train, test, is_anomaly, seed):
    """Figures of one fit."""
    score, fit_seconds = seconds_of(lambda: fit(train, seed))
    normality, score_seconds = seconds_of(lambda: np.asarray(score(test)))
    # Impossible rows are the oddest of all; the measure takes no infinity.
    lowest = normality[np.isfinite(normality)].min() - 1.0
    normality = np.where(np.isneginf(normality), lowest, normality)
    return {
        "auroc": round(float(roc_auc_score(is_anomaly, -normality)), 6),
        "fit_seconds": round(fit_seconds, 2),
        "score_seconds": round(score_seconds, 4),
    }


def fit_density(make, train, seed):
    density = make(train, seed)
    return DensityOutlierDetector(density, random_state=seed).fit(train).score_samples


def fit_committee(train, seed):
    return DensityOutlierDetector(random_state=seed).fit(train).score_samples


def ours(train, seed):
    return AutoregressiveDensity(random_state=seed)


def kernel_density(train, seed):
    return KernelDensity(bandwidth="scott")


def mixture(train, seed):
    """Return the mixture that is best for rows kept from the fit, unfitted."""
    kept_from, kept = train_test_split(train, test_size=0.2, random_state=seed)
    candidates = [
        GaussianMixture(k, covariance_type=form, reg_covar=REG_COVAR, random_state=seed)
        for k in N_COMPONENTS
        for form in ("full", "diag")
        if k < len(kept_from)
    ]
    return max(candidates, key=lambda candidate: candidate.fit(kept_from).score(kept))


def fit_other(make, train, seed):
    return make(seed).fit(train).score_samples


def fit_pyod(name, train, seed):
    detector = getattr(import_module(f"pyod.models.{name.lower()}"), name)().fit(train)
    return lambda X: -detector.decision_function(X)


def forest(seed):
    return IsolationForest(random_state=seed)


def local_outlier_factor(seed):
    return LocalOutlierFactor(novelty=True)


def one_class_svm(seed):
    return OneClassSVM()


# Distribution and fit of each; fits return what scores rows, high for normal ones.
DETECTORS = {
    COMMITTEE: ("sklearn-dgm", fit_committee),
    OURS: ("sklearn-dgm", partial(fit_density, ours)),
    "KernelDensity": ("scikit-learn", partial(fit_density, kernel_density)),
    "GaussianMixture": ("scikit-learn", partial(fit_density, mixture)),
    "IsolationForest": ("scikit-learn", partial(fit_other, forest)),
    "LocalOutlierFactor": ("scikit-learn", partial(fit_other, local_outlier_factor)),
    "OneClassSVM": ("scikit-learn", partial(fit_other, one_class_svm)),
    "KNN": ("pyod", partial(fit_pyod, "KNN")),
    "ECOD": ("pyod", partial(fit_pyod, "ECOD")),
    "COPOD": ("pyod", partial(fit_pyod, "COPOD")),
}
