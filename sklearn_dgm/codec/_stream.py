"""The bytes of a compressed table: what surrounds the coded rows, and the rows that are stored as they are."""

import hashlib
import json
import struct
import zlib
from decimal import Decimal
from typing import NamedTuple

import numpy as np

from sklearn_dgm.codec._cells import plain
from sklearn_dgm.columns._reading import RawColumn

MAGIC, VERSION = b"dgmz", 1
# Magic number, version, checksum of all that follows; fingerprint, checksum of the rows.
START, FIXED = struct.Struct("<4sBI"), struct.Struct("<8sI")
# The name of a Decimal, which JSON has not; and types that it has, to which it would turn what is derived from them.
DECIMAL, OF_JSON = "Decimal", (str, int, float, bool)
# Raw deflate: there is a checksum already.
WINDOW = -zlib.MAX_WBITS


class Stream(NamedTuple):
    """Parts of a stream.

    Attributes
    ----------
    fingerprint : bytes of length 8
        Of the model.
    checksum : int
        Of the decoded cells.
    header : dict
        The schema: number of rows, grids of the columns, the container.
    stored : list
        Rows that are stored as they are, column by column; empty if there are none.
    words : ndarray of uint32 of shape (n_words,)
        The coded rows.
    """

    fingerprint: bytes
    checksum: int
    header: dict
    stored: list
    words: np.ndarray

    def to_bytes(self):
        """Return the stream as bytes."""
        parts = [_deflated(self.header), _deflated(self.stored) if self.stored else b""]
        fixed = FIXED.pack(self.fingerprint, self.checksum)
        parts = [_length(part) + part for part in parts]
        body = b"".join([fixed, *parts, self.words.astype("<u4").tobytes()])
        return START.pack(MAGIC, VERSION, zlib.crc32(body)) + body

    @classmethod
    def from_bytes(cls, data):
        """Read a stream.

        Parameters
        ----------
        data : bytes-like
            What :meth:`to_bytes` gave.

        Returns
        -------
        stream : Stream
            The same.

        Raises
        ------
        ValueError
            If this is no stream, or another version of one, or it is not as it was.
        """
        data = bytes(data)
        if data[: len(MAGIC)] != MAGIC[: len(data)] or not data:
            raise ValueError("this is no stream of a DensityCodec: it does not begin as one.")
        if len(data) < START.size + FIXED.size:
            raise ValueError("the stream is truncated: it ends before its header does.")
        _, version, checksum = START.unpack_from(data)
        if version != VERSION:
            raise ValueError(
                f"the stream has version {version}, but this DensityCodec reads version {VERSION}."
            )
        body = data[START.size :]
        if zlib.crc32(body) != checksum:
            raise ValueError("the stream is truncated or corrupted: its checksum is wrong.")
        fingerprint, checksum = FIXED.unpack_from(body)
        try:
            header, rest = _split(body[FIXED.size :])
            stored, rest = _split(rest)
            header, stored = _inflated(header), _inflated(stored) if stored else []
            words = np.frombuffer(rest, dtype="<u4").astype(np.uint32)
        except (ValueError, StopIteration, zlib.error) as error:
            raise ValueError("this is no stream of a DensityCodec: it has no header.") from error
        return cls(fingerprint, checksum, header, stored, words)


def _length(part):
    """Encode the length of a part in as many bytes as it takes, seven bits in each."""
    n, length = len(part), []
    while n > 127:
        length.append(n % 128 + 128)
        n //= 128
    return bytes([*length, n])


def _split(data):
    """Split off the first part, before which its length stands; return it and the rest."""
    n_bytes = next(i for i, byte in enumerate(data, 1) if byte < 128)
    n = sum((byte % 128) << 7 * i for i, byte in enumerate(data[:n_bytes]))
    return data[n_bytes : n_bytes + n], data[n_bytes + n :]


def _deflated(value):
    text = json.dumps(value, separators=(",", ":"))
    return zlib.compress(text.encode(), level=9, wbits=WINDOW)


def _inflated(data):
    return json.loads(zlib.decompress(data, wbits=WINDOW))


def fingerprint_of(parts):
    """Return eight bytes that arrays and texts share with their copies alone.

    Parameters
    ----------
    parts : iterable of str, number, ndarray or tuple of such
        What a model consists of.

    Returns
    -------
    fingerprint : bytes
        Of length 8.
    """
    digest = hashlib.sha256()
    for part in parts:
        if isinstance(part, tuple):
            text, data = "tuple", fingerprint_of(part)
        elif isinstance(part, np.ndarray) and part.dtype.kind != "O":
            text, data = f"{part.dtype.str}{part.shape}", np.ascontiguousarray(part).tobytes()
        else:
            is_array = isinstance(part, np.ndarray)
            text, data = repr(part.tolist() if is_array else part), b""
        digest.update(f"{len(text)},{len(data)}:{text}".encode(errors="surrogatepass"))
        digest.update(data)
    return digest.digest()[:8]


def pack(raw, rows):
    """Pack some rows of a column as JSON can hold them.

    Parameters
    ----------
    raw : RawColumn
        The column.
    rows : ndarray of int of shape (n_rows,)
        Which rows.

    Returns
    -------
    packed : list
        The dtype of the values, the flags of those observed, and these values: numbers and times by their bits.

    Raises
    ------
    TypeError
        If a value is neither a number, a Decimal, a string, a boolean nor a time.
    """
    observed = raw.observed_or_all
    chosen = rows[observed[rows]]
    values = raw.values[(np.cumsum(observed) - 1)[chosen]]
    dtype = values.dtype
    if dtype.kind == "O":
        pairs = zip(chosen.tolist(), map(plain, values.tolist()), strict=True)
        packed = [
            _as_json(value, f"{raw.where} holds {value!r} in row {row}") for row, value in pairs
        ]
    elif dtype.kind in "US":
        packed = values.astype(str).tolist()
    else:
        packed = np.frombuffer(values.tobytes(), _whole_of(dtype)).tolist()
    return [dtype.str, observed[rows].astype(int).tolist(), packed]


def _as_json(value, holds):
    if isinstance(value, Decimal):
        return {DECIMAL: str(value)}
    if type(value) not in OF_JSON:
        raise TypeError(
            f"{holds}, which is neither among the values that the model gives back, nor a number or string of Python "
            "that can be stored beside them; convert the column to numbers or strings."
        )
    return value


def unpack(packed, label):
    """Unpack what :func:`pack` packed, as a column of those rows."""
    dtype, observed, packed = packed
    dtype, observed = np.dtype(dtype), np.array(observed, dtype=bool)
    if dtype.kind == "O":
        values = np.empty(len(packed), dtype=object)
        values[:] = [Decimal(v[DECIMAL]) if isinstance(v, dict) else v for v in packed]
    elif dtype.kind in "US":
        values = np.array(packed, dtype=dtype)
    else:
        values = np.frombuffer(np.array(packed, dtype=_whole_of(dtype)).tobytes(), dtype=dtype)
    return RawColumn(label, values, observed, dtype, dtype)


def _whole_of(dtype):
    """Return the integer dtype of the same size, or bytes where there is none."""
    return np.dtype(f"i{dtype.itemsize}" if dtype.itemsize in (1, 2, 4, 8) else "u1")
