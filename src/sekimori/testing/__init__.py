"""Shipped with the package: fakes, worlds and suites that hold planes and doors to their contracts."""
