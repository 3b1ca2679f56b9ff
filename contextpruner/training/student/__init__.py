"""The model that is trained: an encoder with fewer layers and a smaller vocabulary, and how it is saved."""
