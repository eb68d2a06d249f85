"""cbir: content-based medical image retrieval by disease and severity."""

__version__ = "0.1.0"
