"""The words of a step of selecting, as the command line and recipes have them: keep_ratio, by, per, quota."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping

from datapruner.recipe.recipe import Rule
from datapruner.scoring.scorer_columns import text_form
from datapruner.selection.budgets import Budget, Per
from datapruner.selection.select import SELECTORS
from prunekernels import spec

# the word, and the field of Budget that it fills
BUDGET_OPTIONS = {
    "keep_ratio": "ratio",
    "keep_rows": "rows",
    "keep_tokens": "tokens",
    "keep_token_ratio": "token_ratio",
}
# every word of a step, and what the command line takes for it; mappings are written "name=number,..." there
WORDS: dict[str, type] = {
    "selector": str,
    "by": str,
    "keep_ratio": float,
    "keep_rows": int,
    "keep_tokens": int,
    "keep_token_ratio": float,
    "counted_by": str,
    "per": str,
    "quota": str,
    "counts": str,
}
_CONDITION = re.compile(r"\s*(.+?)\s*(>=|<=)\s*([^<>=]+)")


def condition(text: str) -> Rule:
    """The step "column >= number" or "column <= number": both ends included."""
    found = _CONDITION.fullmatch(text)
    try:
        number = float(found[3]) if found else math.nan
    except ValueError:
        number = math.nan
    if found is None or math.isnan(number):
        raise ValueError(f'want a condition as in "int_score >= 3", got {text!r:.200}')
    end = "minimum" if found[2] == ">=" else "maximum"
    return Rule(f"threshold:{end}={found[3].strip()}", found[1])


def rule_from_options(words: Mapping[str, object]) -> Rule:
    """The step that `words` say; a word that is None is not said. Raises ValueError where they do not fit together."""
    said = {word: value for word, value in words.items() if value is not None}
    scorers = said.get("scorers", ())
    if isinstance(scorers, str):
        scorers = (scorers,)
    if not isinstance(scorers, list | tuple) or not all(isinstance(item, str) for item in scorers):
        raise ValueError(f"scorers: want a list of texts, got {scorers!a:.80}")
    return Rule(_text(said, "selector"), _by(said.get("by")), _keep(said), _per(said), tuple(scorers))


def options_of_rule(step: Rule) -> dict[str, object]:
    """The words that make `step` again."""
    words: dict[str, object] = {}
    if step.scorers:
        words["scorers"] = [item if isinstance(item, str) else text_form(item) for item in step.scorers]
    if step.selector is not None:
        given = step.selector
        words["selector"] = (
            given if isinstance(given, str) else spec.describe(given, package=SELECTORS, every_field=True)
        )
    if step.by is not None:
        words["by"] = step.by if isinstance(step.by, str) else dict(step.by)
    if isinstance(step.keep, Budget):
        fields = {word: getattr(step.keep, field) for word, field in BUDGET_OPTIONS.items()}
        fields["counted_by"] = step.keep.counted_by
        words.update({word: value for word, value in fields.items() if value is not None})
    elif step.keep is not None:
        words["keep_ratio"] = step.keep
    if isinstance(step.per, Per):
        words["per"] = step.per.column
        if step.per.quota != "kept":
            words["quota"] = step.per.quota if isinstance(step.per.quota, str) else dict(step.per.quota)
        if step.per.counts is not None:
            words["counts"] = dict(step.per.counts)
    elif step.per is not None:
        words["per"] = step.per
    return words


def parse_weights(text: str) -> str | dict[str, float]:
    """ "name", or "a=0.7,b=-0.3" as a mapping; raises ValueError for a weight that is no number."""
    if "=" not in text:
        return text
    found: dict[str, float] = {}
    for pair in text.split(","):
        name, _, value = (part.strip() for part in pair.rpartition("="))
        try:
            found[name] = float(value)
        except ValueError:
            raise ValueError(f"want name=number,... got {pair!r}") from None
        if not name:
            raise ValueError(f"want name=number,... got {pair!r}")
    return found


def _by(value: object) -> str | dict[str, float] | None:
    return value if value is None or isinstance(value, str) else _numbers("by", value)


def _per(said: Mapping[str, object]) -> str | Per | None:
    column, quota = _text(said, "per"), said.get("quota", "kept")
    counts = None if "counts" not in said else _numbers("counts", said["counts"])
    if quota == "kept" and counts is None:
        return column
    if column is None:
        raise ValueError(f"want per=<group field> beside {'quota' if counts is None else 'counts'}")
    whole = None if counts is None else {name: int(n) if n == int(n) else n for name, n in counts.items()}
    return Per(column, quota if isinstance(quota, str) else _numbers("quota", quota), whole)  # type: ignore[arg-type]


def _keep(said: Mapping[str, object]) -> float | Budget | None:
    given, counted_by = {word: said[word] for word in BUDGET_OPTIONS if word in said}, _text(said, "counted_by")
    if not given:
        if counted_by is not None:
            raise ValueError(f"want keep_tokens or keep_token_ratio beside counted_by={counted_by!r}, got none")
        return None
    if len(given) > 1:
        raise ValueError(f"want one of {', '.join(BUDGET_OPTIONS)}, got {', '.join(given)}")
    ((word, value),) = given.items()
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError(f"{word}: want a number, got {value!r}")
    if word == "keep_ratio":
        return value if counted_by is None else Budget(ratio=value, counted_by=counted_by)
    if word == "keep_token_ratio":
        return Budget(token_ratio=value, counted_by=counted_by)
    if not isinstance(value, int):
        raise ValueError(f"{word}: want a whole number, got {value!r}")
    rows, tokens = (value, None) if word == "keep_rows" else (None, value)
    return Budget(rows=rows, tokens=tokens, counted_by=counted_by)


def _text(said: Mapping[str, object], word: str) -> str | None:
    value = said.get(word)
    if value is not None and not isinstance(value, str):
        raise ValueError(f"{word}: want text, got {value!r}")
    return value


def _numbers(word: str, value: object) -> dict[str, float]:
    if not isinstance(value, Mapping) or not value:
        raise ValueError(f"{word}: want a name or a mapping from names to numbers, got {value!r}")
    for name, number in value.items():
        plain = isinstance(number, int | float) and not isinstance(number, bool) and math.isfinite(number)
        if not isinstance(name, str) or not plain:
            raise ValueError(f"{word}: want a number for each name, got {name!r}: {number!r}")
    return dict(value)
