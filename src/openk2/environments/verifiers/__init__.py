"""Families of tasks whose answers a program can check; each module lists its ENVIRONMENTS."""
