"""Mixtures, latent variables, energies and a GAN beside published figures and named peers.

Each family has a module, which says what it is measured on, and beside what.
"""

from pathlib import Path

from benchmarks.latent import (
    autoencoders,
    boltzmann,
    choice,
    continuous_mixtures,
    energies,
    gans,
    mixtures,
)
from benchmarks.results import Results

FAMILIES = {
    "mixture": mixtures,
    "continuous-mixture": continuous_mixtures,
    "autoencoder": autoencoders,
    "boltzmann": boltzmann,
    "energy": energies,
    "gan": gans,
    "choice": choice,
}


def add_arguments(parser):
    parser.add_argument("--data", type=Path, required=True, help="folder of the tables")
    parser.add_argument("--families", nargs="+", choices=FAMILIES, help="what is measured")
    parser.add_argument("--only", nargs="+", help="names of tables, such as plants")
    parser.add_argument("--max-rows", type=int, help="rows of each part of a table at most")
    for module in FAMILIES.values():
        module.add_arguments(parser)


def run(args):
    results = Results("latent", args.results)
    for name in args.families or FAMILIES:
        FAMILIES[name].measure(results, args)
