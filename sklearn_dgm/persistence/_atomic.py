"""Files that are there as a whole, or not at all."""

import os
import secrets
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def written_atomically(path):
    """Open a file for writing that takes the place of another one when the block ends.

    It is written beside that one under another name, reaches the disk, and is renamed. If anything in the block fails,
    it is removed, and a file that was there before stays as it was.

    Parameters
    ----------
    path : str or PathLike
        Where it is to be; of a symbolic link, what this points to.

    Yields
    ------
    file : binary file
        The file.

    Raises
    ------
    TypeError
        If `path` names no file.
    IsADirectoryError
        If there is a directory in its place.
    FileNotFoundError
        If there is no folder where it is to be.
    OSError
        If it cannot be written.
    """
    try:
        path = Path(os.path.realpath(path))
    except TypeError:
        raise TypeError(f"path should be a string or a Path, got {path!r}.") from None
    if path.is_dir():
        raise IsADirectoryError(f"{path} is a directory; name a file.")
    if not path.parent.is_dir():
        raise FileNotFoundError(f"{path} cannot be written: there is no folder {path.parent}.")
    beside = path.with_name(f".{path.name[:100]}.{secrets.token_hex(8)}")
    try:
        with open(beside, "xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(beside, path)
    except BaseException:
        beside.unlink(missing_ok=True)
        raise
    _sync_directory(path.parent)


def _sync_directory(path):
    """Have the disk keep the new name, where a system can be asked to."""
    if not hasattr(os, "O_DIRECTORY"):
        return
    directory = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)
