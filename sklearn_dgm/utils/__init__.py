"""For those who write densities: checks of the contract, and a list of what there is."""
