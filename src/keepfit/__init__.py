"""keepfit: train a model, put it to work, keep it fit."""

__version__ = "0.1.0"
