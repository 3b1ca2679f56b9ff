"""The report as a short text table."""

from __future__ import annotations

from tokenpruner.report import Report


def summary(report: Report) -> str:
    """One line a number: before, after, and what is left in percent."""
    lines = [report.method, f"{'':<20}{'before':>12}{'after':>12}{'left':>8}"]
    counts = (
        ("visual tokens", report.visual_before, report.visual_after, 1, ""),
        ("all tokens", report.tokens_before, report.tokens_after, 1, ""),
        ("decoder GFLOPs", report.flops_before, report.flops_after, 1e9, ".3g"),
        ("KV cache MB", report.kv_bytes_before, report.kv_bytes_after, 1e6, ".3g"),
    )
    for name, before, after, unit, form in counts:
        left = f"{100 * after / before:.1f} %" if before else "-"
        shown = [f"{value / unit if form else value:{form}}" for value in (before, after)]
        lines.append(f"{name:<20}{shown[0]:>12}{shown[1]:>12}{left:>8}")
    passes = f"{len(report.prefills)} pass" if len(report.prefills) == 1 else f"{len(report.prefills)} passes"
    images = f"{len(report.images)} image" if len(report.images) == 1 else f"{len(report.images)} images"
    took = f"selection {report.selection_ms:.1f} ms, decoder prefill {report.prefill_ms:.1f} ms"
    lines.append(f"{took} ({images} in {passes})")
    return "\n".join(lines)
