"""
A density is a compressor
=========================

Maximum likelihood measures how good a compressor a model is: an entropy coder that knows p(x) stores x in ``-log2
p(x)`` bits. Here rows that no density has seen are stored so, and come back to the last digit. Beside them are programs
that know no more of a table than that some strings of bytes occur again.
"""

# %%
# The data
# --------
# Thirty measurements of cell nuclei, printed with two to six decimals. One half of the rows is for the densities to
# learn from, the other is compressed.
import bz2
import lzma
import zlib
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from sklearn.datasets import load_breast_cancer
from sklearn.model_selection import train_test_split

from sklearn_dgm import AutoregressiveDensity, BayesianNetworkDensity, DensityCodec

pictures = Path("pictures")
pictures.mkdir(exist_ok=True)

cells = load_breast_cancer(as_frame=True).data
train, held_out = train_test_split(cells, test_size=0.5, random_state=0)
held_out = held_out.reset_index(drop=True)

# %%
# Programs
# --------
# They see text, or the bytes of the numbers column by column, whichever they make less of.
as_text = held_out.to_csv(index=False, header=False).encode()
as_numbers = held_out.to_numpy().T.tobytes()
programs = {
    "zlib": lambda data: zlib.compress(data, 9),
    "bzip2": bz2.compress,
    "xz": lambda data: lzma.compress(data, preset=9),
}
sizes = {"text (CSV)": len(as_text)}
for name, compress in programs.items():
    sizes[name] = min(len(compress(data)) for data in (as_text, as_numbers))

# %%
# Densities
# ---------
# First all columns for themselves, then each given one other, then each given all before it, in two orders. The codec
# finds out how many decimals a column has. A mixture of orders costs no bits to tell which of them a row is coded by:
# that choice is made by bits which are on the way to the stream anyway ("bits back").
densities = {
    "independent columns": BayesianNetworkDensity("empty", conditional="table"),
    "a tree of columns": BayesianNetworkDensity("chow-liu", conditional="table"),
    "autoregressive": AutoregressiveDensity((128,), n_orders=2, max_epochs=25, random_state=0),
}
promised = {}
print("                        bytes   -log2 p(x), in bytes")
for name, density in densities.items():
    codec = DensityCodec(density).fit(train)
    stream = codec.encode(held_out)
    pd.testing.assert_frame_equal(codec.decode(stream), held_out, check_exact=True)
    sizes[name], promised[name] = len(stream), codec.code_length(held_out).sum() / 8
    print(f"{name:20}{sizes[name]:9,}{promised[name]:15,.0f}")

# %%
# A stream that is not what it was is an error, never a wrong table.
broken = bytearray(stream)
broken[len(broken) // 2] ^= 1
try:
    codec.decode(broken)
except ValueError as error:
    print("\nWith one bit flipped:", error)

# %%
# The sizes
# ---------
figure, ax = plt.subplots(figsize=(8, 4), layout="constrained")
names = list(sizes)
colors = ["0.75" if name not in densities else "C0" for name in names]
bars = ax.barh(names, [sizes[name] / 1000 for name in names], color=colors)
ax.bar_label(bars, fmt="{:.1f}", padding=3)
for name, n_bytes in promised.items():
    ax.plot(2 * [n_bytes / 1000], names.index(name) + np.array([-0.4, 0.4]), "k--", linewidth=1)
ax.plot([], [], "k--", linewidth=1, label="what the density itself says")
ax.invert_yaxis()
ax.set_xlabel(f"kilobytes of {len(held_out)} held-out rows")
ax.set_title("A density is a compressor", loc="left")
ax.spines[["top", "right"]].set_visible(False)
ax.legend(frameon=False, loc="lower right")
path = pictures / "compression.png"
figure.savefig(path)

# %%
# The finding
# -----------
best = min(programs, key=sizes.get)
print(
    f"""
The best of the programs, {best}, stores the {len(held_out)} rows in {sizes[best]:,} bytes, {sizes[best] / len(as_text):.0%} of the text.
The autoregressive density takes {sizes["autoregressive"]:,}, which is {1 - sizes["autoregressive"] / sizes[best]:.0%} less, and within {sizes["autoregressive"] / promised["autoregressive"] - 1:.1%} of what it says
itself. Whoever decodes must have the fitted codec, too.

Picture: {path}"""
)
