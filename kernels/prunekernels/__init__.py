"""The scoring core of prunekit: tensors in, tensors out.

Each primitive is one file of its own name, as in `from prunekernels.el2n import el2n`. Nothing is imported here, so
that who needs the registry alone does not wait for torch.
"""

# of all four packages; the distribution takes it from here
__version__ = "0.1.0"
