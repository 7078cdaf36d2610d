"""The direct dialler: a carrier that connects from this machine to the destinations that clients name."""
