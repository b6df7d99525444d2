"""Who may see and do what, on every surface alike."""
