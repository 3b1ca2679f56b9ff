"""What a kept unit leans on is kept with it, for a reason of its own, and within any budget."""

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from contextpruner import ContextPruner, Document, Policy, SplitDocument, split
from contextpruner.decisions.closure import DEPENDENCIES, Dependencies
from contextpruner.decisions.policy import choose
from contextpruner.decisions.rules import is_kept
from contextpruner.decisions.token_counter import count_checked, estimate_tokens
from contextpruner.units.join import join_kept
from contextpruner.units.pronouns import LISTS, leans_back

WORDS: Callable[[str], int] = lambda text: len(text.split())  # noqa: E731

MARKDOWN = """# Curie
Marie Curie was born in Warsaw. She moved to Paris. There was a prize. "This made her known.

## Prizes
It came twice.

| year | field |
|---|---|
| 1903 | physics |
| 1911 | chemistry |

```python
class Lab:
    def open(self):
        return True
```
"""


def document(text: str) -> SplitDocument:
    return SplitDocument(Document(text), tuple(split(text)))


def kept_with(wanted: str, policy: Policy, text: str = MARKDOWN) -> dict[str, str]:
    """The units that stay where only the one that holds `wanted` passes by itself: their beginnings and reasons."""
    cut = document(text)
    probabilities = np.array([float(wanted in unit) for unit in cut.texts], dtype=np.float32)
    assert probabilities.sum() == 1
    (reasons,) = choose(policy, [cut], [probabilities], WORDS)
    pairs = zip(cut.texts, reasons, strict=True)
    return {unit.split("\n")[0].strip()[:16].strip(): reason for unit, reason in pairs if is_kept(reason)}


HALF = Policy(threshold=0.5)


def test_an_antecedent_is_the_nearest_sentence_that_stands_alone() -> None:
    assert kept_with("moved", HALF) == {
        "# Curie": "heading",
        "Marie Curie was": "antecedent",
        "She moved to Par": "threshold",
    }
    # behind a quotation mark too; not the pronoun's sentence between
    assert kept_with("known", HALF) == {
        "# Curie": "heading",
        "There was a priz": "antecedent",
        '"This made her k': "threshold",
    }
    assert kept_with("prize", HALF) == {"# Curie": "heading", "There was a priz": "threshold"}


def test_every_language_on_the_lists_has_antecedents() -> None:
    for words in LISTS.values():
        for word in words.split():
            assert leans_back(f"{word.capitalize()} x.")
            assert leans_back(f"({word} x)")


def test_a_list_item_leans_on_what_stands_alone_before_it() -> None:
    text = "Florence has a dome:\n\n- It is tall.\n- Bread is baked.\n- This is good.\n\nIt is old.\n"
    tall = {"Florence has a d": "lead_in", "- It is tall.": "threshold"}
    assert kept_with("tall", HALF, text) == tall
    good = {"Florence has a d": "lead_in", "- Bread is baked": "antecedent", "- This is good.": "threshold"}
    assert kept_with("good", HALF, text) == good
    # a sentence leans on sentences: the list between is passed over
    assert kept_with("old", HALF, text) == {"Florence has a d": "antecedent", "It is old.": "threshold"}
    # the first of a document, and of a section, leans on nothing
    assert kept_with("tall", HALF, "- It is tall.\n") == {"- It is tall.": "threshold"}
    assert kept_with("tall", HALF, "A dome.\n\n# B\n- It is tall.\n") == {
        "# B": "heading",
        "- It is tall.": "threshold",
    }


def test_no_antecedent_from_another_section() -> None:
    assert kept_with("twice", HALF) == {"# Curie": "heading", "## Prizes": "heading", "It came twice.": "threshold"}


def test_a_row_keeps_its_header_and_a_line_of_code_its_signatures() -> None:
    row = kept_with("1911", HALF)
    assert row == {
        "# Curie": "heading",
        "## Prizes": "heading",
        "It came twice.": "caption",
        "| year | field |": "header",
        "| 1911 | chemist": "threshold",
    }
    line = kept_with("return", HALF)
    assert {"class Lab:", "def open(self):", "return True"} <= line.keys()
    assert line["class Lab:"] == line["def open(self):"] == "signature"
    assert "| year | field |" not in line


def test_a_fenced_line_keeps_both_fences() -> None:
    text = "Before it.\n```py\nfirst = 1\nsecond = 2\n```\nBetween.\n~~~\nthird = 3\n~~~\n"
    closed = {"```py": "header", "second = 2": "threshold", "```": "header"}
    assert kept_with("second", HALF, text) == closed
    # a fence that is never closed runs to the end of the text
    assert kept_with("second", HALF, text.replace("```\nB", "B")) == {"```py": "header", "second = 2": "threshold"}
    # a fence is no answer, whatever a labeler says of it
    cut = document(text)
    only_fence = [np.array([0, 1, 0, 0, 0, 0, 0, 0, 0], np.float32)]
    (reasons,) = choose(Policy(threshold=0.5, empty="empty"), [cut], only_fence, WORDS)
    assert not any(map(is_kept, reasons))


@pytest.mark.parametrize("kind", DEPENDENCIES)
def test_each_kind_can_be_left_out(kind: str) -> None:
    others = tuple(other for other in DEPENDENCIES if other != kind)
    for wanted in ("moved", "1911", "return"):
        with_all = kept_with(wanted, HALF)
        without = kept_with(wanted, Policy(threshold=0.5, closure=others))
        assert kind not in without.values()
        assert set(without) <= set(with_all)
    assert len(kept_with("moved", Policy(threshold=0.5, closure=()))) == 1


def test_what_passes_by_itself_keeps_its_own_reason() -> None:
    text = "The dome is tall. It is old."
    result = ContextPruner("lead").prune("q", [text], Policy(top_k=1))
    assert [span.reason for span in result.documents[0].spans] == ["top_k", "below_top_k"]
    result = ContextPruner("lead").prune("q", [text], Policy(threshold=0))
    assert [span.reason for span in result.documents[0].spans] == ["threshold", "threshold"]


def test_what_is_rescued_brings_its_company() -> None:
    cut = document("The dome is tall. It is old. More.")
    (reasons,) = choose(Policy(threshold=0.9), [cut], [np.array([0.1, 0.5, 0.2], np.float32)], WORDS)
    assert reasons == ["antecedent", "keep_best", "below_threshold"]


def test_a_bundle_that_does_not_fit_stays_out_whole() -> None:
    cut = document("The dome is tall. It is old. More words stand here.")
    probabilities = [np.array([0.1, 0.9, 0.2], np.float32)]
    assert choose(Policy(max_tokens=6), [cut], probabilities, WORDS)[0] == ["over_budget", "over_budget", "budget"]
    assert choose(Policy(max_tokens=7), [cut], probabilities, WORDS)[0] == ["antecedent", "budget", "over_budget"]
    loose = Policy(max_tokens=7, closure=())
    assert choose(loose, [cut], probabilities, WORDS)[0] == ["over_budget", "budget", "budget"]


@pytest.mark.parametrize(
    ("sentence", "leans"),
    [
        ("She won.", True),
        ("“It” is.", True),
        ("(These are two.)", True),
        ("The latter won.", True),
        ("Diese Stadt wuchs.", True),
        ("Ils partent.", True),
        ("Ella vive.", True),
        ("The theory holds.", False),
        ("Thesis work.", False),
        ("Item one.", False),
        ("1903 was good.", False),
        ("…", False),
        ("", False),
        ("他来了。", True),
        ("“这些”是。", True),
        ("其他人来了。", False),
        ("其面积很大。", True),
        ("これは本です。", True),
        ("穹顶很高。", False),
        ("यह ऊँचा है।", True),
        ("ये ऊँचे हैं।", True),
        ("यहाँ है।", False),
        ("Он высок.", True),
        ("Онкология растёт.", False),
        ("هذا عالٍ.", True),
        ("Questo è alto.", True),
        ("- It is old.", True),
        ("12. It is old.", True),
        ("12. Item one.", False),
        ("3.5 It is.", False),
        ("In 1950 he moved to Paris.", True),
        ("In May they met.", True),
        ("There she wrote.", True),
        ("In Rome Bob said he was ill.", False),
        ("There is a bridge.", False),
        ("After the war the mayor left.", False),
    ],
)
def test_words_that_point_back_are_known_in_their_languages(sentence: str, leans: bool) -> None:
    assert leans_back(sentence) == leans


PARTS = [
    "# A",
    "## B",
    "It is.\n",
    "Dome. It. She.\n",
    "| a | b |",
    "|---|---|",
    "| 1 | 2 |",
    "- x",
    "```",
    "def f():",
    "",
]
LINES = st.sampled_from([part + "\n" for part in PARTS])


@settings(max_examples=120, deadline=None)
@given(
    texts=st.lists(st.lists(LINES, max_size=14).map("".join), min_size=1, max_size=3),
    seed=st.integers(0, 99),
    max_tokens=st.integers(0, 40),
)
def test_any_choice_is_closed_and_any_budget_holds(texts: list[str], seed: int, max_tokens: int) -> None:
    cut = [document(text) for text in texts]
    draw = np.random.default_rng(seed)
    probabilities = [draw.integers(0, 4, len(item.units)).astype(np.float32) / 4 for item in cut]
    leaning = Dependencies(cut, [kind for kind in DEPENDENCIES if kind != "introduced"])
    for count in (WORDS, estimate_tokens, lambda text: len(text.split()) + 2):
        for policy in (Policy(max_tokens=max_tokens), Policy(top_k=1 + seed % 5), Policy(threshold=0.75)):
            chosen = choose(policy, cut, probabilities, count)
            flat = [reason for row in chosen for reason in row]
            for unit, reason in enumerate(flat):
                if is_kept(reason):
                    assert all(is_kept(flat[other]) for _, other in leaning.of(unit))
            if policy.max_tokens is not None:
                kept = [join_kept(item.texts, map(is_kept, row)) for item, row in zip(cut, chosen, strict=True)]
                assert sum(count_checked(count, text) for text in kept) <= max_tokens


def test_bad_closures_are_refused() -> None:
    for closure in (("heading", "titles"), ["heading"], "heading"):
        with pytest.raises(ValueError, match="closure wants a tuple of header, spanning, caption, "):
            Policy(top_k=1, closure=closure)  # type: ignore[arg-type]
