"""How a family of models is reached: one file each, `generic` for whatever follows transformers' public structure."""
