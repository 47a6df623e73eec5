"""Models that are learnt by counting, without a network."""
