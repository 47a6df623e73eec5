"""
Counting versus generalising
============================

The simplest density of a table counts how often each row occurs. It is exact, and useless as soon as there are more
possible rows than rows: whatever has not been seen is impossible. A density that generalises shares what it learns
between rows that it has met and rows that it has not. Here both learn small black and white images of digits.
"""

# %%
# The data
# --------
# Handwritten digits of 8 by 8 pixels, each of which is ink or paper. There are ``2 ** 64`` such images, and 1797 rows.
# A boolean dtype tells the densities that every pixel may be ink, also those where no training image has any.
import zlib
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from sklearn.datasets import load_digits
from sklearn.model_selection import GridSearchCV, train_test_split

from sklearn_dgm import AutoregressiveDensity, HistogramDensity, mean_log_likelihood

pictures = Path("pictures")
pictures.mkdir(exist_ok=True)

digits = pd.DataFrame(load_digits().data > 7)
digits.columns = [f"pixel {row},{column}" for row in range(8) for column in range(8)]
train, held_out = train_test_split(digits, test_size=0.25, random_state=0)
n_pixels = digits.shape[1]

# %%
# The densities
# -------------
# Counting whole images comes first. Smoothing adds `alpha` to each of the ``2 ** 64`` counts, so that no image is
# impossible; a search chooses it on validation rows. Then the opposite: a histogram for each pixel by itself, which
# knows nothing of strokes. Last, each pixel given all pixels before it.
counting = HistogramDensity().fit(train)
smoothed = GridSearchCV(
    HistogramDensity(), {"alpha": np.logspace(-24, 0, 25)}, scoring=mean_log_likelihood
).fit(train)
pixels = [HistogramDensity(alpha=1).fit(train[[pixel]]) for pixel in train]
autoregressive = AutoregressiveDensity(random_state=0).fit(train)


def score_pixels(images):
    """Log-probability of images whose pixels are independent."""
    columns = zip(pixels, images, strict=True)
    return sum(density.score_samples(images[[pixel]]) for density, pixel in columns)


def sample_pixels(n_samples, random_state):
    """Images whose pixels are independent."""
    rng = np.random.default_rng(random_state)
    columns = [density.sample(n_samples, random_state=rng) for density in pixels]
    return pd.concat(columns, axis=1)


densities = {
    "counting": (counting.score_samples, counting.sample),
    "counting, smoothed": (smoothed.score_samples, smoothed.best_estimator_.sample),
    "independent pixels": (score_pixels, sample_pixels),
    "autoregressive": (autoregressive.score_samples, autoregressive.sample),
}

# %%
# Held-out images
# ---------------
# A log-likelihood is a code length: an arithmetic coder that knows p(x) stores x in ``-log2 p(x)`` bits, whatever x is.
# One bit per pixel is what an image costs without any model. Copies are samples that are training images, pixel for
# pixel.
seen = set(map(tuple, train.to_numpy()))
bits, copies, samples = {}, {}, {}
print("                      bits per   impossible    bytes for    copies among")
print("                         pixel       images   all images     the samples")
for name, (score_samples, sample) in densities.items():
    log_p = score_samples(held_out)
    bits[name] = -log_p.mean() / np.log(2) / n_pixels
    samples[name] = sample(1000, random_state=0)
    copies[name] = np.mean([tuple(image) in seen for image in samples[name].to_numpy()])
    n_bytes = bits[name] * held_out.size / 8
    print(
        f"{name:20}{bits[name]:10.3f}{np.isinf(log_p).mean():13.1%}{n_bytes:13.0f}{copies[name]:16.1%}"
    )

packed = np.packbits(held_out.to_numpy(dtype=bool))
print(f"{'no model':20}{1:10.3f}{0:13.1%}{len(packed):13}")
deflated = len(zlib.compress(packed, 9))
print(f"{'zlib':20}{8 * deflated / held_out.size:10.3f}{0:13.1%}{deflated:13}")

# %%
# What they have learnt
# ---------------------
# Counting gives back what it was shown. Smoothed, nearly all its samples are one of the ``2 ** 64`` images at random.
# Independent pixels have ink in the right places, but no strokes. Only the last one writes.
shown = {"held-out images": held_out} | {f"samples: {name}": samples[name] for name in samples}
figure, axes = plt.subplots(len(shown), figsize=(9, 5), layout="constrained")
for (title, images), ax in zip(shown.items(), axes, strict=True):
    ink = images[:16].to_numpy(dtype=float).reshape(-1, 8, 8)
    framed = np.pad(ink, ((0, 0), (1, 1), (1, 1)), constant_values=0.3)
    ax.imshow(np.hstack(framed), cmap="gray_r")
    ax.set_title(title, loc="left")
    ax.set_axis_off()
path = pictures / "counting_versus_generalising.png"
figure.savefig(path)

# %%
# The finding
# -----------
impossible = np.isinf(counting.score_samples(held_out)).mean()
repeated = np.mean([tuple(image) in seen for image in held_out.to_numpy()])
n_parameters = sum(weights.numel() for weights in autoregressive.net_.module_.parameters())
print(
    f"""
Counting finds {impossible:.0%} of the {len(held_out)} held-out images impossible. The best smoothing, with
alpha = {smoothed.best_params_["alpha"]:.0e}, takes {bits["counting, smoothed"]:.2f} bits per pixel, where no model takes 1. Independent pixels
take {bits["independent pixels"]:.2f}, the autoregressive density {bits["autoregressive"]:.2f}.

As a compressor the latter stores the held-out images in {bits["autoregressive"]:.0%} of their size, zlib in
{deflated / len(packed):.0%}. That leaves out the model, whose {n_parameters} parameters both sides must have.

Of the images that it draws {copies["autoregressive"]:.1%} are training images, of the held-out images {repeated:.1%}.

Picture: {path}"""
)
