"""The relay plane: mappings carried in user space by worker processes."""
