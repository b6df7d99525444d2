"""Publishing: a folder becomes chunks, packs, a manifest, and the state that tags name."""
