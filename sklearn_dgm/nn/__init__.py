"""Torch modules. They know nothing of estimators: a module offers `log_prob(z)` and `loss(z)`, both of shape (n,)."""
