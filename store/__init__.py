"""Datasets, manifests, blocks and packs; it has no idea who is reading."""
