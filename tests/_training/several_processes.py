"""Fits by several processes, each of which writes what it has come to."""

import json
import os
import pickle
import sys
import warnings
from pathlib import Path

import numpy as np
import torch
from sklearn.exceptions import ConvergenceWarning

from sklearn_dgm import AutoregressiveDensity, Checkpoint, VariationalAutoencoderDensity

FITS = {
    "autoregressive": AutoregressiveDensity(
        (16,), n_orders=2, dropout=0.2, max_epochs=15, n_iter_no_change=3, random_state=0
    ),
    "autoencoder": VariationalAutoencoderDensity(
        2, (16,), max_epochs=15, n_iter_no_change=3, random_state=0
    ),
    # Whose loss is not finite: none waits for another.
    "diverging": AutoregressiveDensity(
        (16,), n_orders=1, dropout=0.2, max_epochs=3, lr=1e30, random_state=0
    ),
}


def rows(seed=0):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=401)
    return np.column_stack([x, np.sin(2 * x) + 0.2 * rng.normal(size=401), rng.integers(0, 3, 401)])


def main(folder):
    warnings.simplefilter("ignore", ConvergenceWarning)
    torch.set_num_threads(1)
    rank = os.environ["RANK"]
    for name, estimator in FITS.items():
        checkpoint = Checkpoint(folder / f"{name}.checkpoint", every=3)
        density = estimator.set_params(device="accelerate", callbacks=[checkpoint]).fit(rows())
        records = [{k: str(v) for k, v in r.items() if k != "duration"} for r in density.history_]
        (folder / f"{name}-{rank}.json").write_text(json.dumps(records))
        arrays = density.net_.module_.state_dict()
        np.savez(folder / f"{name}-{rank}.npz", **{k: v.numpy() for k, v in arrays.items()})
        np.save(folder / f"{name}-{rank}.npy", density.score_samples(rows(1)))
        (folder / f"{name}-{rank}.pickle").write_bytes(pickle.dumps(density))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
