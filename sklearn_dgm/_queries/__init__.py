"""What a density is asked beside its score: some columns given others, predictions, normal scores."""
