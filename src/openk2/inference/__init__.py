"""Text from a model."""

from openk2.inference.sampling import sample

__all__ = ["sample"]
