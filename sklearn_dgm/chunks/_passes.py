"""Fits of a table that is read a chunk at a time, in passes over all rows that go on from a fit of a sample."""

import warnings
from abc import abstractmethod

from sklearn.exceptions import ConvergenceWarning


class FitInPassesMixin:
    """Models that learn from a sample of a table first, as from one in memory, and then from all rows, pass by pass."""

    def _fit_chunks(self, rows):
        Z, weight = rows.sample
        if len(Z) == rows.n_rows:  # the sample is the table
            self._fit(Z, weight)
            return
        with warnings.catch_warnings():
            # Whether the passes converge is what counts.
            warnings.simplefilter("ignore", ConvergenceWarning)
            self._fit(Z, weight)
        self._fit_in_passes(rows)

    @abstractmethod
    def _fit_in_passes(self, rows):
        """Go on from the fit of the sample; `rows` are :class:`~sklearn_dgm.chunks.EncodedChunks`."""
