"""Settings that papers compare at, by model and number of tokens: "divprune:preset=llava-1.5-64".

    llava-1.5     576 tokens an image; 192, 128, 64 and 32 are left
    llava-next    up to 2,880 tokens in five views; 640, 320 and 160 are left of all of them together
    qwen2.5-vl    as many as the picture has; 33, 22 and 11 % are left

Methods before the decoder keep so many; methods inside it as many on the average over the layers, which is how their
tables count. Tokens stand where the authors' code has them. A method's class may name more of its own.
"""

from __future__ import annotations

from collections.abc import Mapping

Fields = Mapping[str, object]
PUBLISHED: Fields = {"positions": "published"}
RATIOS = {"33": 1 / 3, "22": 2 / 9, "11": 1 / 9}

BEFORE_DECODER: Mapping[str, Fields] = {
    **{f"llava-1.5-{n}": {"n_keep": n, **PUBLISHED} for n in (192, 128, 64, 32)},
    **{f"llava-next-{n}": {"n_keep_row": n, **PUBLISHED} for n in (640, 320, 160)},
    **{f"qwen2.5-vl-{name}": {"keep_ratio": ratio, "positions": "keep"} for name, ratio in RATIOS.items()},
}
INSIDE_DECODER: Mapping[str, Fields] = {
    **{f"llava-1.5-{n}": {"n_average": n, **PUBLISHED} for n in (192, 128, 64)},
    **{f"llava-next-{n}": {"n_average": n, **PUBLISHED} for n in (640, 320)},
}
