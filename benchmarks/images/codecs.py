"""Bytes of test images: DensityCodec with densities of the training images, beside PNG and lossless WebP.

Programs see the test images alone, all as one image, side by side, which is kinder to them than a file for each.
"""

import io
import time

import numpy as np
from sklearn.frozen import FrozenEstimator

from benchmarks.images.data import SHAPES
from benchmarks.results import version_of
from sklearn_dgm import DensityCodec


def contact_sheet(X, shape):
    """Return flat images side by side as one image, in about a square."""
    n_columns = round(len(X) ** 0.5)
    n_rows = -(-len(X) // n_columns)
    sheet = np.zeros((n_rows * n_columns, *shape), dtype=np.uint8)
    sheet[: len(X)] = X.reshape(-1, *shape)
    sheet = sheet.reshape(n_rows, n_columns, *shape).swapaxes(1, 2)
    return sheet.reshape(n_rows * shape[0], n_columns * shape[1])


def saved(sheet, is_binary, **options):
    """Return the bytes of an image in a file."""
    from PIL import Image

    image = Image.fromarray(sheet * 255 if is_binary else sheet)
    file = io.BytesIO()
    (image.convert("1") if is_binary and options["format"] == "PNG" else image).save(
        file, **options
    )
    return len(file.getvalue())


PROGRAMS = {
    "PNG": {"format": "PNG", "optimize": True},
    "WebP": {"format": "WEBP", "lossless": True, "quality": 100, "method": 6},
}


def measure_programs(results, name, test):
    """Measure programs, and return the bytes of the best of them."""
    sheet, sizes = contact_sheet(test, SHAPES[name]), {}
    for peer, options in PROGRAMS.items():

        def measure(peer=peer, options=options):
            sizes[peer] = saved(sheet, sheet.max() == 1, **options)
            return {"bytes": sizes[peer]}

        record = {"data": name, "peer": peer, "version": version_of("pillow"), "rows": len(test)}
        results.attempt(record, measure)
    return min(sizes.values(), default=None)


def compressed(density, test, best):
    """Return the bytes of test images under a fitted density, and their share of those of the best program."""
    codec = DensityCodec(FrozenEstimator(density)).fit(test)
    stream = codec.encode(test)
    start = time.process_time()
    if not np.array_equal(codec.decode(stream), test):
        raise ValueError("the images have not come back")
    seconds = round(time.process_time() - start, 1)
    share = None if best is None else round(len(stream) / best, 4)
    return {"bytes": len(stream), "share": share, "decode_seconds": seconds}
