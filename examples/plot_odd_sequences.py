"""
Odd sequences, and their odd step
=================================

Requests to a web server are strings of all lengths. A Markov chain learns what follows what,
:class:`~sklearn_dgm.DensityOutlierDetector` sets the threshold, and `explain` says at which character a request leaves
the beaten track.
"""

# %%
# The data
# --------
# Requests as a shop sees them: pages, searches, and carts of few or many items. Some requests are attacks or broken,
# as they are typed by people and programs that try doors.
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from sklearn.metrics import roc_auc_score

from sklearn_dgm import DensityOutlierDetector, MarkovChainDensity

pictures = Path("pictures")
pictures.mkdir(exist_ok=True)

WORDS = ["lamp", "oak+table", "red+chair", "desk", "sofa", "blue+rug", "mirror", "shelf"]
rng = np.random.default_rng(0)


def usual():
    """Return a request as most are."""
    kind = rng.integers(3)
    if kind == 0:
        return f"GET /shop/item/{rng.integers(100, 1000)} 200"
    if kind == 1:
        return f"GET /search?q={rng.choice(WORDS)}&page={rng.integers(1, 9)} 200"
    items = ",".join(str(item) for item in rng.integers(100, 1000, 1 + rng.geometric(0.2)))
    return f"POST /cart?items={items} {rng.choice([200, 302])}"


def odd():
    """Return one that is not, with the place and the width of what is wrong in it."""
    request = usual()
    wrong = rng.choice(["'+OR+1=1--", "/../../etc", "%00", "<script>", "~", " 200 200", "GET "])
    place = rng.integers(5, len(request) - 4)
    return request[:place] + wrong + request[place:], place, len(wrong)


train = [usual() for _ in range(2000)]
odd_ones, places, widths = zip(*[odd() for _ in range(100)], strict=True)
new = [usual() for _ in range(500)] + list(odd_ones)
label = np.repeat([1, -1], [500, 100])

# %%
# Long sequences score low
# ------------------------
# Rows are strings, in a list. Requests that are kept from the fit turn scores into p-values, so that of usual requests
# one in a hundred is called an outlier, on average. But the log-density of a sequence is a sum over its steps, and the
# longer it is, the less probable: full carts are below the threshold, and short requests with a strange character are
# not.
chain = MarkovChainDensity(order=5, handle_unknown="rare")
detector = DensityOutlierDetector(chain, calibration="holdout", alpha=0.01, random_state=0)
detector.fit(train)
is_outlier = detector.predict(new) == -1
print(
    f"outliers by log-density: {is_outlier[label == 1].mean():.1%} of the usual requests, "
    f"{is_outlier[label == -1].mean():.0%} of the odd ones"
)

# %%
# `explain` gives the terms of the sum. Their mean depends on the length less, and the lowest of them hardly: one
# strange character is enough, wherever it stands.
steps = detector.explain(new)
n_steps = np.array([len(request) for request in new])
scores = {
    "log-density": detector.score_samples(new),
    "mean of the steps": np.array([of.mean() for of in steps]),
    "lowest step": np.array([of.min() for of in steps]),
}
print("how often an odd request scores below a usual one, and how scores go with the length:")
for name, score in scores.items():
    of_length = np.corrcoef(n_steps[label == 1], score[label == 1])[0, 1]
    auc = roc_auc_score(label == 1, score)
    print(f"  {name:17}: {auc:.3f}, correlation {of_length:+.2f}")

# %%
# A threshold for the lowest step is a quantile of those of further requests.
further = [usual() for _ in range(1000)]
threshold = np.quantile([of.min() for of in detector.explain(further)], 0.01)
is_outlier = scores["lowest step"] < threshold
print(
    f"outliers by their lowest step: {is_outlier[label == 1].mean():.1%} of the usual requests, "
    f"{is_outlier[label == -1].mean():.0%} of the odd ones"
)

# %%
# Is it the right character?
# --------------------------
# The lowest step is where the request cannot go on as others do: where the wrong part begins or, since a wrong part may
# begin as a right one does, a little later.
odd_steps = [of for of, known in zip(steps, label, strict=True) if known == -1]
distance = np.array([of.argmin() for of in odd_steps]) - np.array(places)
is_near = (distance >= 0) & (distance <= np.array(widths))
print(
    f"in {is_near.mean():.0%} of the odd requests the lowest step is in the wrong part or just behind it"
)

# %%
# The picture
# -----------
# Each character by its log-density: the darker, the less expected.
shown = [
    request for request, known in zip(new, label, strict=True) if known == -1 and len(request) < 50
][:14]
surprise = np.full((len(shown), 51), np.nan)
for row, of in zip(surprise, detector.explain(shown), strict=True):
    row[: len(of)] = -of
figure, ax = plt.subplots(figsize=(12, 5), layout="constrained")
picture = ax.imshow(surprise, cmap="Reds", vmin=0, vmax=12, aspect="auto")
for i, request in enumerate(shown):
    worst = np.nanargmax(surprise[i])
    for j, character in enumerate(request):
        color = "white" if surprise[i, j] > 8 else "black"
        ax.text(j, i, character, ha="center", va="center", family="monospace", color=color)
    ax.add_patch(plt.Rectangle((worst - 0.5, i - 0.5), 1, 1, fill=False, linewidth=2))
ax.set(
    xticks=[],
    yticks=[],
    title="Odd requests: the frame is around the step that is the least expected",
)
figure.colorbar(picture, ax=ax, label="minus the log-density of the step (nats)", extend="max")
path = pictures / "odd_sequences.png"
figure.savefig(path)
print(f"\nPicture: {path}")
