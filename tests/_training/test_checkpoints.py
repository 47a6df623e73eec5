"""A fit that is killed goes on from its checkpoint, and ends as if nothing had happened."""

import errno
import json
import os
import re
import signal
import subprocess
import sys
from itertools import pairwise

import numpy as np
import pytest
import torch
from sklearn.base import clone

from sklearn_dgm import (
    AutoregressiveDensity,
    AutoregressiveSequenceDensity,
    BayesianNetworkDensity,
    Checkpoint,
    ContinuousMixtureDensity,
    EnergyDensity,
    MixtureDensity,
    PixelCNNDensity,
    TabularGAN,
    VariationalAutoencoderDensity,
)
from sklearn_dgm._training import checkpoints
from sklearn_dgm._training.trainer import Trainer
from tests._training import killed
from tests._training.interrupted import Interrupted, interrupt
from tests._training.toy import ToyDensity


@pytest.fixture(scope="module")
def fits(tmp_path_factory):
    """What came of fits that were killed, and of those that were not."""
    folder = tmp_path_factory.mktemp("fits")
    command = [sys.executable, "-m", "tests._training.killed", folder]
    subprocess.run(command, check=True, env={**os.environ, "OMP_NUM_THREADS": "1"})
    return folder


def epochs_of_processes(folder):
    """The epochs that each process came to, by member and setting."""
    processes = []
    for line in (folder / "epochs").read_text().splitlines():
        told = json.loads(line)
        if told is None:
            processes.append({})
        else:
            *which, epoch = told
            processes[-1].setdefault(tuple(which), []).append(epoch)
    return processes


@pytest.mark.parametrize("name", killed.FITS)
def test_a_fit_that_is_killed_ends_as_if_it_were_not(name, fits):
    whole, parts = fits / name / "whole", fits / name / "parts"
    assert json.loads((fits / name / "signals").read_text()) == [signal.SIGKILL] * killed.N_KILLS
    processes = epochs_of_processes(parts)
    assert any(epochs[0] > 1 for process in processes for epochs in process.values())
    for before, after in pairwise(processes):
        for which in before.keys() & after.keys():
            assert after[which][0] > before[which][-1] - killed.EVERY
    assert not (parts / "fit.checkpoint").exists()
    assert (parts / "records").read_text() == (whole / "records").read_text()
    np.testing.assert_array_equal(*(np.load(of / "scores.npy") for of in (parts, whole)))


def weights_of(density):
    return {k: v.numpy() for k, v in density.net_.module_.state_dict().items()}


def assert_same_fit(one, other):
    for mine, its in zip(weights_of(one).values(), weights_of(other).values(), strict=True):
        np.testing.assert_array_equal(mine, its)
    assert len(one.history_) == len(other.history_)


@pytest.fixture
def X():
    return np.random.default_rng(0).normal(size=(150, 2))


@pytest.fixture
def checkpoint(tmp_path):
    return Checkpoint(tmp_path / "fit.checkpoint", every=2, resume=True)


class LikeInterrupted(torch.optim.AdamW):
    """The optimizer of :class:`Interrupted`, which is not interrupted."""


@pytest.mark.parametrize(
    "estimator",
    [
        ToyDensity(n_members=2, max_epochs=9),
        VariationalAutoencoderDensity(1, (4,), max_epochs=9, random_state=0),
        TabularGAN(hidden_layer_sizes=(8,), max_epochs=9, random_state=0),
        AutoregressiveDensity((4,), n_orders=1, max_epochs=9, random_state=0, effort="fast"),
    ],
    ids=lambda estimator: type(estimator).__name__,
)
def test_all_that_training_changes_is_kept(estimator, X, checkpoint, monkeypatch):
    # What Ctrl-C interrupts goes on, too; the record of parameters takes both optimizers for one.
    monkeypatch.setattr(checkpoints, "FREE_PARAMS", {*checkpoints.FREE_PARAMS, "net_params"})
    whole = clone(estimator).set_params(net_params={"optimizer": LikeInterrupted}).fit(X)
    parts = clone(estimator).set_params(callbacks=[checkpoint])
    interrupt(parts, X, at=230 if isinstance(estimator, TabularGAN) else 40)
    assert checkpoint.path.exists()
    assert not hasattr(parts, "net_")
    parts.set_params(net_params={"optimizer": LikeInterrupted}).fit(X)
    assert not checkpoint.path.exists()
    assert_same_fit(parts, whole)


def left_over(X, checkpoint, **params):
    """Leave a checkpoint of a fit that was interrupted."""
    density = ToyDensity(callbacks=[checkpoint], max_epochs=9, **params)
    interrupt(density, X, at=30)
    return density.set_params(net_params={"optimizer": Interrupted})


@pytest.mark.parametrize(
    ("change", "what"),
    [
        (lambda density, X: density.set_params(lr=0.1).fit(X), "the parameter lr differed"),
        (lambda density, X: density.fit(X[1:]), "the number of rows, .*the rows or their columns"),
        (lambda density, X: density.fit(2 * X), "the rows or their columns differed"),
        (
            lambda density, X: density.fit(X, sample_weight=np.arange(1, 151)),
            "the weights of the rows differed",
        ),
    ],
)
def test_another_fit_is_refused(change, what, X, checkpoint):
    density = left_over(X, checkpoint)
    content = checkpoint.path.read_bytes()
    with pytest.raises(ValueError, match=what):
        change(density, X)
    assert checkpoint.path.read_bytes() == content
    assert not hasattr(density, "net_")


@pytest.mark.parametrize("cut", [slice(None, -1), slice(None, 40), slice(0), slice(1, None)])
def test_a_damaged_file_is_refused(cut, X, checkpoint):
    density = left_over(X, checkpoint)
    checkpoint.path.write_bytes(checkpoint.path.read_bytes()[cut])
    with pytest.raises(
        ValueError, match=r"the checkpoint .*fit.checkpoint is (damaged|no checkpoint)"
    ):
        density.fit(X)


def test_every_flipped_byte_is_noticed(X, checkpoint):
    density = left_over(X, checkpoint)
    content = checkpoint.path.read_bytes()
    for place in np.linspace(0, len(content) - 1, 20).astype(int):
        flipped = bytearray(content)
        flipped[place] ^= 1
        checkpoint.path.write_bytes(flipped)
        with pytest.raises(ValueError, match="is damaged|is no checkpoint"):
            density.fit(X)


def test_without_resume_a_fit_starts_anew(X, checkpoint):
    left_over(X, checkpoint)
    anew = Checkpoint(checkpoint.path, every=2)
    density = ToyDensity(callbacks=[anew], max_epochs=9).fit(X)
    assert_same_fit(density, ToyDensity(max_epochs=9).fit(X))


def test_a_write_that_fails_leaves_the_file_before(X, checkpoint, monkeypatch):
    left_over(X, checkpoint)
    content = checkpoint.path.read_bytes()
    monkeypatch.setattr(checkpoints.os, "fsync", lambda _: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        ToyDensity(callbacks=[Checkpoint(checkpoint.path, every=1)], max_epochs=9).fit(X)
    assert checkpoint.path.read_bytes() == content
    assert list(checkpoint.path.parent.iterdir()) == [checkpoint.path]


def test_a_full_disk_is_warned_of_once_and_costs_no_training(X, checkpoint, monkeypatch):
    checkpoint.path.write_bytes(b"of before")

    def fail(*args):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(checkpoints.os, "fsync", fail)
    density = ToyDensity(callbacks=[Checkpoint(checkpoint.path, every=1)], max_epochs=9)
    message = "The checkpoint .*No space left on device.*Free space"
    with pytest.warns(UserWarning, match=message) as told:
        density.fit(X)
    assert len([one for one in told if re.match(message, str(one.message))]) == 1
    assert_same_fit(density, ToyDensity(max_epochs=9).fit(X))


@pytest.mark.parametrize("resume", [False, True])
def test_a_path_that_cannot_be_written_is_refused_before_training(resume, X, tmp_path, monkeypatch):
    monkeypatch.setattr(Trainer, "train", None)
    density = ToyDensity(callbacks=[Checkpoint(tmp_path, resume=resume)])
    with pytest.raises(ValueError, match="path of the Checkpoint is a directory"):
        density.fit(X)

    def fail(*args, dir):
        raise PermissionError(errno.EACCES, "Permission denied", str(dir))

    monkeypatch.setattr(checkpoints.tempfile, "TemporaryFile", fail)
    density = ToyDensity(callbacks=[Checkpoint(tmp_path / "a", resume=resume)])
    with pytest.raises(
        ValueError, match="path of the Checkpoint .* cannot be written to, .*denied"
    ):
        density.fit(X)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root writes anywhere")
def test_a_folder_without_the_right_to_write_is_refused(X, tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(ValueError, match="path of the Checkpoint .* cannot be written to"):
        ToyDensity(callbacks=[Checkpoint(tmp_path / "a")]).fit(X)


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"random_state": None}, "needs an int for random_state"),
        ({"callbacks": [Checkpoint("a"), Checkpoint("b")]}, "holds 2 Checkpoints"),
        ({"callbacks": [Checkpoint("a", every=0)]}, "every of the Checkpoint should be a positive"),
        ({"callbacks": [Checkpoint("a", resume=1)]}, "resume of the Checkpoint should be True"),
        (
            {"callbacks": [Checkpoint("no such folder/a")]},
            "a folder that does not exist: .*such folder",
        ),
    ],
)
def test_wrong_checkpoints_are_refused(params, message, X, tmp_path):
    density = ToyDensity(callbacks=[Checkpoint(tmp_path / "a")]).set_params(**params)
    with pytest.raises(ValueError, match=message):
        density.fit(X)


def test_a_warm_start_is_not_that_of_another_model(X, checkpoint):
    density = ToyDensity(warm_start=True).fit(X)
    interrupt(density.set_params(callbacks=[checkpoint], max_epochs=9), X, at=30)
    assert checkpoint.path.exists()
    other = ToyDensity(warm_start=True, random_state=1).fit(X)
    other.set_params(callbacks=[checkpoint], max_epochs=9, net_params=None)
    with pytest.raises(ValueError, match="weights to start from"):
        other.fit(X)


@pytest.mark.parametrize(
    "estimator",
    [
        ToyDensity(max_epochs=2),
        AutoregressiveDensity((4,), n_orders=2, max_epochs=2, effort="fast", dropout=0.1),
        AutoregressiveSequenceDensity(hidden_size=4, max_epochs=2),
        BayesianNetworkDensity([(0, 1)], hidden_layer_sizes=(4,), max_epochs=2),
        ContinuousMixtureDensity(1, max_epochs=2, n_points=4, n_points_fit=4),
        EnergyDensity(MixtureDensity(1, "gaussian"), max_epochs=2, hidden_layer_sizes=(4,)),
        PixelCNNDensity((1, 2), n_channels=2, n_layers=1, max_epochs=2),
        TabularGAN(hidden_layer_sizes=(4,), max_epochs=2),
        VariationalAutoencoderDensity(1, (4,), max_epochs=2),
    ],
    ids=lambda estimator: type(estimator).__name__,
)
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_further_rows_that_are_interrupted_leave_no_file(estimator, X, checkpoint):
    checkpoint.every = 1
    density = clone(estimator).set_params(callbacks=[checkpoint], random_state=0)
    before = density.fit(X).history_
    at = 120 if isinstance(estimator, TabularGAN) else 25
    interrupt(density, X[:100] + 0.1, at=at, method="partial_fit")
    assert len(density.history_) == len(before)
    assert not checkpoint.path.exists()
    # The script is run again as it is.
    assert len(clone(density).fit(X).history_) == len(before)


def test_further_rows_leave_the_file_of_another_fit_alone(X, checkpoint):
    density = left_over(X, checkpoint)
    content = checkpoint.path.read_bytes()
    other = ToyDensity().fit(X).set_params(callbacks=[checkpoint])
    alike = clone(other).set_params(callbacks=None).fit(X).partial_fit(X + 1)
    assert_same_fit(other.partial_fit(X + 1), alike)
    assert checkpoint.path.read_bytes() == content
    density.fit(X)
    assert not checkpoint.path.exists()


def test_the_first_rows_are_those_of_a_fit(X, checkpoint):
    whole = ToyDensity(max_epochs=9, net_params={"optimizer": Interrupted})
    density = clone(whole).set_params(callbacks=[checkpoint])
    interrupt(density, X, at=30, method="partial_fit")
    assert checkpoint.path.exists()
    density.set_params(net_params={"optimizer": Interrupted}).partial_fit(X)
    assert not checkpoint.path.exists()
    assert_same_fit(density, whole.fit(X))
