"""The plane that asks the router above for ports: PCP, NAT-PMP or UPnP IGD, whichever it answers."""
