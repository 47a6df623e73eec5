"""
Digits from two numbers
=======================

A variational autoencoder explains a row by a few numbers, its latents. With two of them there is a map of the table:
the encoder says where a row lies, and the decoder what lies at a place. It is also a density, whose scores are
estimates, and the bound that is trained is less than these.
"""

# %%
# The data
# --------
# Digits of 8 x 8 pixels, with 17 shades of grey. Six in seven are learnt from.
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from sklearn_dgm import VariationalAutoencoderDensity

pictures = Path("pictures")
pictures.mkdir(exist_ok=True)

X, digit = load_digits(return_X_y=True)
train, test, _, test_digit = train_test_split(X, digit, test_size=1 / 7, random_state=0)

# %%
# A map, and what is on it
# ------------------------
few = VariationalAutoencoderDensity(
    2, (64,), n_importance_samples=64, max_epochs=25, lr=3e-3, random_state=0
)
many = VariationalAutoencoderDensity(
    10, (64,), n_importance_samples=64, max_epochs=25, lr=3e-3, random_state=0
)
for density in (few, many):
    density.fit(train)
latents = few.transform(test)
ends = np.linspace(-2, 2, 12)
places = np.stack(np.meshgrid(ends, ends[::-1]), axis=-1).reshape(-1, 2)


def tiles(rows, n_across):
    """Lay digits side by side, with a margin."""
    images = np.pad(np.reshape(rows, (-1, n_across, 8, 8)), ((0, 0), (0, 0), (1, 1), (1, 1)))
    return images.transpose(0, 2, 1, 3).reshape(-1, 10 * n_across)


figure, axes = plt.subplots(2, 2, figsize=(10, 9.5), layout="constrained")
(of_rows, of_places), (drawn, decoded) = axes
points = of_rows.scatter(*latents.T, c=test_digit, cmap="tab10", s=14)
of_rows.legend(*points.legend_elements(), ncols=2, fontsize="small")
of_rows.set(xlabel="latent 0", ylabel="latent 1", title="New rows, by their two latents")
shown = {
    of_places: (few.inverse_transform(places), 12, "What is expected at places from -2 to 2"),
    drawn: (many.sample(100, random_state=0), 10, "Rows drawn with ten latents"),
}
some = test[:30].reshape(3, 10, 64)
again = [density.inverse_transform(density.transform(test[:30])) for density in (few, many)]
triples = np.stack([some, *(rows.reshape(3, 10, 64) for rows in again)], axis=1)
shown[decoded] = triples, 10, "New rows, and as two and as ten latents tell them"
for axis, (rows, n_across, title) in shown.items():
    axis.imshow(tiles(rows, n_across), cmap="gray_r")
    axis.set(xticks=[], yticks=[], title=title)
path = pictures / "vae.png"
figure.savefig(path)

# %%
# The finding
# -----------
# The bound would be the density if the encoder knew the posterior of the latents. What it falls short by differs from
# model to model, so that bounds are nothing to compare models by.
of_few, of_many = (density.importance_diagnostics(test).mean() for density in (few, many))
print(
    f"""
Nats a new row, the bound and the score: {of_few["elbo"]:.1f} and {of_few["log_density"]:.1f} with two latents, {of_many["elbo"]:.1f} and {of_many["log_density"]:.1f} with ten.
The standard error of a score is {of_few["std_error"]:.2f} and {of_many["std_error"]:.2f}.

Picture: {path}"""
)
