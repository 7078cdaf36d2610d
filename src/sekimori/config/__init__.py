"""The config file: read strictly, synchronised into the ledger, and written by export."""
