"""What REST and gRPC both do: who may, pages of lists, datasets, tags. Each front end spells it its own way."""
