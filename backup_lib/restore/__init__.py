"""Restores archives into a server that exists: the one part of pgdrill that touches one."""
