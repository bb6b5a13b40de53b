"""``driftline.yaml``: read strictly, composed of the options that each room owns."""
