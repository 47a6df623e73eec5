"""
Log-density or typicality
=========================

Is the most probable row the most normal one? Where columns are many, it is not: nothing like it is ever seen. A
standard normal in 64 dimensions is densest at its centre, and its draws lie at a distance of about eight from there.
Images behave like that, too: plain ones are more probable than any image that was ever taken.

:class:`~sklearn_dgm.DensityOutlierDetector` scores a row by its log-density or, with ``score_type="typicality"``, by
how far its log-density is from that of usual rows, above or below.
"""

# %%
# Digits, and what is none
# ------------------------
# A Bayesian network learns handwritten digits of 8 by 8 pixels. Then it is shown images that are no digits: without any
# ink, or with very little; all digits at once, averaged; digits turned to negatives; and pixels that are shuffled.
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from sklearn_dgm import BayesianNetworkDensity, DensityOutlierDetector
from sklearn_dgm.metrics import outlier_roc_auc

pictures = Path("pictures")
pictures.mkdir(exist_ok=True)

images = load_digits().data.astype(int)
train, test = train_test_split(images, test_size=0.3, random_state=0)
rng = np.random.default_rng(0)
other = rng.permutation(test)

no_digits = {
    "blank": np.zeros_like(test[:1]),
    "faint": test // 8,
    "average": (test + other + rng.permutation(test)) // 3,
    "negative": 16 - test,
    "shuffled": rng.permuted(test, axis=1),
}

# %%
# Two scores
# ----------
# Areas under the curve: 1 where all such images score lower than all digits, 0.5 where the score cannot tell, and 0
# where it takes every one of them for more normal than any digit.
# Pixels that are blank in all training images may have ink in others, if hardly ever.
density = BayesianNetworkDensity(conditional="table", handle_unknown="rare")
detectors = {
    score_type: DensityOutlierDetector(density, 0.05, score_type=score_type).fit(train)
    for score_type in ("log_density", "typicality")
}


def area(detector, odd):
    is_odd = np.arange(len(test) + len(odd)) >= len(test)
    return outlier_roc_auc(detector, np.concatenate([test, odd]), is_odd)


areas = pd.DataFrame(
    {
        score_type: {name: area(detector, odd) for name, odd in no_digits.items()}
        for score_type, detector in detectors.items()
    }
)
print(areas.round(3).to_string())

# %%
# The picture
# -----------
# Digits fill a band. What is odd lies on both sides of it, and some of it inside: faint images have a log-density like
# that of digits, what they lose in ink being what makes them plain. No threshold on one number finds these.
usual, mean = detectors["log_density"], detectors["typicality"].mean_log_density_
figure, ax = plt.subplots(figsize=(8, 4.5), layout="constrained")
bins = np.linspace(-400, 0, 81)
ax.hist(usual.score_samples(test), bins, color="grey", label="digits", density=True)
for color, (name, odd) in enumerate(no_digits.items()):
    scores = np.clip(usual.score_samples(odd), bins[0], None)
    if len(odd) == 1:
        ax.axvline(scores[0], color=f"C{color}", label=name)
    else:
        ax.hist(
            scores,
            bins,
            histtype="step",
            linewidth=1.5,
            color=f"C{color}",
            label=name,
            density=True,
        )
ax.axvline(mean, color="black", linestyle=":", label="mean of digits")
ax.set(xlabel="log-density (nats; -400 and below)", ylabel="share of the images, per nat")
ax.set_ylim(0, 0.06)
ax.legend()
path = pictures / "typicality.png"
figure.savefig(path)

# %%
# Which one when
# --------------
# Typicality finds what is too plain. It pays by calling some of the most probable rows outliers, and it is blind to odd
# rows whose log-density happens to be a usual one. So: the log-density for tables, where an odd row has an odd value or
# an odd combination, and typicality for images, signals and counts, where an empty or constant row is a fault.
print(f"\nPicture: {path}")
