"""Does the detector keep to its budget, and how soon does it see a change? On streams whose truth is known."""
