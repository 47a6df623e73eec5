"""What one network for all orders of the columns costs on complete rows, beside networks of fixed orders.

The tables are scikit-learn's own: 70 % of the rows for the fit, the others are scored. Figures are nats per row and
column, means over the seeds of split and fit, with standard errors over the rows that are scored.
"""

import warnings

import numpy as np
from sklearn.datasets import load_breast_cancer, load_diabetes, load_iris, load_wine
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import train_test_split

from benchmarks._measure import seconds_of
from benchmarks.results import Results, version_of
from sklearn_dgm import AutoregressiveDensity

TABLES = {
    "iris": load_iris,
    "wine": load_wine,
    "diabetes": load_diabetes,
    "breast_cancer": load_breast_cancer,
}
ANY = "any"
ORDERS = {ANY: {"order": "any"}, "given": {"order": "given"}, "default": {}}


def add_arguments(parser):
    parser.add_argument("--only", nargs="+", default=list(TABLES), choices=TABLES, help="tables")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2], help="seeds")


def run(args):
    warnings.simplefilter("ignore", ConvergenceWarning)
    results = Results("any_order", args.results)
    for name in args.only:
        X = TABLES[name]().data
        fits = {
            order: [fit_and_score(X, seed, **ORDERS[order]) for seed in args.seeds]
            for order in ORDERS
        }
        for order, parts in fits.items():
            results.add(
                data=name,
                peer=f"{order} order",
                version=version_of("sklearn-dgm"),
                rows=len(X),
                columns=X.shape[1],
                **figures(parts, fits[ANY], X.shape[1]),
            )


def fit_and_score(X, seed, **order):
    """Log-densities of the rows kept back, and seconds."""
    train, test = train_test_split(X, test_size=0.3, random_state=seed)
    density, seconds = seconds_of(
        lambda: AutoregressiveDensity(random_state=seed, **order).fit(train)
    )
    return density.score_samples(test), seconds


def figures(parts, parts_any, n_columns):
    """Means over the seeds, and what one network for all orders costs against this."""
    per_cell = [scores.mean() / n_columns for scores, _ in parts]
    costs = [
        (ours - of_any) / n_columns for (ours, _), (of_any, _) in zip(parts, parts_any, strict=True)
    ]
    errors = [cost.std(ddof=1) / np.sqrt(len(cost)) for cost in costs]
    return {
        "log_likelihood": round(float(np.mean(per_cell)), 4),
        "cost": round(float(np.mean([cost.mean() for cost in costs])), 4),
        "standard_error": round(float(np.sqrt(np.sum(np.square(errors))) / len(errors)), 4),
        "fit_seconds": round(float(np.mean([seconds for _, seconds in parts])), 2),
    }
