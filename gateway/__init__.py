"""Composition root: processes, ports, flags; the only place that wires things together."""
