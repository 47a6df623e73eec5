"""
Which estimator?
================

One table, and every family of the package fitted to it with nothing set: what each says of rows that it has not seen,
what it draws, and how long it takes.
"""

# %%
# The data
# --------
# Places along the three arms of a spiral, and the arm: two numbers that depend on each other in a way that no straight
# line shows, and a category. Half of the rows are held out.
import time
import warnings
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import train_test_split

from sklearn_dgm import (
    AutoregressiveDensity,
    BayesianNetworkDensity,
    ContinuousMixtureDensity,
    DeepBeliefDensity,
    EnergyDensity,
    EnsembleDensity,
    FlowDensity,
    HistogramDensity,
    MixtureDensity,
    RestrictedBoltzmannDensity,
    TabularGAN,
    VariationalAutoencoderDensity,
    is_density,
)

pictures = Path("pictures")
pictures.mkdir(exist_ok=True)

N_ROWS = 2000
rng = np.random.default_rng(0)
arm, along = rng.integers(3, size=N_ROWS), rng.uniform(0.3, 1.0, N_ROWS)
angle = 2 * np.pi * (arm / 3 + along)
places = along[:, None] * np.column_stack([np.cos(angle), np.sin(angle)])
places += rng.normal(scale=0.04, size=places.shape)
table = pd.DataFrame(places, columns=["x", "y"]).assign(
    arm=pd.Series(arm).map({0: "red", 1: "green", 2: "blue"}).astype("category")
)
train, test = train_test_split(table, test_size=0.5, random_state=0)

# %%
# The families
# ------------
# The components of a mixture are said, since it has eight where nothing is, and that two folds are enough to weigh the
# members of an ensemble.
families = {
    "HistogramDensity": HistogramDensity(alpha=0.01),
    "BayesianNetworkDensity": BayesianNetworkDensity(conditional="table"),
    "MixtureDensity": MixtureDensity(24, "gaussian", random_state=0),
    "ContinuousMixtureDensity": ContinuousMixtureDensity(random_state=0),
    "FlowDensity": FlowDensity(random_state=0),
    "AutoregressiveDensity": AutoregressiveDensity(random_state=0),
    "VariationalAutoencoderDensity": VariationalAutoencoderDensity(random_state=0),
    "EnergyDensity": EnergyDensity(random_state=0),
    "RestrictedBoltzmannDensity": RestrictedBoltzmannDensity(random_state=0),
    "DeepBeliefDensity": DeepBeliefDensity((64, 64), random_state=0),
    "EnsembleDensity": EnsembleDensity(cv=2, random_state=0),
    "TabularGAN": TabularGAN(random_state=0),
}
results, drawn = [], {"held out": test}
for name, family in families.items():
    start = time.perf_counter()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        family.fit(train)
    fitted = time.perf_counter()
    result = {"family": name, "seconds of fit": fitted - start}
    if is_density(family):  # a GAN is none
        result["nats a row"] = family.score_samples(test).mean()
        result["which are"] = family.score_kind_
        result["ms a row scored"] = 1000 * (time.perf_counter() - fitted) / len(test)
    results.append(result)
    drawn[name] = family.sample(len(test), random_state=0)
results = pd.DataFrame(results).set_index("family").sort_values("nats a row", ascending=False)
print(results.round(2).to_string())

# %%
# What they draw
# --------------
# In the order of their likelihood. A family that misses the gaps between the arms pays for it in nats, and one that
# confuses the colours does, too. The last one has no density, and is last whatever it draws.
order = ["held out", *results.index]
figure, axes = plt.subplots(3, 5, figsize=(14, 9), sharex=True, sharey=True)
for ax in axes.flat[len(order) :]:
    ax.remove()
for ax, name in zip(axes.flat, order, strict=False):
    for colour, rows in drawn[name].groupby("arm", observed=True):
        ax.scatter(rows["x"], rows["y"], s=4, color=f"tab:{colour}", linewidths=0)
    said = "" if name == "held out" else f"\n{results.loc[name, 'nats a row']:.2f} nats a row"
    said = said.replace("nan nats a row", "no density")
    ax.set(title=f"{name}{said}", xlim=(-1.4, 1.4), ylim=(-1.4, 1.4), aspect="equal")
    ax.title.set_fontsize(10)
figure.suptitle("Rows drawn from each family, by its likelihood of held-out rows")
figure.tight_layout()
path = pictures / "families.png"
figure.savefig(path, dpi=100)

print(f"The most likely: {results.index[0]}, at {results['nats a row'].iloc[0]:.2f} nats a row.")
print(f"Picture: {path}")
