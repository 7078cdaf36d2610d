"""Observers read the machine and the ledger and say what they find; to act they submit, like any door."""
