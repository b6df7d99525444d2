"""Manifests: one immutable state of a dataset.

`layout` is the bytes; `tree`, `contents` and `blocktable` hold one in the making, in columns; `build` encodes it;
`view` reads one at random.
"""
