"""How a model of transformers is read; nothing here knows a method."""
