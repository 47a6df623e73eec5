"""Images that are read a chunk at a time, and further ones, with labels and without."""

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone

from sklearn_dgm import PixelCNNDensity
from tests.chunks.tables import Parts, let_samples_be_small, note_rows_that_train
from tests.image.test_pixelcnn import bars

SMALL = {"n_channels": 6, "n_layers": 1, "max_epochs": 3, "random_state": 0}


@pytest.fixture(autouse=True)
def _small(monkeypatch):
    """Let small tables be larger than a sample."""
    let_samples_be_small(monkeypatch, 400, 500, 300)


@pytest.fixture
def trained(monkeypatch):
    """All rows that train: what streams give."""
    return note_rows_that_train(monkeypatch)


def per_row(density, X):
    return density.score(X) / len(X)


def test_labels_stay_beside_their_images(trained):
    X, y = bars(1500)
    X[:, 0] = np.arange(1500) % 50  # of which the class follows
    y = np.where(X[:, 0] % 3 == 0, "b", np.where(X[:, 0] % 3 == 1, "a", "c"))
    weight = np.ones(1500)
    weight[::7] = 0
    y[0] = "of no weight"
    density = PixelCNNDensity(**SMALL | {"max_epochs": 6}).fit(Parts(X, 350), y, weight)
    assert density.classes_.tolist() == ["a", "b", "c"]
    rows = np.concatenate(trained)
    lowest = density.schema_.columns_[0].decoded(rows[:, 0].astype(float))
    np.testing.assert_array_equal(
        density.classes_[rows[:, -1].astype(int)],
        np.array(list("bac"))[(np.rint(lowest) % 3).astype(int)],
    )
    assert not hasattr(density, "_streamed")


@pytest.mark.parametrize("has_labels", [True, False])
def test_as_good_as_from_memory(has_labels, trained):
    X, y = bars(2000)
    held_out, of_held_out = bars(1000, seed=1)
    y = y if has_labels else None
    density = PixelCNNDensity(**SMALL | {"max_epochs": 12})
    whole = per_row(clone(density).fit(X, y), held_out)
    assert not trained
    density.fit(Parts(X, 700), y)
    assert trained
    assert abs(per_row(density, held_out) - whole) < 0.3
    if has_labels:
        assert (density.predict(held_out) == of_held_out).mean() > 0.9


def test_a_small_table_is_fitted_as_one_in_memory_and_seeds_are_kept():
    X, y = bars(400)
    density = PixelCNNDensity(**SMALL)
    streamed, whole = (clone(density).fit(of, y) for of in (Parts(X, 90), X))
    np.testing.assert_array_equal(streamed.score_samples(X), whole.score_samples(X))
    X, y = bars(900)
    pair = [clone(density).fit(Parts(X, 400), y).score_samples(X[:50]) for _ in range(2)]
    np.testing.assert_array_equal(*pair)


def test_maps_and_files(tmp_path):
    X, y = bars(900)
    X.tofile(tmp_path / "X")
    mapped = np.memmap(tmp_path / "X", dtype=X.dtype, mode="r", shape=X.shape)
    frame = pd.DataFrame(X).add_prefix("pixel ")
    frame.to_parquet(tmp_path / "X.parquet")
    density = PixelCNNDensity(**SMALL)
    of_map, of_parts = (clone(density).fit(of, y) for of in (mapped, Parts(X, 10**6)))
    np.testing.assert_array_equal(of_map.score_samples(X[:50]), of_parts.score_samples(X[:50]))
    of_file = clone(density).fit(tmp_path / "X.parquet", y)
    np.testing.assert_array_equal(of_file.score_samples(frame[:50]), of_map.score_samples(X[:50]))


@pytest.mark.parametrize("missing", [False, True])
def test_all_pixels_of_all_chunks_say_what_a_pixel_can_be(missing):
    X = bars(900)[0].astype(float) * 7
    X[-1, 3], X[-2, 5] = 90, 4
    if missing:
        X[-3, 2] = np.nan
    density = PixelCNNDensity(**SMALL)
    (first, *others), whole = density.learn_schema(Parts(X, 200)).columns_, density.learn_schema(X)
    for column in others:
        assert (column.low, column.high, column.kind) == (first.low, first.high, first.kind)
        assert column.missing_share == first.missing_share
    of_whole = whole.columns_[0]
    assert (first.low, first.high, first.kind) == (of_whole.low, of_whole.high, of_whole.kind)
    assert first.missing_share == pytest.approx(of_whole.missing_share)


def test_missing_pixels_are_drawn_as_images_come(trained):
    X, y = bars(1200)
    X = np.where(np.random.default_rng(0).random(X.shape) < 0.1, np.nan, X)
    density = PixelCNNDensity(**SMALL).fit(Parts(X, 350), y)
    assert trained
    assert not np.isnan(np.concatenate(trained)).any()
    assert np.isfinite(density.score_samples(X[:20])).all()


def test_labels_of_another_number_are_refused():
    X, y = bars(900)
    density = PixelCNNDensity(**SMALL)
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        density.fit(Parts(X, 400), y[1:])
    assert not hasattr(density, "schema_")


@pytest.mark.parametrize("has_labels", [True, False])
def test_further_images_are_learnt_from(has_labels):
    parts, (held_out, _) = [bars(100, seed) for seed in range(3)], bars(600, 9)
    density, scores = PixelCNNDensity(**SMALL | {"max_epochs": 8}), []
    for X, y in parts:
        density.partial_fit(X, y if has_labels else None)
        scores.append(per_row(density, held_out))
    X, y = (np.concatenate(of) for of in zip(*parts, strict=True))
    whole = per_row(clone(density).fit(X, y if has_labels else None), held_out)
    assert scores[-1] > scores[0] + 0.5 * (whole - scores[0])


def test_shares_of_classes_are_those_of_all_calls():
    X, y = bars(300)
    density = PixelCNNDensity(**SMALL).partial_fit(X, y)
    lying = bars(500, seed=1)
    further = lying[0][lying[1] == "lying"]
    density.partial_fit(further, np.full(len(further), "lying"))
    n = [(y == "lying").sum() + len(further), (y == "upright").sum()]
    shares = density.net_.module_.members[0].class_shares
    np.testing.assert_allclose(shares, (np.array(n) + 1) / (sum(n) + 2))


def test_what_further_images_may_not_be():
    X, y = bars(200)
    density = PixelCNNDensity(**SMALL).partial_fit(X, y)
    before = density.score_samples(X), density._class_counts
    for rows, labels, message in (
        (X, np.where(y == "lying", "lying", "other"), "y holds 'other', .* call fit to start anew"),
        (X, None, "partial_fit continues with labels, or without"),
        (np.where(X > 0, 9, X), y, r"Row \d+ is impossible"),
    ):
        with pytest.raises(ValueError, match=message):
            density.partial_fit(rows, labels)
    with pytest.raises(TypeError, match="partial_fit takes rows in memory"):
        density.partial_fit([X, X], y)
    np.testing.assert_array_equal(density.score_samples(X), before[0])
    np.testing.assert_array_equal(density._class_counts, before[1])


def test_a_schema_announces_levels_to_come():
    X, _ = bars(200)
    density = PixelCNNDensity(**SMALL)
    schema = density.learn_schema(np.concatenate([X, 9 * X]))
    density.partial_fit(X, schema=schema).partial_fit(9 * X)
    assert np.isfinite(density.score_samples(9 * X)).all()


def test_classes_are_predicted_a_chunk_at_a_time():
    X, y = bars(900)
    density = PixelCNNDensity(**SMALL).fit(X, y)
    np.testing.assert_array_equal(density.predict(Parts(X, 350)), density.predict(X))
    np.testing.assert_allclose(density.predict_proba(Parts(X, 350)), density.predict_proba(X))


def test_labels_that_are_missing_are_told_unless_they_weigh_nothing():
    X, _ = bars(40)
    y = np.arange(40) % 2.0
    y[3] = np.nan
    weight = np.ones(40)
    density = PixelCNNDensity((X.shape[1] // 4, 4), **SMALL)
    with pytest.raises(ValueError, match="Input y contains NaN"):
        density.fit(X, y)
    weight[3] = 0
    assert list(density.fit(X, y, weight).classes_) == [0, 1]
