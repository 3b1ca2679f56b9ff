"""A small vision-language model that is trained here, and what pruning its visual tokens costs.

    vocabulary -> sprites -> scene -> drawing, questions -> features -> packing -> training -> export

    python -m benchmarks.lvlm.sources DOWNLOADS -o .models/lvlm_data/sprites     sprites out of four packages
    python -m benchmarks.lvlm.features benchmarks/lvlm/default.yaml              pictures, questions, features
    python -m benchmarks.lvlm.training benchmarks/lvlm/default.yaml              trains; stopped, it goes on
    python -m benchmarks.lvlm.accuracy benchmarks/lvlm/default.yaml              held-out questions, with a blind model
    python -m benchmarks.lvlm.export benchmarks/lvlm/default.yaml                what was trained, for the repository

Each has `--help`. Everything is drawn by seeds: the same recipe gives the same pictures.
"""
