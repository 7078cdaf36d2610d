"""The edge to the operating system: the clock, names, notices, tasks, local ports."""
