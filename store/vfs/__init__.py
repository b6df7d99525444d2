"""The one tree that every front end shows (see `store.vfs.tree`)."""
