"""Images that train and validate, with a first completion of what is missing, and beside labels that are streamed."""

import numpy as np

from sklearn_dgm._training.missing import TableSplits


class ImageSplits(TableSplits):
    """Splits of flat images, of which a class may be the last column; see :class:`TableSplits`."""

    def _completed_rows(self, member):
        """Complete the training images by pixels that others have at the same place, or anywhere."""
        train = self.indices(member)[0]
        if not self.has_gaps:
            return self.Z[train]
        if member not in self._completed:
            Z, rng = self.Z[train].copy(), np.random.default_rng([self.seed, member])
            missing = np.isnan(Z)
            anywhere = Z[:, : len(self.columns)][~missing[:, : len(self.columns)]]
            for z, gaps in zip(Z.T, missing.T, strict=True):
                z[gaps] = rng.choice(anywhere if gaps.all() else z[~gaps], gaps.sum())
            self._completed[member] = Z
        return self._completed[member]


class LabelledChunks:
    """Encoded images of a table that is read a chunk at a time, with their classes as the last column.

    Parameters
    ----------
    rows : EncodedChunks
        The images.
    label : ndarray of shape (n_samples,)
        Codes of the classes, of all images.
    """

    def __init__(self, rows, label):
        self.rows, self.label, self.n_rows = rows, label, rows.n_rows
        self.sample_positions = rows.sample_positions

    @property
    def sample(self):
        """Images of the sample, and their weights."""
        Z, weight = self.rows.sample
        return self._labelled(Z, self.sample_positions), weight

    def with_positions(self):
        """Yield images, weights and positions; see :class:`~sklearn_dgm.chunks.EncodedChunks`."""
        for Z, weight, positions in self.rows.with_positions():
            yield self._labelled(Z, positions), weight, positions

    def _labelled(self, Z, positions):
        return np.column_stack([Z, self.label[positions]])
