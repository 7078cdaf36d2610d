"""Pure rules: a request, a snapshot and the time give allow with the terms, or deny with the reason."""
