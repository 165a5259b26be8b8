"""Doors to the outside world; each file opens one."""
