"""
An energy that begins where a mixture ends
==========================================

An energy-based model writes down any function of a row, and the probability is its exponential over a constant. The
trouble is the constant: most such models never know it, so that their scores compare with nothing. Here the energy only
has to say what another density got wrong, and draws of that density tell the constant, and how well it is known.
"""

# %%
# The data
# --------
# Two half-moons. Three Gaussians find where they are, but not how they bend.
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import make_moons
from sklearn.mixture import GaussianMixture

from sklearn_dgm import EnergyDensity

pictures = Path("pictures")
pictures.mkdir(exist_ok=True)

X, _ = make_moons(2000, noise=0.08, random_state=0)
test, _ = make_moons(2000, noise=0.08, random_state=1)

# %%
# Two ways to learn the same energy
# ---------------------------------
# By a bound of the likelihood that learns the constant with it, or by telling rows from draws of the mixture. Both fit
# the mixture first, and go on from there.
models = {
    objective: EnergyDensity(
        GaussianMixture(3, random_state=0), objective=objective, max_epochs=60, random_state=0
    ).fit(X)
    for objective in ("self-normalised", "nce")
}
density = models["self-normalised"]
mixture = density.estimator_

# %%
# What was wrong with the mixture
# -------------------------------
# What the energy adds to the mixture's log-density is the logarithm of the ratio of both densities.
x, y = np.linspace(-1.6, 2.6, 220), np.linspace(-1.2, 1.7, 220)
grid = np.stack(np.meshgrid(x, y), axis=-1).reshape(-1, 2)
before = mixture.score_samples(grid).reshape(220, 220)
after = density.score_samples(grid).reshape(220, 220)
drawn = density.sample(1000, random_state=0)

figure, axes = plt.subplots(1, 3, figsize=(12.5, 3.6), layout="constrained", sharey=True)
window = {"extent": (x[0], x[-1], y[0], y[-1]), "origin": "lower", "aspect": "auto"}
most = np.exp(after).max()
axes[0].imshow(np.exp(before), vmin=0, vmax=most, cmap="Blues", **window)
axes[0].set_title(f"three Gaussians: {mixture.score_samples(test).mean():.2f} nats")
tilt = axes[1].imshow(after - before, vmin=-3, vmax=3, cmap="RdBu_r", **window)
axes[1].set_title("what the energy adds, nats")
figure.colorbar(tilt, ax=axes[1])
axes[2].imshow(np.exp(after), vmin=0, vmax=most, cmap="Blues", **window)
axes[2].plot(*drawn.T, ".", color="C1", markersize=1.5, label="draws")
axes[2].set_title(f"their product: {density.score_samples(test).mean():.2f} nats")
axes[2].legend(loc="upper right")
figure.savefig(pictures / "energy.png", dpi=120)
print(f"Wrote {pictures / 'energy.png'}")

# %%
# How sure it is
# --------------
# The constant is the mean of the exponential over draws of the mixture, with a standard error that all scores share.
# Were the mixture to miss a part of the moons, most draws would weigh nothing: the effective share would say so.
print(f"held-out rows under three Gaussians: {mixture.score_samples(test).mean():.3f} nats a row")
for objective, model in models.items():
    scores, std = model.score_samples(test, return_std=True)
    print(
        f"tilted, {objective}: {scores.mean():.3f} nats, log Z = {model.log_partition_:.3f} with an error of "
        f"{std[0]:.4f}, effective share {model.effective_sample_share_:.2f}"
    )
