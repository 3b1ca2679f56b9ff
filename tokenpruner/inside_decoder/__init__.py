"""The engine of methods that choose before some layers of the decoder."""
