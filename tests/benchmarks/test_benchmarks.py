"""Peers are densities on the stated measure, and figures reach the report."""

import json
from functools import partial
from itertools import combinations, product

import numpy as np
import pandas as pd
import pytest
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import mutual_info_score
from sklearn.neural_network import BernoulliRBM

from benchmarks import (
    accelerator,
    any_order,
    bayes_nets,
    chow_liu,
    classifiers,
    codec,
    data,
    ensemble,
    faster,
    flows,
    generative,
    impute,
    likelihood,
    peers,
    releases,
    report,
    results,
    synthetic,
)
from benchmarks.__main__ import main
from benchmarks.images import likelihoods as likelihoods_of_images
from benchmarks.images import outliers as outliers_among_images
from benchmarks.latent import (
    autoencoders,
    boltzmann,
    choice,
    continuous_mixtures,
    energies,
    gans,
    mixtures,
)
from benchmarks.mixed_peers import fit_cells, fit_dequantised_mixture
from benchmarks.peers import PEERS
from benchmarks.trees import ChowLiuTree, Independent, maximum_spanning_tree
from sklearn_dgm import AutoregressiveDensity, FlowDensity, HistogramDensity
from tests.short_training import shorten_training


def codes_of_four_columns():
    rng = np.random.default_rng(0)
    a = rng.integers(3, size=200)
    b = np.where(rng.random(200) < 0.8, a % 2, rng.integers(2, size=200))
    c = np.where(rng.random(200) < 0.6, b, rng.integers(2, size=200))
    d = np.where(rng.random(200) < 0.7, a, rng.integers(3, size=200))
    return np.stack([a, b, c, d], axis=1), [3, 2, 2, 3]


def spanning_trees(n):
    """All sets of n - 1 edges that reach every node, found by growing from node 0."""
    for edges in combinations(combinations(range(n), 2), n - 1):
        reached = {0}
        for _ in edges:
            reached |= {node for edge in edges if reached & set(edge) for node in edge}
        if len(reached) == n:
            yield edges


def test_chow_liu_tree_is_the_best_of_all_trees():
    codes, n_levels = codes_of_four_columns()
    trees = list(spanning_trees(4))
    assert len(trees) == 4**2  # Cayley
    entropy = sum(mutual_info_score(c, c) for c in codes.T)
    best = max(sum(mutual_info_score(codes[:, i], codes[:, j]) for i, j in t) for t in trees)
    tree = ChowLiuTree(codes, n_levels, alpha=1e-9)
    assert tree.log_prob(codes).mean() == pytest.approx(best - entropy, abs=1e-6)


@pytest.mark.parametrize("model", [ChowLiuTree, Independent])
@pytest.mark.parametrize("alpha", [0.1, 10.0])
def test_models_of_codes_sum_to_one(model, alpha):
    codes, n_levels = codes_of_four_columns()
    every = np.array(list(product(*map(range, n_levels))))
    log_prob = model(codes[:5], n_levels, alpha).log_prob(every)
    assert np.isfinite(log_prob).all()
    assert np.exp(log_prob).sum() == pytest.approx(1)


def test_spanning_tree_keeps_columns_without_information():
    assert maximum_spanning_tree(np.zeros((3, 3))).tolist().count(-1) == 1


def tiny_table(n=80):
    rng = np.random.default_rng(0)
    color = rng.integers(3, size=n)
    return pd.DataFrame(
        {
            "color": pd.Categorical.from_codes(color, ["red", "green", "blue"]),
            "flag": rng.random(n) < 0.3,
            "count": rng.integers(4, size=n) + color,
            "size": rng.normal(color, 0.5),
        }
    )


def total_mass(log_prob, table, counts, sizes):
    """Sum over categories and counts, and the integral over sizes by the midpoint rule."""
    values = {"count": counts, "size": (sizes[1:] + sizes[:-1]) / 2}
    values |= {"color": ["red", "green", "blue"], "flag": [False, True]}
    grid = pd.DataFrame(product(*(values[name] for name in table)), columns=list(table))
    return np.exp(log_prob(grid.astype(table.dtypes))).sum() * (sizes[1] - sizes[0])


@pytest.mark.parametrize("model", [Independent, ChowLiuTree])
def test_models_of_cells_have_the_stated_measure(model):
    table = tiny_table()
    log_prob, _ = fit_cells(model, table[:50], table[50:], n_bins=(4,))
    mass = total_mass(log_prob, table, range(-8, 16), np.linspace(-8, 10, 1001))
    assert mass == pytest.approx(1, abs=0.01)


def test_cells_call_impossible_what_is_far_out():
    table = tiny_table()
    log_prob, _ = fit_cells(Independent, table[:50], table[50:])
    assert np.isneginf(log_prob(table[:1].assign(size=1e6))).all()


def test_mixture_of_dequantised_codes_has_the_stated_measure():
    counts, sizes = range(-8, 16), np.linspace(-5, 7, 121)
    numbers = tiny_table()[["count", "size"]]
    log_prob, _ = fit_dequantised_mixture(peers.choose_mixture, numbers[:50], numbers[50:], 0)
    assert total_mass(log_prob, numbers, counts, sizes) == pytest.approx(1, abs=0.02)
    table = tiny_table()
    log_prob, _ = fit_dequantised_mixture(peers.choose_mixture, table[:50], table[50:], 0, 8)
    assert 0.3 < total_mass(log_prob, table, counts, sizes) < 1.02


def test_complete_table_leaves_no_missing_cells_and_no_tied_floats():
    n = 40
    frame = pd.DataFrame(
        {
            "mostly missing": [1.0] + [np.nan] * (n - 1),
            "sparsely missing": [np.nan, *np.linspace(0, 1, n - 1)],
            "rounded": np.arange(n) // 4 / 10,
            "thirds": np.arange(n) // 4 / 3,
            "text": ["a", "b"] * (n // 2),
        }
    )
    table = data.complete_table(frame)
    assert list(table) == ["sparsely missing", "rounded", "text"]
    assert len(table) == n - 1
    assert table["rounded"].tolist() == [i // 4 for i in range(1, n)]
    assert table.dtypes.astype(str).tolist() == ["float64", "int64", "category"]


def test_looks_continuous():
    rng = np.random.default_rng(0)
    X = np.stack([rng.normal(size=200), rng.integers(5, size=200), np.zeros(200)], axis=1)
    assert data.looks_continuous(X, 50, 0.1).tolist() == [True, False, False]
    capped = X[:, [0, 0]].clip(max=[1.5, np.inf])
    assert data.has_atoms(capped).tolist() == [True, False]


def test_crps_is_the_energy_form():
    rng = np.random.default_rng(0)
    draws, truth = rng.normal(size=(7, 5)), rng.normal(size=5)
    pairs = np.abs(draws[:, None] - draws).mean(axis=(0, 1))
    expected = np.abs(draws - truth).mean(axis=0) - pairs / 2
    np.testing.assert_allclose(impute.crps(draws, truth), expected)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Tiny tables of each kind, on which networks train for two epochs."""
    shorten_training(monkeypatch)
    rng = np.random.default_rng(0)
    for name in ("continuous", "debd", "mixed"):
        (tmp_path / name).mkdir()
    np.savez(tmp_path / "continuous" / "toy.npz", X=rng.normal(size=(120, 3)), y=np.zeros(120))
    bits = (rng.random((90, 4)) < 0.4).astype(np.uint8)
    np.savez(tmp_path / "debd" / "toy.npz", train=bits[:50], valid=bits[50:70], test=bits[70:])
    mixed = tiny_table(90).astype({"color": object})
    mixed.loc[3, "color"] = None
    mixed.to_csv(tmp_path / "mixed" / "toy.csv.gz", index=False)
    monkeypatch.setitem(data.LABELS, "toy", "color")
    monkeypatch.setattr(flows, "MAX_EPOCHS", 2)
    return tmp_path


def run(folder, *words):
    main([*words, "--data", str(folder), "--only", "toy", "--results", str(folder / "results")])


def lines(folder, suite):
    return results.Results(suite, folder / "results").load()


def report_of(folder):
    path = folder / "RESULTS.md"
    main(["report", "--results", str(folder / "results"), "--output", str(path)])
    return path.read_text()


def test_likelihood_of_each_suite(folder):
    for suite, measured in peers.PEERS.items():
        run(folder, "likelihood", "--suite", suite)
        for record in lines(folder, suite):
            if record["version"] is None:
                assert record["gap"] == "not installed"
            elif not record["data"].endswith("as read"):
                assert np.isfinite(record["log_likelihood"]), record
        assert {record["peer"] for record in lines(folder, suite)} == {p.name for p in measured}
    assert "mixture of dequantised codes" in report_of(folder)


def test_rerun_replaces_lines_and_renews_differences(folder):
    for words in ([], ["--peers", peers.OURS]):
        run(folder, "likelihood", "--suite", "binary", *words)
    ours, tree = lines(folder, "binary")
    difference = ours["log_likelihood"] - tree["log_likelihood"]
    assert tree["difference"] == pytest.approx(difference, abs=1e-5)
    path = folder / "results" / "binary.jsonl"
    assert len(path.read_text().splitlines()) == 4
    assert f"({difference:+.2f} ±" in report_of(folder)
    assert [json.loads(line)["peer"] for line in path.read_text().splitlines()] == [
        peers.OURS,
        "Chow-Liu tree",
    ]


def test_gaps_are_seen_and_do_not_replace_figures(folder, monkeypatch):
    def fail(train, valid, seed):
        raise RuntimeError("no | luck")

    missing = peers.Peer("missing", "no-such-distribution", fail)
    failing = peers.Peer("failing", None, fail)
    monkeypatch.setitem(peers.PEERS, "binary", [missing, failing])
    run(folder, "likelihood", "--suite", "binary")
    text = report_of(folder)
    assert "| *not installed* |" in text
    assert "| *RuntimeError: no / luck* |" in text
    kept = results.Results("kept", folder / "results")
    kept.add(data="toy", peer="p", log_likelihood=1.0)
    kept.add(data="toy", peer="p", gap="not installed")
    assert [record.get("gap") for record in kept.load()] == [None]


def test_impossible_rows_are_counted():
    log_prob = np.array([-1.0, -np.inf, -3.0])
    assert likelihood.mean_of_possible(log_prob) == {"log_likelihood": -2.0, "impossible": 1}
    summary = {"log_likelihood": -2.0, "impossible": 1}
    assert report.likelihood(summary) == "-2.00, 1 rows impossible"


def test_impute(folder):
    run(folder, "impute", "--shares", "0.3", "--n-draws", "2")
    by_peer = {record["peer"]: record for record in lines(folder, "impute")}
    assert set(by_peer) == set(impute.IMPUTERS)
    # The mean of a column is one standard deviation off.
    assert by_peer["mean and frequencies"]["rmse"] == pytest.approx(1, abs=0.3)
    assert by_peer["KNNImputer"]["crps"] > by_peer["IterativeImputer, posterior"]["crps"] > 0
    assert "| masked | RMSE | CRPS | log-loss |" in report_of(folder)


def test_numbers_of_masked_tables_go_there_and_back():
    masked = impute.MaskedTable(tiny_table(), 0.2, 0, None)
    draws = masked.all_numbers(masked.truth[:, masked.is_free])
    np.testing.assert_allclose(draws, masked.truth)
    perfect = masked.judge(draws[None])
    assert perfect["rmse"] == perfect["crps"] == 0
    assert perfect["log_loss"] < 0.05


def test_synthetic(folder):
    run(folder, "synthetic", "--epochs", "1")
    for record in lines(folder, "synthetic"):
        assert record["version"] is None or 0 <= record["accuracy"] <= 1, record
        assert record["version"] is None or record["peer"] == synthetic.REAL or record["auroc"] > 0
    assert "accuracy of the label" in report_of(folder)


def test_any_order(folder, monkeypatch):
    monkeypatch.setitem(any_order.ORDERS, "default", {"n_orders": 1, "max_epochs": 1})
    monkeypatch.setitem(any_order.ORDERS, "given", {"order": "given", "max_epochs": 1})
    monkeypatch.setitem(any_order.ORDERS, "any", {"order": "any", "max_epochs": 1})
    main(["any_order", "--only", "iris", "--seeds", "0", "--results", str(folder / "results")])
    by_peer = {record["peer"]: record for record in lines(folder, "any_order")}
    own, given = by_peer["any order"], by_peer["given order"]
    assert own["cost"] == own["standard_error"] == 0
    difference = given["log_likelihood"] - own["log_likelihood"]
    assert given["cost"] == pytest.approx(difference, abs=1e-3)
    assert "nats per row and column" in report_of(folder)


def test_codec(folder, monkeypatch):
    pytest.importorskip("zstandard")
    tables = {"tables": codec.DENSITIES["BayesianNetworkDensity, tables"]}
    monkeypatch.setattr(codec, "DENSITIES", tables)
    run(folder, "codec", "--peers", "xz -9", "zstd -19", "Parquet, zstd -19", "tables")
    by_peer = {record["peer"]: record for record in lines(folder, "codec")}
    own, xz = by_peer["tables"], by_peer["xz -9"]
    assert own["code_length"] < own["bytes"] < 1.01 * own["code_length"] + 64
    assert own["bytes"] / own["ratio"] == pytest.approx(xz["bytes"] / xz["ratio"], rel=0.01)
    assert own["model"] > 1000
    assert "| ratio to the best program | -log2 p(x), bytes |" in report_of(folder)


def test_latent_mixtures(folder, monkeypatch):
    monkeypatch.setitem(mixtures.TARGETS, "toy", (-2.5, None))
    monkeypatch.setitem(mixtures.OF_FACTORS, "toy", -3.0)
    monkeypatch.setattr(mixtures, "MISSING", ("toy",))
    few = ["--components", "1", "2", "--trees", "1", "--gaussians", "1", "2", "--folds", "3"]
    run(folder, "latent", "--families", "mixture", *few, "--forms", "1", "2")
    measured = {(record["columns"], record["peer"]): record for record in lines(folder, "latent")}
    peers = {peer for _, peer in measured}
    assert peers == {
        mixtures.INDEPENDENT,
        mixtures.TREES,
        mixtures.FULL,
        mixtures.FACTORS,
        mixtures.PEER,
        mixtures.IMPUTED,
        mixtures.DRAWN,
        mixtures.MIXED,
        *(peer.name for peer in PEERS["mixed"][1:]),
    }
    for record in measured.values():
        assert "gap" not in record, record
        assert -20 < record["log_likelihood"] < 20
        assert record.get("all_seconds", 1e9) >= record["fit_seconds"] - 0.1
    missing = [record for record in measured.values() if record.get("case") == "30 % missing"]
    assert all(
        record["cost"] == pytest.approx(record["complete"] - record["log_likelihood"], abs=1e-3)
        for record in missing
    )
    assert "| and of all that were tried |" in report_of(folder)


def test_latent_energies(folder, monkeypatch):
    (folder / "adbench").mkdir()
    X = np.random.default_rng(1).normal(size=(90, 2))
    np.savez(folder / "adbench" / "1_toy.npz", X=X, y=np.arange(90) > 80)
    monkeypatch.setattr(energies.outliers, "MIN_ROWS", 50)
    run(folder, "latent", "--families", "energy", "--bases", "1", "2", "--min-distinct", "2")
    measured = lines(folder, "latent")
    pairs = [measured[k : k + 2] for k in range(0, len(measured), 2)]
    # The table of numbers has the name of the mixed one, whose lines come later.
    assert [base["case"] for base, _ in pairs] == ["energy", "outliers"]
    for base, tilted in pairs:
        assert (base["peer"], tilted["peer"]) == (energies.BASE, energies.TILTED)
        assert "gap" not in tilted, tilted
        if tilted["case"] == "outliers":
            assert 0 <= tilted["auroc"] <= 1
        else:
            assert tilted["log_likelihood"] > base["log_likelihood"] - 0.1
            assert tilted["log_partition_std_error"] < 0.01
    assert "| its error from log Z |" in report_of(folder)


def test_latent_continuous_mixtures(folder, monkeypatch):
    monkeypatch.setitem(continuous_mixtures.TARGETS, "toy", (-2.5, -2.4))
    monkeypatch.setattr(continuous_mixtures, "MIXED", ("toy",))
    monkeypatch.setattr(continuous_mixtures, "OF_SPFLOW", ("toy",))
    run(folder, "latent", "--families", "continuous-mixture", "--decoder-seconds", "1")
    *measured, of_spflow, of_mixed = lines(folder, "latent")
    assert of_spflow["peer"] == continuous_mixtures.SPFLOW
    assert of_spflow.get("gap") == "not installed" or np.isfinite(of_spflow["log_likelihood"])
    assert (of_mixed["case"], of_mixed["peer"]) == ("mixed", measured[0]["peer"])
    assert np.isfinite(of_mixed["log_likelihood"])
    assert [record["peer"] for record in measured] == list(continuous_mixtures.COMPONENTS.values())
    for record, target in zip(measured, (-2.5, -2.4), strict=True):
        assert record["target"] == target
        assert -20 < record["log_likelihood"] < 0
        assert record["score_seconds"] > 0
        assert "points, alpha=" in record["notes"]
    assert "| seconds to score 10,000 rows |" in report_of(folder)


def test_latent_gans(folder):
    few = ["--gans", "TabularGAN", "AutoregressiveDensity", "--max-rows", "200"]
    run(folder, "latent", "--families", "gan", *few)
    ours, other = lines(folder, "latent")
    assert (ours["peer"], other["peer"]) == ("TabularGAN", "AutoregressiveDensity")
    for record in (ours, other):
        assert 0 <= record["auroc"] <= 1
        assert 0 <= record["accuracy"] <= 1
        assert record["lost"] == 0
    assert "| categories lost |" in report_of(folder)


def test_categories_are_lost_that_are_drawn_too_seldom_or_too_often():
    known = pd.DataFrame({"kind": pd.Categorical(["a"] * 60 + ["b"] * 39 + ["c"])})
    drawn = pd.DataFrame({"kind": pd.Categorical(["a"] * 85 + ["b"] * 15)})
    assert gans.n_lost(known, drawn) == 2
    assert gans.n_lost(known, known) == 0


def test_latent_boltzmann_machines(folder, monkeypatch):
    monkeypatch.setattr(data, "N_DIGITS", 40)
    (folder / "images").mkdir()
    grey = np.random.default_rng(0).integers(0, 256, (60, 3, 3))
    np.savez(folder / "images" / "mnist_train.npz", X=grey, y=np.zeros(60))
    few = ["--hidden-units", "2", "4", "--weight-decays", "1e-3", "--digit-units", "3"]
    few += ["--digit-passes", "2", "--temperatures", "20", "--families", "boltzmann"]
    run(folder, "latent", *few)
    where = ["--data", str(folder), "--results", str(folder / "results")]
    main(["latent", *few, "--only", boltzmann.DIGITS, *where])
    measured = {(record["data"], record["peer"]): record for record in lines(folder, "latent")}
    ours, peer = boltzmann.MACHINE, boltzmann.PEER
    assert set(measured) == {
        *(("toy", name) for name in (ours, peer)),
        *((boltzmann.DIGITS, name) for name in (ours, boltzmann.NET, peer)),
    }
    for record in measured.values():
        assert "gap" not in record, record
        assert -10 < record["log_likelihood"] < 0
    # Ours and that of scikit-learn learn nothing in so short a time.
    assert measured[boltzmann.DIGITS, ours]["log_likelihood"] == pytest.approx(
        measured[boltzmann.DIGITS, peer]["log_likelihood"], abs=0.5
    )


def test_log_likelihood_of_the_peer_is_that_of_its_parameters():
    rng = np.random.default_rng(0)
    X = rng.random((80, 4)) < 0.4
    peer = BernoulliRBM(3, n_iter=20, learning_rate=0.5, random_state=0).fit(X)
    every = np.array(list(np.ndindex(2, 2, 2, 2)), dtype=bool)
    log_p, partition = boltzmann.log_likelihoods(peer, X, every, 500)
    assert np.exp(log_p).sum() == pytest.approx(1, abs=4 * partition.std_error + 1e-3)
    energies = every @ peer.intercept_visible_ + np.logaddexp(
        0, every @ peer.components_.T + peer.intercept_hidden_
    ).sum(axis=1)
    np.testing.assert_allclose(log_p - log_p[0], energies - energies[0], atol=1e-10)


def test_images(folder, monkeypatch):
    rng = np.random.default_rng(0)
    (folder / "images").mkdir()
    np.savez(
        folder / "images" / "mnist_train.npz",
        X=rng.integers(0, 256, (60, 784), dtype=np.uint8),
        y=np.arange(60) % 10,
    )
    np.savez(
        folder / "images" / "freyfaces.npz", X=rng.integers(0, 256, (210, 560), dtype=np.uint8)
    )
    monkeypatch.setattr(data, "N_DIGITS", 40)
    monkeypatch.setattr(outliers_among_images, "N_TEST", 6)
    monkeypatch.setattr(outliers_among_images, "EPOCHS", 1)
    monkeypatch.setitem(likelihoods_of_images.EPOCHS, ("digits", "PixelCNNDensity"), 1)
    where = ["--data", str(folder), "--results", str(folder / "results")]
    main(["images", "--parts", "likelihood", "--only", "digits", "--max-rows", "40", *where])
    main(["images", "--parts", "outliers", "--max-rows", "20", *where])
    measured = lines(folder, "images")
    assert not [record for record in measured if "gap" in record and record["version"]]
    by_peer = {record["peer"]: record for record in measured if record["data"] == "digits"}
    for peer in ("PixelCNNDensity", "AutoregressiveDensity"):
        nats = -by_peer[peer]["log_likelihood"]
        assert by_peer[peer]["bits_per_dim"] == pytest.approx(nats / np.log(2) / 64)
        assert by_peer[peer]["bytes"] * 8 > 0.8 * 40 * nats / np.log(2)
    areas = [record["auc"] for record in measured if "auc" in record]
    assert len(areas) == 20
    assert all(0 <= area <= 1 for area in areas)
    assert "area under the ROC curve" in report_of(folder)


def test_latent_choice(folder):
    run(folder, "latent", "--families", "choice", "--suites", "continuous", "--max-rows", "80")
    ensemble, *singles = lines(folder, "latent")
    assert (ensemble["peer"], ensemble["rows"]) == (choice.ENSEMBLE, 80)
    members = [record for record in singles if record["peer"].startswith("its ")]
    assert ensemble["notes"].count("0.") + ensemble["notes"].count("1.") == len(members) > 0
    others = [record for record in singles if record["peer"].endswith(", no member")]
    assert len(members) + len(others) == len(singles) > 3
    assert all(-20 < record["log_likelihood"] < 20 for record in [ensemble, *singles])


def test_latent_autoencoders(folder, monkeypatch):
    rng = np.random.default_rng(0)
    (folder / "images").mkdir()
    grey = rng.integers(256, size=(60, 3, 3))
    np.savez(folder / "images" / "mnist_train.npz", X=grey)
    monkeypatch.setattr(data, "N_DIGITS", 40)
    monkeypatch.setattr(autoencoders, "DIGITS", "toy")  # which is asked for
    few = ["--latents", "2", "--digit-epochs", "2", "--importance-samples", "50"]
    run(folder, "latent", "--families", "autoencoder", *few)
    measured = {(record["columns"], record["peer"]): record for record in lines(folder, "latent")}
    digits = measured.pop((9, autoencoders.OURS))
    assert {peer for _, peer in measured} == {autoencoders.OURS, autoencoders.INDEPENDENT}
    for (_, peer), record in measured.items():
        assert np.isfinite(record["log_likelihood"]), record
        assert (peer == autoencoders.OURS) == (0 <= record.get("auroc", -1) <= 1)
    assert -9 < digits["log_likelihood"] < 0
    assert "evidence lower bound" in digits["notes"]


def test_chow_liu(folder):
    run(folder, "chow_liu", "--timed", "toy", "--repeats", "1")
    tree, *searches = lines(folder, "chow_liu")
    assert tree["alpha"] in chow_liu.ALPHAS
    assert -4 < tree["log_likelihood"] < -2
    assert tree["difference"] is None
    timed = [record for record in searches if "gap" not in record]
    assert len(timed) == 2 - (results.version_of("pgmpy") is None)
    assert timed[0]["ratio"] == 1
    assert len({record["information"] for record in timed}) == 1
    assert "| total mutual information |" in report_of(folder)


def test_chow_liu_is_set_beside_published_figures(folder, monkeypatch):
    monkeypatch.setitem(chow_liu.BINARY, "toy", (-2.5, None, "", None))
    run(folder, "chow_liu")
    (tree,) = lines(folder, "chow_liu")
    assert tree["difference"] == pytest.approx(tree["log_likelihood"] + 2.5, abs=1e-4)
    assert f"| -2.50 | {tree['difference']:+.3f} |" in report_of(folder)


def test_classifiers(folder):
    run(folder, "classifiers")
    by_peer = {record["peer"]: record for record in lines(folder, "classifiers")}
    assert set(by_peer) == set(classifiers.CLASSIFIERS)
    assert {record["rows"] for record in by_peer.values()} == {89}
    for record in by_peer.values():
        assert 0.2 < record["accuracy"] < 0.9, record
    # The size says most of the color, and CategoricalNB does not see it.
    assert by_peer["NaiveBayesClassifier"]["log_loss"] < by_peer["CategoricalNB"]["log_loss"]
    better = by_peer["NaiveBayesClassifier"]["accuracy"] - by_peer["CategoricalNB"]["accuracy"]
    assert f"1, 0, 0 ({better:+.4f})" in report_of(folder)


def test_classifiers_without_such_columns_are_gaps(folder):
    table = tiny_table(60)[["color", "flag"]]
    table.to_csv(folder / "mixed" / "toy.csv.gz", index=False)
    run(folder, "classifiers", "--peers", "GaussianNB", "CategoricalNB")
    gaussian, categorical = lines(folder, "classifiers")
    assert gaussian["gap"] == "no such column"
    assert "gap" not in categorical
    assert "| *no such column* |" in report_of(folder)


def test_labelled_rows_are_those_of_classes_that_reach_all_folds(monkeypatch):
    monkeypatch.setitem(data.LABELS, "toy", "label")
    monkeypatch.setitem(classifiers.LEAKS, "toy", ["same"])
    label = ["a"] * 12 + ["b"] * 10 + ["c"] * 9 + [None] * 15
    frame = pd.DataFrame({"x": range(46), "same": label, "label": label})
    X, y = classifiers.labelled("toy", frame, 0, 100)
    assert list(X) == ["x"]
    assert sorted(X["x"]) == list(range(22))
    assert sorted(y) == ["a"] * 12 + ["b"] * 10


def test_categories_that_are_missing_or_unknown_are_taken():
    train = pd.DataFrame({"a": ["u", "u", "v", "v"], "b": [True, False, True, None]})
    test = pd.DataFrame({"a": ["u", "w", None], "b": [None, True, True]})
    fitted = classifiers.ON_CATEGORIES.fit(train, ["0", "0", "1", "1"])
    proba = fitted.predict_proba(test)
    # In the first row, u is for class 0 (3/5 to 1/5) and missing for class 1 (2/6 to 1/6).
    assert proba[0, 0] == pytest.approx(3 * 1 / (3 * 1 + 1 * 2))
    np.testing.assert_allclose(proba[1], proba[2])


def test_rows_without_a_label(folder):
    words = [
        "--only",
        "digits",
        "--cases",
        "kernel density",
        "--max-rows",
        "200",
        "--seeds",
        "0",
        "1",
    ]
    where = ["--data", str(folder), "--results", str(folder / "results")]
    main(["generative", "--part", "semi-supervised", *words, *where])
    records = lines(folder, "semi_supervised")
    assert {record["peer"] for record in records} == set(generative.PEERS)
    assert len(records) == 6
    assert all(record["accuracy"] > 0.7 for record in records), records
    assert "| digits | kernel density | 2 |" in report_of(folder)


def test_over_sampling(folder, monkeypatch):
    monkeypatch.setitem(generative.RARE, "toy", "yes")
    monkeypatch.setitem(data.LABELS, "toy", "flag")
    monkeypatch.setattr(generative, "RARE_SHARE", 0.2)
    table = tiny_table(600)
    table["flag"] = np.where(table["flag"], "yes", "no")
    table.to_csv(folder / "mixed" / "toy.csv.gz", index=False)
    run(folder, "generative", "--part", "over-sampling", "--seeds", "0")
    records = lines(folder, "over_sampling")
    assert {record["peer"] for record in records} == set(generative.SAMPLERS)
    assert all(0 < record["average_precision"] < 1 for record in records), records
    assert "| balanced accuracy |" in report_of(folder)


@pytest.mark.parametrize("suite", bayes_nets.PEERS)
def test_bayes_nets(folder, monkeypatch, suite):
    quick = partial(bayes_nets.BayesianNetworkDensity, max_epochs=1)
    monkeypatch.setattr(bayes_nets, "BayesianNetworkDensity", quick)
    run(folder, "bayes_nets", "--suite", suite)
    by_peer = {record["peer"]: record for record in lines(folder, f"bayes_nets_{suite}")}
    assert tuple(by_peer) == bayes_nets.PEERS[suite]
    network, tree = by_peer[bayes_nets.NETWORK], by_peer[bayes_nets.TREE]
    assert (network["tables"], tree["tables"]) == (0, 4)
    assert "difference" not in network
    difference = network["log_likelihood"] - tree["log_likelihood"]
    assert tree["difference"] == pytest.approx(difference, abs=1e-5)
    if suite == "mixed":
        table, auto = by_peer[bayes_nets.TABLE], by_peer[bayes_nets.AUTO]
        assert network["edges"] == table["edges"] == auto["edges"] > 0
        assert (table["tables"], "difference" in auto) == (4, True)
    assert f"{network['edges']}, {network['parameters']:,} (0)" in report_of(folder)


def test_ensemble(folder, monkeypatch):
    quick = partial(
        ensemble.AutoregressiveDensity, hidden_layer_sizes=(8,), n_orders=1, max_epochs=1
    )
    monkeypatch.setattr(ensemble, "AutoregressiveDensity", quick)
    monkeypatch.setattr(ensemble, "N_COMPONENTS", (1, 2))
    run(folder, "ensemble")
    whole, *members = lines(folder, "ensemble")
    assert [member["peer"] for member in members] == list(ensemble.PACKAGES)
    assert sum(whole["weights"].values()) == pytest.approx(1, abs=1e-3)
    best = max(members, key=lambda member: member["log_likelihood"])
    assert best["difference"] == pytest.approx(
        whole["log_likelihood"] - best["log_likelihood"], abs=1e-5
    )
    assert f"{best['difference']:+.3f} ± {best['standard_error']:.3f}" in report_of(folder)


def test_machine_is_described_without_names():
    assert set(results.describe_machine()) == {
        *("cores", "processor", "system", "threads", "versions")
    }


def test_faster(monkeypatch, capsys):
    tables = {"toy": np.random.default_rng(0).normal(size=(60, 2))}
    monkeypatch.setattr(faster, "tables", lambda: tables)
    monkeypatch.setattr(faster, "VARIANTS", {"counting": HistogramDensity()})
    main(["faster", "--seeds", "0"])
    head, _, line = capsys.readouterr().out.splitlines()
    assert head.count("|") == line.count("|") == 4
    assert line.startswith("| counting | ")


def test_releases_are_set_side_by_side(folder, monkeypatch):
    quick = {"hidden_layer_sizes": (4,), "n_orders": 1, "max_epochs": 1, "random_state": 0}
    asked, original = [], releases.fit_in_process

    def fit_in_process(checkout, task):
        kind, parameters, *rows, test = task
        asked.append((checkout, np.concatenate(rows), test))
        if len(asked) > 1:  # the release before
            return np.zeros(len(test)), {"fit": 1e3, "score": 1.0}, ""
        return original(checkout, (kind, {**parameters, **quick}, *rows, test))

    monkeypatch.setattr(releases, "fit_in_process", fit_in_process)
    run(folder, "releases", "--suite", "binary", "--before", str(folder))
    ours, before = lines(folder, "releases")
    assert [checkout for checkout, *_ in asked] == [releases.HERE.parent, folder]
    _, rows, test = asked[0]
    with pytest.warns(ConvergenceWarning):
        expected = AutoregressiveDensity(**quick).fit(rows).score_samples(test)
    assert ours["log_likelihood"] == pytest.approx(expected.mean(), abs=1e-4)
    assert before["difference"] == pytest.approx(expected.mean() / 4, abs=1e-4)
    assert before["standard_error"] == pytest.approx(
        np.std(expected / 4, ddof=1) / 20**0.5, abs=1e-4
    )
    assert before["ratio"] > 100
    assert "the release before" in report_of(folder)


def test_fits_of_a_file_stay_below_the_memory_they_may_take(tmp_path):
    arguments = ["out_of_core", "--rows", "150000", "--densities", "HistogramDensity"]
    main([*arguments, "--data", str(tmp_path), "--results", str(tmp_path / "results")])
    [record] = results.Results("out_of_core", tmp_path / "results").load()
    assert record["megabytes"] == 12
    assert 0 < record["peak_mb"] < record["target_mb"] == 600
    assert sorted(path.name for path in tmp_path.iterdir()) == ["results"]
    assert "peak above the imports, MB" in report.render(tmp_path / "results")


def test_fits_on_two_devices_stand_side_by_side(tmp_path, monkeypatch):
    monkeypatch.setattr(accelerator, "DENSITIES", (FlowDensity,))
    arguments = ["accelerator", "--device", "cpu", "--epochs", "1", "--rows", "300"]
    main([*arguments, "--results", str(tmp_path / "results")])
    (record,) = lines(tmp_path, "accelerator")
    assert (record["data"], record["case"]) == ("300 x 10", "cpu")
    assert record["difference"] == 0
    ratio = record["fit_seconds_cpu"] / record["fit_seconds"]
    assert record["fit_ratio"] == pytest.approx(ratio, rel=0.2)
    assert "times as fast" in report_of(tmp_path)
