"""Backbones: one file per architecture, all with torchvision key names."""
