"""A target's arithmetic, read from its answers to small models."""
