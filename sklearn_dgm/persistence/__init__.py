"""Models as files, in which nothing is pickled."""

from sklearn_dgm.persistence._atomic import written_atomically
from sklearn_dgm.persistence._estimators import SaveMixin, load, save
from sklearn_dgm.persistence._format import ModelFileError

__all__ = ["ModelFileError", "SaveMixin", "load", "save", "written_atomically"]
