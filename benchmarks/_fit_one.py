"""Fit one density to one table in a process of its own, with whichever release is on the path.

Run by :mod:`benchmarks.releases` as ``python _fit_one.py TASK ANSWER``, two pickles.
"""

import pickle
import sys
import time
import warnings

import numpy as np
import torch
from sklearn.exceptions import ConvergenceWarning


def ours(parameters):
    from sklearn_dgm import AutoregressiveDensity

    # What is imported at the first fit is no matter of the table.
    AutoregressiveDensity((4,), n_orders=1, max_epochs=1).fit(np.eye(9)[:, :2])

    def fit(train, valid):
        density = AutoregressiveDensity(**parameters).fit(both_parts(train, valid))
        return density.score_samples, f"{density.n_iter_} epochs"

    return fit


def spline_flow(parameters):
    import zuko  # noqa: F401

    from benchmarks.peers import NSF

    def fit(train, valid):
        log_prob, n_epochs = NSF(train, valid, parameters["random_state"])
        return log_prob, f"{n_epochs} epochs"

    return fit


def both_parts(train, valid):
    """Training and validation rows in one."""
    if isinstance(train, np.ndarray):
        return np.concatenate([train, valid])
    import pandas as pd

    return pd.concat([train, valid])


def main(task, answer):
    warnings.simplefilter("ignore", ConvergenceWarning)
    torch.set_num_threads(1)
    with open(task, "rb") as file:
        kind, parameters, train, valid, test = pickle.load(file)
    fit = {"ours": ours, "flow": spline_flow}[kind](parameters)
    start = time.process_time()
    log_prob, notes = fit(train, valid)
    fitted = time.process_time()
    scores = np.asarray(log_prob(test))
    seconds = {"fit": fitted - start, "score": time.process_time() - fitted}
    with open(answer, "wb") as file:
        pickle.dump((scores, seconds, notes), file)


if __name__ == "__main__":
    main(*sys.argv[1:])
