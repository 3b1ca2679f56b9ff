"""What there is to see and to say: classes of objects, colours, places, printed texts, and the tokens of them all."""

from __future__ import annotations


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.split())


# drawings of Unicode's emoji by class: code points, as their packages name the files
EMOJI = {
    "cat": ("1f431", "1f63a", "1f638", "1f639", "1f63c", "1f640"),
    "dog": ("1f436", "1f415", "1f429", "1f9ae"),
    "car": ("1f697", "1f699", "1f698", "1f695", "1f696", "1f693"),
    "flower": ("1f33b", "1f33c", "1f33a", "1f338"),
    "clock": ("1f550", "1f552", "1f553", "1f555", "1f557", "1f558"),
    "tree": ("1f332", "1f333", "1f334", "1f384"),
    "house": ("1f3e0", "1f3e1", "1f3da-fe0f", "1f3d8-fe0f"),
    "book": ("1f4d5", "1f4d7", "1f4d8", "1f4d9"),
    "heart": ("2764-fe0f", "1f49b", "1f49a", "1f499", "1f49c", "1f9e1"),
    "boat": ("26f5", "1f6a4", "1f6e5-fe0f", "1f6a2"),
    "ball": ("26bd", "1f3c0", "1f3d0", "26be"),
    "plane": ("2708-fe0f", "1f6e9-fe0f", "1f6eb", "1f6ec"),
}
# Fashion-MNIST's numbers of classes that people do not mix up
FASHION = {"shirt": 0, "trousers": 1, "bag": 8, "boot": 9}
DIGITS = ("0", "1", "2", "3", "4")
PLURALS = {name: f"{name}s" for name in (*EMOJI, *FASHION)} | {"trousers": "trousers"}

COLOURS = {
    "red": (214, 36, 36),
    "green": (30, 150, 50),
    "blue": (40, 70, 220),
    "yellow": (228, 190, 20),
    "purple": (150, 50, 190),
    "black": (25, 25, 28),
}
ROWS, COLUMNS = ("top", "middle", "bottom"), ("left", "center", "right")
PLACES = tuple(f"{row} {column}" for row in ROWS for column in COLUMNS)
# words of a relation, and the step to the neighbour that is asked for: rows, columns
RELATIONS = {"left of": (0, -1), "right of": (0, 1), "above": (-1, 0), "below": (1, 0)}
SIGN_WORDS = _words(
    "stop open exit sale taxi menu post park rent late meal line time note item tool road lane east sun one ten art "
    "car pet tea ice oil map net ton ear air arm toe sea pen pan cap cup mill lamp pile role moat sole"
)

PAD, UNKNOWN, IMAGE, USER, ASSISTANT, END = SPECIAL = ("<pad>", "<unk>", "<image>", "<user>", "<assistant>", "</s>")
_PLAIN = _words("what is in the how many are there color which digit number word on sign nothing of above below ?")
TOKENS = tuple(
    dict.fromkeys(
        (
            *SPECIAL,
            *_PLAIN,
            *ROWS,
            *COLUMNS,
            *COLOURS,
            *EMOJI,
            *FASHION,
            *PLURALS.values(),
            *"0123456789",
            *"abcdefghijklmnopqrstuvwxyz",
        )
    )
)
IDS = {token: number for number, token in enumerate(TOKENS)}

# what a patch can show
BACKGROUND, SIGN = "background", "sign"
CONTENTS = (BACKGROUND, SIGN, *EMOJI, *FASHION, *"0123456789", *"abcdefghijklmnopqrstuvwxyz")
TINTS = ("none", *COLOURS)


def ids_of(text: str) -> list[int]:
    """Tokens of words with spaces between them; raises KeyError for a word that there is not."""
    return [IDS[word] for word in text.split()]
