"""
What a pseudo-likelihood says, and what the likelihood is
=========================================================

The score of scikit-learn's `BernoulliRBM` is a pseudo-log-likelihood: the log-probability of each cell given all others
of its row, summed up. It is what one looks at to see whether training gets on, since the likelihood needs log Z, a sum
over more states than there are. With 16 hidden units, though, the sum is one of 65,536 terms, and both can be drawn.
"""

# %%
# The data
# --------
# Digits of 8 x 8 pixels, which are on or off; those that are always off are left out.
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from scipy.special import logsumexp
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from sklearn.neural_network import BernoulliRBM

from sklearn_dgm import RestrictedBoltzmannDensity

pictures = Path("pictures")
pictures.mkdir(exist_ok=True)

X = (load_digits().data > 7).astype(float)
train, test = train_test_split(X, test_size=500, random_state=0)
varies = train.std(axis=0) > 0
train, test = train[:, varies], test[:, varies]

# %%
# More and more passes
# --------------------
# Each point is a fit of its own, of so many passes through the rows. The log-likelihood of scikit-learn's machine takes
# four lines with its parameters; ours has it as its score.
N_UNITS = 16
PASSES = [1, 2, 4, 8, 16, 32, 64, 128, 256]
hidden = np.array(list(np.ndindex(*[2] * N_UNITS)), dtype=float)


def log_likelihood(machine, rows):
    """Log-likelihood of rows under scikit-learn's machine, with log Z summed over all states of the hidden units."""
    visible = hidden @ machine.components_ + machine.intercept_visible_
    log_z = logsumexp(hidden @ machine.intercept_hidden_ + np.logaddexp(0, visible).sum(axis=1))
    inputs = rows @ machine.components_.T + machine.intercept_hidden_
    return rows @ machine.intercept_visible_ + np.logaddexp(0, inputs).sum(axis=1) - log_z


nats = {"BernoulliRBM": [], "RestrictedBoltzmannDensity": []}
for n in PASSES:
    peer = BernoulliRBM(N_UNITS, learning_rate=0.05, n_iter=n, random_state=0).fit(train)
    pseudo = np.mean([peer.score_samples(test).mean() for _ in range(20)])
    nats["BernoulliRBM"].append([pseudo, log_likelihood(peer, test).mean()])
    ours = RestrictedBoltzmannDensity(N_UNITS, max_iter=n, random_state=0).fit(train)
    pseudo = ours.pseudo_log_likelihood(test).mean()
    nats["RestrictedBoltzmannDensity"].append([pseudo, ours.score_samples(test).mean()])

share = (train.sum(axis=0) + 0.5) / (len(train) + 1)
independent = (test @ np.log(share) + (1 - test) @ np.log1p(-share)).mean()

# %%
# The picture
# -----------
# Beside the curves there are rows drawn from both machines, from scikit-learn's by a long chain.
fig, (left, *right) = plt.subplots(
    1, 3, figsize=(12, 4), width_ratios=[2.2, 1, 1], layout="constrained"
)
for (name, values), color in zip(nats.items(), ["tab:orange", "tab:blue"], strict=True):
    pseudo, actual = np.array(values).T
    left.plot(PASSES, pseudo, "--", color=color, label=f"{name}: pseudo-log-likelihood")
    left.plot(PASSES, actual, "o-", color=color, label=f"{name}: log-likelihood")
left.axhline(independent, color="gray", lw=1, label="independent pixels: log-likelihood")
left.set(xscale="log", xlabel="passes through the rows", ylabel="nats a row, held out")
left.legend(fontsize="small", loc="lower right")

rows = train[:36]
for _ in range(500):
    rows = peer.gibbs(rows)
drawn = {"BernoulliRBM": rows, "RestrictedBoltzmannDensity": ours.sample(36, random_state=0)}
for ax, (name, rows) in zip(right, drawn.items(), strict=True):
    pixels = np.zeros((36, 64))
    pixels[:, varies] = rows
    tiles = np.pad(
        pixels.reshape(6, 6, 8, 8), ((0, 0), (0, 0), (1, 1), (1, 1)), constant_values=0.4
    )
    ax.imshow(tiles.transpose(0, 2, 1, 3).reshape(60, 60), cmap="gray_r")
    ax.set(xticks=[], yticks=[], title=f"drawn from {name}")
    ax.title.set_fontsize("small")
fig.savefig(pictures / "boltzmann.png")

for name, values in nats.items():
    pseudo, actual = values[-1]
    print(f"{name}: pseudo-log-likelihood {pseudo:.1f}, log-likelihood {actual:.1f} nats a row")
print(f"independent pixels: log-likelihood {independent:.1f}; see pictures/boltzmann.png")
