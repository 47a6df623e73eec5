"""
Search fast, refit with care
============================

A grid search fits a density dozens of times, and what it asks of each fit is only whether it is better than the
others. ``effort="fast"`` trains fewer networks for fewer epochs for that purpose, with a learning rate that falls to
zero; what the search has found is then given to a density with its usual effort.
"""

# %%
# Three times three settings, three folds
# ---------------------------------------
import time
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from sklearn.model_selection import GridSearchCV

from sklearn_dgm import AutoregressiveDensity

pictures = Path("pictures")
pictures.mkdir(exist_ok=True)


def draw(n, rng):
    """Eight numbers that depend on each other along curves, with noise that does, too."""
    angle, pace = rng.uniform(-np.pi, np.pi, n), rng.gamma(2.0, size=n)
    noise = rng.normal(size=(n, 8)) * (0.1 + 0.1 * pace[:, None])
    curves = [np.cos(angle), np.sin(angle), np.cos(2 * angle), angle * pace, pace, pace**2 / 4]
    return np.column_stack([*curves, np.abs(angle), angle + pace]) + noise


rng = np.random.default_rng(0)
X, held_out = draw(2000, rng), draw(2000, rng)
grid = {"n_components": [4, 8, 16], "weight_decay": [0.001, 0.01, 0.1]}
search = GridSearchCV(
    AutoregressiveDensity(effort="fast", random_state=0), grid, cv=3, n_jobs=2, refit=False
)
begin = time.perf_counter()
search.fit(X)
print(f"27 fits in {time.perf_counter() - begin:.0f} s; the best: {search.best_params_}")

# %%
# The best setting, with the usual effort
# ---------------------------------------
# Each effort by itself, on all rows: seconds, and nats per row of rows that it has not seen.
figures = {}
for effort in ("fast", "balanced"):
    density = AutoregressiveDensity(effort=effort, random_state=0, **search.best_params_)
    begin = time.perf_counter()
    density.fit(X)
    figures[effort] = time.perf_counter() - begin, density.score(held_out) / len(held_out)
    print(f'effort="{effort}": {figures[effort][0]:.0f} s, {figures[effort][1]:.3f} nats a row')

# %%
# The grid, and what the refit adds
# ---------------------------------
# A score of :class:`~sklearn.model_selection.GridSearchCV` is that of all rows of a fold.
scores = search.cv_results_["mean_test_score"] / (len(X) / 3)
table = scores.reshape(3, 3)
fig, (left, right) = plt.subplots(1, 2, figsize=(9, 3.6), layout="constrained")
image = left.imshow(table, cmap="viridis")
for (i, j), score in np.ndenumerate(table):
    is_dark = score < table.mean()
    left.text(j, i, f"{score:.3f}", ha="center", va="center", color="w" if is_dark else "k")
left.set(
    title="Search: nats a row, by cross-validation",
    xlabel="weight_decay",
    ylabel="n_components",
    xticks=range(3),
    xticklabels=grid["weight_decay"],
    yticks=range(3),
    yticklabels=grid["n_components"],
)
fig.colorbar(image, ax=left)
seconds, nats = zip(*figures.values(), strict=True)
right.plot(seconds, nats, "o")
for effort, x, y in zip(figures, seconds, nats, strict=True):
    right.annotate(
        f'effort="{effort}"', (x, y), xytext=(0, 8), textcoords="offset points", ha="center"
    )
right.margins(0.4)
right.set(title="The best setting, on all rows", xlabel="Seconds of a fit", ylabel="Nats a row")
path = pictures / "search.png"
fig.savefig(path)
print(f"\nPicture: {path}")
