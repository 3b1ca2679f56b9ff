"""ATP's thresholds by hand, and their file: whole, ours, and never written over anything else."""

from __future__ import annotations

import errno
import math
from pathlib import Path

import pytest
import torch

from tokenpruner.methods._atp_thresholds import ATPModule, ATPModules, untrained
from tokenpruner.methods.atp import ATP


def test_thresholds_by_hand():
    torch.manual_seed(0)
    module = ATPModule(3).double()
    for parameter in module.parameters():
        torch.nn.init.normal_(parameter)
    z = module.embed.weight @ torch.tensor([0.3, 0.7], dtype=torch.float64) + module.embed.bias
    for got, mlp in zip(module(torch.tensor([0.3, 0.7])), (module.redundant, module.spatial), strict=True):
        inner = torch.nn.functional.gelu(mlp[0].weight @ z + mlp[0].bias)
        wanted = (mlp[2].weight @ inner + mlp[2].bias).sigmoid()[0]
        # the statistics were float32
        torch.testing.assert_close(got.double(), wanted, rtol=1e-6, atol=0)


def test_new_modules_have_the_thresholds_of_none():
    statistics = torch.tensor([12.5, 0.01])
    assert [theta.item() for theta in ATPModule()(statistics)] == [0.5, 0.5]
    assert [theta.item() for theta in untrained(statistics)] == [0.5, 0.5]


def test_modules_come_back_from_a_file(tmp_path):
    torch.manual_seed(0)
    modules = ATPModules((1, 2), width=8)
    for parameter in modules.parameters():
        torch.nn.init.normal_(parameter)
    assert modules.save(tmp_path) == tmp_path / "atp.safetensors"
    for path in (tmp_path, tmp_path / "atp.safetensors"):
        again = ATPModules.load(path)
        assert (again.layers, again.width) == ((1, 2), 8)
        assert all(torch.equal(tensor, again.state_dict()[name]) for name, tensor in modules.state_dict().items())
        assert not any(parameter.requires_grad for parameter in again.parameters())


def test_other_files_are_refused(tmp_path):
    from safetensors.torch import save_file

    with pytest.raises(ValueError, match="want a file that ATPModules.save wrote"):
        ATPModules.load(tmp_path)
    save_file({"a": torch.zeros(1)}, tmp_path / "other.safetensors")
    with pytest.raises(ValueError, match="without layers and width"):
        ATPModules.load(tmp_path / "other.safetensors")
    with pytest.raises(ValueError, match="want weights that ATPModules.save wrote"):
        ATP(weights=str(tmp_path / "none.safetensors")).stages(32)


def write(path, layers="1/2", width="8", **changes):
    """What `save` writes, with other metadata and tensors."""
    from safetensors.torch import save_file

    tensors = {name: tensor.contiguous() for name, tensor in ATPModules((1, 2), width=8).state_dict().items()} | changes
    tensors = {name: tensor for name, tensor in tensors.items() if tensor is not None}
    save_file(tensors, path, {"format": "pt", "layers": layers, "width": width})
    return path


FIRST = "cuts.0.embed.bias"


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({FIRST: None}, f"want all weights of the model, got none for {FIRST}"),
        ({"more": torch.zeros(1)}, "want only the model's weights, got also 'more'"),
        ({FIRST: torch.zeros(9)}, rf"want {FIRST} of shape \[8\], got \[9\]"),
        ({FIRST: torch.full((8,), math.nan)}, "want finite weights"),
        ({FIRST: torch.zeros(8, dtype=torch.float64)}, "want weights of one type of floats, got .*float32.*float64"),
        ({FIRST: torch.zeros(8, dtype=torch.int64)}, "want weights of one type of floats, got .*float32.*int64"),
        ({"layers": "1"}, "want only the model's weights, got also 'cuts.1"),
        ({"layers": "1/2/3"}, "want all weights of the model, got none for cuts.2"),
        ({"layers": "2/1"}, "want layers that ascend from 1 on, got '2/1'"),
        ({"layers": "0/1"}, "want layers that ascend from 1 on, got '0/1'"),
        ({"layers": "1/x"}, "want layers such as 4/14/24, got '1/x'"),
        ({"layers": ""}, "want layers such as 4/14/24, got ''"),
        ({"layers": "/".join(map(str, range(1, 9000)))}, "want layers such as 4/14/24"),
        ({"width": "9"}, r"of shape \[9"),
        ({"width": "99999999999"}, "want a width from 1 to 1024, got '99999999999'"),
        ({"width": "9999"}, "want a width from 1 to 1024, got '9999'"),
        ({"width": "-8"}, "want a width from 1 to 1024, got '-8'"),
        ({"width": "eight"}, "want a width from 1 to 1024, got 'eight'"),
    ],
    ids=str,
)
def test_a_file_that_is_not_whole_or_not_ours_is_named(tmp_path, changes, why):
    path = write(tmp_path / "atp.safetensors", **changes)
    with pytest.raises(ValueError, match=why) as caught:
        ATPModules.load(path)
    assert str(caught.value).startswith(str(path))


def test_a_file_that_is_cut_short_is_named(tmp_path):
    path = write(tmp_path / "atp.safetensors")
    whole = path.read_bytes()
    for length in (0, 7, 100, len(whole) - 3):
        path.write_bytes(whole[:length])
        with pytest.raises(ValueError, match=r"atp\.safetensors: want whole safetensors, got a broken file"):
            ATPModules.load(path)


def test_modules_are_saved_over_modules_and_over_nothing_else(tmp_path):
    from safetensors.torch import save_file

    ATPModules((1, 2), width=8).save(tmp_path)
    file = ATPModules((1, 3), width=4).save(tmp_path)
    assert ATPModules.load(tmp_path).layers == (1, 3)
    save_file({"a": torch.zeros(1)}, file, {"format": "pt"})
    before = file.read_bytes()
    with pytest.raises(ValueError, match="is there already, and nothing that may be replaced"):
        ATPModules((1, 2)).save(tmp_path)
    assert file.read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["atp.safetensors"]


def test_a_save_that_fails_leaves_what_was_there(tmp_path, monkeypatch):
    file = ATPModules((1, 2), width=8).save(tmp_path)
    before = file.read_bytes()

    def full(tensors, path, metadata):
        Path(path).write_bytes(b"half")
        raise OSError(errno.ENOSPC, "no space left")

    monkeypatch.setattr("safetensors.torch.save_file", full)
    with pytest.raises(OSError, match="no space left"):
        ATPModules((1, 3)).save(tmp_path)
    assert file.read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["atp.safetensors"]
