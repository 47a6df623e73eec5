"""Images that train and validate, with a first completion of what is missing."""

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
