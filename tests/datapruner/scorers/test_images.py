"""image_size and perceptual_hash: by hand, on copies in other forms, on broken files."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from datapruner import Batch, Scorer, Source, score, select
from datapruner.scorers import _hamming, perceptual_hash
from datapruner.scorers._hamming import near_pairs
from datapruner.scorers.image_size import ImageSize
from datapruner.scorers.perceptual_hash import PerceptualHash, image_hashes


def picture(seed: int, size: tuple[int, int] = (64, 48)) -> Image.Image:
    """A few soft spots of light."""
    draw = np.random.default_rng(seed)
    small = draw.integers(0, 256, (6, 8, 3)).astype(np.uint8)
    return Image.fromarray(small).resize(size, Image.Resampling.BICUBIC)


def encoded(image: Image.Image, form: str = "PNG", **options: int) -> bytes:
    file = io.BytesIO()
    image.save(file, form, **options)
    return file.getvalue()


def scores(images: list[bytes], scorer: Scorer) -> list[float]:
    batch = Batch(np.arange(len(images)), [f"u{i}" for i in range(len(images))], [], images=images)
    scorer.check()
    return scorer.checked(batch, scorer.fit([batch])).tolist()


def test_sizes_by_hand() -> None:
    whole = encoded(picture(0))
    images = [whole, encoded(picture(0, (10, 40)), "JPEG"), whole[: len(whole) // 2], b"no image", whole[:40]]
    assert scores(images, ImageSize()) == [48, 10, 0, 0, 0]
    assert scores(images, ImageSize(of="pixels")) == [64 * 48, 400, 0, 0, 0]
    assert scores(images, ImageSize(of="aspect")) == pytest.approx([4 / 3, 4, 0, 0, 0])


def test_the_hash_is_that_of_the_formula() -> None:
    grey = np.asarray(picture(3).convert("L").resize((32, 32)), np.float64)
    n = np.arange(32)
    cosines = np.cos(np.pi * (2 * n + 1)[None] * n[:, None] / 64)
    low = (cosines @ grey @ cosines.T)[:8, :8].ravel()
    bits = low > np.median(low[1:])
    expected = sum(1 << (63 - place) for place, bit in enumerate(bits) if bit)
    assert int(image_hashes([encoded(picture(3))])[0][0]) == expected


def test_copies_in_other_forms_are_found_and_others_not() -> None:
    images = [encoded(picture(seed)) for seed in range(8)]
    images += [encoded(picture(0), "JPEG", quality=40), encoded(picture(1).resize((32, 24)), "WEBP")]
    images += [encoded(picture(2).point(lambda value: min(255, value + 20))), b"broken", b"broken"]
    found = scores(images, PerceptualHash(keep="first"))
    assert all(similarity > 0.9 for similarity in found[8:11])
    assert max(found[:8]) < 0.9
    assert found[11:] == [0, 0]
    # the larger one stays
    assert scores([images[9], images[1]], PerceptualHash()) == [found[9], 0]


def test_against_every_pair() -> None:
    draw = np.random.default_rng(0)
    images = []
    for seed in range(20):
        base = np.asarray(picture(seed)).astype(np.int64)
        noise = [draw.normal(size=base.shape) * at for at in (0, 10, 60)]
        images += [encoded(Image.fromarray((base + some).clip(0, 255).astype(np.uint8))) for some in noise]
    hashes = [int(value) for value in image_hashes(images)[0]]
    expected = [
        max([1 - (own ^ other).bit_count() / 64 for other in hashes[:i]], default=0) for i, own in enumerate(hashes)
    ]
    assert len(set(expected)) > 8
    found = scores(images, PerceptualHash(semantics="triangular", keep="first"))
    assert found == pytest.approx([share if share > 0.85 else 0 for share in expected])


@pytest.mark.parametrize("radius", [0, 1, 3, 4, 6, 9, 12])
def test_every_pair_within_the_radius_is_found(radius: int) -> None:
    # flips that stand in one band, that are spread over all, and any: of each number of bits
    draw = np.random.default_rng(radius)
    hashes = draw.integers(0, 1 << 64, 60, dtype=np.uint64)
    near = [hashes]
    for bits in range(16):
        for places in (draw.permutation(64)[:bits], draw.permutation(16)[:bits] + 16 * (bits % 4), np.arange(bits) * 4):
            flips = np.bitwise_or.reduce(np.left_shift(np.uint64(1), places.astype(np.uint64)), initial=np.uint64(0))
            near.append(draw.permutation(hashes)[:3] ^ flips)
    every = draw.permutation(np.concatenate(near))
    differ = np.array([[int(one ^ other).bit_count() for other in every.tolist()] for one in every.tolist()])
    later, earlier = np.nonzero(np.tril(differ <= radius, -1))
    blocks = [np.stack(block) for block in near_pairs(every, radius)]
    found = np.concatenate(blocks, axis=1)
    assert {*zip(*found[:2].tolist(), strict=True)} == {*zip(later.tolist(), earlier.tolist(), strict=True)}
    assert (found[2] == differ[found[0], found[1]]).all()
    assert len(later) > 8


def test_blocks_of_pairs_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_hamming, "PAIRS", 50)
    same = np.zeros(40, np.uint64)
    blocks = [len(later) for later, _, _ in near_pairs(same, 3)]
    assert sum(blocks) == 4 * 40 * 39 // 2
    assert max(blocks) <= 50


def test_equal_pictures_are_not_compared(monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[int] = []
    pairs = perceptual_hash.near_pairs
    monkeypatch.setattr(
        perceptual_hash, "near_pairs", lambda hashes, radius: (given.append(len(hashes)), pairs(hashes, radius))[1]
    )
    images = [encoded(picture(0)), *[encoded(picture(1))] * 5, b"broken", b"broken"]
    assert scores(images, PerceptualHash(keep="first")) == [0, 0, 1, 1, 1, 1, 0, 0]
    assert set(given) == {2}


def test_a_folder_of_images_against_an_older_one(tmp_path: Path) -> None:
    for name, seeds in (("old", (1, 2)), ("new", (2, 3))):
        (tmp_path / name).mkdir()
        for seed in seeds:
            (tmp_path / name / f"{seed}.png").write_bytes(
                encoded(picture(seed, (40, 30) if name == "new" else (64, 48)))
            )
    (tmp_path / "new" / "broken.png").write_bytes(b"no image")
    table = score(
        Source(tmp_path / "new"), [f"perceptual_hash:against={tmp_path / 'old'}", "image_size"], tmp_path / "t"
    )
    assert (table.scores("perceptual_hash") > 0.9).tolist() == [True, False, False]
    assert table.read("perceptual_hash", "against_row").to_pylist() == [1, -1, -1]
    assert select(table, "threshold:minimum=1", by="image_size").kept.tolist() == [0, 1]


def test_refuses_fields_that_cannot_work() -> None:
    for wrong in (ImageSize(of="depth"), PerceptualHash(keep="last"), PerceptualHash(threshold=0.84)):  # type: ignore[arg-type]
        with pytest.raises(ValueError, match="wants"):
            wrong.check()
