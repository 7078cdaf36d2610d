"""The home network is here for every test of this directory."""

from __future__ import annotations

from .home import gateway, home, network

__all__ = ["gateway", "home", "network"]
