"""Sekimori: opens ports safely, proves that they work, and closes them on time."""
