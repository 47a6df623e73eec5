"""The road between a user's matrix of counts, dense or sparse, and the sparse one that a model works on."""

import functools
import hashlib
from typing import Any, Self

import narwhals as nw
import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import sparse
from scipy.special import gammaln

from sklearn_dgm._sklearn import safe_indexing
from sklearn_dgm._state import Stateful
from sklearn_dgm.chunks import RowsSummary
from sklearn_dgm.columns import is_frame
from sklearn_dgm.columns._building import fill, part_of, template_of
from sklearn_dgm.columns._reading import raw_columns
from sklearn_dgm.columns._values import as_float


class Counts:
    """Documents as rows of a sparse matrix of whole numbers.

    Parameters
    ----------
    matrix : csr_array of shape (n_documents, n_words)
        Positive float64 counts, those of a document sorted by word.
    """

    def __init__(self, matrix: Any) -> None:
        self.matrix = matrix

    def __len__(self):
        return self.matrix.shape[0]

    def __getitem__(self, rows):
        return Counts(self.matrix[rows])

    @functools.cached_property
    def lengths(self):
        """Number of words of each document, of shape (n_documents,)."""
        return np.asarray(self.matrix.sum(axis=1)).ravel()

    def log_orders(self):
        """Return the logarithms of the numbers of orders in which the words may stand, of shape (n_documents,)."""
        of_words = self.matrix.copy()
        of_words.data = gammaln(of_words.data + 1)
        return gammaln(self.lengths + 1) - np.asarray(of_words.sum(axis=1)).ravel()

    def document(self, i):
        """Return the words of a document, as indices in increasing order, and how often each occurs."""
        of = slice(*self.matrix.indptr[i : i + 2])
        return self.matrix.indices[of], self.matrix.data[of]

    def key(self, i):
        """Return a number of 128 bits that follows from the words of a document alone."""
        words, counts = self.document(i)
        content = words.astype(np.int64).tobytes() + counts.tobytes()
        return int.from_bytes(hashlib.blake2b(content, digest_size=16).digest(), "little")

    def distinct(self):
        """Return the distinct documents, in an order that does not depend on that of the rows.

        Returns
        -------
        documents : Counts
            One of each.
        place : ndarray of int of shape (n_documents,)
            Which of them each document is.
        """
        keys = np.array([self.key(i) for i in range(len(self))], dtype=object)
        _, first, place = np.unique(keys, return_index=True, return_inverse=True)
        return self[first], place


class CountSchema(Stateful):
    """Container and dtypes of a matrix of counts, and the way there and back.

    Attributes
    ----------
    n_words_ : int
        Number of columns.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_dgm.topic._counts import CountSchema
    >>> schema = CountSchema().fit(np.array([[2, 0, 1]]))
    >>> Z, log_det = schema.encode(np.array([[0, 3, 0]]))
    >>> Z.document(0), schema.decode(Z)
    ((array([1]...), array([3.])), array([[0, 3, 0]]))
    """

    def fit(self, X: Any, sample_weight: ArrayLike | None = None) -> Self:
        """Learn the container.

        Parameters
        ----------
        X : {ndarray, DataFrame, sparse matrix} of shape (n_documents, n_words)
            Counts.
        sample_weight : ndarray of shape (n_documents,), default=None
            Not used.

        Returns
        -------
        self : CountSchema
            The fitted schema.
        """
        self.n_words_ = X.shape[1]
        if sparse.issparse(X):
            self._container = "sparse array" if isinstance(X, sparse.sparray) else "sparse matrix"
            self._template = X.dtype
        else:
            self._container, self._template = "table", template_of(X)
        return self

    def encode(self, X: Any) -> tuple[Counts, NDArray[np.float64]]:
        """Turn counts into a sparse matrix.

        Parameters
        ----------
        X : {ndarray, DataFrame, sparse matrix} of shape (n_documents, n_words)
            Counts.

        Returns
        -------
        Z : Counts
            The documents.
        log_det : ndarray of shape (n_documents,)
            Zeros: probabilities have no units.

        Raises
        ------
        ValueError
            If a cell is missing, infinite, negative or no whole number; the message names row and column.
        """
        matrix = sparse.csr_array(X if sparse.issparse(X) else _numbers(X), dtype=np.float64)
        if not matrix.has_canonical_format:
            matrix = matrix.copy()  # or that of the user would be sorted
            matrix.sum_duplicates()
        _check_whole(matrix, list(X.columns) if is_frame(X) else range(self.n_words_))
        if not matrix.data.all():
            matrix = matrix.copy()
            matrix.eliminate_zeros()
        return Counts(matrix), np.zeros(X.shape[0])

    def decode(self, Z: Counts) -> Any:
        """Turn documents back into a container like the fitted one.

        Parameters
        ----------
        Z : Counts
            Documents.

        Returns
        -------
        X : {ndarray, DataFrame, csr_matrix, csr_array} of shape (n_documents, n_words)
            Counts, with the dtypes of `fit`.
        """
        if self._container == "table":
            columns = [functools.partial(part_of, z, None) for z in Z.matrix.toarray().T]
            return fill(self._template, columns, len(Z))
        of = sparse.csr_array if self._container == "sparse array" else sparse.csr_matrix
        dtype, data = self._template, Z.matrix.data
        if dtype.kind in "iu":
            data = np.minimum(data, np.iinfo(dtype).max)
        return of((data.astype(dtype), Z.matrix.indices, Z.matrix.indptr), shape=Z.matrix.shape)

    def check_alike(self, schema: Any, X: Any, sample_weight: ArrayLike | None = None) -> Any:
        """Check that a fitted schema can stand in for this one.

        Parameters
        ----------
        schema : CountSchema
            A fitted schema.
        X : {ndarray, DataFrame, sparse matrix} of shape (n_documents, n_words)
            What it is to encode.
        sample_weight : ndarray of shape (n_documents,), default=None
            Not used.

        Returns
        -------
        schema : CountSchema
            The fitted schema.

        Raises
        ------
        ValueError
            If it was learnt from other columns.
        """
        if not isinstance(schema, CountSchema) or schema.n_words_ != X.shape[1]:
            raise ValueError(
                "schema should be what learn_schema of a density with the same parameters returns for rows with the same "
                "columns."
            )
        return schema


class CountSummary(RowsSummary):
    """What is learnt of documents that come in parts, before topics are: their container, and a sample of them.

    Parameters
    ----------
    schema : CountSchema
        One that is not fitted.
    n_rows : int or None
        Not used.
    numbers : int
        How many numbers a word of a document takes up where topics are learnt.
    """

    def __init__(self, schema, n_rows, numbers):
        super().__init__(schema)
        self._numbers, self._is_sparse = numbers, None

    def add(self, chunk, weight=None):
        """Look at further documents, of which those of weight 0 are but checked."""
        positions, X = chunk
        weight = np.ones(len(positions)) if weight is None else weight
        if self._is_sparse not in (None, sparse.issparse(X)):
            raise ValueError(
                f"X is {'sparse' if sparse.issparse(X) else 'dense'} from row {positions[0]} on, but not before; all "
                "chunks should be of one type."
            )
        self._is_sparse = sparse.issparse(X)
        with chunk.naming_rows():
            Z, _ = CountSchema().fit(X).encode(X)
        rows = np.flatnonzero(weight)
        cells = self._numbers * np.diff(Z.matrix.indptr)
        self._add_rows(safe_indexing(X, rows), positions[rows], weight[rows], cells=cells[rows])

    def fit_schema(self):
        """Fit the schema, and return it."""
        return CountSchema().fit(self.sample().table)


def _numbers(X):
    """Return the cells of a table as a matrix of numbers, sparse where its columns are; a missing one may be NaN."""
    if not is_frame(X) and X.dtype.kind in "fiub":
        return X
    if is_frame(X):
        frame = nw.from_native(X, eager_only=True)
        if all(getattr(dtype, "fill_value", None) == 0 for dtype in X.dtypes):
            return X.sparse.to_coo()
        # All columns at once, as there are thousands.
        if all(map(_is_of_numbers, frame.schema.values())):
            if hasattr(X, "index"):
                return X.to_numpy(dtype=np.float64, na_value=np.nan)
            return frame.select(nw.all().cast(nw.Float64)).to_numpy()
    columns = raw_columns(X)
    for raw in columns:
        if raw.observed is not None:
            raise ValueError(
                f"Input X contains NaN in {raw.where}, row {np.flatnonzero(~raw.observed)[0]} (a missing value); counts "
                "are whole numbers."
            )
    return np.column_stack([as_float(raw) for raw in columns])


def _is_of_numbers(dtype):
    is_number = dtype.is_integer() or dtype.is_float()
    return dtype == nw.Boolean or (is_number and dtype not in (nw.Int128, nw.UInt128))


def _check_whole(matrix, labels):
    """Refuse what are no counts, and name the first one."""
    data = matrix.data
    with np.errstate(invalid="ignore"):
        wrong = ~((data >= 0) & (data == np.floor(data)) & np.isfinite(data))
    if not wrong.any():
        return
    at = np.flatnonzero(wrong)[0]
    value, row = data[at], np.searchsorted(matrix.indptr, at, side="right") - 1
    found = "NaN" if np.isnan(value) else "infinity" if np.isinf(value) else f"{value:.6g}"
    # As scikit-learn words it, whose checks look for it.
    message = (
        f"Negative values in data passed to X: {found}"
        if value < 0
        else f"Input X contains {found}"
    )
    raise ValueError(
        f"{message} in column {labels[matrix.indices[at]]!r}, row {row}. Counts are whole numbers from 0 on; "
        "weights of words, such as those of TfidfVectorizer, are none."
    )
