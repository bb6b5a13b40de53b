"""The loop: when to retrain, who does it, who wins, and what is live."""
