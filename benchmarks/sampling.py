"""Time of sample over score_samples of AutoregressiveDensity, a plain MADE and zuko's MAF."""

import numpy as np
import torch

from benchmarks._measure import import_optional, interleaved_seconds, print_table
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
    flow = import_optional("zuko").flows.MAF(d, transforms=1, hidden_features=(256, 256)).double()()
    generator = torch.Generator().manual_seed(0)
    seconds = interleaved_seconds(
        {
            "AutoregressiveDensity: score_samples": lambda: density.score_samples(X),
            "AutoregressiveDensity: sample": lambda: density.sample(n, random_state=0),
            "plain MADE: d full passes": lambda: sample_with_full_passes(module, n, generator),
            "zuko MAF: log_prob": lambda: flow.log_prob(z),
            "zuko MAF: sample": lambda: flow.sample((n,)),
        },
        args.repeats,
    )
    score = seconds["AutoregressiveDensity: score_samples"]
    maf = seconds["zuko MAF: log_prob"]
    print_table(
        [f"{n:,} rows x {d} columns", "seconds", "ratio to its own scoring"],
        [
            [name, f"{np.median(s):.3f}", f"{np.median(s / (maf if 'MAF' in name else score)):.1f}"]
            for name, s in seconds.items()
        ],
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
    (head,) = module.heads
    z = torch.zeros(n_samples, len(module.variables), dtype=torch.float64)
    for j in range(z.shape[1]):
        params = module.params(z).reshape(n_samples, z.shape[1], head.n_params)
        z[:, j] = head.draw(params[:, j], j, generator)
    return z
