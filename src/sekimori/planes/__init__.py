"""Hands that make mappings real. Planes do not know each other."""
