"""The kinds of methods, by where in a model they work.

    method.Method             before the decoder: image by image, as the embeddings enter
    layer_method.LayerMethod  inside the decoder: before one or several of its layers
    block_method.BlockMethod  inside a vision transformer: behind some of its blocks

Each kind is a base class in a file of its own and has its engine; `api` picks the engine by the kind.
"""

from __future__ import annotations


class TokenMethod:
    """A method of any kind: what the folder of methods is loaded as."""

    @property
    def keeps_all(self) -> bool:
        """True where no image, however large, loses a token."""
        return False
