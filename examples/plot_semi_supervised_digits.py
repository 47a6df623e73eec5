"""
Rows without a label
====================

Labels are dear, rows are not. A classifier that has a density for each class can learn from rows without a label, too:
it asks how probable each class is for them, counts them for the classes by that, and so in turns (expectation and
maximisation). Whether this helps depends on the density. Here it does for one question about images of digits, and does
harm for another question about the same images.
"""

# %%
# The data
# --------
# Images of 8 x 8 pixels. Of the training rows a few have a label; -1 stands for the others.
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from sklearn_dgm import BayesianNetworkDensity, GenerativeClassifier

pictures = Path("pictures")
pictures.mkdir(exist_ok=True)

X, digit = load_digits(return_X_y=True)
X_train, X_test, digit_train, digit_test = train_test_split(
    X, digit, train_size=800, random_state=0
)


def with_few_labels(digits, labels, n_labels):
    """The labels of the first few rows of each digit, and -1 in place of the others."""
    few = np.full(len(labels), -1)
    for d in range(10):
        rows = np.flatnonzero(digits == d)[:n_labels]
        few[rows] = labels[rows]
    return few


# %%
# Which digit?
# ------------
# The density of a class has a table of grey levels for each pixel, and takes pixels for independent. That is crude, but
# right in what counts: images of one digit are alike.
density = BayesianNetworkDensity("empty", conditional="table", bins=4)
weights = [0.0, 0.01, 0.1, 0.3, 1.0]


def accuracies(y, y_test):
    """Accuracy by the weight of a row without a label; with a weight of 0 these are left out."""
    found = []
    for weight in weights:
        model = GenerativeClassifier(density, unlabelled_weight=weight, max_iter=50, tol=0.05)
        found.append(model.fit(X_train, y).score(X_test, y_test))
    return found


ten_digits = accuracies(with_few_labels(digit_train, digit_train, 10), digit_test)
print("Which digit? Ten labels for each")
for weight, accuracy in zip(weights, ten_digits, strict=True):
    print(f"  a row without a label counts {weight:4}: accuracy {accuracy:.3f}")

# %%
# Odd or even?
# ------------
# The same rows and the same density, but a class is now five digits, which a table for each pixel cannot tell from a
# blur of all of them. The rows fall into clusters, none of which is a class, and the density of each class goes after
# some of these. Labels alone would have done better; a small weight of the other rows limits the harm.
odd_train, odd_test = digit_train % 2, digit_test % 2
parity = accuracies(with_few_labels(digit_train, odd_train, 40), odd_test)
print("Odd or even? Forty labels for each digit")
for weight, accuracy in zip(weights, parity, strict=True):
    print(f"  a row without a label counts {weight:4}: accuracy {accuracy:.3f}")

# %%
# So a lower `unlabelled_weight` is worth a try, and a density that fits the classes is worth more.
figure, axes = plt.subplots(figsize=(6, 4), layout="constrained")
places = range(len(weights))
for name, found in (("which digit?", ten_digits), ("odd or even?", parity)):
    (line,) = axes.plot(places, found, marker="o", label=name)
    axes.axhline(found[0], color=line.get_color(), linestyle=":", linewidth=1)
axes.set(
    xlabel="weight of a row without a label (0: left out)",
    ylabel="accuracy on test rows",
    xticks=places,
    xticklabels=[f"{weight:g}" for weight in weights],
    title="One density, two questions",
)
axes.legend()
path = pictures / "semi_supervised_digits.png"
figure.savefig(path)
change = [found[-1] - found[0] for found in (ten_digits, parity)]
print(
    f"Rows without a label change the accuracy by {change[0]:+.3f} and by {change[1]:+.3f}: see {path}."
)
