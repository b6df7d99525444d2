"""Names, tags and their history: what a reference means, and how a tag moves."""
