"""Frozen values: the words of the program, with no input or output of their own."""
