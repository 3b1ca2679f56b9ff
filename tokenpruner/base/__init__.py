"""What a method of each kind reads and writes; nothing here knows a model."""
