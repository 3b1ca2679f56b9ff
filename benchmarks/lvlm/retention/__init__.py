"""What pruning costs the model of this folder: every method of the registry, at equal tokens, on held-out pictures.

cases -> subject -> asking, costs -> table

python -m benchmarks.lvlm.retention                 the whole table; stopped, it goes on
python -m benchmarks.lvlm.retention --small         a look at it, in minutes
"""
