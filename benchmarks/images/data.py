"""Images that are read, and the parts that they are split into."""

import numpy as np
from sklearn.datasets import load_digits

from benchmarks import data

SHAPES = {
    "digits": (8, 8),
    "frey_faces": (28, 20),
    "binarised_mnist": (28, 28),
    "mnist": (28, 28),
}


def digits():
    """Return the digits of scikit-learn, of 17 levels, in training and test images."""
    X = load_digits().data.astype(np.uint8)
    order = np.random.default_rng(0).permutation(len(X))
    return X[order[360:]], X[order[:360]]


def frey_faces(folder):
    """Return frames of a face, grey, in training and test images.

    Frames beside each other are nearly alike: a test image often has a twin that is fitted, as in the splits that are
    published.
    """
    X = np.load(folder / "images" / "freyfaces.npz")["X"]
    order = np.random.default_rng(0).permutation(len(X))
    return X[order[200:]], X[order[:200]]


def mnist(folder):
    """Return grey digits and their labels: 50,000 to learn from, 10,000 to score."""
    with np.load(folder / "images" / "mnist_train.npz") as file:
        X, y = file["X"], file["y"]
    return (X[: data.N_DIGITS], y[: data.N_DIGITS]), (X[data.N_DIGITS :], y[data.N_DIGITS :])


def parts_of(name, folder):
    """Return the training and the test images of some data."""
    if name == "digits":
        return digits()
    if name == "frey_faces":
        return frey_faces(folder)
    if name == "binarised_mnist":
        return tuple(part.astype(np.uint8) for part in data.binarised_mnist(folder))
    (train, _), (test, _) = mnist(folder)
    return train, test
