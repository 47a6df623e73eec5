"""A density inside another estimator: what it sees, how it is fitted, and a template for what is built on it."""
