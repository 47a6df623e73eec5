"""Estimators in files."""

import os
import warnings
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import sklearn
from sklearn.base import BaseEstimator
from sklearn.exceptions import InconsistentVersionWarning
from sklearn.utils.validation import check_is_fitted

import sklearn_dgm
from sklearn_dgm._state import Reader, Stateful, Writer, made, name_of
from sklearn_dgm.persistence import _kinds  # noqa: F401  which registers plain forms
from sklearn_dgm.persistence._atomic import written_atomically
from sklearn_dgm.persistence._format import ModelFileError, packed, unpacked


class SaveMixin(Stateful):
    """Mixin of estimators that are saved to a file; see :func:`sklearn_dgm.load`."""

    def save(self, path: str | os.PathLike[str]) -> None:
        """Save the fitted estimator to a file, which :func:`sklearn_dgm.load` reads.

        Nothing in it is pickled: parameters and what `fit` has learnt are JSON, arrays are safetensors. It takes the
        place of an older file as a whole, or that one stays as it was.

        Parameters
        ----------
        path : str or PathLike
            The file.

        Raises
        ------
        NotFittedError
            If the estimator is not fitted.
        TypeError
            If a parameter, or what `fit` has learnt, has no plain form, such as a function, a callback or an object of
            a class that no file may name. The message names it, and nothing is written.
        OSError
            If the file cannot be written.

        See Also
        --------
        sklearn_dgm.load : Load it.
        """
        save(self, path)


def save(estimator: Any, path: str | os.PathLike[str]) -> None:
    """Save a fitted estimator to a file, which :func:`load` reads.

    Densities, generators and meta-estimators of this package have a method `save`, which does the same. This function
    also takes those of scikit-learn that may be in a file, such as a pipeline or a search around densities.

    Parameters
    ----------
    estimator : estimator
        A fitted estimator of this package, or of the rooms of scikit-learn that docs/persistence.md names.
    path : str or PathLike
        The file. An older one is replaced as a whole, or stays as it was.

    Raises
    ------
    NotFittedError
        If the estimator is not fitted.
    TypeError
        If it is no estimator, or of a class that no file may name, or if a parameter, or what `fit` has learnt, has no
        plain form, such as a function or a scorer. The message names it, and nothing is written.
    OSError
        If the file cannot be written.

    See Also
    --------
    sklearn_dgm.load : Load it.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> import sklearn_dgm
    >>> from sklearn.datasets import load_iris
    >>> from sklearn.model_selection import GridSearchCV
    >>> X = load_iris().data
    >>> search = GridSearchCV(sklearn_dgm.MixtureDensity(random_state=0), {"n_components": [1, 3]}).fit(X)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     sklearn_dgm.save(search, Path(folder, "search.dgm"))
    ...     again = sklearn_dgm.load(Path(folder, "search.dgm"))
    >>> again.best_params_ == search.best_params_, again.score(X) == search.score(X)
    (True, True)
    """
    check_is_fitted(estimator)
    writer = Writer()
    header = {"versions": _versions(), "class": name_of(type(estimator))}
    if isinstance(estimator, SaveMixin):
        header |= {
            "parameters": writer.parameters(estimator),
            "learnt": writer.learnt(estimator),
        }
    else:
        header["estimator"] = writer.plain(estimator, "")
    data = packed(header)
    with written_atomically(path) as file:
        file.write(data)


def load(path: str | os.PathLike[str], *, trusted: Iterable[type] = ()) -> Any:
    """Load an estimator that was saved to a file, by its method `save` or by :func:`save`.

    Scores, and draws with a seed, are those of the estimator that was saved, to the last bit with the same versions of
    the libraries on the same kind of machine. A file can come from a stranger: no code in it is run, and no class is
    made but those of this package, of some rooms of scikit-learn, and those that are trusted.

    Parameters
    ----------
    path : str or PathLike
        The file.
    trusted : iterable of classes, default=()
        Classes from elsewhere that may be made: those of your own densities, and of the objects that these hold. A file
        names them by module and name, and imports nothing itself.

    Returns
    -------
    estimator : estimator
        The fitted estimator. A network is on the device that the parameter `device` names if there is one, else on the
        CPU; the parameter stays as it was.

    Raises
    ------
    ModelFileError
        If there is no file of an estimator, it was truncated or altered, is of a later format, or names what may not be
        made. It is a ValueError.
    OSError
        If the file is not there or cannot be read.

    Warns
    -----
    InconsistentVersionWarning
        If there are estimators of scikit-learn in it, and scikit-learn is of another release than when it was saved.

    See Also
    --------
    sklearn_dgm.save : Save it.
    sklearn_dgm.ModelFileError : What is raised.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> import numpy as np
    >>> import sklearn_dgm
    >>> X = np.random.default_rng(0).normal(size=(100, 2))
    >>> density = sklearn_dgm.HistogramDensity(alpha=0.1).fit(X)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     density.save(Path(folder, "density.dgm"))
    ...     again = sklearn_dgm.load(Path(folder, "density.dgm"))
    >>> np.array_equal(again.score_samples(X), density.score_samples(X))
    True
    """
    given, path = trusted, Path(path)
    trusted = list(given) if isinstance(given, Iterable) else [given]
    if isinstance(given, type) or not all(isinstance(one, type) for one in trusted):
        raise TypeError(f"trusted should be a list of classes, got {given!r}.")
    if path.is_dir():
        raise ModelFileError(f"{path} cannot be loaded: it is a directory.")
    data = path.read_bytes()
    try:
        header = unpacked(data)
        estimator = _estimator(header, Reader(trusted))
        said = header["versions"]["scikit-learn"]
    except ModelFileError as error:
        raise ModelFileError(f"{path} cannot be loaded: {error}") from None
    except Exception as error:  # whoever made the file may have wanted any
        reason = f"{type(error).__name__}: {error}"
        raise ModelFileError(
            f"{path} cannot be loaded: this release makes no estimator of what it holds: {reason:.500}"
        ) from error
    if said != sklearn.__version__ and "sklearn." in str(header):
        warnings.warn(
            InconsistentVersionWarning(
                estimator_name=type(estimator).__name__,
                current_sklearn_version=sklearn.__version__,
                original_sklearn_version=said,
            ),
            stacklevel=2,
        )
    return estimator


def _versions():
    """Return the releases that a file is written with."""
    return {
        "sklearn-dgm": sklearn_dgm.__version__,
        "scikit-learn": sklearn.__version__,
        "numpy": np.__version__,
    }


def _estimator(header, reader):
    if "estimator" in header:
        estimator = reader.value(header["estimator"])
        if not isinstance(estimator, BaseEstimator):
            raise ValueError(f"a {type(estimator).__name__} is no estimator.")
        return estimator
    one = reader.class_of(header["class"])
    if not issubclass(one, SaveMixin):
        raise ValueError(f"{one.__name__} is no estimator that is saved.")
    state = reader.attributes(one, header["parameters"])
    return made(one, state | reader.attributes(one, header["learnt"]))
