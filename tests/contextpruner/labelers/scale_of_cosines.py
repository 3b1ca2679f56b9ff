"""The scale of cosines, in float64 and plain arithmetic."""

from collections.abc import Sequence


def on_one_scale(cosines: Sequence[float], unrelated: float = 0.2) -> list[float]:
    """Of units that all compete, in one call."""
    clipped = [min(max(float(one), 0.0), 1.0) for one in cosines]
    best, common = max(clipped), 0.85 * sum(clipped) / len(clipped)
    answers = best**6 / (best**6 + unrelated**6)
    near = [(float(one) - common) / (best - common + 0.02) for one in cosines]
    return [min(max(one * answers, 0.0), 1.0) for one in near]
