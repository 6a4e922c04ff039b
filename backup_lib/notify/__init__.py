"""Tells people how a run ended: what is said, over which channels, and what is done when one does not take it."""
