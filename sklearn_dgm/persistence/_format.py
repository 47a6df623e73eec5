"""The layout of a file of a model: a checksum, a header in JSON, arrays as safetensors.

+---------+-------------------------------------------------------------------------+
| bytes   | what they are                                                           |
+=========+=========================================================================+
| 8       | MAGIC                                                                   |
+---------+-------------------------------------------------------------------------+
| 4       | format, an unsigned whole number, as all of them little-endian          |
+---------+-------------------------------------------------------------------------+
| 32      | SHA-256 of all other bytes                                              |
+---------+-------------------------------------------------------------------------+
| 8       | length of the header                                                    |
+---------+-------------------------------------------------------------------------+
| so many | the header, an object of JSON in ASCII                                  |
+---------+-------------------------------------------------------------------------+
| others  | arrays, as safetensors has them, by their numbers                       |
+---------+-------------------------------------------------------------------------+

In the header ``{"@array": "3"}`` stands for the array of this name. Those of dtypes that safetensors does not have
are there as bytes: ``{"@array": "3", "dtype": "<M8[D]", "shape": [4]}``.
"""

import hashlib
import json
import math

import numpy as np
from safetensors.numpy import load as arrays_of
from safetensors.numpy import save as bytes_of

# No text begins so, and one that went through a conversion of line ends has another.
MAGIC = b"\x93SKDGM\r\n"
FORMAT = 1
ARRAY = "@array"
N_OF_FORMAT, N_OF_CHECKSUM, N_OF_LENGTH = 4, hashlib.sha256().digest_size, 8
PREFIX = len(MAGIC) + N_OF_FORMAT
START = PREFIX + N_OF_CHECKSUM
# Little-endian; those of single bytes have no order.
IN_SAFETENSORS = (
    "<f8",
    "<f4",
    "<f2",
    "<i8",
    "<i4",
    "<i2",
    "|i1",
    "<u8",
    "<u4",
    "<u2",
    "|u1",
    "|b1",
)
PLAIN_KINDS = "biufcmMUS"


class ModelFileError(ValueError):
    """What should be a file of a model is none, is damaged, is of a later release, or asks for what no file may.

    It is what :func:`sklearn_dgm.load` raises of any file that it opens and refuses; the message says which and why.

    Examples
    --------
    >>> import sklearn_dgm
    >>> try:
    ...     sklearn_dgm.load(sklearn_dgm.__file__)
    ... except sklearn_dgm.ModelFileError as error:
    ...     print(str(error).partition(": ")[2])
    it is no file that an estimator of sklearn_dgm was saved to.
    """


def packed(header):
    """Return the bytes of a file.

    Parameters
    ----------
    header : dict
        What JSON can say, and arrays.

    Returns
    -------
    data : bytes
        The file.
    """
    arrays = {}

    def put_aside(array):
        name = str(len(arrays))
        if array.dtype.str in IN_SAFETENSORS:
            arrays[name] = array
            return {ARRAY: name}
        arrays[name] = np.frombuffer(array.tobytes(), np.uint8)
        return {ARRAY: name, "dtype": array.dtype.str, "shape": list(array.shape)}

    text = json.dumps(header, default=put_aside).encode("ascii")
    start = MAGIC + FORMAT.to_bytes(N_OF_FORMAT, "little")
    rest = len(text).to_bytes(N_OF_LENGTH, "little") + text + bytes_of(arrays)
    return start + _checksum(start, rest) + rest


def unpacked(data):
    """Return the header that a file was made of.

    Parameters
    ----------
    data : bytes
        The file.

    Returns
    -------
    header : dict
        As :func:`packed` was given it.

    Raises
    ------
    ModelFileError
        If it is no such file, of another format, truncated or altered.
    Exception
        If it is whole and yet was not made by :func:`packed`.
    """
    if not data:
        raise ModelFileError("it is empty.")
    if not data.startswith(MAGIC):
        raise ModelFileError("it is no file that an estimator of sklearn_dgm was saved to.")
    version = int.from_bytes(data[len(MAGIC) : PREFIX], "little")
    if version > FORMAT and len(data) >= PREFIX:
        raise ModelFileError(
            f"it is of format {version}, of which this release knows {FORMAT} at most; install a later sklearn-dgm, "
            "or the file is damaged."
        )
    start, checksum, rest = data[:PREFIX], data[PREFIX:START], data[START:]
    if version != FORMAT or checksum != _checksum(start, rest):
        raise ModelFileError("it was truncated or altered: its checksum is another one.")
    length = int.from_bytes(rest[:N_OF_LENGTH], "little")
    text, tensors = rest[N_OF_LENGTH : N_OF_LENGTH + length], rest[N_OF_LENGTH + length :]
    arrays = arrays_of(tensors)

    def put_back(part):
        return _array(arrays, **_renamed(part)) if ARRAY in part else part

    return json.loads(text, object_hook=put_back)


def _checksum(start, rest):
    checksum = hashlib.sha256(start)
    checksum.update(rest)
    return checksum.digest()


def _renamed(part):
    return {"name" if key == ARRAY else key: value for key, value in part.items()}


def _array(arrays, name, dtype=None, shape=None):
    """Return an array as its marker says."""
    array = arrays[name]
    if dtype is None:
        return array
    dtype = np.dtype(dtype)
    if dtype.kind not in PLAIN_KINDS or math.prod(shape) * dtype.itemsize != array.nbytes:
        raise ValueError(f"array {name} is none of shape {shape} and dtype {dtype}.")
    return np.ndarray(shape, dtype, buffer=array.tobytes())
