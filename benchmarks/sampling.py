"""Time of sample over score_samples of AutoregressiveDensity, a plain MADE and zuko's MAF."""

import numpy as np
import torch

from benchmarks._measure import interleaved_seconds
from benchmarks.results import Results, version_of
from sklearn_dgm import AutoregressiveDensity


def add_arguments(parser):
    parser.add_argument("--n-rows", type=int, default=10_000, help="rows scored and drawn")
    parser.add_argument("--n-columns", type=int, default=64, help="columns of the table")
    parser.add_argument("--repeats", type=int, default=3, help="interleaved rounds")


@torch.no_grad()
def run(args):
    n, d = args.n_rows, args.n_columns
    rng = np.random.default_rng(0)
    X = rng.normal(size=(n, d)) @ rng.normal(size=(d, d))
    with torch.enable_grad():
        density = AutoregressiveDensity(early_stopping=False, max_epochs=1, random_state=0).fit(X)
    module = density.net_.module_
    z = torch.from_numpy(density.schema_.encode(X)[0])
    generator = torch.Generator().manual_seed(0)
    tasks = {
        "AutoregressiveDensity: score_samples": lambda: density.score_samples(X),
        "AutoregressiveDensity: sample": lambda: density.sample(n, random_state=0),
        "plain MADE: d full passes": lambda: sample_with_full_passes(module, n, generator),
    }
    results, name = Results("sampling", args.results), f"{n:,} rows x {d} columns"
    if version_of("zuko") is None:
        for task in ("log_prob", "sample"):
            results.add(data=name, peer=f"zuko MAF: {task}", gap="not installed")
    else:
        import zuko

        flow = zuko.flows.MAF(d, transforms=1, hidden_features=(256, 256)).double()()
        tasks["zuko MAF: log_prob"] = lambda: flow.log_prob(z)
        tasks["zuko MAF: sample"] = lambda: flow.sample((n,))
    add_ratios(results, name, interleaved_seconds(tasks, args.repeats))


def add_ratios(results, name, seconds):
    """Add medians of seconds, and of ratios to the same density's scoring."""
    for peer, values in seconds.items():
        is_zuko = peer.startswith("zuko")
        score = seconds["zuko MAF: log_prob" if is_zuko else "AutoregressiveDensity: score_samples"]
        results.add(
            data=name,
            peer=peer,
            version=version_of("zuko" if is_zuko else "sklearn-dgm"),
            seconds=round(float(np.median(values)), 3),
            ratio=round(float(np.median(values / score)), 2),
        )


def sample_with_full_passes(module, n_samples, generator):
    """Draw rows as MADE is usually sampled: the whole network runs once for each column.

    Parameters
    ----------
    module : MADE
        A network with continuous columns only, in the given order.
    n_samples : int
        Number of rows.
    generator : torch.Generator
        Source of randomness.

    Returns
    -------
    z : Tensor of shape (n_samples, d)
        Encoded rows.
    """
    (head,) = module.bank.heads
    z = torch.zeros(n_samples, len(module.variables), dtype=torch.float64)
    for j in range(z.shape[1]):
        params = module.params(z).reshape(n_samples, z.shape[1], head.n_params)
        uniform = torch.rand(n_samples, generator=generator, dtype=torch.float64)
        z[:, j] = head.sample(params[:, j], j, uniform)
    return z
