"""The machine is the gateway: mappings as elements of one nftables table."""
