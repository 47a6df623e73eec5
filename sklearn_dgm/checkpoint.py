"""How a long fit is told to write down how far it is."""

from dataclasses import dataclass
from os import PathLike


@dataclass
class Checkpoint:
    """What lets a long fit of networks go on where a killed process left it.

    It stands in the parameter `callbacks` of an estimator that trains networks. The state of the training (weights,
    moments of the optimiser, learning rate, generators, the record) is written every few epochs, to a file that is
    replaced as a whole: whenever the process dies, the file is one or the other. What precedes training (splits,
    starts) is no part of it; a fit that goes on computes that again, from the same seed.

    Parameters
    ----------
    path : str or path-like
        The file, in a folder that exists; one for each fit. A fit that ends removes it, since the fitted estimator
        takes its place; one that fails, is interrupted or killed leaves it.
    every : int, default=10
        Epochs of a network, or of those that train as one stack, after which the file is written anew.
    resume : bool, default=False
        Whether `fit` goes on from the file; if there is none, it starts anew, so that a script may be run again as it
        is. With False a file of that name is replaced.

    Raises
    ------
    ValueError
        By `fit`: if `random_state` is no int, by which what precedes training is computed again; if the folder does
        not exist or cannot be written to, or `path` is a directory; with `resume`, if the file is damaged or of an
        unknown format, or of a fit with other parameters, other rows or on another kind of device.

    Warns
    -----
    UserWarning
        By `fit`, once: if the file can no longer be written, as on a full disk. Training goes on, and tries again.

    Notes
    -----
    A fit that goes on ends with the weights of one that was never killed, to the last bit on the same machine and
    releases. The file holds tensors and plain values alone; nothing in it is run when it is loaded. Further callbacks
    of skorch begin anew: what they hold themselves is not in the file, but for schedules of the learning rate. Of
    `partial_fit`, whose later calls are short, the first call alone writes and reads a file, as the fit that it is.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> from sklearn.datasets import load_iris
    >>> from sklearn_dgm import AutoregressiveDensity, Checkpoint
    >>> path = Path(tempfile.mkdtemp()) / "fit.checkpoint"
    >>> density = AutoregressiveDensity(
    ...     max_epochs=5, callbacks=[Checkpoint(path, every=2, resume=True)], random_state=0
    ... ).fit(load_iris().data)
    >>> path.exists()
    False
    """

    path: str | PathLike
    every: int = 10
    resume: bool = False
