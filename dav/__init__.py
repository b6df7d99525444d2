"""WebDAV (RFC 4918 over RFC 9110) over the shared tree."""
