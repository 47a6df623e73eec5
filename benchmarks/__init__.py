"""Measurements of speed, memory and held-out likelihood: ``python -m benchmarks NAME``."""
