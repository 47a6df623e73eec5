"""Fit one density to one table in a process of its own, with whichever release is on the path.

Run by :mod:`benchmarks.releases` as ``python _fit_one.py TASK ANSWER``, two pickles.
"""

import pickle
import sys
import time
import warnings

import numpy as np
from sklearn.exceptions import ConvergenceWarning


def main(task, answer):
    warnings.simplefilter("ignore", ConvergenceWarning)
    with open(task, "rb") as file:
        rows, test, parameters = pickle.load(file)
    from sklearn_dgm import AutoregressiveDensity

    # What is imported at the first fit is no matter of the table.
    AutoregressiveDensity((4,), n_orders=1, max_epochs=1).fit(np.eye(9)[:, :2])
    start = time.process_time()
    density = AutoregressiveDensity(**parameters).fit(rows)
    fitted = time.process_time()
    log_prob = density.score_samples(test)
    figures = {"fit": fitted - start, "score": time.process_time() - fitted}
    with open(answer, "wb") as file:
        pickle.dump((np.asarray(log_prob), figures, f"{density.n_iter_} epochs"), file)


if __name__ == "__main__":
    main(*sys.argv[1:])
