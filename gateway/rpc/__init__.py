"""gRPC: the services of `aetherfs.v1`, in a process of their own."""
