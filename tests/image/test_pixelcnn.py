"""The density of images as an estimator: shapes, labels, one kind for all pixels, what others make of it."""

import itertools

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.special import logsumexp
from sklearn.base import clone

from sklearn_dgm import (
    AutoregressiveDensity,
    DensityCodec,
    DensityImputer,
    DensityOutlierDetector,
    EnsembleDensity,
    PixelCNNDensity,
    bits_per_dim,
    compare_densities,
)

QUICK = {"n_channels": 6, "n_layers": 1, "max_epochs": 3, "random_state": 0}


def bars(n=150, seed=0):
    """Return images of 4 x 4 flags: a row or a column that is set, in noise; and which of both."""
    rng = np.random.default_rng(seed)
    images = rng.random((n, 4, 4)) < 0.1
    lying = rng.random(n) < 0.5
    at = rng.integers(4, size=n)
    images[np.flatnonzero(lying), at[lying]] = True
    images[np.flatnonzero(~lying), :, at[~lying]] = True
    return images.reshape(n, 16).astype(np.uint8), np.where(lying, "lying", "upright")


def levels(n=120, side=3):
    """Return images of 9 levels, brighter to the right, with a border that is always 0."""
    rng = np.random.default_rng(1)
    images = np.minimum(rng.poisson(np.arange(side) * 2.0, (n, side, side)), 8)
    images[:, 0] = 0
    return images.reshape(n, -1)


@pytest.fixture(scope="module")
def with_labels():
    X, y = bars()
    return PixelCNNDensity(**QUICK).fit(X, y)


@pytest.fixture(scope="module")
def of_levels():
    return PixelCNNDensity(**QUICK).fit(levels())


@pytest.mark.parametrize(
    ("image_shape", "expected"),
    [(None, (4, 4, 1)), ((2, 8), (2, 8, 1)), ([2, 4, 2], (2, 4, 2))],
)
def test_shapes(image_shape, expected):
    density = PixelCNNDensity(image_shape, **QUICK | {"max_epochs": 1}).fit(bars(60)[0])
    assert density.image_shape_ == expected
    assert density.sample(2, 0).shape == (2, 16)


def test_images_whose_number_of_pixels_is_no_square_number_have_one_row():
    density = PixelCNNDensity(**QUICK | {"max_epochs": 1}).fit(bars(60)[0][:, :6])
    assert density.image_shape_ == (1, 6, 1)


@pytest.mark.parametrize("image_shape", [(3, 5), (16,), (4.0, 4), (1, 4, 2, 2), (-4, -4)])
def test_a_shape_that_is_none_of_the_columns_is_refused(image_shape):
    with pytest.raises(ValueError, match="image_shape should be .* the number of columns of X, 16"):
        PixelCNNDensity(image_shape, **QUICK).fit(bars(60)[0])


def test_a_pixel_that_never_varies_can_have_what_others_have(of_levels):
    X = levels()
    assert (X[:, 0] == 0).all()
    unusual = X[:5].copy()
    unusual[:, 0] = 3
    scores = of_levels.score_samples(unusual)
    assert np.isfinite(scores).all()
    assert (scores < of_levels.score_samples(X[:5])).all()
    assert len({(column.low, column.high) for column in of_levels.schema_.columns_}) == 1
    unusual[:, 0] = -1
    assert of_levels.score_samples(unusual).tolist() == [-np.inf] * 5


def test_units_count_as_probabilities():
    X = levels()
    sixteenths = PixelCNNDensity(**QUICK).fit(X / 16)
    counts = PixelCNNDensity(**QUICK).fit(X)
    assert set(sixteenths.schema_.kinds_) == {"rounded"}
    in_cells = bits_per_dim(sixteenths, X / 16) + np.log2(16)
    assert in_cells == pytest.approx(bits_per_dim(counts, X), rel=0.05)
    assert np.isin(sixteenths.sample(50, 0) * 16, np.arange(9)).all()


@pytest.mark.parametrize("scale", [1.0, 255.0])
def test_flags_that_are_floats_have_probabilities(scale):
    X = bars(60)[0][:, :9]
    flags = PixelCNNDensity(**QUICK).fit(X)
    floats = PixelCNNDensity(**QUICK).fit((X * scale).astype(np.float32))
    assert set(floats.schema_.kinds_) == {"rounded"}
    every = np.array(list(itertools.product([0.0, scale], repeat=9)))
    in_cells = floats.score_samples(every) + 9 * np.log(scale)
    assert np.exp(in_cells).sum() == pytest.approx(1, abs=0.01)
    assert bits_per_dim(floats, X * scale) - np.log2(scale) == pytest.approx(
        bits_per_dim(flags, X), rel=0.05
    )


@pytest.mark.parametrize("container", [np.asarray, pd.DataFrame])
def test_beside_a_density_of_tables_pixels_should_be_whole_numbers(container):
    X = levels()
    members = {
        "images": PixelCNNDensity(**QUICK | {"max_epochs": 1}),
        "table": AutoregressiveDensity((4,), n_orders=1, max_epochs=1, random_state=0),
    }
    advice = "0 is continuous for 'images' and counted for 'table', .* hand in whole numbers of an"
    with pytest.raises(ValueError, match=advice):
        compare_densities(members, container(X / 16), cv=2)
    with pytest.raises(ValueError, match=advice):
        EnsembleDensity(list(members.items()), weights="equal").fit(container(X / 16))
    assert len(compare_densities(members, container(X), cv=2)) == 2


def test_units_are_those_of_all_pixels():
    X = np.random.default_rng(0).normal(np.arange(4), size=(100, 4))
    density, other = (PixelCNNDensity(**QUICK).fit(of) for of in (X, 5 + 100 * X))
    np.testing.assert_allclose(
        other.score_samples(5 + 100 * X), density.score_samples(X) - 4 * np.log(100), atol=0.02
    )


def test_frames():
    X = pd.DataFrame(levels(), columns=[f"pixel {j}" for j in range(9)])
    X["pixel 4"] = X["pixel 4"].astype("int16")
    density = PixelCNNDensity(**QUICK).fit(X)
    drawn = density.sample(3, 0)
    assert drawn.dtypes.tolist() == X.dtypes.tolist()
    assert drawn.columns.tolist() == X.columns.tolist()
    shares = density.score_features(X)
    assert shares.columns.tolist() == X.columns.tolist()
    np.testing.assert_allclose(shares.sum(axis=1), density.score_samples(X))
    odd = X.astype(float)
    odd.loc[1, "pixel 2"] = np.inf
    with pytest.raises(ValueError, match="column 'pixel 2', row 1"):
        density.score_samples(odd)


def test_columns_of_several_types_are_no_pixels():
    X = pd.DataFrame({"a": [0.0, 1.0] * 30, "b": ["x", "y"] * 30})
    with pytest.raises(ValueError, match="all of one type"):
        PixelCNNDensity(**QUICK).fit(X)


def test_scores_sum_over_classes(with_labels):
    X, _ = bars(40, seed=1)
    (module,) = with_labels._module.members
    z = torch.from_numpy(X.astype(float))
    with torch.no_grad():
        joint = [module.log_prob(torch.nn.functional.pad(z, (0, 1), value=c)) for c in range(2)]
    scores, std = with_labels.score_samples(X, return_std=True)
    np.testing.assert_allclose(scores, logsumexp(np.stack(joint), axis=0))
    assert not std.any()
    posterior = np.exp(np.stack(joint, axis=1) - scores[:, None])
    np.testing.assert_allclose(with_labels.predict_proba(X), posterior)
    assert with_labels.score_kind_ == "exact"
    assert with_labels.classes_.tolist() == ["lying", "upright"]


def test_images_of_a_class():
    X, y = bars(600)
    density = PixelCNNDensity(**QUICK | {"max_epochs": 25, "lr": 0.02}).fit(X, y)
    lines = {
        label: density.sample(200, 0, y=label).reshape(200, 4, 4) for label in density.classes_
    }
    is_lying = {label: (of.sum(axis=2) == 4).any(axis=1).mean() for label, of in lines.items()}
    assert is_lying["lying"] > is_lying["upright"] + 0.4
    X, y = bars(200, seed=1)
    assert (density.predict(X) == y).mean() > 0.8
    labels = np.repeat(density.classes_, 100)
    mixed = density.sample(200, 0, y=labels).reshape(200, 4, 4)
    found = (mixed.sum(axis=2) == 4).any(axis=1)
    assert found[:100].mean() > found[100:].mean() + 0.4


def test_labels_that_are_no_classes(with_labels):
    X, y = bars(60)
    with pytest.raises(ValueError, match="none of the classes"):
        with_labels.sample(2, y="slanted")
    for labels in (["lying"] * 3, ["lying"], [["lying"], ["upright"]], []):
        with pytest.raises(ValueError, match=r"y should be one label, .* of shape \(2,\); got"):
            with_labels.sample(2, y=labels)
    with pytest.raises(ValueError, match="y holds None, which is none of the classes"):
        with_labels.sample(2, y=["lying", None])
    unconditional = PixelCNNDensity(**QUICK | {"max_epochs": 1}).fit(X, np.linspace(0, 1, 60))
    assert unconditional.classes_ is None
    assert not hasattr(unconditional, "predict")
    with pytest.raises(ValueError, match="fitted with labels"):
        unconditional.sample(2, y="lying")
    with pytest.raises(ValueError, match="inconsistent numbers"):
        clone(unconditional).fit(X, y[:50])


def test_weights_of_zero_leave_out_an_image_and_its_label():
    X, y = bars(60)
    weight = (y == "lying").astype(float)
    density = PixelCNNDensity(**QUICK | {"max_epochs": 1}).fit(X, y, weight)
    alone = PixelCNNDensity(**QUICK | {"max_epochs": 1}).fit(X[weight > 0], y[weight > 0])
    np.testing.assert_array_equal(density.sample(5, 0), alone.sample(5, 0))
    assert density.classes_.tolist() == ["lying"]


def test_warm_start_goes_on_with_labels(with_labels):
    X, y = bars()
    density = PixelCNNDensity(**QUICK, warm_start=True).fit(X, y)
    assert len(density.fit(X, y).history_) == 6
    with pytest.raises(ValueError, match="with labels, or without, as before"):
        density.fit(X)
    shares = density._module.members[0].class_shares
    scores = density.score_samples(X)
    with pytest.raises(ValueError, match="y holds 'other', .* set warm_start=False and call fit"):
        density.fit(X, np.where(y == "lying", "other", y))
    assert density._module.members[0].class_shares == shares
    np.testing.assert_array_equal(density.score_samples(X), scores)


def test_warm_start_takes_the_shares_of_the_labels_that_it_goes_on_with():
    X, y = bars(200)
    density = PixelCNNDensity(**QUICK, early_stopping=False, warm_start=True).fit(X, y == "lying")
    some = np.r_[np.flatnonzero(y == "lying")[:10], np.flatnonzero(y != "lying")]
    density.fit(X[some], (y == "lying")[some])
    expected = np.array([len(some) - 9, 11]) / (len(some) + 2)
    blank = np.full((1, 16), np.nan)
    np.testing.assert_allclose(density.predict_proba(blank)[0], expected)
    (module,) = density._module.members
    np.testing.assert_allclose(module.class_shares, expected)
    in_logits = module.class_conditional(1).log_prob(torch.ones(1, dtype=torch.float64)).exp()
    np.testing.assert_allclose(in_logits, expected[1], rtol=1e-6)
    with pytest.raises(ValueError, match="y holds -1, which is none of the classes"):
        density.fit(X, np.where(y == "lying", -1, 1))


def test_missing_pixels_are_drawn_given_the_others(of_levels, with_labels):
    for density, X in ((of_levels, levels(20)), (with_labels, bars(20)[0])):
        holes = X.astype(float)
        holes[:, -4:] = np.nan
        drawn = density.conditional_sample(holes, 3, random_state=0)
        np.testing.assert_array_equal(drawn[:, :-4], np.repeat(X[:, :-4], 3, axis=0))
        assert np.isin(drawn, np.arange(9)).all()
        filled = DensityImputer(density).fit(X).transform(holes)
        assert np.isfinite(filled).all()


def test_training_takes_missing_pixels():
    X, y = bars()
    holes = X.astype(float)
    holes[np.random.default_rng(0).random(X.shape) < 0.2] = np.nan
    holes[:, 3] = np.nan  # which no image tells
    density = PixelCNNDensity(**QUICK).fit(holes, y)
    assert np.isfinite(density.score_samples(holes)).all()
    assert np.isin(density.sample(20, 0), [0, 1]).all()


@pytest.mark.parametrize("labels", [False, True])
def test_codec(labels, with_labels, of_levels):
    X = bars(50, seed=2)[0] if labels else levels(50)
    density = with_labels if labels else of_levels
    codec = DensityCodec(density).fit(X)
    stream = codec.encode(X)
    np.testing.assert_array_equal(codec.decode(stream), X)
    bits = -density.score_samples(X).sum() / np.log(2)
    assert 8 * len(stream) < bits + 3000


def test_an_outlier_tells_its_pixel():
    X = levels(300)
    detector = DensityOutlierDetector(PixelCNNDensity(**QUICK | {"max_epochs": 15})).fit(X)
    odd = X[:1].copy()
    odd[0, 1] = 7
    assert detector.explain(odd)[0].argmin() == 1


def test_labels_that_are_objects_are_read_and_none_may_be_missing():
    X = np.random.default_rng(0).integers(0, 2, (20, 4))
    density = PixelCNNDensity(n_channels=2, n_layers=0, max_epochs=1, random_state=0)
    numbers = np.arange(20).astype(object) % 2
    assert density.fit(X, numbers).classes_.tolist() == [0, 1]
    for missing in (0, 1):
        names = np.where(numbers == 0, "a", "b").astype(object)
        names[missing] = np.nan
        with pytest.raises(ValueError, match="each image should have a label, or none"):
            density.fit(X, names)


@pytest.mark.parametrize("labels", [False, True])
def test_missing_pixels_behind_the_others_are_drawn_exactly(labels, with_labels, monkeypatch):
    X = bars()[0]
    density = with_labels if labels else PixelCNNDensity(**QUICK).fit(X)
    holes = X[:3].astype(float)
    holes[0, 13:] = holes[1, -3:] = holes[2, [1, 15]] = np.nan
    scores, std = density.score_samples(holes, return_std=True)
    assert not std.any()
    every = np.repeat(X[:1], 8, axis=0)
    every[:, 13:] = list(itertools.product([0, 1], repeat=3))
    log_p = density.score_samples(every)
    assert scores[0] == pytest.approx(logsumexp(log_p))
    n_drawn, draw_after = [], PixelCNNDensity._draw_after
    monkeypatch.setattr(
        PixelCNNDensity,
        "_draw_after",
        lambda self, whole, rng: n_drawn.append(len(whole)) or draw_after(self, whole, rng),
    )
    drawn, ess = density.conditional_sample(holes, 2000, random_state=0, return_ess=True)
    assert n_drawn == [4000]
    assert np.isinf(ess).all()
    drawn = drawn.reshape(3, 2000, 16)
    assert (drawn[1, :, :13] == X[1, :13]).all()
    code = (drawn[0, :, 13:] @ [4, 2, 1]).astype(int)
    shares = np.bincount(code, minlength=8) / 2000
    np.testing.assert_allclose(shares, np.exp(log_p - scores[0]), atol=0.04)
    if labels:
        joint = density._log_joint(holes[:1])
        np.testing.assert_allclose(density.predict_proba(holes[:1]), np.exp(joint - scores[0]))


def test_halves_of_many_levels_have_exact_scores_and_impossible_ones_are_named():
    X = np.random.default_rng(0).integers(0, 200, (40, 9))
    density = PixelCNNDensity(**QUICK | {"max_epochs": 1}).fit(X, np.arange(40) % 3)
    holes = X.astype(float)
    holes[:, 4:] = np.nan
    assert not density.score_samples(holes, return_std=True)[1].any()
    np.testing.assert_allclose(
        density.score_features(holes).sum(axis=1), density.score_samples(holes)
    )
    np.testing.assert_allclose(density.predict_proba(holes).sum(axis=1), 1)
    for column in (0, 5):  # before and behind what is missing
        odd = X[:3].astype(float)
        odd[0, 1], odd[1, 4:] = np.nan, np.nan
        odd[2, [4, 8] if column == 0 else 3], odd[2, column] = np.nan, -7
        with pytest.raises(ValueError, match="Row 2: its observed cells have density 0"):
            density.conditional_sample(odd, random_state=0)


def test_images_of_many_classes_have_exact_scores():
    X = np.random.default_rng(0).integers(0, 2, (280, 4))
    density = PixelCNNDensity(**QUICK | {"max_epochs": 1}).fit(X, np.arange(280))
    assert density.score_kind_ == "exact"
    every = np.array(list(itertools.product([0, 1], repeat=4)))
    scores, std = density.score_samples(every, return_std=True)
    assert np.exp(scores).sum() == pytest.approx(1)
    assert not std.any()
    np.testing.assert_allclose(density.predict_proba(every).sum(axis=1), 1)
    np.testing.assert_array_equal(density.conditional_sample(X[:5], 1), X[:5])
