"""The SSH door: an SSH server that only forwards. A process without privileges ends the connections.

`door` is the daemon's side of it; everything that `process` imports is the other side.
"""
