"""Saliency methods: one file per method, each maps a network and images to relevance per pixel."""
