"""Fits in processes of their own, which are killed at random steps of the training, until one ends."""

import json
import os
import signal
import sys
import warnings
from pathlib import Path

import numpy as np
import torch
from sklearn.exceptions import ConvergenceWarning

from sklearn_dgm import AutoregressiveDensity, Checkpoint
from sklearn_dgm._training import callbacks

EVERY, N_KILLS = 2, 5
SMALL = {"hidden_layer_sizes": (8,), "max_epochs": 14, "n_iter_no_change": 6, "random_state": 0}
# Of a single network, from rows with gaps, and of a stack of which the first member tries settings.
FITS = {
    "single run": {
        "n_orders": 1,
        "dropout": 0.2,
        "early_stopping": False,
        "net_params": {"optimizer__eps": 1e-8},
    },
    "stack": {"n_orders": 3},
}


def rows(name):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(230, 3)) @ rng.normal(size=(3, 3))
    if name == "single run":
        X[rng.random(X.shape) < 0.1] = np.nan
    return X


def fit(name, folder, at=None):
    """Fit, and write what came of it; killed at the step `at`. Every epoch is told of in a file."""
    checkpoint = Checkpoint(folder / "fit.checkpoint", every=EVERY, resume=True)
    density = AutoregressiveDensity(**{**SMALL, **FITS[name]}, callbacks=[checkpoint])
    original, step = callbacks.Monitor.judge, torch.optim.AdamW.step
    n_steps = 0

    def judge(monitor, module, epoch):
        is_done = original(monitor, module, epoch)
        with (folder / "epochs").open("a") as file:
            print(json.dumps([monitor.member, str(monitor.setting), monitor.n_epochs]), file=file)
        return is_done

    def count(*args, **kwargs):
        nonlocal n_steps
        n_steps += 1
        if n_steps == at:
            os.kill(os.getpid(), signal.SIGKILL)
        return step(*args, **kwargs)

    callbacks.Monitor.judge, torch.optim.AdamW.step = judge, count
    density.fit(rows(name))
    records = [{**record, "setting": str(record["setting"])} for record in density.history_]
    for record in records:
        del record["duration"]
    (folder / "records").write_text(json.dumps(records))
    (folder / "n_steps").write_text(str(n_steps))
    np.save(folder / "scores.npy", density.score_samples(rows(name)))


def run(name, folder, at=None):
    """Fit in a child, and return the signal that ended it, 0 if it came to its end."""
    with (folder / "epochs").open("a") as file:
        print("null", file=file)
    if (child := os.fork()) == 0:
        try:
            fit(name, folder, at)
            os._exit(0)
        finally:
            os._exit(1)
    status = os.waitpid(child, 0)[1]
    if os.WIFEXITED(status) and os.WEXITSTATUS(status):
        raise RuntimeError(f"The fit of {name} failed.")
    return os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0


def main(folder):
    """Fit whole and in parts, in children of this process, in which all that they need is imported."""
    torch.set_num_threads(1)
    warnings.simplefilter("ignore", ConvergenceWarning)
    AutoregressiveDensity((4,), max_epochs=1, n_orders=1).fit(np.arange(12.0).reshape(6, 2))
    for name in FITS:
        whole, parts = folder / name / "whole", folder / name / "parts"
        for of in (whole, parts):
            of.mkdir(parents=True)
        run(name, whole)
        n_steps = int((whole / "n_steps").read_text())
        moments = np.random.default_rng(1).integers(n_steps // 8, n_steps // 4, N_KILLS)
        endings = [run(name, parts, int(at)) for at in moments]
        (folder / name / "signals").write_text(json.dumps(endings))
        run(name, parts)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
