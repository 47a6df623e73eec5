"""Checkpoints of a training: what further training depends on, in a file that is replaced as a whole."""

import hashlib
import io
import os
import tempfile
import threading
import warnings
from contextlib import contextmanager
from numbers import Integral
from pathlib import Path

import joblib
import torch

from sklearn_dgm._state import to_plain
from sklearn_dgm._validation import check_count, check_flag
from sklearn_dgm.checkpoint import Checkpoint
from sklearn_dgm.persistence import written_atomically

# What a file begins with; the last byte is the version of the format.
MAGIC = b"sklearn_dgm checkpoint\x01"
# Parameters that a fit that goes on may have other ones of; of callbacks, their types are compared.
FREE_PARAMS = {"callbacks", "device", "verbose"}


def checkpoint_of(callbacks):
    """Return the checkpoint among callbacks, or None, and the others.

    Parameters
    ----------
    callbacks : list or None
        The parameter of an estimator.

    Returns
    -------
    checkpoint : Checkpoint or None
        The one.
    others : list
        The callbacks of skorch.

    Raises
    ------
    ValueError
        If there are several, or it is wrong, or its file cannot be written.
    """
    callbacks = list(callbacks or [])
    found = [one for one in callbacks if isinstance(one, Checkpoint)]
    if not found:
        return None, callbacks
    if len(found) > 1:
        raise ValueError(f"callbacks holds {len(found)} Checkpoints; one fit has one.")
    (checkpoint,) = found
    check_count(checkpoint.every, "every of the Checkpoint")
    check_flag(checkpoint.resume, "resume of the Checkpoint")
    _check_can_be_written(checkpoint.path)
    return checkpoint, [one for one in callbacks if not isinstance(one, Checkpoint)]


def _check_can_be_written(path):
    """Refuse a path now rather than after the first epochs; a file that is there stays as it is."""
    path = Path(os.path.realpath(path))  # of a link, what is written
    if not path.parent.is_dir():
        raise ValueError(
            f"path of the Checkpoint is in a folder that does not exist: {path.parent}"
        )
    if path.is_dir():
        raise ValueError(f"path of the Checkpoint is a directory: {path}; name a file.")
    try:
        with tempfile.TemporaryFile(dir=path.parent):
            pass
    except OSError as error:
        raise ValueError(
            f"path of the Checkpoint is in a folder that cannot be written to, {path.parent}: {error}"
        ) from error


def fingerprint_of(estimator, splits, started):
    """Return what a fit has to have in common with the one that wrote a checkpoint.

    Parameters
    ----------
    estimator : estimator instance
        With a `schema_`.
    splits : Splits
        The rows, or a sample of them, and where the fit computes.
    started : list of nn.Module
        Modules that the fit continues from.

    Returns
    -------
    fingerprint : dict of str
        By what people call it.
    """
    params = estimator.get_params(deep=True)
    if not isinstance(params["random_state"], Integral):
        raise ValueError(
            "A Checkpoint needs an int for random_state, by which what precedes training is computed again; got "
            f"{params['random_state']!r}."
        )
    _, others = checkpoint_of(params["callbacks"])
    parts = {f"the parameter {k}": v for k, v in params.items() if k not in FREE_PARAMS}
    parts["callbacks"] = [type(one).__qualname__ for one in others]
    parts["the number of rows"] = splits.n_train + splits.n_valid
    parts["the rows or their columns"] = splits.Z, to_plain(estimator.schema_)
    parts["the weights of the rows"] = splits.weight
    parts["weights to start from"] = [
        {name: tensor.cpu().numpy() for name, tensor in module.state_dict().items()}
        for module in started
    ]
    return {name: joblib.hash(part) for name, part in parts.items()} | {
        "device": splits.device.type
    }


class SavedTraining:
    """The states of what a fit trains, in memory and in a file.

    Parameters
    ----------
    checkpoint : Checkpoint
        The file, and whether to go on from it.
    fingerprint : dict of str
        See :func:`fingerprint_of`.
    device : torch.device
        Where tensors are to be.
    writes : bool, default=True
        Whether it is this process that writes the file.
    """

    def __init__(self, checkpoint, fingerprint, device, writes=True):
        self.path, self.every = Path(checkpoint.path), checkpoint.every
        self.fingerprint, self.device, self.writes = fingerprint, device, writes
        self._lock, self._has_warned = threading.Lock(), False
        self._parts = {}
        if checkpoint.resume and self.path.exists():
            self._parts = self._read()

    def state_of(self, key):
        """Return a state that was kept, or None."""
        part = self._parts.get(key)
        if part is None:
            return None
        return torch.load(io.BytesIO(part.numpy()), map_location=self.device, weights_only=True)

    def keep(self, key, state):
        """Keep a state, of tensors and plain values, and write the file with those of the others."""
        if not self.writes:
            return
        part = torch.frombuffer(bytearray(_bytes_of(state)), dtype=torch.uint8)
        with self._lock:
            self._parts[key] = part
            with self._warning_once():
                self._write()

    def remove(self):
        """Remove the file, of a fit that has ended."""
        if self.writes:
            with self._warning_once():
                self.path.unlink(missing_ok=True)

    @contextmanager
    def _warning_once(self):
        """Warn, if the file can no longer be written or removed, for which no training is to be lost."""
        try:
            yield
        except OSError as error:
            if self._has_warned:
                return
            self._has_warned = True
            warnings.warn(
                f"The checkpoint {self.path} could not be written or removed: {error}. Training goes on, and the file is "
                f"tried again every {self.every} epochs; if the process is killed before, what was written last is "
                "resumed. Free space on the disk, or make the folder writable.",
                UserWarning,
                stacklevel=2,
            )

    def _write(self):
        body = _bytes_of({"fingerprint": self.fingerprint, "parts": self._parts})
        with written_atomically(self.path) as file:
            for block in (MAGIC, hashlib.sha256(body).digest(), body):
                file.write(block)

    def _read(self):
        content = self.path.read_bytes()
        name = f"the checkpoint {self.path}"
        if content[: len(MAGIC)] != MAGIC:
            raise ValueError(f"{name} is no checkpoint of a format that this release knows.")
        content = memoryview(content)[len(MAGIC) :]
        if hashlib.sha256(content[32:]).digest() != content[:32]:
            raise ValueError(f"{name} is damaged; remove it to start anew.")
        saved = torch.load(io.BytesIO(content[32:]), map_location="cpu", weights_only=True)
        differing = [
            name
            for name in sorted({*saved["fingerprint"], *self.fingerprint})
            if saved["fingerprint"].get(name) != self.fingerprint.get(name)
        ]
        if differing:
            raise ValueError(
                f"{name} is of a fit in which {', '.join(differing)} differed; remove it, or set resume=False, to start "
                "anew."
            )
        return saved["parts"]


def _bytes_of(state):
    buffer = io.BytesIO()
    torch.save(state, buffer)
    return buffer.getvalue()


class Saver:
    """Keeps the state of one training, of a module or a stack, every few epochs.

    Parameters
    ----------
    saved : SavedTraining
        Where.
    key : int
        Which training.
    monitors : list of Monitor
        Of each module one.
    generators : list of torch.Generator
        Of each module one.
    train : WeightedRows
        The rows that train.
    lead : StackMonitor, default=None
        The one that leads the monitors of a stack.
    """

    def __init__(self, saved, key, monitors, generators, train, lead=None):
        self.saved, self.key = saved, key
        self.monitors, self.generators, self.train = monitors, list(generators), train
        self.lead = lead

    def resume(self, net):
        """Go on from a kept state, if there is one.

        Parameters
        ----------
        net : RowNet
            The net, at the beginning of its training.

        Returns
        -------
        n_left : int or None
            Number of epochs that are left; None if training ended before them.
        """
        self.n_left, state = net.max_epochs, self.saved.state_of(self.key)
        if state is None:
            return self.n_left
        for monitor, of_monitor in zip(self.monitors, state["monitors"], strict=True):
            monitor.set_training_state(of_monitor)
        if state["is_over"]:
            return state["n_left"]
        if self.lead is not None:
            self.lead.keep(net, state["staying"])
        net.set_training_state(state["net"])
        self.train.set_training_state(state["rows"])
        for generator, of_generator in zip(self.generators, state["generators"], strict=True):
            generator.set_state(of_generator.cpu())
        self.n_left = state["n_left"]
        return self.n_left

    def after_epoch(self, net):
        """Keep the state, if it is time to."""
        self.n_left -= 1
        if (net.max_epochs - self.n_left) % self.saved.every == 0:
            staying = None
            if self.lead is not None:
                staying = [self.monitors.index(monitor) for monitor in self.lead.monitors]
            self._keep(
                is_over=False,
                n_left=self.n_left,
                staying=staying,
                net=net.training_state(),
                rows=self.train.training_state(),
                generators=[generator.get_state() for generator in self.generators],
            )

    def end(self, n_left):
        """Keep what came of a training that has ended; `n_left` is 0, or None if it ended before all its epochs."""
        self._keep(is_over=True, n_left=n_left)

    def _keep(self, **state):
        monitors = [monitor.training_state() for monitor in self.monitors]
        self.saved.keep(self.key, {"monitors": monitors, **state})
