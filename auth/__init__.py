"""Principals, login and policy; imports nothing of ours."""
