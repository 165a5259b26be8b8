"""OpenK2: the Kimi K2 stack in the open (arXiv 2507.20534)."""

__version__ = "0.1.0"
__all__ = ["__version__"]
