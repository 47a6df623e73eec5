"""Measurements of likelihood, imputation, speed and memory beside peers: ``python -m benchmarks NAME``."""
