"""Retraining: when to train a challenger, who trains it, who wins the contest, and which version is live."""
