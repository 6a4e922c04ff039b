"""Loads the plugin for a checkout that is not installed; installed, pytest finds it by its entry point."""

from __future__ import annotations

from importlib.metadata import entry_points

if not entry_points(group="pytest11", name="pgdrill"):
    pytest_plugins = ["verification.plugin"]
