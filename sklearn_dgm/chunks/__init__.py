"""Tables too large for memory, a chunk at a time: where they come from, and what is learnt of all rows in one pass."""

from sklearn_dgm.chunks._encoded import EncodedChunks
from sklearn_dgm.chunks._passes import FitInPassesMixin
from sklearn_dgm.chunks._progress import with_progress
from sklearn_dgm.chunks._sampling import SAMPLE_ROWS, TableSample, row_keys
from sklearn_dgm.chunks._sequences import SEQUENCES_AT_ONCE, SequenceChunks, SequenceSummary
from sklearn_dgm.chunks._shuffling import (
    BUFFER_CELLS,
    BlockReader,
    StreamedFitMixin,
    TableForm,
    shuffled_blocks,
)
from sklearn_dgm.chunks._sources import (
    are_chunks_of_sequences,
    check_in_memory,
    in_memory_alone,
    is_chunked,
    is_dask,
    no_dask,
)
from sklearn_dgm.chunks._streams import ChunkedDrawsMixin, ChunkedScoresMixin
from sklearn_dgm.chunks._summary import RowsSummary, TableSummary
from sklearn_dgm.chunks._sums import Sums, sum_of
from sklearn_dgm.chunks._tables import ROWS_AT_ONCE, Chunk, Chunks, naming_rows

__all__ = [
    "BUFFER_CELLS",
    "ROWS_AT_ONCE",
    "SAMPLE_ROWS",
    "SEQUENCES_AT_ONCE",
    "BlockReader",
    "Chunk",
    "ChunkedDrawsMixin",
    "ChunkedScoresMixin",
    "Chunks",
    "EncodedChunks",
    "FitInPassesMixin",
    "RowsSummary",
    "SequenceChunks",
    "SequenceSummary",
    "StreamedFitMixin",
    "Sums",
    "TableForm",
    "TableSample",
    "TableSummary",
    "are_chunks_of_sequences",
    "check_in_memory",
    "in_memory_alone",
    "is_chunked",
    "is_dask",
    "naming_rows",
    "no_dask",
    "row_keys",
    "shuffled_blocks",
    "sum_of",
    "with_progress",
]
