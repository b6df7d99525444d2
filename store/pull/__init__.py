"""Fetching: a folder is made equal to a state."""
