"""Looking after a store: comparing states, finding damage, counting what is shared, filling caches."""
