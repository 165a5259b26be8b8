"""A run is a function that returns a complete configuration; the only room that wires stages."""
