"""Rows drawn from AutoregressiveDensity, TabularGAN, CTGAN and TVAE, beside real ones.

Mixed tables, complete as for `likelihood --suite mixed`; fitted to training and validation rows. As many rows are drawn
as there are test rows for the first figure, and as many as were fitted for the second.

auroc     of a gradient-boosted classifier that tells real test rows from drawn ones, in five folds: 0.5 is best.
accuracy  of a gradient-boosted classifier of the label column that is trained on drawn rows and tested on real ones; it
          is to be read beside that of one trained on real rows.
"""

import warnings
from importlib import import_module
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import StratifiedKFold, cross_val_predict

from benchmarks import data
from benchmarks._measure import seconds_of
from benchmarks.mixed_peers import as_strings, is_categorical, like_table
from benchmarks.results import Results, version_of
from sklearn_dgm import AutoregressiveDensity, TabularGAN

REAL = "real rows"
# HistGradientBoostingClassifier takes no more; columns with more are ordered by code.
MAX_CATEGORIES = 255
GENERATORS = {of.__name__: of for of in (AutoregressiveDensity, TabularGAN)}
PACKAGES = {
    REAL: "scikit-learn",
    **dict.fromkeys(GENERATORS, "sklearn-dgm"),
    "CTGAN": "ctgan",
    "TVAE": "ctgan",
}


def add_arguments(parser):
    parser.add_argument("--data", type=Path, required=True, help="folder of the tables")
    parser.add_argument("--only", nargs="+", help="names of tables, such as titanic")
    parser.add_argument("--peers", nargs="+", default=list(PACKAGES), help="who draws")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0], help="seeds of split and fit")
    parser.add_argument("--max-rows", type=int, help="rows of a table at most")
    parser.add_argument("--epochs", type=int, default=300, help="epochs of CTGAN and TVAE")


def run(args):
    results = Results("synthetic", args.results)
    for name, frame in data.mixed_tables(args.data):
        if args.only is None or name in args.only:
            table = data.complete_table(frame)
            for seed in args.seeds:
                parts = data.three_parts(table, seed, args.max_rows)
                for peer in args.peers:
                    measure(results, name, parts, peer, seed, args.epochs)


def measure(results, name, parts, peer, seed, epochs):
    """Draw rows, judge them, and add the figures, or why there are none."""
    known, test = pd.concat(parts[:2], ignore_index=True), parts[2].reset_index(drop=True)
    record = {"data": name, "seed": seed, "peer": peer, "version": version_of(PACKAGES[peer])}
    record |= {"rows": len(known) + len(test), "columns": test.shape[1]}
    label = data.LABELS[name]
    if peer == REAL:
        results.attempt(record, lambda: {"accuracy": accuracy(known, test, label, seed)})
    else:
        results.attempt(record, lambda: fit_and_judge(peer, known, test, label, seed, epochs))


def fit_and_judge(peer, known, test, label, seed, epochs):
    """Figures of one fit."""
    draw, seconds = seconds_of(lambda: fit_sampler(peer, known, seed, epochs))
    return {
        "auroc": two_sample_auroc(test, draw(len(test)), seed),
        "accuracy": accuracy(draw(len(known)), test, label, seed),
        "fit_seconds": round(seconds, 2),
        "notes": "" if peer in GENERATORS else f"{epochs} epochs",
    }


def fit_sampler(peer, table, seed, epochs):
    """Return a function that draws rows like those of a table."""
    if peer in GENERATORS:
        generator = GENERATORS[peer](random_state=seed).fit(table)
        return lambda n: generator.sample(n, random_state=seed)
    strings, categorical = as_strings(table)
    model = getattr(import_module("ctgan"), peer)(epochs=epochs, enable_gpu=False)
    model.set_random_state(seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of libraries about each other
        model.fit(strings, categorical)
    return lambda n: like_table(model.sample(n), table)


def as_features(table):
    """Return a table of numbers, and which of its columns the classifier may take as categories."""
    columns, few = {}, []
    for name, x in table.items():
        columns[name] = x.astype("category").cat.codes if is_categorical(x) else x
        few.append(is_categorical(x) and x.nunique() <= MAX_CATEGORIES)
    return pd.DataFrame(columns).astype(np.float64), few


def classifier(few, seed):
    return HistGradientBoostingClassifier(categorical_features=few, random_state=seed)


def two_sample_auroc(real, drawn, seed):
    """Area under the curve of telling real rows from drawn ones, cross-validated."""
    both, few = as_features(pd.concat([real, drawn[list(real)]], ignore_index=True))
    is_drawn = np.repeat([0, 1], [len(real), len(drawn)])
    folds = StratifiedKFold(5, shuffle=True, random_state=seed)
    chances = cross_val_predict(
        classifier(few, seed), both, is_drawn, cv=folds, method="predict_proba"
    )
    return round(float(roc_auc_score(is_drawn, chances[:, 1])), 4)


def accuracy(train, test, label, seed):
    """Share of the test rows whose label is predicted, by a classifier of the training rows."""
    both, few = as_features(pd.concat([train[list(test)], test], ignore_index=True))
    few = [flag for flag, name in zip(few, both, strict=True) if name != label]
    X, y = both.drop(columns=label), both[label]
    n = len(train)
    if y[:n].nunique() == 1:
        return round(float((y[n:] == y[0]).mean()), 4)
    return round(float(classifier(few, seed).fit(X[:n], y[:n]).score(X[n:], y[n:])), 4)
