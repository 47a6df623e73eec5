"""
One line of an outlier script
=============================

Many scripts look for odd rows in the same few lines: fit a detector, score the rows, put a threshold at a quantile,
list the worst. Any estimator with `score_samples` will do, and a density is one. Here that line holds
:class:`~sklearn.ensemble.IsolationForest`, :class:`~sklearn.neighbors.KernelDensity` and
:class:`~sklearn_dgm.DensityOutlierDetector` in turn.
"""

# %%
# The data
# --------
# Measurements of benign tissue, with a few malignant rows among them that nobody has marked. The labels serve to judge
# the detectors afterwards and for nothing else. One split says little: there are five.
from pathlib import Path
from time import perf_counter

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from sklearn.datasets import load_breast_cancer
from sklearn.ensemble import IsolationForest
from sklearn.metrics import RocCurveDisplay, roc_auc_score
from sklearn.model_selection import GridSearchCV, train_test_split
from sklearn.neighbors import KernelDensity
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sklearn_dgm import DensityOutlierDetector

pictures = Path("pictures")
pictures.mkdir(exist_ok=True)

X, is_benign = load_breast_cancer(return_X_y=True, as_frame=True)
is_malignant = is_benign.to_numpy() == 0
N_HIDDEN = 10  # malignant rows among the training rows
SHARE = 0.05  # of the training rows that are called outliers
N_SPLITS = 5


def split(seed):
    """Indices of training rows, half of the benign ones and a few malignant, and of the others."""
    rng = np.random.default_rng(seed)
    benign = rng.permutation(np.flatnonzero(~is_malignant))
    malignant = rng.permutation(np.flatnonzero(is_malignant))
    half = len(benign) // 2
    train = np.concatenate([benign[:half], malignant[:N_HIDDEN]])
    return train, np.concatenate([benign[half:], malignant[N_HIDDEN:]])


# %%
# The script
# ----------
# The second detector takes the place of the first. All else stays.
train, held_out = split(seed=0)

detector = IsolationForest(random_state=0)
detector = DensityOutlierDetector(random_state=0)

scores = detector.fit(X.iloc[train]).score_samples(X.iloc[train])
threshold = np.quantile(scores, SHARE)
is_outlier = detector.score_samples(X.iloc[held_out]) < threshold
worst = train[np.argsort(scores)[:N_HIDDEN]]

print(f"{is_outlier.mean():.0%} of the held-out rows are outliers. The worst training rows:")
for row in worst:
    print(f"  row {row:3}  {'malignant' if is_malignant[row] else 'benign'}")

# %%
# Why a row is odd
# ----------------
# A density can say more than that a row is odd: the score is a sum over columns, of which the lowest are odd.
shares = detector.explain(X.iloc[worst[:1]]).iloc[0]
print(f"\nWhat makes row {worst[0]} unlikely:")
print(shares.nsmallest(3).round(1).to_string())

# %%
# Three detectors in that line
# ----------------------------
# All have their default settings, but the kernel density needs a scaler, and a bandwidth that it gets from the
# likelihood of validation rows. For the held-out rows the
# table has the area under the curve (`auc`) and the share of malignant rows `found` when 5 in 100 benign ones are
# flagged; for the training rows, how many of the 10 malignant ones are among the 10 `worst`. Last, the share of
# held-out benign rows that the script's own threshold flags. It should be 5 in 100, and depends on the rows that the
# threshold is set on: those of the fit, or a third of them kept aside.
bandwidths = {"bandwidth": np.logspace(-1, 0.5, 16)}
detectors = {
    "IsolationForest": IsolationForest(random_state=0),
    "KernelDensity": make_pipeline(StandardScaler(), GridSearchCV(KernelDensity(), bandwidths)),
    "DensityOutlierDetector": DensityOutlierDetector(random_state=0),
}


def share_flagged(detector, rows_of_fit, rows_of_threshold, benign):
    """Fit, and set a threshold: the share of benign rows below it."""
    detector.fit(X.iloc[rows_of_fit])
    threshold = np.quantile(detector.score_samples(X.iloc[rows_of_threshold]), SHARE)
    return (detector.score_samples(X.iloc[benign]) < threshold).mean()


def judge(detector, train, held_out):
    """Run the script, then uncover the labels."""
    malignant = is_malignant[held_out]
    kept, aside = train_test_split(train, test_size=1 / 3, random_state=0)
    flagged_aside = share_flagged(detector, kept, aside, held_out[~malignant])
    start = perf_counter()
    flagged = share_flagged(detector, train, train, held_out[~malignant])
    seconds = perf_counter() - start
    oddness = -detector.score_samples(X.iloc[held_out])
    worst = train[np.argsort(detector.score_samples(X.iloc[train]))[:N_HIDDEN]]
    return {
        "auc": roc_auc_score(malignant, oddness),
        "found": (oddness[malignant] > np.quantile(oddness[~malignant], 1 - SHARE)).mean(),
        "worst": is_malignant[worst].sum(),
        "flagged": flagged,
        "flagged (aside)": flagged_aside,
        "seconds": seconds,
    }


results = {
    name: pd.DataFrame([judge(detector, *split(seed)) for seed in range(N_SPLITS)])
    for name, detector in detectors.items()
}
means = pd.DataFrame({name: result.mean() for name, result in results.items()}).T
print(f"\nMeans of {N_SPLITS} splits:")
print(means.round(3).to_string())

# %%
# The curves of the first split
# -----------------------------
train, held_out = split(seed=0)
figure, ax = plt.subplots(figsize=(6, 6), layout="constrained")
for name, detector in detectors.items():
    new_scores = detector.fit(X.iloc[train]).score_samples(X.iloc[held_out])
    RocCurveDisplay.from_predictions(is_malignant[held_out], -new_scores, name=name, ax=ax)
ax.set(
    xlabel="benign rows flagged",
    ylabel="malignant rows flagged",
    title="Held-out rows of the first split",
)
path = pictures / "outlier_script.png"
figure.savefig(path)

# %%
# The finding
# -----------
best, *others = means.sort_values("auc", ascending=False).index
print(f"\n{best} has the highest mean AUC.")
for other in others:
    lead = results[best].auc - results[other].auc
    print(f"It leads {other} by {lead.mean():.3f}, and in {(lead > 0).sum()} of {N_SPLITS} splits.")
for name, mean in means[means.flagged > 2 * SHARE].iterrows():
    print(
        f"{name} scores the rows of its fit too well for a threshold on them,\n"
        f"which flags {mean.flagged:.0%} of new benign rows; on rows kept aside, {mean['flagged (aside)']:.0%}."
    )
print(f"\nPicture: {path}")
