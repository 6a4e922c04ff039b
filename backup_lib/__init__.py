"""Makes, lists and restores PostgreSQL archives, each with a manifest of what it must contain."""
