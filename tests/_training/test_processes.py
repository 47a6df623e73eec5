"""Networks that several processes train, each with a share of every batch."""

import os
import pickle
import subprocess
import sys

import numpy as np
import pytest

from sklearn_dgm import AutoregressiveDensity, TabularGAN
from tests._training import several_processes

pytest.importorskip("accelerate")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """What each of two processes on the CPU has come to."""
    folder = tmp_path_factory.mktemp("processes")
    launch = [
        sys.executable,
        "-m",
        "torch.distributed.run",
        "--standalone",
        "--nproc_per_node",
        "2",
    ]
    told = subprocess.run(
        [*launch, "-m", "tests._training.several_processes", folder],
        capture_output=True,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1", "ACCELERATE_USE_CPU": "true"},
    )
    assert told.returncode == 0, told.stderr
    (folder / "stdout").write_text(told.stdout)
    (folder / "stderr").write_text(told.stderr)
    return folder


def test_nothing_is_printed(folder):
    assert (folder / "stdout").read_text() == ""
    assert "broadcast_buffers" not in (folder / "stderr").read_text()


@pytest.mark.parametrize("name", several_processes.FITS)
def test_all_processes_end_with_the_same_model(name, folder):
    records = [(folder / f"{name}-{rank}.json").read_text() for rank in (0, 1)]
    assert records[0] == records[1]
    arrays = [np.load(folder / f"{name}-{rank}.npz") for rank in (0, 1)]
    assert arrays[0].files == arrays[1].files
    for key in arrays[0].files:
        np.testing.assert_array_equal(arrays[0][key], arrays[1][key])
    np.testing.assert_array_equal(*(np.load(folder / f"{name}-{rank}.npy") for rank in (0, 1)))
    assert not (folder / f"{name}.checkpoint").exists()


@pytest.mark.parametrize("name", ["autoregressive", "autoencoder"])
def test_as_good_as_by_one_process(name, folder):
    X = several_processes.rows(1)
    shared = pickle.loads((folder / f"{name}-0.pickle").read_bytes())
    alone = several_processes.FITS[name].set_params(device="cpu", callbacks=None)
    alone.fit(several_processes.rows())
    np.testing.assert_array_equal(shared.score_samples(X), np.load(folder / f"{name}-0.npy"))
    assert abs(shared.score(X) - alone.score(X)) < 0.1 * len(X)
    # Random numbers are others, and so are the weights.
    assert not np.array_equal(shared.score_samples(X), alone.score_samples(X))


def test_what_does_not_go_is_refused():
    X = several_processes.rows()
    with pytest.raises(ValueError, match="device='accelerate' needs an int for random_state"):
        AutoregressiveDensity(device="accelerate").fit(X)
    with pytest.raises(ValueError, match="TabularGAN has several optimisers"):
        TabularGAN(device="accelerate", random_state=0).fit(X)


def test_without_accelerate_it_is_said_how_to_install_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "accelerate", None)
    with pytest.raises(ImportError, match="pip install 'sklearn-dgm\\[accelerate\\]'"):
        AutoregressiveDensity(device="accelerate", random_state=0).fit(several_processes.rows())


def test_accelerate_is_not_imported_unless_asked_for():
    code = "import sys, sklearn_dgm; sklearn_dgm.AutoregressiveDensity; print('accelerate' in sys.modules)"
    told = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert told.stdout.strip() == "False"
