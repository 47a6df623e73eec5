"""Searches under joblib's backends: the same results as in one process, and no more threads than cores."""

import os

import joblib
import numpy as np
import pytest
from sklearn.model_selection import GridSearchCV

from sklearn_dgm import AutoregressiveDensity, MixtureDensity

distributed = pytest.importorskip("distributed")

NETWORK = AutoregressiveDensity(n_orders=1, max_epochs=3, random_state=0)
SEARCHES = {
    "network": (NETWORK, {"hidden_layer_sizes": [(8,), (16,)], "batch_size": [32, 64]}),
    "mixture": (MixtureDensity(random_state=0), {"n_components": [1, 2, 3, 4]}),
}
# What limits the threads of a process, as it begins.
LIMITS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")


def table():
    rng = np.random.default_rng(0)
    centres = rng.normal(0, 4, (3, 2))
    return centres[rng.integers(3, size=160)] + rng.normal(size=(160, 2))


def measures(density, X, y=None):
    """The likelihood, and of the process of a fit its number and that of the threads which it would use."""
    import torch
    from threadpoolctl import threadpool_info

    likelihood, of_libraries = density.score(X), (of["num_threads"] for of in threadpool_info())
    n_threads = max(torch.get_num_threads(), *of_libraries)
    return {"likelihood": likelihood, "threads": n_threads, "process": os.getpid()}


def search(name, n_jobs=None):
    density, grid = SEARCHES[name]
    params = {"scoring": measures, "refit": "likelihood", "error_score": "raise"}
    return GridSearchCV(density, grid, cv=2, n_jobs=n_jobs, **params).fit(table())


def measured(found, what):
    return np.array([found.cv_results_[f"split{k}_test_{what}"] for k in range(2)])


@pytest.fixture(scope="module")
def alone():
    """Searches in one process."""
    return {name: search(name) for name in SEARCHES}


def assert_same(found, alone):
    np.testing.assert_array_equal(*(measured(of, "likelihood") for of in (found, alone)))
    assert found.best_params_ == alone.best_params_
    for ask in ("score_samples", "sample"):
        mine, its = (getattr(of.best_estimator_, ask) for of in (found, alone))
        argument = table() if ask == "score_samples" else 5
        seed = {} if ask == "score_samples" else {"random_state": 0}
        np.testing.assert_array_equal(mine(argument, **seed), its(argument, **seed))


@pytest.mark.parametrize("name", SEARCHES)
@pytest.mark.parametrize("backend", ["loky", "dask"])
def test_processes_find_the_same_and_share_the_cores(name, backend, alone, request, monkeypatch):
    for limit in LIMITS:
        monkeypatch.delenv(limit, raising=False)
    client = {"client": request.getfixturevalue("cluster")} if backend == "dask" else {}
    with joblib.parallel_backend(backend, **client):
        found = search(name, n_jobs=2)
    assert_same(found, alone[name])
    assert os.getpid() not in measured(found, "process")
    assert 2 * measured(found, "threads").max() <= max(joblib.cpu_count(), 2)


def torch_state():
    import torch

    generator = torch.default_generator.get_state().tolist()
    return torch.get_default_dtype(), torch.get_num_threads(), generator


@pytest.mark.parametrize("name", SEARCHES)
@pytest.mark.parametrize("backend", ["threading", "dask"])
def test_threads_find_the_same(name, backend, alone):
    # Networks take turns in them: torch has one generator and one number of threads for a process.
    before = torch_state()
    if backend == "threading":
        with joblib.parallel_backend("threading"):
            found = search(name, n_jobs=2)
    else:
        with (
            distributed.LocalCluster(
                n_workers=1,
                threads_per_worker=2,
                processes=False,
                dashboard_address=":0",
                scheduler_kwargs={"dashboard": False},
            ) as workers,
            distributed.Client(workers, set_as_default=False) as client,
            joblib.parallel_backend("dask", client=client),
        ):
            found = search(name, n_jobs=2)
    assert_same(found, alone[name])
    assert set(measured(found, "process").ravel()) == {os.getpid()}
    assert torch_state() == before
