"""Stateful tool worlds (paper section 3.1.1)."""
