"""The portmapper: tells clients at which port NFS, MOUNT and NLM answer (RFC 1833); or has a running rpcbind tell."""
