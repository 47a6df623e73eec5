"""What rows without a label add to a classifier, and what drawn rows of a rare class do.

semi-supervised   Ten labels a class, other rows without one. The same density for each class: fitted to labelled rows
                  alone, by EM (GenerativeClassifier), and in scikit-learn's SelfTrainingClassifier. Accuracy on other
                  rows.
over-sampling     Binary mixed tables in which a class is left with a twentieth of the training rows. Classes are made
                  equal before a gradient-boosted classifier is trained. Scores on other rows, with the shares of the
                  table.

Bandwidths, cells, the number of components and the weights of unlabelled rows were chosen on seeds from 100, which the
reported ones are not.
"""

from pathlib import Path

import numpy as np
from sklearn.base import clone
from sklearn.compose import make_column_transformer
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.metrics import average_precision_score, balanced_accuracy_score
from sklearn.neighbors import KernelDensity
from sklearn.preprocessing import OneHotEncoder, OrdinalEncoder, StandardScaler
from sklearn.semi_supervised import SelfTrainingClassifier

from benchmarks import data
from benchmarks.results import Results, version_of
from sklearn_dgm import (
    AutoregressiveDensity,
    BayesianNetworkDensity,
    GenerativeClassifier,
    GenerativeOverSampler,
)

PARTS = ("semi-supervised", "over-sampling")
N_LABELS = 10
RARE_SHARE = 0.05
RARE = {"adult": ">50K", "german_credit": 2, "telco_churn": "Yes"}


def add_arguments(parser):
    parser.add_argument("--data", type=Path, required=True, help="folder of the tables")
    parser.add_argument("--part", nargs="+", choices=PARTS, default=PARTS, help="what to measure")
    parser.add_argument("--only", nargs="+", help="names of tables, such as digits")
    parser.add_argument("--cases", nargs="+", help="names of densities, such as trees")
    parser.add_argument("--seeds", nargs="+", type=int, default=range(5), help="seeds of rows")
    parser.add_argument("--max-rows", type=int, default=1000, help="training rows at most")


def run(args):
    if "semi-supervised" in args.part:
        results = Results("semi_supervised", args.results)
        for name, X, y, is_categorical in labelled_tables(args.data):
            if args.only is None or name in args.only:
                for seed in args.seeds:
                    measure_semi_supervised(results, name, X, y, is_categorical, seed, args)
    if "over-sampling" in args.part:
        results = Results("over_sampling", args.results)
        for name, frame in data.mixed_tables(args.data):
            if name in RARE and (args.only is None or name in args.only):
                for seed in args.seeds:
                    measure_over_sampling(results, name, frame, seed, args.max_rows)


def labelled_tables(folder):
    """Names, features, labels as numbers, and which columns hold categories."""
    X, y = load_digits(return_X_y=True)
    yield "digits", X, y, None
    path = folder / "images" / "mnist_train.npz"
    if path.exists():
        table = np.load(path)
        # 28 x 28 pixels, as 8 x 8 means of 3 x 3 without the margin.
        images = table["X"][:10_000].reshape(-1, 28, 28)[:, 2:26, 2:26]
        yield (
            "mnist, 8 x 8",
            images.reshape(-1, 8, 3, 8, 3).mean(axis=(2, 4)).reshape(-1, 64),
            table["y"][:10_000].astype(int),
            None,
        )
    path = folder / "continuous" / "texture.npz"
    if path.exists():
        table = np.load(path)
        yield "texture", table["X"].astype(np.float64), table["y"].astype(int), None
    for name, frame in data.mixed_tables(folder):
        if name == "adult":
            X, y = frame.drop(columns="income"), frame["income"].str.startswith(">50K")
            is_categorical = np.array([dtype.kind not in "iuf" for dtype in X.dtypes])
            # SelfTrainingClassifier takes numbers alone.
            text = X.columns[is_categorical]
            X[text] = OrdinalEncoder().fit_transform(X[text].astype(object).fillna("missing"))
            # -1 beside one other number would be a class.
            yield name, X.to_numpy(np.float64), y.to_numpy().astype(int), is_categorical


def measure_semi_supervised(results, name, X, y, is_categorical, seed, args):
    """Accuracies of all densities with and without unlabelled rows."""
    order = np.random.default_rng(seed).permutation(len(X))
    train, test = order[: args.max_rows], order[args.max_rows : 2 * args.max_rows]
    given = np.concatenate([train[y[train] == c][:N_LABELS] for c in np.unique(y)])
    labels = np.where(np.isin(train, given), y[train], -1)
    for case, (n_components, density, weight) in DENSITIES.items():
        if args.cases and case not in args.cases:
            continue
        weight = WEIGHTS.get((name, case), weight)
        if (name, case) in BANDWIDTHS:
            density = KernelDensity(bandwidth=BANDWIDTHS[name, case])
        rows, others = X[train], X[test]
        if n_components:
            rows, others = principal_components(rows, others, is_categorical, n_components)
        elif is_categorical is not None:
            density = clone(density).set_params(categorical_features=is_categorical)
        one = GenerativeClassifier(density, unlabelled_weight=weight, max_iter=MAX_ITER)
        for peer, package, model, chosen in (
            (PEERS[0], "sklearn-dgm", one, labels >= 0),
            (PEERS[1], "sklearn-dgm", one, slice(None)),
            (PEERS[2], "scikit-learn", SelfTrainingClassifier(one), slice(None)),
        ):
            record = {"data": name, "case": case, "seed": seed, "peer": peer}
            record |= {"version": version_of(package), "rows": len(train)}
            results.attempt(
                record,
                lambda model=model, chosen=chosen, rows=rows, others=others: accuracy(
                    model, rows[chosen], labels[chosen], others, y[test]
                ),
            )


def principal_components(rows, others, is_categorical, n_components):
    """Both, in units of the mean variance; of mixed columns after indicators and standardisation."""
    if is_categorical is not None:
        indicators = OneHotEncoder(handle_unknown="ignore", sparse_output=False)
        columns = make_column_transformer(
            (indicators, is_categorical), (StandardScaler(), ~is_categorical)
        ).fit(rows)
        rows, others = columns.transform(rows), columns.transform(others)
    pca = PCA(n_components, random_state=0).fit(rows)
    scale = np.sqrt(pca.explained_variance_.mean())
    return pca.transform(rows) / scale, pca.transform(others) / scale


def accuracy(model, X, y, X_test, y_test):
    fitted = clone(model).fit(X, y)
    return {"accuracy": round(float((fitted.predict(X_test) == y_test).mean()), 4)}


def measure_over_sampling(results, name, frame, seed, max_rows):
    """Scores of a classifier that was trained on what each sampler makes of the rows."""
    frame = frame.dropna().reset_index(drop=True)
    is_rare = frame[data.LABELS[name]].to_numpy() == RARE[name]
    X = frame.drop(columns=data.LABELS[name])
    text = X.columns[[dtype.kind not in "iuf" for dtype in X.dtypes]]
    X = X.astype(dict.fromkeys(text, "category"))
    order = np.random.default_rng(seed).permutation(len(X))
    # Half of the rows, and of these as many rare ones as there are to be.
    train, test = order[: len(X) // 2], order[len(X) // 2 :]
    often = train[~is_rare[train]][:max_rows]
    rare = train[is_rare[train]][: int(len(often) * RARE_SHARE / (1 - RARE_SHARE))]
    train = np.concatenate([often, rare])
    for peer, (package, make) in SAMPLERS.items():
        record = {"data": name, "case": "", "seed": seed, "peer": peer}
        record |= {"version": version_of(package), "rows": len(train)}
        results.attempt(
            record,
            lambda make=make: scores(
                make(seed), X.iloc[train], is_rare[train], X.iloc[test], is_rare[test]
            ),
        )


def scores(sampler, X, y, X_test, y_test):
    if sampler is not None:
        X, y = sampler.fit_resample(X, y)
    fitted = HistGradientBoostingClassifier(random_state=0).fit(X, y)
    proba = fitted.predict_proba(X_test)[:, 1]
    return {
        "average_precision": round(float(average_precision_score(y_test, proba)), 4),
        "balanced_accuracy": round(float(balanced_accuracy_score(y_test, proba > 0.5)), 4),
    }


def _random(seed):
    from imblearn.over_sampling import RandomOverSampler

    return RandomOverSampler(random_state=seed)


def _smote(seed):
    from imblearn.over_sampling import SMOTENC

    return SMOTENC("auto", random_state=seed)


def _with(density):
    return lambda seed: GenerativeOverSampler(density, random_state=seed)


MAX_ITER = 10
PEERS = ("labelled rows", "EM", "self-training")
INDEPENDENT = BayesianNetworkDensity("empty", conditional="table", bins=5)
TREES = BayesianNetworkDensity("chow-liu", conditional="table", bins=5)
SMALL = AutoregressiveDensity((32,), n_orders=1, dropout=0.2, max_epochs=50, random_state=0)
# Name of the density: the number of principal components that it sees, None for the columns as they are, itself, and
# the weight of unlabelled rows.
DENSITIES = {
    "kernel density": (16, KernelDensity(bandwidth=1.0), 1.0),
    "independent columns": (None, INDEPENDENT, 0.3),
    "trees": (None, TREES, 0.3),
    "autoregressive": (16, SMALL, 1.0),
}
# Where a table has others.
BANDWIDTHS = {("texture", "kernel density"): 0.4}
WEIGHTS = {
    ("adult", "independent columns"): 0.03,
    ("adult", "trees"): 0.1,
    ("adult", "kernel density"): 0.3,
    ("mnist, 8 x 8", "kernel density"): 0.1,
    ("texture", "independent columns"): 0.003,
    ("texture", "trees"): 0.01,
    ("texture", "kernel density"): 0.3,
}
SAMPLERS = {
    "none": ("scikit-learn", lambda seed: None),
    "RandomOverSampler": ("imbalanced-learn", _random),
    "SMOTENC": ("imbalanced-learn", _smote),
    "GenerativeOverSampler, independent": ("sklearn-dgm", _with(INDEPENDENT)),
    "GenerativeOverSampler, trees": ("sklearn-dgm", _with(TREES)),
}
