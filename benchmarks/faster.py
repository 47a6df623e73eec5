"""What makes AutoregressiveDensity faster, and what that costs: the table of docs/faster.md, printed.

CPU seconds of a fit, and nats per row of a fifth of the rows that it has not seen, on tables that scikit-learn has with
it.
"""

import time

import numpy as np
from sklearn.datasets import load_breast_cancer, load_diabetes
from sklearn.model_selection import train_test_split

from sklearn_dgm import AutoregressiveDensity, BayesianNetworkDensity

DEFAULT = "the default"
VARIANTS = {
    DEFAULT: AutoregressiveDensity(),
    '`effort="fast"`': AutoregressiveDensity(effort="fast"),
    '`effort="best"`': AutoregressiveDensity(effort="best"),
    "`n_orders=1`": AutoregressiveDensity(n_orders=1),
    "`n_iter_no_change=5`": AutoregressiveDensity(n_iter_no_change=5),
    "`hidden_layer_sizes=(64, 64)`": AutoregressiveDensity((64, 64)),
    "`dropout=0.2`": AutoregressiveDensity(dropout=0.2),
    "all four": AutoregressiveDensity((64, 64), n_orders=1, n_iter_no_change=5, dropout=0.2),
    '`BayesianNetworkDensity(conditional="table")`': BayesianNetworkDensity(conditional="table"),
}


def add_arguments(parser):
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2], help="splits and fits")


def run(args):
    of_tables = tables()
    print("| | " + " | ".join(f"{name}: s | nats" for name in of_tables) + " |")
    print("| --- " + "| ---: | ---: " * len(of_tables) + "|")
    for variant, estimator in VARIANTS.items():
        cells = []
        for X in of_tables.values():
            figures = [fit_and_score(estimator, X, seed) for seed in args.seeds]
            seconds, nats = np.mean(figures, axis=0)
            cells.append(f"{seconds:.1f} | {nats:.2f}")
        print(f"| {variant} | " + " | ".join(cells) + " |", flush=True)


def tables():
    """Return a table of numbers, and one of numbers, whole numbers and categories."""
    mixed = load_diabetes(as_frame=True, scaled=False).frame
    return {
        "breast cancer, 569 x 30": load_breast_cancer(as_frame=True).data,
        "diabetes, 442 x 11": mixed.astype({"age": int, "target": int, "sex": "category"}),
    }


def fit_and_score(estimator, X, seed):
    """CPU seconds of a fit, and nats per row that was left out."""
    train, test = train_test_split(X, test_size=0.2, random_state=seed)
    if "random_state" in estimator.get_params():
        estimator.set_params(random_state=seed)
    start = time.process_time()
    estimator.fit(train)
    return time.process_time() - start, estimator.score(test) / len(test)
