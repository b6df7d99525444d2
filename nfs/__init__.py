"""NFSv3 (RFC 1813) and MOUNT v3 over the shared tree."""
