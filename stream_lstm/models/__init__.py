"""Models that are shipped: `default.safetensors`; its card is docs/model.md."""
