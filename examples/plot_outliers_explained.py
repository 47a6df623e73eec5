"""
Outliers, explained
===================

A detector that says "row 17 is odd" leaves the work to whoever must act on it. How sure is that, and what is odd about
the row? :class:`~sklearn_dgm.DensityOutlierDetector` answers both: with p-values from rows that were kept from the fit,
and with the share of each cell in the score.
"""

# %%
# The data
# --------
# Measurements of cell nuclei in breast tissue. The detector learns from benign tissue alone. Malignant tissue, and
# benign rows in which one cell is wrong, are for later.
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from sklearn.datasets import load_breast_cancer
from sklearn.neighbors import KernelDensity
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sklearn_dgm import AutoregressiveDensity, DensityOutlierDetector, OutlierDisplay

pictures = Path("pictures")
pictures.mkdir(exist_ok=True)

X, is_benign = load_breast_cancer(return_X_y=True, as_frame=True)
X = X.filter(regex="mean")
X.columns = X.columns.str.removeprefix("mean ")
benign, malignant = X[is_benign == 1], X[is_benign == 0]
rows = np.random.default_rng(0).permutation(len(benign))
train, new = benign.iloc[rows[:257]], benign.iloc[rows[257:]]


# %%
# A threshold that keeps its word
# -------------------------------
# Where the threshold is a quantile of the scores that the density gives to the rows of its own fit, nobody knows how
# many new rows will be below. With ``calibration="holdout"`` a fifth of the rows takes no part in the fit. A new row's
# p-value is its rank among them, so that of new rows that are like them `alpha` are called outliers, on average over
# such splits, whatever the density. Here are fifty, with a kernel density, which takes little time.
def share_flagged(seed, **params):
    """Share of the new benign rows that are called outliers."""
    rows = np.random.default_rng(seed).permutation(len(benign))
    density = make_pipeline(StandardScaler(), KernelDensity(bandwidth="scott"))
    detector = DensityOutlierDetector(density, random_state=seed, **params)
    return (detector.fit(benign.iloc[rows[:257]]).predict(benign.iloc[rows[257:]]) == -1).mean()


for name, params in {
    "rows of the fit": {"contamination": 0.05},
    "rows kept from it": {"calibration": "holdout", "alpha": 0.05},
}.items():
    flagged = np.mean([share_flagged(seed, **params) for seed in range(50)])
    print(f"5% wanted, threshold from {name}: {flagged:.1%} of new benign rows are outliers")

# %%
# The autoregressive density is fitted once. On a single split, with about fifty rows that calibrate, the rate may well
# be twice what was wanted, or half of it; the promise is one on average.
density = AutoregressiveDensity(n_orders=4, random_state=0)
detector = DensityOutlierDetector(density, calibration="holdout", alpha=0.05, random_state=0)
detector.fit(train)

for name, table in {"benign": new, "malignant": malignant}.items():
    is_outlier = detector.predict(table) == -1
    print(f"{name:9}: {is_outlier.mean():.0%} of {len(table)} new rows are outliers")
print("p-values of the first malignant rows:", detector.p_values(malignant.head()).round(3))

# %%
# What is odd about a row
# -----------------------
# The score of a row is a sum over its cells, in nats. The lowest shares are the odd cells. Columns can be compared: a
# share is set beside what is usual for its column.
shares = detector.explain(malignant)
worst = shares.sum(axis=1).nsmallest(3).index
for row in worst:
    odd = shares.loc[row].nsmallest(3)
    print(f"\nrow {row}, score {shares.loc[row].sum():.0f}:")
    for column, share in odd.items():
        print(
            f"  {share:8.1f}  {column} is {malignant.loc[row, column]:.4g}, mostly {train[column].quantile(0.1):.4g} to "
            f"{train[column].quantile(0.9):.4g}"
        )

# %%
# Is it the right cell?
# ---------------------
# Now the truth is known: in each new benign row one cell takes the value of another row. Every value is a usual one, so
# that no limit for the column alone could find it; it only does not fit the rest of its row.
rng = np.random.default_rng(1)
wrong = pd.concat([new] * 5, ignore_index=True)
column = rng.integers(len(wrong.columns), size=len(wrong))
donor = rng.integers(len(new), size=len(wrong))
for i in range(len(wrong)):
    wrong.iloc[i, column[i]] = new.iloc[donor[i], column[i]]

is_found = detector.predict(wrong) == -1
suspects = detector.explain(wrong).to_numpy().argsort(axis=1)
is_first = suspects[:, 0] == column
is_among = (suspects[:, :3] == column[:, None]).any(axis=1)
print(f"\nOf {len(wrong)} rows with one wrong cell {is_found.mean():.0%} are outliers.")
print(
    f"In {is_first[is_found].mean():.0%} of these, the cell with the lowest share is the wrong one;"
)
print(
    f"in {is_among[is_found].mean():.0%} it is among the lowest three (by chance: {3 / len(X.columns):.0%})."
)

# %%
# The pictures
# ------------
figure, (left, right) = plt.subplots(1, 2, figsize=(13, 4.5), layout="constrained")
everything = pd.concat([new, malignant])
kinds = np.repeat(["benign", "malignant"], [len(new), len(malignant)])
OutlierDisplay.from_estimator(detector, everything, y=kinds, ax=left)
left.set_title("Scores of new rows")

some = shares.loc[shares.sum(axis=1).sort_values().index[:: len(shares) // 12]]
picture = right.imshow(some, cmap="inferno", vmin=-15, vmax=3, aspect="auto")
right.set_xticks(range(len(some.columns)), some.columns, rotation=40, ha="right")
right.set_yticks(range(len(some)), some.index)
right.set(ylabel="malignant row", title="Shares of their cells: dark is odd")
figure.colorbar(picture, ax=right, label="nats", extend="both")
path = pictures / "outliers_explained.png"
figure.savefig(path)
print(f"\nPicture: {path}")
