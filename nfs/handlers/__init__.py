"""One small module per group of procedures."""
