"""The command line: `tokenpruner run`, `tokenpruner methods` and `tokenpruner serve`."""

from __future__ import annotations

import dataclasses
import inspect
import json
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import torch
import typer
from rich import box
from rich.console import Console
from rich.table import Table

from prunekernels import registry
from prunekernels.extras import require
from prunekernels.io.errors import LONGEST, user_errors
from prunekernels.io.escape import one_line, printable
from prunekernels.io.marks import has_mark
from prunekernels.io.outputs import atomic_file, check_file
from tokenpruner.api import prune
from tokenpruner.base.before_decoder import Method
from tokenpruner.base.before_tower import PixelMethod
from tokenpruner.base.inside_decoder import LayerMethod
from tokenpruner.base.method_chain import MethodChain
from tokenpruner.base.token_method import METHODS, TokenMethod, method_from_text
from tokenpruner.base.vision_transformer import BlockMethod
from tokenpruner.models import loading
from tokenpruner.models.loading import Inputs, Loaded
from tokenpruner.models.pictures import load_picture
from tokenpruner.report.call_meter import Meter
from tokenpruner.report.plots import by_layer, side_by_side
from tokenpruner.report.records import Report
from tokenpruner.report.text_table import summary

if TYPE_CHECKING:
    from PIL.Image import Image


app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)
KINDS: dict[type, str] = {
    Method: "before the decoder",
    PixelMethod: "before the vision tower",
    LayerMethod: "inside the decoder",
    BlockMethod: "in a vision transformer",
    MethodChain: "several, one after another",
}
# by these words in a PNG a drawing of ours is known again
MARK = ("Software", "prunekit tokenpruner")


@dataclass(frozen=True)
class Answer:
    """What a model said, in `n_tokens` new tokens, and what that took."""

    text: str
    n_tokens: int
    report: Report


@dataclass(frozen=True)
class Drawings:
    """One PNG a picture, the second as OUT-2.png; none of them is one of `inputs`, and only ours are replaced."""

    paths: tuple[Path, ...]
    inputs: tuple[str | Path, ...]

    @classmethod
    def checked(cls, out: Path | None, n_pictures: int, inputs: Sequence[str | Path]) -> Drawings:
        """Where the drawings go; raises ValueError where one could not be written."""
        if out is None:
            return cls((), tuple(inputs))
        if out.suffix.lower() != ".png":
            raise ValueError(f"{out}: want a name that ends in .png")
        others = (out.with_name(f"{out.stem}-{number}{out.suffix}") for number in range(2, n_pictures + 1))
        paths = (out, *others)
        for path in paths:
            check_file(path, replaces=_is_drawing, inputs=inputs)
        return cls(paths, tuple(inputs))

    def draw(self, report: Report, pictures: Sequence[Image]) -> None:
        """Write them; raises ValueError where the model made other images of the pictures."""
        prefill = report.prefills[0]
        if len(prefill.images) != len(pictures):
            made = len(prefill.images)
            raise ValueError(f"{self.paths[0]}: not drawn, for the model made {made} images of {len(pictures)}")
        mark = require("PIL.PngImagePlugin", "tokens").PngInfo()
        mark.add_text(*MARK)
        for path, one, shown in zip(self.paths, prefill.images, pictures, strict=True):
            cuts = by_layer(prefill, one.row, one.image, one.frame)
            sheet = side_by_side(shown, cuts if len(cuts) > 1 else {report.method: one})
            with atomic_file(path, replaces=_is_drawing, inputs=self.inputs) as temporary:
                sheet.save(temporary, format="PNG", pnginfo=mark)


def _is_drawing(path: Path) -> bool:
    # a pipe would wait for a writer
    return path.is_file() and has_mark("\0".join(MARK).encode())(path)


@app.callback()
def main() -> None:
    """Let a vision-language model see fewer visual tokens."""


@app.command()
def run(
    model: Annotated[str, typer.Option(help="Folder or hub id of a vision-language model with safetensors.")],
    image: Annotated[list[Path], typer.Option(help="Picture; may be repeated.")],
    prompt: Annotated[str, typer.Option(help="What to ask about it.")],
    method: Annotated[
        str, typer.Option(help='Method and its fields, as in "divprune:n_keep_row=640"; see `methods`.')
    ] = "divprune",
    keep_ratio: Annotated[
        float | None, typer.Option(help="Fraction of each image's tokens that is kept, in (0, 1].")
    ] = None,
    n_keep: Annotated[int | None, typer.Option(help="Tokens of each image that are kept.")] = None,
    out: Annotated[Path | None, typer.Option(help="Draw the kept patches into this PNG.")] = None,
    compare: Annotated[bool, typer.Option("--compare", help="Let the model answer with all tokens, too.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    max_new_tokens: Annotated[int, typer.Option(min=1, help="Tokens of the answer, at most.")] = 64,
    device: Annotated[str, typer.Option(help='Where to run: "auto", "cpu", "cuda", "cuda:1".')] = "auto",
    dtype: Annotated[str, typer.Option(help='Type of the weights: "auto" (as saved), "float32", "bfloat16".')] = "auto",
) -> None:
    """Ask a model about a picture with fewer visual tokens; print its answer and what that saved."""
    with user_errors(_say, "stopped"):
        # what is cheap to check comes before what is slow to load
        chosen = method_from_text(method, keep_ratio, n_keep)
        pictures = [load_picture(path) for path in image]
        drawings = Drawings.checked(out, len(image), [model, *image])
        loaded = loading.load(model, device, dtype)
        inputs = loading.encode(loaded, pictures, prompt)
        plain = None
        if compare:
            # the first call of a process pays for warming up
            answer(loaded, inputs, None, 1)
            plain = answer(loaded, inputs, None, max_new_tokens)
        told = answer(loaded, inputs, chosen, max_new_tokens)
        typer.echo(_json(_numbers(told, plain)) if as_json else printable(_text(told, plain)))
        if drawings.paths:
            drawings.draw(told.report, loading.as_seen(loaded, inputs, pictures))
        for path in drawings.paths:
            typer.echo(f"kept patches: {one_line(str(path))}", err=as_json)


@app.command()
def methods() -> None:
    """List the methods."""
    # names and texts of other packages are no mark-up
    console = Console(highlight=False, markup=False, emoji=False)
    found, failed = registry.methods(METHODS, TokenMethod)
    lines = {name: one_line((inspect.getdoc(kind) or "").partition("\n\n")[0]) for name, kind in found.items()}
    width = max(len(one_line(name)) for name in found)
    for base, place in KINDS.items():
        table = Table(box=box.SIMPLE_HEAD, title=place.capitalize(), title_justify="left", show_header=False)
        table.add_column(no_wrap=True, width=width)
        table.add_column()
        for name, kind in found.items():
            if issubclass(kind, base):
                table.add_row(one_line(name), lines[name])
        console.print(table)
    for reason in failed.values():
        _say(reason)


@app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True})
def serve(
    context: typer.Context,
    model: Annotated[str, typer.Argument(help="Folder or hub id of a vision-language model.")],
    method: Annotated[
        str, typer.Option(help='Method before the decoder and its fields; "none" prunes on request alone.')
    ] = "divprune",
) -> None:
    """Serve a model with vLLM, its images pruned; further options are those of `vllm serve`."""
    with user_errors(_say, "stopped"):
        # it brings vLLM in
        from tokenpruner.integrations.vllm.serve import run_server

        run_server(model, method, context.args)


@torch.inference_mode()
def answer(loaded: Loaded, inputs: Inputs, method: TokenMethod | None, max_new_tokens: int = 64) -> Answer:
    """Let the model say on greedily, pruned by `method`, or as it is without one."""
    model, report = loaded.model, Report(method="all tokens")
    pruned = nullcontext(report) if method is None else prune(model, method)
    with pruned as report, Meter(model, report).attached() if method is None else nullcontext():
        told = model.generate(**inputs, max_new_tokens=max_new_tokens, do_sample=False)
    new = told[0, inputs["input_ids"].shape[1] :]
    return Answer(loaded.processor.decode(new, skip_special_tokens=True).strip(), len(new), report)


def _text(told: Answer, plain: Answer | None) -> str:
    lines = [told.text, "", summary(told.report)]
    if plain is not None:
        lines += ["", f"with all tokens (tokens said: {plain.n_tokens}, pruned {told.n_tokens}):", plain.text, ""]
        lines.append(f"{'':<28}{'all tokens':>12}{'pruned':>12}")
        times = (plain.report.total_ms, told.report.total_ms)
        lines.append(f"{'the model as a whole, ms':<28}{times[0]:>12,.1f}{times[1]:>12,.1f}")
    return "\n".join(lines)


def _numbers(told: Answer, plain: Answer | None) -> dict[str, object]:
    report = told.report
    names = ("visual", "tokens", "flops", "kv_bytes")
    counts = {f"{name}_{when}": getattr(report, f"{name}_{when}") for name in names for when in ("before", "after")}
    times = {name: round(getattr(report, name), 3) for name in ("selection_ms", "prefill_ms", "total_ms")}
    found: dict[str, object] = {"method": report.method, "answer": told.text, "n_tokens": told.n_tokens}
    found |= counts | times | {"peak_bytes": report.peak_bytes, "layers": [after for _, after in report.layers]}
    found["images"] = [dataclasses.asdict(dataclasses.replace(one, columns=[*one.columns])) for one in report.images]
    if plain is not None:
        own = {"answer": plain.text, "n_tokens": plain.n_tokens, "total_ms": round(plain.report.total_ms, 3)}
        found["all_tokens"] = own | {"peak_bytes": plain.report.peak_bytes}
    return found


def _json(numbers: dict[str, object]) -> str:
    """As it is read, or in ASCII where a terminal would obey some of it."""
    text = json.dumps(numbers, ensure_ascii=False, indent=1)
    return text if printable(text) == text else json.dumps(numbers, indent=1).replace("\x7f", "\\u007f")


def _say(line: str) -> None:
    typer.echo(f"tokenpruner: {one_line(line, LONGEST)}", err=True)
