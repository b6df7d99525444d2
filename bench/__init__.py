"""Measurements beside other programs. Nothing here is asserted, and nothing of the project imports it."""
