"""The home network is here for every test of this directory."""

from __future__ import annotations

from .home import gateway, home, kernel_home, network

__all__ = ["gateway", "home", "kernel_home", "network"]
