"""The only place where concrete parts are joined."""
