"""A density for each class, and Bayes' rule."""
