"""Shipped model files. `default.safetensors` is described in docs/model.md."""
