"""Images of classes: labels in `fit`, classes that are summed out, and Bayes' rule."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import logsumexp, softmax
from sklearn.utils.metaestimators import available_if
from sklearn.utils.multiclass import type_of_target
from sklearn.utils.validation import check_consistent_length, column_or_1d

from sklearn_dgm._classes.labels import check_labels
from sklearn_dgm._training.splits import as_counts
from sklearn_dgm._typing import MatrixLike
from sklearn_dgm.nn.completion import N_PARTICLES


def _has_classes(density):
    return getattr(density, "classes_", None) is not None


class ClassesMixin:
    """Mixin of a density of images with `classes_`, which in the rows of its module are the last column.

    It stands before :class:`~sklearn_dgm._training.marginals.EstimatedMarginalsMixin`.
    """

    # Weights of the classes in the images of all calls; none of models of files that did not keep them.
    _class_counts: Any = 0.0

    def _read_labels(self, y, n_samples, sample_weight):
        """Return the codes of the classes of images, NaN of those without weight; None without any labels."""
        weight = np.ones(n_samples) if sample_weight is None else np.asarray(sample_weight)
        counted, classes, label = weight > 0, None, None
        if y is not None:
            check_consistent_length(range(n_samples), y)
            y = np.asarray(y)[counted]
            if y.ndim == 1:  # before its type is asked for, which a missing label hides
                check_labels(y, "each image should have a label, or none")
            if y.dtype == object:
                y = np.asarray(y.tolist())
        if y is not None and type_of_target(y) in ("binary", "multiclass"):
            y = column_or_1d(y)
            classes = self.classes_ if self._continues() else np.unique(y)
            advice = f"; {self._way_to_start_anew()}" if self._continues() else ""
            codes = _codes_of(y, classes, advice)
            label = np.full(n_samples, np.nan)
            label[counted] = codes
        if self._continues() and (classes is None) != (self.classes_ is None):
            raise ValueError(
                f"{self._continued_by()} continues with labels, or without, as before."
            )
        self.classes_ = classes
        if label is not None:
            before = self._class_counts if self._is_further_part() else 0.0
            of_call = np.bincount(codes, as_counts(weight[counted]), len(classes))
            self._class_counts = before + of_call
        return label

    def _class_shares(self, splits, member):
        """Return the shares of the classes, of training images or of those of all calls; empty without labels."""
        if self.classes_ is None:
            return ()
        counts = self._class_counts + 1
        if splits.streamed is None and not self._is_further_part():
            train = splits.indices(member)[0]
            label, weight = splits.Z[train, -1].astype(int), splits.counts[train]
            counts = np.bincount(label, weight, len(self.classes_)) + 1
        return tuple((counts / counts.sum()).tolist())

    def _whole(self, Z):
        """Return encoded images with a class that is not known, where they have one."""
        return Z if self.classes_ is None else np.pad(Z, ((0, 0), (0, 1)), constant_values=np.nan)

    @available_if(_has_classes)
    def predict_proba(self, X: MatrixLike) -> NDArray[np.float64]:
        """Compute the probabilities of the classes of images, by Bayes' rule.

        Available where `fit` had labels.

        Parameters
        ----------
        X : {array-like, DataFrame} of shape (n_samples, n_features)
            Flat images; pixels may be missing. A table larger than memory is read a chunk at a time.

        Returns
        -------
        probabilities : ndarray of shape (n_samples, n_classes)
            In the order of `classes_`; estimates where pixels are missing. Of an image that no class can have, those of
            the classes without an image.
        """
        if self._is_chunked(X):
            n_classes = len(self.classes_)
            return self._by_chunk(X, self.predict_proba, of_none=np.empty((0, n_classes)))
        log_p = self._log_joint(self._encode(X)[0])
        log_p[np.isneginf(log_p).all(axis=1)] = np.log(self._module.members[0].class_shares)
        return softmax(log_p, axis=1)

    def _log_joint(self, Z):
        """Return log-densities of the observed pixels together with each class, of shape (n_samples, n_classes)."""
        log_p = np.empty((len(Z), len(self.classes_)))
        for part in self._whole_completions(Z, N_PARTICLES, of_observed=True):
            for k in range(log_p.shape[1]):
                of_class = np.where(part.z[..., -1] == k, part.log_weight, -np.inf)
                log_p[part.rows, k] = logsumexp(of_class, axis=1)
        return log_p

    @available_if(_has_classes)
    def predict(self, X: MatrixLike) -> NDArray[Any]:
        """Return the most probable class of each image; see :meth:`predict_proba`.

        Available where `fit` had labels.

        Parameters
        ----------
        X : {array-like, DataFrame} of shape (n_samples, n_features)
            Flat images; pixels may be missing. A table larger than memory is read a chunk at a time.

        Returns
        -------
        y : ndarray of shape (n_samples,)
            Labels.
        """
        if self._is_chunked(X):
            return self._by_chunk(X, self.predict, of_none=self.classes_[:0])
        return self.classes_[self.predict_proba(X).argmax(axis=1)]

    def _codes(self, y, n_samples):
        """Return the codes of the classes that images are to have, as floats; None where they are to be drawn."""
        if y is None:
            return None
        if self.classes_ is None:
            raise ValueError("y is for densities that were fitted with labels.")
        y = np.asarray(y)
        if y.ndim and y.shape != (n_samples,):
            raise ValueError(
                f"y should be one label, or one for each image, of shape ({n_samples},); got {y.shape}."
            )
        return _codes_of(np.broadcast_to(y, (n_samples,)), self.classes_).astype(np.float64)


def _codes_of(y, classes, advice=""):
    """Return the positions of labels among the classes; refuse others, and say what to do."""
    is_known = np.isin(y, classes)
    if not is_known.all():
        raise ValueError(
            f"y holds {y[~is_known].tolist()[0]!r}, which is none of the classes {classes.tolist()}{advice}."
        )
    return np.searchsorted(classes, y)
