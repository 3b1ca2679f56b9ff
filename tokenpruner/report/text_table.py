"""The report as a short text table."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby

from tokenpruner.report.records import MethodShare, Report


def summary(report: Report) -> str:
    """One line a number: before, after, and what is left in percent; then layers, where they differ, and times."""
    part = report.prefills[0].part if report.prefills else "decoder"
    lines = [report.method, f"{'':<28}{'before':>12}{'after':>12}{'left':>8}"]
    counts = (
        ("visual tokens", report.visual_before, report.visual_after, 1, ""),
        ("all tokens", report.tokens_before, report.tokens_after, 1, ""),
        (f"{part} GFLOPs", report.flops_before, report.flops_after, 1e9, ".3g"),
        ("KV cache MB", report.kv_bytes_before, report.kv_bytes_after, 1e6, ".3g"),
    )
    for name, before, after, unit, form in counts:
        # a vision transformer has no cache
        if before or form != ".3g" or part != "vision transformer":
            lines.append(_line(name, before, after, unit, form))
    lines += [_line(name, before, after, 1, "") for name, before, after in runs(report.layers)]
    lines += [_share(share) for share in (report.prefills[-1].chain if report.prefills else ())]
    return "\n".join([*lines, *times(report)])


def runs(layers: Sequence[tuple[int, int]]) -> list[tuple[str, int, int]]:
    """Layers that saw as many tokens as their neighbours, taken together; none where all of them did."""
    found = []
    for (before, after), own in groupby(enumerate(layers), key=lambda entry: entry[1]):
        first, *rest = [number for number, _ in own]
        name = f"  layers {first} to {rest[-1]}" if rest else f"  layer {first}"
        found.append((name, before, after))
    return found if len(found) > 1 else []


def times(report: Report) -> list[str]:
    """What the passes and calls took, and the peak of the memory where it is known."""
    part = report.prefills[0].part if report.prefills else "decoder"
    took = f"selection {report.selection_ms:,.1f} ms"
    if not report.prefills or any(prefill.prefill_ms is not None for prefill in report.prefills):
        took += f", {part} {report.prefill_ms:,.1f} ms"
    seen = report.n_images
    images = f"{seen} images and frames" if any(one.frame for one in report.images) else _count(seen, "image")
    said = [f"{took} ({images} in {_count(report.n_passes, 'pass', 'passes')})"]
    if report.calls_ms:
        peak = "" if report.peak_bytes is None else f", peak memory {report.peak_bytes / 1e9:.2f} GB"
        said.append(f"the model as a whole {report.total_ms:,.1f} ms ({_count(report.n_calls, 'call')}){peak}")
    return said


def _line(name: str, before: int | None, after: int | None, unit: float, form: str) -> str:
    if before is None or after is None:
        return f"{name:<28}{'unknown':>12}{'unknown':>12}{'-':>8}"
    left = f"{100 * after / before:.1f} %" if before else "-"
    shown = [_number(value / unit, form) for value in (before, after)]
    return f"{name:<28}{shown[0]:>12}{shown[1]:>12}{left:>8}"


def _share(share: MethodShare) -> str:
    """What a method of a chain did in the last pass."""
    solved = sorted({f"{100 * x:.1f}" for x in share.keep_ratios}, key=float)
    told = f", solved for {' to '.join(dict.fromkeys((solved[0], solved[-1])))} %" if solved else ""
    return f"  {share.method}: {share.visual_before:,} -> {share.visual_after:,} visual tokens{told}"


def _number(value: float, form: str) -> str:
    return f"{value:,.0f}" if not form or value >= 1000 else f"{value:{form}}"


def _count(n: int, one: str, many: str = "") -> str:
    return f"{n} {one if n == 1 else many or one + 's'}"
