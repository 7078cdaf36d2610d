"""The one truth: mappings, lists of sources, and the journal of every change."""
