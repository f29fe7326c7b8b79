"""The training loop, its saved state, validation, presets and the recipe."""
