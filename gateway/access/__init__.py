"""Login and policy of a gateway: where users, tokens, keys and rules come from, and what is noted of their use."""
