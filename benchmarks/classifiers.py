"""Accuracy and log-loss of Bayesian network classifiers in ten folds, beside scikit-learn's naive Bayes.

Labelled mixed tables as they were read, with strings and missing cells. Rows without a label are left out, and classes
of fewer than ten rows, which do not reach all folds. All classifiers have their defaults and the same stratified folds.

GaussianNB     sees the columns of numbers, with missing cells filled in by the median of the training rows.
CategoricalNB  sees the other columns, with a category for missing cells and one for what the training rows do not have.

Where a table has no such column there is a gap.
"""

from pathlib import Path

import numpy as np
from sklearn.impute import SimpleImputer
from sklearn.model_selection import StratifiedKFold, cross_validate
from sklearn.naive_bayes import CategoricalNB, GaussianNB
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, OrdinalEncoder

from benchmarks import data
from benchmarks.results import Results, version_of
from sklearn_dgm import (
    AveragedOneDependenceClassifier,
    NaiveBayesClassifier,
    TreeAugmentedNaiveBayesClassifier,
)

N_FOLDS = 10
# Columns that say the label in other words.
LEAKS = {"titanic": ["alive"]}
SCORES = {"accuracy": ("accuracy", 1), "log_loss": ("neg_log_loss", -1)}


def add_arguments(parser):
    parser.add_argument("--data", type=Path, required=True, help="folder of the tables")
    parser.add_argument("--only", nargs="+", help="names of tables, such as titanic")
    parser.add_argument("--peers", nargs="+", default=list(CLASSIFIERS), help="who classifies")
    parser.add_argument("--seed", type=int, default=0, help="seed of rows and folds")
    parser.add_argument("--max-rows", type=int, default=5000, help="rows of a table at most")


def run(args):
    results = Results("classifiers", args.results)
    for name, frame in data.mixed_tables(args.data):
        if name in data.LABELS and (args.only is None or name in args.only):
            X, y = labelled(name, frame, args.seed, args.max_rows)
            for peer in args.peers:
                measure(results, name, X, y, peer, args.seed)


def labelled(name, frame, seed, max_rows):
    """Features and labels, these as strings, of the rows that take part."""
    label = data.LABELS[name]
    frame = frame.dropna(subset=label)
    frame = frame.sample(min(len(frame), max_rows), random_state=seed)
    count = frame[label].map(frame[label].value_counts())
    frame = frame[count >= N_FOLDS]
    X = frame.drop(columns=[label, *LEAKS.get(name, [])])
    return X, frame[label].astype(str).to_numpy(dtype=object)


def measure(results, name, X, y, peer, seed):
    """Cross-validate a classifier; add the figures, or why there are none."""
    package, model, select = CLASSIFIERS[peer]
    record = {"data": name, "seed": seed, "peer": peer, "version": version_of(package)}
    record |= {"rows": len(X), "columns": X.shape[1], "classes": len(np.unique(y))}
    columns = X if select is None else X.select_dtypes(**select)
    if columns.shape[1] == 0:
        results.add(**record, gap="no such column")
    else:
        results.attempt(record, lambda: cross_validated(model, columns, y, seed))


def cross_validated(model, X, y, seed):
    """Means over the folds, and their standard errors."""
    folds = StratifiedKFold(N_FOLDS, shuffle=True, random_state=seed)
    names = [name for name, _ in SCORES.values()]
    found = cross_validate(model, X, y, scoring=names, cv=folds, error_score="raise")
    figures = {}
    for field, (name, sign) in SCORES.items():
        values = sign * found[f"test_{name}"]
        figures[field] = round(float(values.mean()), 4)
        figures[f"{field}_error"] = round(float(values.std(ddof=1) / np.sqrt(N_FOLDS)), 4)
    return figures | {"fit_seconds": round(float(found["fit_time"].mean()), 4)}


def as_text(frame):
    """Values as strings, missing cells as one of them."""
    return frame.astype(object).where(frame.notna(), "missing").astype(str).astype(object)


def after_unknown(codes):
    """Codes from 1, so that those of unknown categories, which are -1, are 0."""
    return codes + 1


ON_NUMBERS = make_pipeline(SimpleImputer(strategy="median", keep_empty_features=True), GaussianNB())
# CategoricalNB smooths the counts of all codes up to the highest one, and so of those of unknown categories.
ON_CATEGORIES = make_pipeline(
    FunctionTransformer(as_text),
    OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1),
    FunctionTransformer(after_unknown),
    CategoricalNB(),
)
# Name of the classifier: its package, itself, and the columns that it sees, None for all.
CLASSIFIERS = {
    "NaiveBayesClassifier": ("sklearn-dgm", NaiveBayesClassifier(), None),
    "TreeAugmentedNaiveBayesClassifier": (
        "sklearn-dgm",
        TreeAugmentedNaiveBayesClassifier(),
        None,
    ),
    "AveragedOneDependenceClassifier": ("sklearn-dgm", AveragedOneDependenceClassifier(), None),
    "GaussianNB": ("scikit-learn", ON_NUMBERS, {"include": "number"}),
    "CategoricalNB": ("scikit-learn", ON_CATEGORIES, {"exclude": "number"}),
}
