"""XDR, RPC and NFS codecs; no I/O."""
