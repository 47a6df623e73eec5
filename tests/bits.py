"""Fingerprints of seeded fits, to see whether a change of the code changes a bit of what comes out.

``python -m tests.bits`` prints a line for each of some twenty fits over the catalogue: digests of scores and answers,
of what is drawn, and of the trained weights. Compare the lines of two commits on one machine; other processors, and
other versions of what this package builds on, have other last bits. It is no test, and pytest does not collect it.
"""

import hashlib
import sys
import warnings

import numpy as np
import pandas as pd
from sklearn.datasets import load_breast_cancer, load_iris, load_wine
from sklearn.neighbors import KernelDensity
from sklearn.preprocessing import PowerTransformer, StandardScaler

import sklearn_dgm as dgm

QUICK = {"hidden_layer_sizes": (32,), "max_epochs": 8, "random_state": 0}


def mixed(n_samples=300, *, missing=False, seed=0):
    """A table with every kind of column."""
    rng = np.random.default_rng(seed)
    size = rng.normal(size=n_samples)
    table = pd.DataFrame(
        {
            "size": size,
            "price": np.round(size + rng.normal(size=n_samples), 1),
            "rain": np.where(rng.random(n_samples) < 0.4, 0.0, rng.exponential(size=n_samples)),
            "count": rng.poisson(np.exp(size / 2)),
            "income": 1000 * rng.integers(1, 500, n_samples) + (rng.random(n_samples) < 0.1),
            "binary": size > 0,
            "city": pd.Categorical(rng.choice(["a", "b", "c"], n_samples)),
            "when": pd.Timestamp("2020-01-01")
            + pd.to_timedelta(rng.integers(0, 900, n_samples), "D"),
        }
    )
    if missing:
        for name in ("size", "rain", "city"):
            table.loc[rng.random(n_samples) < 0.15, name] = None
    return table


def digest(*values):
    """Hash arrays, tables and bytes, whatever their containers."""
    sha = hashlib.sha256()
    for value in values:
        if isinstance(value, bytes):
            sha.update(value)
            continue
        columns = [value[name] for name in value] if hasattr(value, "columns") else [value]
        for column in columns:
            array = np.asarray(column)
            sha.update(repr(array.tolist()).encode() if array.dtype == object else array.tobytes())
    return sha.hexdigest()[:16]


def weights_of(fitted):
    """Hash trained parameters, in no order, so that they may be kept elsewhere and by other names."""
    if not hasattr(fitted, "net_"):
        return "-"
    parts = sorted(p.detach().cpu().numpy().tobytes() for p in fitted.net_.module_.parameters())
    return digest(*parts)


def density(estimator, X, Y=None, **fit_params):
    """Fingerprint of a density: its scores, draws and weights."""
    fitted = estimator.fit(X, **fit_params)
    Y = X if Y is None else Y
    return (
        digest(fitted.score_samples(Y)),
        digest(fitted.sample(50, random_state=1)),
        weights_of(fitted),
    )


def queries(estimator, X):
    """Fingerprint of answers about some columns given others."""
    fitted = estimator.fit(X)
    gaps = X[:20].copy()
    gaps["size"], gaps["city"] = np.nan, None
    answers = [
        fitted.conditional_sample(gaps, random_state=2),
        fitted.conditional_mean(gaps),
        *[fitted.predict_column(X[:20], name).probabilities for name in ("count", "size", "city")],
        fitted.marginal(["size", "binary"]).score_samples(X[["size", "binary"]][:20]),
    ]
    return digest(*answers), digest(fitted.score_samples(gaps)), weights_of(fitted)


def classifier(estimator, X, y):
    """Fingerprint of a classifier that is a density, too."""
    fitted = estimator.fit(X, y)
    drawn = fitted.sample(30, random_state=1)
    drawn = drawn if isinstance(drawn, tuple) else (drawn,)
    return digest(fitted.predict_proba(X)), digest(*drawn), digest(fitted.score_samples(X))


def fits():
    """Names and functions that fit and answer with a fingerprint."""
    iris, wine, cancer = load_iris(), load_wine(), load_breast_cancer()
    some_y = np.where(np.arange(len(iris.target)) % 3 == 0, -1, iris.target)
    many = mixed(400)
    many["id"] = np.random.default_rng(3).integers(0, 300, len(many)).astype(str)
    weight = np.random.default_rng(4).integers(0, 3, 300)
    auto = dgm.AutoregressiveDensity
    tables = dgm.BayesianNetworkDensity("chow-liu", conditional="table")
    outliers = dgm.DensityOutlierDetector(random_state=0)
    return {
        "histogram": lambda: density(dgm.HistogramDensity("blocks", alpha=0.1), iris.data),
        "histogram, mixed": lambda: density(dgm.HistogramDensity(4, alpha=0.5), mixed()),
        "autoregressive": lambda: density(
            auto(max_epochs=15, n_orders=2, random_state=0), wine.data
        ),
        "autoregressive, cancer": lambda: density(auto(**QUICK, n_orders=2), cancer.data[:, :12]),
        "autoregressive, mixed": lambda: density(auto(**QUICK, n_orders=2), mixed()),
        "autoregressive, weights": lambda: density(
            auto(**QUICK, n_orders=1), mixed(), sample_weight=weight
        ),
        "autoregressive, missing": lambda: density(auto(**QUICK, n_orders=2), mixed(missing=True)),
        "autoregressive, any order": lambda: density(
            auto(**QUICK, order="any", n_orders=2), mixed(missing=True)
        ),
        "autoregressive, gaussian": lambda: density(
            auto(**QUICK, n_orders=1, conditional="gaussian-mixture", early_stopping=False), mixed()
        ),
        "autoregressive, embedded, rare, observed": lambda: density(
            auto(**QUICK, n_orders=1, handle_unknown="rare", bounds="observed"), many
        ),
        "autoregressive, warm start": lambda: density(
            auto(**QUICK, n_orders=2, warm_start=True).fit(iris.data), iris.data
        ),
        "autoregressive, queries": lambda: queries(auto(**QUICK, n_orders=2), mixed()),
        "bayesian network": lambda: density(dgm.BayesianNetworkDensity(**QUICK), mixed()),
        "bayesian network, networks": lambda: density(
            dgm.BayesianNetworkDensity("chow-liu", conditional="network", **QUICK), iris.data
        ),
        "bayesian network, tables": lambda: density(tables, mixed(missing=True)),
        "bayesian network, queries": lambda: queries(tables, mixed()),
        "naive bayes": lambda: classifier(dgm.NaiveBayesClassifier(), wine.data, wine.target),
        "tree-augmented": lambda: classifier(
            dgm.TreeAugmentedNaiveBayesClassifier(), wine.data, wine.target
        ),
        "one-dependence": lambda: classifier(
            dgm.AveragedOneDependenceClassifier(), wine.data, wine.target
        ),
        "generative": lambda: classifier(
            dgm.GenerativeClassifier(auto(**QUICK, n_orders=1)), iris.data, some_y
        ),
        "generative, kernels": lambda: classifier(
            dgm.GenerativeClassifier(KernelDensity(bandwidth=0.3)), iris.data, iris.target
        ),
        "transformed": lambda: density(
            dgm.TransformedDensity(PowerTransformer(), auto(**QUICK, n_orders=1)), iris.data + 1
        ),
        "ensemble": lambda: density(
            dgm.EnsembleDensity(
                [
                    ("network", auto(**QUICK, n_orders=1)),
                    ("histogram", dgm.HistogramDensity(3, alpha=0.5)),
                ],
                random_state=0,
            ),
            iris.data,
        ),
        "outliers": lambda: (
            digest(outliers.fit(wine.data).score_samples(wine.data)),
            digest(outliers.predict(wine.data)),
            digest(np.array([outliers.offset_])),
        ),
        "outliers, network": lambda: (
            digest(
                dgm.DensityOutlierDetector(
                    dgm.TransformedDensity(StandardScaler(), auto(**QUICK, n_orders=1)),
                    random_state=0,
                )
                .fit(iris.data)
                .score_samples(iris.data)
            ),
        ),
        "imputer": lambda: (
            digest(
                dgm.DensityImputer(auto(**QUICK, n_orders=1), random_state=0).fit_transform(
                    mixed(missing=True)
                )
            ),
        ),
        "codec": lambda: (
            digest(dgm.DensityCodec(auto(**QUICK, n_orders=1)).fit(mixed()).encode(mixed()[:100])),
        ),
        "over-sampler": lambda: (
            digest(
                *dgm.GenerativeOverSampler(auto(**QUICK, n_orders=1), random_state=0).fit_resample(
                    iris.data[:110], iris.target[:110]
                )
            ),
        ),
    }


def main(only=""):
    """Print the fingerprints of all fits, or of those whose names contain a text."""
    warnings.simplefilter("ignore")
    for name, fit in fits().items():
        if only in name:
            print(f"{name:42}", *fit(), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
