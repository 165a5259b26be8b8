"""A run folder in, pages and figures out: files are read, live objects are never seen."""
