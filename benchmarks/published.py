"""Published mean log-likelihoods of the binary tables, in nats per test row, and what is aimed at.

The tables are those of J. Van Haaren, J. Davis, "Markov network structure learning: a randomized feature generation
approach", AAAI 2012, in their usual splits; adult, mushrooms and nips those of H. Larochelle, I. Murray, "The neural
autoregressive distribution estimator", AISTATS 2011.
"""

# Name of the table: Chow-Liu tree, best figure, model that has it, target.
BINARY = {
    "nltcs": (-6.76, -6.00, "HCLT", -6.00),
    "plants": (-16.52, -12.54, "ID-SPN", -11.9),
    "jester": (-58.23, -52.38, "HCLT", -51.7),
    "accidents": (-33.19, -26.75, "HCLT", -26.0),
    "dna": (-87.66, -78.98, "HCLT", -79.0),
    "kosarek": (-11.49, -10.60, "HCLT", -10.5),
    "msweb": (-10.19, -9.73, "ID-SPN", -9.7),
    "tmovie": (-64.79, -50.5, "HCLT", -50.0),
    "cwebkb": (-163.4, -150.8, "HCLT", -150.0),
    "ad": (-16.36, -16.04, "HCLT", -15.5),
    "cr52": (None, -83.35, "ID-SPN", -84.5),
    "nips": (None, -272.4, "EoNADE", -274.0),
    "adult": (None, -13.12, "MADE", -13.0),
    "mushrooms": (None, -9.68, "EoNADE", -9.6),
}
