"""Plain HTTP: files, folder pages, health."""
