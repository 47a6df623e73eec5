"""Networks on an accelerator, where there is one: ``CUDA_VISIBLE_DEVICES=0 pytest tests/test_accelerator.py``."""

import pickle

import numpy as np
import pytest
import torch
from sklearn.base import clone
from skorch.callbacks import Callback

import sklearn_dgm
from sklearn_dgm import (
    AutoregressiveDensity,
    AutoregressiveSequenceDensity,
    Checkpoint,
    DensityCodec,
    FlowDensity,
)
from sklearn_dgm.chunks import _sampling, _shuffling
from tests.chunks.tables import Parts
from tests.instances import INSTANCES

pytestmark = [
    pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no accelerator"),
    pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning"),
]
DEVICE = torch.device("cuda", 0)
NETWORKS = {
    name: instance.make()
    for name, instance in INSTANCES.items()
    if "device" in instance.make().get_params()
}
QUICK = {"max_epochs": 8, "n_orders": 1, "random_state": 0, "device": "cuda"}


def levels(n_rows=300, seed=0):
    """Whole numbers, which are rows of every table."""
    rng = np.random.default_rng(seed)
    return rng.binomial(3, 0.2 + 0.6 * rng.random((n_rows, 1)), size=(n_rows, 4))


def rows_for(density):
    if not isinstance(density, AutoregressiveSequenceDensity):
        return levels()
    return ["".join("abcd"[k] for k in row[: row[0] + 1]) for row in levels()]


def fitted(name):
    density = clone(NETWORKS[name]).set_params(device="cuda", random_state=0)
    rows = rows_for(density)
    return density.fit(rows), rows


@pytest.mark.parametrize("name", NETWORKS)
def test_scores_are_those_of_the_same_weights_on_the_cpu(name, tmp_path):
    density, rows = fitted(name)
    assert density._module_device() == DEVICE or not hasattr(density, "net_")  # tables alone
    if hasattr(density, "sample"):
        drawn = density.sample(20, random_state=0)
        np.testing.assert_array_equal(drawn, density.sample(20, random_state=0))
    if not hasattr(density, "score_samples"):
        return
    scores = density.score_samples(rows)
    assert np.isfinite(scores).all()
    density.set_params(device="cpu").save(tmp_path / "model")
    on_cpu = sklearn_dgm.load(tmp_path / "model")
    assert on_cpu._module_device() == torch.device("cpu")
    np.testing.assert_allclose(on_cpu.score_samples(rows), scores, rtol=1e-5, atol=1e-5)


def test_equal_seeds_and_pickles_give_equal_bits():
    X = levels()
    one, other = (AutoregressiveDensity(**QUICK).fit(X) for _ in range(2))
    for again in (other, pickle.loads(pickle.dumps(one))):
        np.testing.assert_array_equal(again.score_samples(X), one.score_samples(X))


def test_scores_do_not_depend_on_the_rows_beside():
    X = np.random.default_rng(0).normal(size=(500, 3)).cumsum(axis=1)
    density = AutoregressiveDensity(**QUICK).fit(X)
    parts = [density.score_samples(part) for part in np.split(X, [3, 150])]
    np.testing.assert_allclose(np.concatenate(parts), density.score_samples(X), rtol=1e-6)


def test_a_codec_gives_the_rows_back():
    pytest.importorskip("constriction")
    X = levels()
    codec = DensityCodec(AutoregressiveDensity(**QUICK).fit(X)).fit(X)
    np.testing.assert_array_equal(codec.decode(codec.encode(X)), X)


class Stop(Callback):
    """Fail in the end of an epoch."""

    def __init__(self, at):
        self.at = at

    def on_epoch_end(self, net, **kwargs):
        if len(net.history) == self.at:
            raise MemoryError


def test_a_fit_goes_on_from_a_checkpoint(tmp_path):
    X = levels()
    checkpoint = Checkpoint(tmp_path / "checkpoint", every=2, resume=True)
    with pytest.raises(MemoryError):
        AutoregressiveDensity(**QUICK, callbacks=[Stop(5), checkpoint]).fit(X)
    assert checkpoint.path.exists()
    resumed = AutoregressiveDensity(**QUICK, callbacks=[Stop(99), checkpoint]).fit(X)
    whole = AutoregressiveDensity(**QUICK, callbacks=[Stop(99)]).fit(X)
    np.testing.assert_array_equal(resumed.score_samples(X), whole.score_samples(X))


@pytest.mark.parametrize("density", [AutoregressiveDensity(**QUICK), FlowDensity(device="cuda")])
def test_rows_stream(density, monkeypatch):
    monkeypatch.setattr(_sampling, "SAMPLE_ROWS", 600)
    monkeypatch.setattr(_shuffling, "BUFFER_ROWS", 800)
    X = levels(2000) * 1.0
    X[::7, 1] = np.nan if density._density_tags.missing else 1
    density = clone(density).set_params(max_epochs=3, random_state=0).fit(Parts(X, 700))
    assert density._module_device() == DEVICE
    assert np.isfinite(density.partial_fit(X[:300]).score_samples(X[:300])).all()


def test_accelerate_has_the_likelihood_of_one_process():
    pytest.importorskip("accelerate")
    X = levels()
    alone = AutoregressiveDensity(**QUICK).fit(X)
    shared = AutoregressiveDensity(**QUICK | {"device": "accelerate"}).fit(X)
    assert shared._module_device() == DEVICE
    assert abs(shared.score_samples(X).mean() - alone.score_samples(X).mean()) < 0.1
