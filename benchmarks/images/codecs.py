"""Bytes of test images: DensityCodec with densities of the training images, beside PNG and lossless WebP.

Programs see the test images alone, all as one image, side by side, which is kinder to them than a file for each.
Pixels of digits, of 17 levels, fill four bits.
"""

import io
import platform
import time

import numpy as np

from benchmarks.images.data import SHAPES, parts_of
from benchmarks.images.likelihoods import OURS, PEER, maker
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


def measure(results, args):
    """Measure programs, and codecs of densities."""
    for name in args.only or ["digits", "frey_faces"]:
        train, test = (part[: args.max_rows] for part in parts_of(name, args.data))
        test = test[:1000]
        record = {"data": f"{name}, compressed", "case": "codec", "rows": len(test)}
        sheet, sizes = contact_sheet(test, SHAPES[name]), {}
        for peer, options in PROGRAMS.items():

            def measure_program(peer=peer, options=options, sheet=sheet, sizes=sizes):
                sizes[peer] = saved(sheet, sheet.max() == 1, **options)
                return {"bytes": sizes[peer]}

            version = (
                version_of("pillow") and f"{version_of('pillow')}, {platform.python_version()}"
            )
            results.attempt(record | {"peer": peer, "version": version}, measure_program)
        for peer in (PEER, OURS):
            if peer not in args.peers:
                continue

            def measure_codec(peer=peer, name=name, train=train, test=test, sizes=sizes):
                codec = DensityCodec(maker(peer, name, args)).fit(train)
                start = time.process_time()
                stream = codec.encode(test)
                encoded = time.process_time()
                if not np.array_equal(codec.decode(stream), test):
                    raise ValueError("the images have not come back")
                decoded = time.process_time()
                return {
                    "bytes": len(stream),
                    "share": round(len(stream) / min(sizes.values()), 4),
                    "score_seconds": round(encoded - start, 2),
                    "notes": f"decoded in {decoded - encoded:.1f} s",
                }

            results.attempt(
                record | {"peer": f"DensityCodec, {peer}", "version": version_of("sklearn-dgm")},
                measure_codec,
            )
