"""Known services as data: one TOML file per risk class, read by `load`."""
