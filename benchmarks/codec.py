"""Bytes of held-out rows, compressed by densities and by programs that know no model.

A density is fitted to the training rows (and validation rows, where there are some), and encodes the test rows. The
others see the test rows alone: as CSV without a header, or as the bytes of each column after the other, whichever comes
out smaller; Parquet is written by pyarrow, with dictionaries. `ratio` is to the best of these, and `model` is the
pickled codec after xz, which whoever decodes must have, too.
"""

import bz2
import io
import lzma
import pickle
import warnings
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.exceptions import ConvergenceWarning

import sklearn_dgm
from benchmarks import data
from benchmarks._measure import seconds_of
from benchmarks.results import Results, version_of

TABLES = ("adult", "nltcs", "plants", "diamonds")


def add_arguments(parser):
    parser.add_argument("--data", type=Path, required=True, help="folder of the tables")
    parser.add_argument("--only", nargs="+", default=list(TABLES), help="names of tables")
    parser.add_argument("--peers", nargs="+", default=[*PROGRAMS, *DENSITIES], help="who packs")
    parser.add_argument("--max-rows", type=int, help="rows of each part at most")
    parser.add_argument("--max-epochs", type=int, default=500, help="of networks")


def run(args):
    warnings.simplefilter("ignore", ConvergenceWarning)
    results = Results("codec", args.results)
    for name in args.only:
        train, test = (part[: args.max_rows] for part in two_parts(args.data, name))
        best = min(map(len, (compress(test) for compress, _ in PROGRAMS.values())))
        for peer in args.peers:
            record = {"data": name, "case": "", "seed": 0, "peer": peer}
            record |= {"rows": len(test), "columns": test.shape[1]}
            if peer in PROGRAMS:
                compress, package = PROGRAMS[peer]
                record["version"] = version_of(package)
                results.attempt(record, partial(measure_program, compress, test, best))
            else:
                record["version"] = version_of("sklearn-dgm")
                density = DENSITIES[peer](args.max_epochs)
                results.attempt(record, partial(measure_density, density, train, test, best))


def two_parts(folder, name):
    """Rows to fit, and rows to compress, as frames."""
    binary = folder / "debd" / f"{name}.npz"
    if name == "adult":
        files = (folder / "mixed" / f"adult_{part}.csv.gz" for part in ("train", "test"))
        return [pd.read_csv(path) for path in files]
    if binary.exists():
        table = np.load(binary)
        parts = np.concatenate([table["train"], table["valid"]]), table["test"]
        return [pd.DataFrame(part).rename(columns=str) for part in parts]
    *train, test = data.three_parts(pd.read_csv(folder / "mixed" / f"{name}.csv.gz"), 0)
    return pd.concat(train), test.reset_index(drop=True)


def measure_program(compress, test, best):
    """Bytes, and megabytes of CSV a second."""
    compressed, seconds = seconds_of(lambda: compress(test))
    return figures(compressed, test, best) | {"encode_mb": round(megabytes(test) / seconds, 3)}


def measure_density(density, train, test, best):
    """Bytes of test rows, of the model, what it says itself, and megabytes of CSV a second both ways."""
    codec, fit_seconds = seconds_of(lambda: sklearn_dgm.DensityCodec(density).fit(train))
    stream, encode_seconds = seconds_of(lambda: codec.encode(test))
    decoded, decode_seconds = seconds_of(lambda: codec.decode(stream))
    pd.testing.assert_frame_equal(decoded, test, check_exact=True)
    bits = codec.code_length(test)
    known = np.isfinite(bits)
    return figures(stream, test, best) | {
        "model": len(lzma.compress(pickle.dumps(codec))),
        "code_length": round(float(bits[known].sum() / 8)),
        "impossible": int((~known).sum()),
        "fit_seconds": round(fit_seconds, 1),
        "encode_mb": round(megabytes(test) / encode_seconds, 3),
        "decode_mb": round(megabytes(test) / decode_seconds, 3),
    }


def figures(compressed, test, best):
    bits = 8 * len(compressed) / len(test)
    return {
        "bytes": len(compressed),
        "bits": round(bits, 2),
        "ratio": round(len(compressed) / best, 3),
    }


def csv_of(table):
    return table.to_csv(index=False, header=False).encode()


def megabytes(table):
    return len(csv_of(table)) / 1e6


def as_bytes(table):
    """Return a table as programs see it: CSV, and columns one after the other, text by lines."""
    columns = [
        x.to_numpy().tobytes() if x.dtype.kind in "biuf" else "\n".join(map(str, x)).encode()
        for _, x in table.items()
    ]
    return csv_of(table), b"".join(columns)


def smallest(compress, table):
    return min(map(compress, as_bytes(table)), key=len)


def by_zstd(content):
    import zstandard

    return zstandard.ZstdCompressor(level=19).compress(content)


def by_parquet(table):
    file = io.BytesIO()
    table.to_parquet(file, engine="pyarrow", compression="zstd", compression_level=19, index=False)
    return file.getvalue()


PROGRAMS = {
    "xz -9": (partial(smallest, partial(lzma.compress, preset=9)), "numpy"),
    "bzip2 -9": (partial(smallest, bz2.compress), "numpy"),
    "zstd -19": (partial(smallest, by_zstd), "zstandard"),
    "Parquet, zstd -19": (by_parquet, "pyarrow"),
}
DENSITIES = {
    "AutoregressiveDensity": lambda max_epochs: sklearn_dgm.AutoregressiveDensity(
        max_epochs=max_epochs, random_state=0
    ),
    "AutoregressiveDensity, one order": lambda max_epochs: sklearn_dgm.AutoregressiveDensity(
        n_orders=1, max_epochs=max_epochs, random_state=0
    ),
    "BayesianNetworkDensity, tables": lambda _: sklearn_dgm.BayesianNetworkDensity(
        conditional="table"
    ),
}
