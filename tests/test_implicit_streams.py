"""Generators that learn from tables which are read a chunk at a time, and from further rows."""

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone

import sklearn_dgm
from sklearn_dgm import Checkpoint, TabularGAN, implicit
from sklearn_dgm._training import streams
from sklearn_dgm._training.adversarial import StreamedDraws
from sklearn_dgm.chunks import _sampling, _shuffling
from tests._training.interrupted import Interrupted, interrupt
from tests.chunks.tables import Parts

SMALL = {"hidden_layer_sizes": (16,), "max_epochs": 4, "batch_size": 64, "random_state": 0}


@pytest.fixture(autouse=True)
def _small(monkeypatch):
    """Let small tables be larger than a sample."""
    monkeypatch.setattr(_sampling, "SAMPLE_ROWS", 400)
    monkeypatch.setattr(_shuffling, "BUFFER_ROWS", 500)
    monkeypatch.setattr(streams, "EPOCH_ROWS", 300)
    monkeypatch.setattr(implicit, "MAX_DRAWS", 2000)


@pytest.fixture
def passes(monkeypatch):
    """The rows of each pass that some are drawn from, and their weights."""
    seen = []
    original = StreamedDraws.before_pass

    def before_pass(self, index):
        original(self, index)
        seen.append((self.z.numpy().copy(), self._row_weight.copy()))

    monkeypatch.setattr(StreamedDraws, "before_pass", before_pass)
    return seen


def table(n_rows=400, seed=0, share=0.3):
    rng = np.random.default_rng(seed)
    kind = np.where(rng.random(n_rows) < share, "rare", "frequent")
    x = rng.normal(size=n_rows) + 3 * (kind == "rare")
    y = np.where(rng.random(n_rows) < 0.3, 0.0, x + 0.3 * rng.normal(size=n_rows))  # an atom
    return pd.DataFrame({"kind": kind, "x": x, "y": y})


def test_rows_are_drawn_from_all_but_those_that_validate(passes):
    X = table(1200)
    X["x"] = np.arange(1200) / 7  # by which rows are known
    gan = TabularGAN(**SMALL | {"max_epochs": 12}).fit(Parts(X, 350))
    column = gan.schema_.columns_[1]
    rows = np.concatenate([np.rint(column.decoded(z[:, 1]) * 7) for z, _ in passes])
    assert 1200 - len(np.unique(rows)) in (40, 41)  # a tenth of the sample validates
    # In double precision, in which an atom is the same number in all rows.
    whole = gan.schema_.encode(X)[0]
    for z, _ in passes:
        assert np.isin(z[:, 2], whole[:, 2]).all()
    assert not hasattr(gan, "_streamed")


def test_weights_of_streamed_rows_count(passes):
    X, weight = table(1200), np.arange(1200) % 3.0
    TabularGAN(**SMALL).fit(Parts(X, 350), sample_weight=weight)
    for _, of_rows in passes:
        assert len(np.unique(of_rows.round(4))) == 2
        assert of_rows.max() == pytest.approx(2 * of_rows.min())


def between_columns(gan):
    """How far two columns, which go together in rows, are apart in what is drawn."""
    drawn = gan.sample(4000, random_state=0)
    return abs(drawn["x"] - drawn["y"])[drawn["y"] != 0].mean()


def test_as_good_as_from_memory(passes):
    X, gan = table(2000), TabularGAN(**SMALL | {"max_epochs": 10})
    whole, streamed = (clone(gan).fit(of) for of in (X, Parts(X, 700)))
    assert passes
    assert between_columns(streamed) == pytest.approx(between_columns(whole), abs=0.15)
    means = [of.sample(4000, 0).groupby("kind").mean() for of in (whole, streamed)]
    np.testing.assert_allclose(*means, atol=0.35)


def test_a_small_table_is_fitted_as_one_in_memory_and_seeds_are_kept(passes):
    X, gan = table(400), TabularGAN(**SMALL)
    pair = [clone(gan).fit(of).sample(50, 0) for of in (Parts(X, 90), X)]
    pd.testing.assert_frame_equal(*pair)
    assert not passes
    X = table(900)
    pd.testing.assert_frame_equal(*(clone(gan).fit(Parts(X, 350)).sample(50, 0) for _ in range(2)))


def test_a_fit_that_is_killed_goes_on_with_the_stream(tmp_path):
    X = Parts(table(1200), 350)
    whole = TabularGAN(**SMALL).fit(X)
    checkpoint = Checkpoint(tmp_path / "fit", every=1, resume=True)
    parts = TabularGAN(**SMALL, callbacks=[checkpoint])
    interrupt(parts, X, at=100)
    assert checkpoint.path.exists()
    Interrupted.steps, Interrupted.at = 0, -1
    parts.set_params(net_params={"optimizer": Interrupted}).fit(X)
    pd.testing.assert_frame_equal(parts.sample(50, 0), whole.sample(50, 0))


def test_further_rows_are_learnt_from(tmp_path):
    gan = TabularGAN(**SMALL).partial_fit(table(share=0.1))
    n_iter = gan.n_iter_
    assert (gan.sample(4000, 0)["kind"] == "rare").mean() == pytest.approx(0.1, abs=0.05)
    gan.save(tmp_path / "gan.dgm")
    before, loaded = gan.sample(50, 0), sklearn_dgm.load(tmp_path / "gan.dgm")
    assert gan.partial_fit(table(seed=1, share=0.5)) is gan
    assert gan.n_iter_ > n_iter
    assert "valid_nearest_neighbour_accuracy" not in gan.history_[-1]
    # The categories of the rows of all calls.
    assert (gan.sample(4000, 0)["kind"] == "rare").mean() == pytest.approx(0.3, abs=0.05)
    assert not before.equals(gan.sample(50, 0))
    loaded.partial_fit(table(seed=1, share=0.5))
    pd.testing.assert_frame_equal(loaded.sample(50, 0), gan.sample(50, 0))


def test_both_networks_go_on():
    X = table()
    gan = TabularGAN(**SMALL).partial_fit(X)
    before = {name: of.clone() for name, of in gan.net_.module_.state_dict().items()}
    gan.partial_fit(table(seed=1))
    after = gan.net_.module_.state_dict()
    for part in ("generator", "critic"):
        names = [name for name in before if name.startswith(part)]
        assert any(not before[name].equal(after[name]) for name in names)
        assert max(float((before[name] - after[name]).abs().max()) for name in names) < 1


def test_further_rows_bring_columns_together():
    gan = TabularGAN(**SMALL | {"max_epochs": 10})
    apart = [between_columns(gan.partial_fit(table(seed=seed))) for seed in range(3)]
    assert 0.3 * np.sqrt(2 / np.pi) < apart[2] < apart[0] - 0.1


def test_what_further_rows_may_not_be():
    X = table()
    gan = TabularGAN(**SMALL).partial_fit(X)
    before, n_rows = gan.sample(50, 0), gan._n_rows
    new = X.assign(kind=X["kind"].where(X["x"] < 2, "new"))
    with pytest.raises(ValueError, match="partial_fit: row .* column 'kind'"):
        gan.partial_fit(new)
    with pytest.raises(TypeError, match="partial_fit takes rows in memory"):
        gan.partial_fit([X, X])
    pd.testing.assert_frame_equal(gan.sample(50, 0), before)
    assert gan._n_rows == n_rows
    schema = gan.learn_schema(pd.concat([X, new]))
    gan = clone(gan).partial_fit(X, schema=schema)
    assert "new" not in set(gan.sample(500, 0)["kind"])
    gan.partial_fit(new)
    assert "new" in set(gan.sample(500, 0)["kind"])
