"""Bytes of text that has not been seen, compressed by densities of sequences and by programs that know no model.

The last tenth of tiny shakespeare, in rows of 256 characters of given lengths, by densities of the rest; programs see
the tenth alone, as one text. The network is that of `networks.py`. `share` is of the smallest of the programs.
"""

import bz2
import lzma
import platform
import time

from benchmarks.results import version_of
from benchmarks.sequences import data
from benchmarks.sequences.networks import SETTINGS
from sklearn_dgm import AutoregressiveSequenceDensity, DensityCodec, MarkovChainDensity

# How much smaller than the best program is aimed at.
TARGET = 0.75


def _zstandard(text):
    import zstandard

    return zstandard.ZstdCompressor(level=22).compress(text)


# What compresses, and its version.
PYTHON = platform.python_version()
PROGRAMS = {
    "bzip2": (lambda text: bz2.compress(text, 9), PYTHON),
    "xz": (lambda text: lzma.compress(text, preset=9 | lzma.PRESET_EXTREME), PYTHON),
    "zstd": (_zstandard, version_of("zstandard")),
}


DENSITIES = {
    "DensityCodec, MarkovChainDensity": MarkovChainDensity(length="given"),
    "DensityCodec, AutoregressiveSequenceDensity": AutoregressiveSequenceDensity(
        **SETTINGS["shakespeare"]["gru"], random_state=0
    ),
}


def add_arguments(parser):
    """Add none: what can be set is that of networks."""


def measure(results, args):
    """Measure programs, and codecs of densities."""
    if "shakespeare" not in (args.only or ["shakespeare"]):
        return
    train, test = data.shakespeare(args.data)
    text = "".join(test).encode()
    record = {"data": "shakespeare, compressed", "case": "codec", "rows": len(test)}
    sizes = {}
    for peer, (compress, version) in PROGRAMS.items():

        def measure_program(peer=peer, compress=compress):
            sizes[peer] = len(compress(text))
            return {"bytes": sizes[peer], "unit": "text"}

        results.attempt(record | {"peer": peer, "version": version}, measure_program)
    best = min(sizes.values())
    for peer, density in DENSITIES.items():

        def measure_codec(density=density):
            start = time.process_time()
            codec = DensityCodec(density).fit(train)
            fitted = time.process_time()
            stream = codec.encode(test)
            encoded = time.process_time()
            if codec.decode(stream) != test:
                raise ValueError("the text has not come back")
            bits = codec.code_length(test).sum()
            return {
                "bytes": len(stream),
                "share": round(len(stream) / best, 4),
                "target": TARGET,
                "unit": "text",
                "fit_seconds": round(fitted - start, 1),
                "score_seconds": round(encoded - fitted, 2),
                "notes": f"-log2 p(x): {bits / 8:,.0f} bytes",
            }

        results.attempt(
            record | {"peer": peer, "version": version_of("sklearn-dgm")}, measure_codec
        )
