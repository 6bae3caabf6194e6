"""Tertulia: an actor-based realtime messaging engine for live chat, on trio."""

__all__ = ["__version__"]

__version__ = "0.1.0"
