"""Doctor: what on this machine drops, steals or bypasses the packets of a mapping."""
