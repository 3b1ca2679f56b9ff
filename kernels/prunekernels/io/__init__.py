"""What all products share without being tensors: names, paths, JSON, YAML, checkpoints, outputs, escaping, errors.

Standard library alone at the top of each file; what a file needs beside it is imported in its functions.
"""
