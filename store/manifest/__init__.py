"""Manifests: one immutable state of a dataset. `layout` is the bytes, `build` makes one, `view` reads one at random."""
