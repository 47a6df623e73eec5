"""
Quickstart
==========

A density tells how likely a row is. Fitted to measurements of benign tissue, it scores new tissue, finds what is not
like the rest, and draws new rows. Here three densities do so on the same held-out rows: scikit-learn's
:class:`~sklearn.neighbors.KernelDensity`, and two that take its place in one line.
"""

# %%
# The data
# --------
# Measurements of cell nuclei that comes with scikit-learn. The densities learn from benign tissue alone; half of the
# benign rows, and all malignant ones, are held out.
from pathlib import Path
from time import perf_counter

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_breast_cancer
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import GridSearchCV, train_test_split
from sklearn.neighbors import KernelDensity
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sklearn_dgm import (
    AutoregressiveDensity,
    DensityDisplay,
    HistogramDensity,
    TrainingDisplay,
    mean_log_likelihood,
)

pictures = Path("pictures")
pictures.mkdir(exist_ok=True)

frame, is_benign = load_breast_cancer(return_X_y=True, as_frame=True)
train, benign = train_test_split(frame[is_benign == 1], test_size=0.5, random_state=0)
malignant = frame[is_benign == 0]
held_out = np.concatenate([benign, malignant])
is_malignant = np.repeat([False, True], [len(benign), len(malignant)])

# %%
# One grid search for all
# -----------------------
# Each density ends a pipeline, and a grid search chooses its parameters by the held-out likelihood. The histogram gets
# edges that are wide enough for every row, lest a single one outside makes a candidate impossible.
few = ["mean radius", "mean texture"]


def searches(n_columns):
    """A grid search over a pipeline for each density."""
    edges = [[np.linspace(-10, 20, n + 1)] * n_columns for n in (15, 30, 60, 120)]
    for density, grid in (
        (KernelDensity(), {"bandwidth": np.logspace(-1, 0.3, 14)}),
        (HistogramDensity(), {"bins": edges, "alpha": [1e-4, 1e-3, 1e-2, 1e-1]}),
        (AutoregressiveDensity(n_orders=1, random_state=0), {"n_components": [2, 8]}),
    ):
        name = type(density).__name__
        grid = {f"{name.lower()}__{parameter}": values for parameter, values in grid.items()}
        pipeline = make_pipeline(StandardScaler(), density)
        yield name, GridSearchCV(pipeline, grid, scoring=mean_log_likelihood, cv=3, n_jobs=2)


# %%
# The same held-out rows
# ----------------------
# With two columns the histogram keeps up. With all 30 it has more cells than there are atoms in the universe, and
# almost every held-out row meets an empty one. Scores are nats per row, higher is better, in the units behind the
# scaler. A row that is impossible (minus infinity) is as outlying as can be.
columns = [frame.columns.get_loc(column) for column in few]
fitted, table = {}, []
for (name, of_few), (_, of_all) in zip(searches(2), searches(frame.shape[1]), strict=True):
    start = perf_counter()
    of_few.fit(train[few].to_numpy())
    of_all.fit(train.to_numpy())
    seconds = perf_counter() - start
    fitted[name] = of_few, of_all
    likelihoods, areas = [], []
    for search, rows in ((of_few, held_out[:, columns]), (of_all, held_out)):
        likelihoods.append(mean_log_likelihood(search, rows[~is_malignant]))
        outlyingness = np.nan_to_num(-search.score_samples(rows))
        areas.append(roc_auc_score(is_malignant, outlyingness))
    table.append((name, *likelihoods, *areas, seconds))

print("                         nats per benign row    malignant found (AUC)   search")
print("                        2 columns  30 columns    2 columns  30 columns")
for row in table:
    print("{:22}{:11.2f}{:12.2f}{:13.3f}{:12.3f}{:8.0f} s".format(*row))

# %%
# What they have learnt from two columns
# --------------------------------------
figure, axes = plt.subplots(1, 3, figsize=(15, 4.5), layout="constrained")
for (of_few, _), ax in zip(fitted.values(), axes, strict=True):
    DensityDisplay.from_estimator(of_few, benign[few].to_numpy(), feature_names=few, ax=ax)
figure.suptitle("Densities of benign tissue and held-out rows, in standard units")
figure.savefig(pictures / "quickstart_densities.png")

# %%
# Outliers
# --------
# Tissue that is less likely than 95 in 100 benign rows is an outlier. The threshold needs no malignant row, but benign
# ones that the density was not fitted to, for those of the fit are likelier than new ones: every second held-out one.
_, search = fitted["AutoregressiveDensity"]
scores = search.score_samples(held_out)
is_aside = ~is_malignant & (np.arange(len(held_out)) % 2 == 0)
threshold = np.quantile(scores[is_aside], 0.05)
is_outlier = scores < threshold
print(
    f"\nAutoregressiveDensity calls {is_outlier[is_malignant].mean():.0%} of malignant and "
    f"{is_outlier[~is_malignant & ~is_aside].mean():.0%} of the other benign rows outliers."
)

figure, ax = plt.subplots(layout="constrained")
bins = np.linspace(*np.quantile(scores, [0.02, 1]), 50)
for label, these in (("benign", ~is_malignant), ("malignant", is_malignant)):
    ax.hist(scores[these].clip(bins[0]), bins, alpha=0.6, label=label)
ax.axvline(threshold, color="0.3", linestyle="--", label="threshold")
ax.set(xlabel="log-density (nats; lowest ones heaped at the left)", ylabel="held-out rows")
ax.legend()
figure.savefig(pictures / "quickstart_outliers.png")

# %%
# New rows
# --------
# The density draws rows as well. Fitted on a DataFrame, without a scaler, it gives a DataFrame in the same units.
density = AutoregressiveDensity(random_state=0).fit(train)
print("\nThree rows drawn:")
print(density.sample(3, random_state=0).iloc[:, :4].round(3).to_string(index=False))

shown = ["mean radius", "mean texture", "mean concavity", "worst area"]
corner = DensityDisplay.from_estimator(density, benign, features=shown, random_state=0)
corner.figure_.savefig(pictures / "quickstart_samples.png")
training = TrainingDisplay.from_estimator(density)
training.figure_.savefig(pictures / "quickstart_training.png")

print(f"\nPictures: {', '.join(str(path) for path in sorted(pictures.glob('quickstart_*.png')))}")
