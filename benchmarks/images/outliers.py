"""Outliers among images by likelihood, by typicality, and less the length that a general compressor needs for them.

What is simple is probable: an image of one grey has a higher density under digits than digits have. The corrected score
is the log-density in bits plus the bits of a PNG file (J. Serrà et al., "Input complexity and out-of-distribution
detection with likelihood-based generative models", ICLR 2020, https://arxiv.org/abs/1909.11480): low where the density
needs more bits than the compressor. A density of the digits 0 to 7 is asked for the others, for images of one grey, for
noise, and for faces; typicality is the distance to the mean log-density of other test images. Figures are areas under
the ROC curve beside test images of the digits that are known.
"""

import time
import warnings

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import roc_auc_score

from benchmarks.images.codecs import PROGRAMS, saved
from benchmarks.images.data import frey_faces, mnist
from benchmarks.results import version_of
from sklearn_dgm import PixelCNNDensity

SHAPE, N_KNOWN, N_TEST, N_TRAIN, EPOCHS = (28, 28), 8, 300, 3000, 3


def outliers_of(folder, X, y):
    """Return images of several kinds that are none of the digits that were learnt from."""
    rng = np.random.default_rng(0)
    _, faces = frey_faces(folder)
    wide = np.zeros((len(faces), *SHAPE), dtype=np.uint8)
    wide[:, :, 4:24] = faces.reshape(-1, 28, 20)
    grey = rng.integers(256, size=(N_TEST, 1), dtype=np.uint8)
    return {
        "digits 8 and 9": X[y >= N_KNOWN][:N_TEST],
        "one grey": np.repeat(grey, X.shape[1], axis=1),
        "noise": rng.integers(256, size=(N_TEST, X.shape[1]), dtype=np.uint8),
        "shuffled pixels": rng.permuted(X[y < N_KNOWN][:N_TEST], axis=1),
        "faces": wide.reshape(len(wide), -1),
    }


def png_bits(X):
    """Return the bits of a PNG file of each image, of shape (n_images,)."""
    images = X.reshape(-1, *SHAPE)
    return np.array([8.0 * saved(image, False, **PROGRAMS["PNG"]) for image in images])


def measure(results, args):
    """Measure both scores on digits."""
    if args.only and "mnist" not in args.only:
        return
    (X, y), (X_test, y_test) = mnist(args.data)
    train = X[y < N_KNOWN][: args.max_rows or N_TRAIN]
    known = X_test[y_test < N_KNOWN][-N_TEST:]
    start = time.process_time()
    density = PixelCNNDensity(SHAPE, max_epochs=EPOCHS, random_state=0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        density.fit(train)
    seconds = round(time.process_time() - start, 1)
    bits_of_known = density.score_samples(known) / np.log(2)
    usual = density.score_samples(X_test[y_test < N_KNOWN][:N_TEST]).mean() / np.log(2)
    for kind, images in outliers_of(args.data, X_test, y_test).items():
        bits = np.concatenate([bits_of_known, density.score_samples(images) / np.log(2)])
        is_known = np.arange(len(bits)) < len(known)
        lengths = png_bits(np.concatenate([known, images]))
        bits = bits.clip(-1e9)  # of impossible ones
        for peer, score in (
            ("log-density", bits),
            ("typicality", -np.abs(bits - usual)),
            ("png", -lengths),
            ("log-density + png", bits + lengths),
        ):
            results.add(
                data="mnist, digits 0 to 7",
                case=kind,
                peer=peer,
                version=version_of("sklearn-dgm"),
                rows=len(train),
                auc=round(roc_auc_score(is_known, score), 4),
                fit_seconds=seconds,
            )
