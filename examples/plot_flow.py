"""
Layer by layer to a normal distribution
=======================================

A normalising flow is a function with an inverse that makes of the rows of a table draws from independent standard
normals. Run backwards, it makes rows of normals; and how much it stretches the space around a row says how dense rows
are there.

:class:`~sklearn_dgm.FlowDensity` standardises the numbers and learns a chain of transforms; what correlation they leave
is that of a Gaussian, and whitened away. Here each step is drawn: for two moons, and for two measurements of tumours.
"""

# %%
# Two tables, two flows
# ---------------------
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import torch
from scipy import stats
from sklearn.datasets import load_breast_cancer, make_moons
from sklearn.mixture import GaussianMixture

from sklearn_dgm import FlowDensity

pictures = Path("pictures")
pictures.mkdir(exist_ok=True)

moons, is_upper = make_moons(2000, noise=0.08, random_state=0)
cancer = load_breast_cancer(as_frame=True)
tumours = cancer.data[["mean texture", "mean concave points"]].to_numpy()
# A column in which single values repeat, such as the zeros here, has probabilities of these: no matter of a flow.
is_measured = tumours[:, 1] > 0
tables = {
    "two moons": (moons, is_upper),
    "tumours: texture and concave points": (
        tumours[is_measured],
        cancer.target.to_numpy()[is_measured],
    ),
}
densities = {}
for name, (X, _) in tables.items():
    density = FlowDensity(
        column_kinds={0: "continuous", 1: "continuous"}, n_iter_no_change=10, random_state=0
    )
    density.fit(X[::2])
    densities[name] = density
    held_out = X[1::2]
    gain = (
        density.score(held_out) - GaussianMixture().fit(X[::2]).score_samples(held_out).sum()
    ) / len(held_out)
    print(f"{name}: {gain:.2f} nats a row more than the Gaussian, after {density.n_iter_} epochs")


# %%
# What each layer does
# --------------------
# Colours are those of the classes, which no flow has seen.
@torch.no_grad()
def layers(density, X):
    """Rows before the flow, standardised, after each of its transforms, and whitened."""
    Z, _ = density.schema_.encode(X)
    (flow,) = density.net_.module_.members
    x, features, inputs = flow.parts(torch.from_numpy(Z))
    steps = [flow.standardisation(x, features)[0]]
    for transform in flow.transforms:
        steps.append(transform(inputs)(steps[-1]))
    steps.append(flow.last(steps[-1])[0])
    return [X, *(step.numpy() for step in steps)]


titles = ["rows", "standardised", "transform 1", "transform 2", "transform 3", "whitened"]
figure, axes = plt.subplots(2, 7, figsize=(17.5, 5.4), layout="constrained")
for row, (name, (X, label)) in zip(axes, tables.items(), strict=True):
    for ax, title, step in zip(row, titles, layers(densities[name], X), strict=False):
        ax.scatter(*step.T, s=2, c=label, cmap="coolwarm", rasterized=True)
        ax.set_title(title, fontsize=10)
        if title != "rows":
            ax.set(xlim=(-4, 4), ylim=(-4, 4), aspect="equal")
    drawn = densities[name].sample(len(X), random_state=0)
    row[0].set_ylabel(name, fontsize=9)
    row[6].scatter(*drawn.T, s=2, color="grey", rasterized=True)
    row[6].set(title="draws", xlim=row[0].get_xlim(), ylim=row[0].get_ylim())
    row[6].title.set_fontsize(10)
path = pictures / "flow_layers.png"
figure.savefig(path, dpi=110)

# %%
# Back and forth
# --------------
# Held-out rows become nearly normal, and normals rows again, without loss.
for name, (X, _) in tables.items():
    scores = densities[name].normal_scores(X[1::2])
    pvalue = min(stats.kstest(column, "norm").pvalue for column in scores.T)
    back = densities[name].from_normal_scores(scores)
    error = np.abs(back - X[1::2]).max()
    print(f"{name}: Kolmogorov-Smirnov p = {pvalue:.2f}, error of the way back {error:.0e}")
print(f"\nPicture: {path}")
