"""Object stores behind one small interface: a folder, S3, memory, and wrappers of the same shape."""
