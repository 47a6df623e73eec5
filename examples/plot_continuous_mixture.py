"""
A map of digits
===============

A continuous mixture has a standard normal vector behind each row, and a network that says which row it makes probable.
Nothing else is trained: there is no encoder, as the integral over the vectors is a sum over points. So a table of
hundreds of columns becomes a map, and the map a density, of which one can ask anything.
"""

# %%
# The data
# --------
# Handwritten digits of 8 x 8 pixels, dark or light. A fifth of them is for judging.
import warnings
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import train_test_split

from sklearn_dgm import ContinuousMixtureDensity, MixtureDensity

pictures = Path("pictures")
pictures.mkdir(exist_ok=True)
warnings.simplefilter("ignore", ConvergenceWarning)  # a dozen epochs must do here

X, digit = load_digits(return_X_y=True)
train, test, _, test_digit = train_test_split(X > 7, digit, test_size=0.2, random_state=0)

# %%
# How many latents?
# -----------------
# After the training, the components are fitted to the rows once more, drawn towards what the decoder says; with
# ``alpha=None`` they are not. The fewer latents there are, the more that is worth.
EPOCHS, N_POINTS = 12, 1024
N_LATENTS = [1, 2, 4, 8]


def density(n_latents, **others):
    return ContinuousMixtureDensity(
        n_latents,
        hidden_layer_sizes=(64, 64),
        n_points=N_POINTS,
        n_points_fit=512,
        max_epochs=EPOCHS,
        lr=5e-3,
        random_state=0,
        **others,
    )


fitted = {n: density(n).fit(train) for n in N_LATENTS}
decoded = {n: density(n, alpha=None).fit(train) for n in N_LATENTS}
nats = [[m.score_samples(test).mean() for m in of.values()] for of in (fitted, decoded)]
finite = MixtureDensity(30, random_state=0).fit(train)
of_finite = finite.score_samples(test).mean()

# %%
# The map
# -------
# Of two latents: where the digits of the test rows lie, which the training has not been told, and what the decoder
# expects over the plane. And of eight: rows that are drawn.
figure, axes = plt.subplots(2, 2, figsize=(12, 10), layout="constrained")
((places, plane), (rows, curve)) = axes
H = fitted[2].transform(test)
dots = places.scatter(*H.T, c=test_digit, cmap="tab10", s=14)
places.legend(*dots.legend_elements(), title="digit", loc="center left", bbox_to_anchor=(1, 0.5))
places.set(
    title="Where new rows lie, by two latents", xlabel="first latent", ylabel="second latent"
)

STEPS = np.linspace(-2, 2, 9)
grid = np.stack(np.meshgrid(STEPS, STEPS[::-1]), axis=-1).reshape(-1, 2)


def mosaic(images, n_columns):
    """Put images of 8 x 8 pixels beside and below each other, with a light line between them."""
    padded = np.pad(np.reshape(images, (-1, 8, 8)).astype(float), ((0, 0), (1, 1), (1, 1)))
    n_rows = len(padded) // n_columns
    return padded.reshape(n_rows, n_columns, 10, 10).swapaxes(1, 2).reshape(n_rows * 10, -1)


plane.imshow(mosaic(fitted[2].inverse_transform(grid), len(STEPS)), cmap="Greys")
plane.set(title="The likeliest pixels over the plane, from -2 to 2", xticks=[], yticks=[])

rows.imshow(mosaic(fitted[8].sample(60, random_state=0), 10), cmap="Greys")
rows.set(title="Drawn, with eight latents", xticks=[], yticks=[])

curve.plot(N_LATENTS, nats[0], "o-", label="continuous mixture")
curve.plot(N_LATENTS, nats[1], "s--", label="the same, components as they are decoded")
curve.axhline(of_finite, color="0.5", linestyle=":", label="finite mixture of 30 components")
curve.set(
    xscale="log",
    xticks=N_LATENTS,
    xticklabels=N_LATENTS,
    xlabel="number of latents",
    ylabel="nats a row, of new rows",
    title="What latents are worth",
)
curve.minorticks_off()
curve.legend()
path = pictures / "continuous_mixture.png"
figure.savefig(path)

# %%
# The finding
# -----------
neighbours = np.square(H[:, None] - H).sum(axis=2).argsort(axis=1)[:, 1]
print(
    f"""
New rows get {nats[0][-1]:.2f} nats with eight latents and {nats[0][0]:.2f} with one; as components are decoded, {nats[1][-1]:.2f} and {nats[1][0]:.2f};
a finite mixture of 30 components gets {of_finite:.2f}. All of the continuous ones have {N_POINTS} points.
On the map of two latents, the nearest neighbour of a new row shows the same digit in {np.mean(test_digit[neighbours] == test_digit):.0%} of the cases.

Picture: {path}"""
)
