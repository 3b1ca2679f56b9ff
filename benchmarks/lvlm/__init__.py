"""A small vision-language model that is trained here, and what pruning its visual tokens costs.

    vocabulary -> sprites -> scene -> drawing, questions -> features -> packing, pool -> learner -> training
    -> accuracy, export -> assembly -> retention, flows

    python -m benchmarks.lvlm.sources DOWNLOADS -o .models/lvlm_data/sprites     sprites out of four packages
    python -m benchmarks.lvlm.features benchmarks/lvlm/default.yaml              pictures through the frozen tower
    python -m benchmarks.lvlm.training benchmarks/lvlm/default.yaml              trains; stopped, it goes on
    python -m benchmarks.lvlm.accuracy benchmarks/lvlm/default.yaml              held-out questions, and blind
    python -m benchmarks.lvlm.export benchmarks/lvlm/default.yaml                what was trained: benchmarks/lvlm/model
    python -m benchmarks.lvlm.retention                                          every method: `make lvlm-bench`
    python -m benchmarks.lvlm.flows                                              a schedule for each input

Everything is drawn by seeds: the same recipe gives the same pictures. `pictures` holds the sprites of the held-out
splits, from which theirs are composed without any package.
"""
