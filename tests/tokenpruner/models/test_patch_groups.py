"""Which patches become which token: guessed by hand from counts, and proved on the model or refused."""

from __future__ import annotations

import pytest
import torch

from tests.tokenpruner.adapters.family_checks import fed
from tests.tokenpruner.models.tower_spy import Spy, shown
from tokenpruner import prune
from tokenpruner.models.image_layouts import Layout
from tokenpruner.models.marked_tower import Groups
from tokenpruner.models.transformers_api import looks_up_attention


def test_squares_are_proved_on_the_model(seen, monkeypatch):
    """Tokens in another order, or that leave a patch out, are no squares."""
    feed = fed("internvl")
    model, inputs = feed.model, feed.encode([[2, "I", 3]])
    plain = type(model.model).get_image_features
    wrong = {
        "turned": lambda own: own.unflatten(1, (4, 4)).transpose(1, 2).flatten(1, 2),
        "mixed": lambda own: own + own.mean(1, keepdim=True),
        "blank": torch.zeros_like,
    }
    for change in wrong.values():

        def changed(self, *args, change=change, **kwargs):
            output = plain(self, *args, **kwargs)
            output.pooler_output = change(output.pooler_output)
            return output

        monkeypatch.setattr(type(model.model), "get_image_features", changed)
        with pytest.raises(ValueError, match="which of which is not known"):
            shown(model, inputs, tower_layer=-1)
    monkeypatch.undo()
    shuffle = type(model.model).pixel_shuffle

    def without_one(self, *args, **kwargs):
        return shuffle(self, *args, **kwargs).index_fill(-1, torch.arange(32), 0)

    monkeypatch.setattr(type(model.model), "pixel_shuffle", without_one)
    with pytest.raises(ValueError, match="which of which is not known"):
        shown(model, inputs, tower_layer=-1)
    monkeypatch.undo()
    assert len(shown(model, inputs, tower_layer=-1)) == 1


def test_proofs_are_made_once_and_change_nothing():
    """Three more runs of what lies behind the tower, for the first picture of a size alone; the tower runs once."""
    feed = fed("internvl")
    model, inputs = feed.model, feed.encode([[2, "I", 3]])
    runs = {"tower": 0, "projector": 0}

    def counting(name):
        return lambda module, args, output: runs.update({name: runs[name] + 1})

    blocks = [own for own in model.model.vision_tower.modules() if looks_up_attention(own)]
    handles = [blocks[0].register_forward_hook(counting("tower"))]
    handles += [model.model.multi_modal_projector.register_forward_hook(counting("projector"))]
    with torch.no_grad(), prune(model, Spy(asked=("visual",))):
        wanted = model(**inputs).logits
    runs.update(tower=0, projector=0)
    with torch.no_grad(), prune(model, Spy()):
        assert torch.equal(model(**inputs).logits, wanted)
        assert runs == {"tower": 1, "projector": 4}
        model(**feed.encode([["I", 2]], seed=8))
        assert runs == {"tower": 2, "projector": 5}
    for handle in handles:
        handle.remove()


@pytest.mark.parametrize(
    ("lengths", "layouts", "found"),
    [
        ([64], [Layout(16)], (((4, 4),), (2, 2))),
        ([64] * 3, [Layout(32), Layout(16)], (((4, 4),) * 3, (2, 2))),
        ([36], [Layout(4)], (((2, 2),), (3, 3))),
        # two pictures in one sequence, whose grids are known
        ([48 + 64], [Layout(12, 1, ((2, 6),)), Layout(16, 1, ((4, 4),))], (((2, 6), (4, 4)), (2, 2))),
        ([24], [Layout(6, 2, ((1, 3),))], (((1, 3),) * 2, (2, 2))),
        ([15], [Layout(15)], (((1, 15),), (1, 1))),
        ([64, 36], [Layout(16), Layout(9)], (((4, 4), (3, 3)), (2, 2))),
        ([60], [Layout(15)], (((1, 15),), (1, 4))),
        ([64], [Layout(15)], None),
        ([36], [Layout(16)], None),
        ([64], [Layout(0)], None),
    ],
)
def test_guesses_by_hand(lengths, layouts, found):
    guesses = [*Groups.guesses(lengths, layouts)]
    assert guesses[:1] == ([] if found is None else [Groups(*found)])
    # neighbours in the tower's order are the last one
    n_tokens = sum(layout.size for layout in layouts)
    assert guesses[1:] == (
        [] if found is None or found[1][0] == 1 else [Groups(((1, n_tokens),), (1, found[1][0] ** 2))]
    )


def test_patches_of_groups_by_hand():
    # 1 x 2 tokens of 2 x 2 patches, then 2 x 1 of them
    groups = Groups(((1, 2), (2, 1)), (2, 2))
    assert groups.token_of().tolist() == [0, 0, 1, 1, 0, 0, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3]
    values = torch.arange(16.0)[:, None]
    assert groups.means(values).flatten().tolist() == [2.5, 4.5, 9.5, 13.5]
    for marks, wanted in groups.tests():
        reached = torch.zeros(4).index_add(0, groups.token_of(), marks.float())
        assert torch.equal(reached > 0, wanted)
        assert set(reached[wanted].tolist()) in ({4.0}, {1.0})
