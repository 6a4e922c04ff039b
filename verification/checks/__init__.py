"""The checks, one a module: each compares one thing and returns findings."""
