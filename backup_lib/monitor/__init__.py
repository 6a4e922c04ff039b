"""Watches archives and drills between the drills: how they stand, what is wrong, and for how long there is room."""
