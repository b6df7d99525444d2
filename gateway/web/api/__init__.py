"""REST below /api/v1: a table of resources, JSON in and out, problems as RFC 9457 has them. docs/api.md."""
