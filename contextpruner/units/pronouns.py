"""Words that point back to what was said before, at the head of a sentence: pronouns and demonstratives.

Small closed lists of the commonest, mostly without those that are a common word of another language ("el" is an article
in Spanish and "he" in Romanian), since nobody says which language a sentence is in. Chinese and Japanese, which write
no spaces, are read by the beginning of the sentence. Where a list errs, one more sentence is kept.
"""

from __future__ import annotations

import re

LISTS = {
    "en": "he she it they him her them his hers its their theirs himself herself itself themselves this that these "
    "those such both neither former latter",
    "de": "er sie ihn ihm ihr ihre ihren ihrem ihres sein seine seinen seinem seiner dieser diese dieses diesen diesem "
    "jener jene jenes beide",
    "fr": "il elle ils elles lui leur leurs ce cet cette ces celui celle ceux celles",
    "es": "él ella ello ellos ellas su sus este esta esto estos estas ese esa eso esos esas aquel aquella ambos",
    "it": "egli essa esso essi esse loro questo questa questi queste quello quella quelli quelle",
    "pt": "ele ela eles elas isto isso aquilo estes essas esses essa",
    "nl": "hij zij deze hun",
    "ro": "ea ei acesta aceasta acest această acești aceste aceștia acestea",
    "el": "αυτός αυτή αυτό αυτοί αυτές αυτά",
    "ru": "он она оно они его её ее их этот эта это эти такой такая такие тот та те",
    "tr": "bu şu bunlar onlar onun bunun",
    "vi": "họ nó điều",
    "ar": "هو هي هم هذا هذه ذلك تلك هؤلاء وهو وهي",
    "hi": "वह वे यह ये इस उस इन उन उसने उन्होंने इसका इसके इसकी उसका उसके उसकी उनका उनके उनकी",
    "ko": "그는 그녀는 그의 그녀의 그들은 이는 이것은 그것은",
}
WORDS = frozenset(word for words in LISTS.values() for word in words.split())
# 其 alone is "its", 其他 is "other"
BEGINNINGS = re.compile(
    r"[他她它这這那该該此]|其(?!他|它|余|餘)|彼(?:は|の|が|女|ら)|(?:それ|これ)(?:は|が|ら|を|に|の)|[こそ]の"
)

# behind quotes, brackets and the mark or number of a list item; an article may stand before "former" and "latter"
FIRST = re.compile(
    r"[\W_]*(?:\d{1,3}[.)]\s[\W_]*)?(?:the (?=former\b|latter\b))?(?P<word>[^\W\d_](?:[^\W\d_]|[\u0900-\u0963])*)",
    re.IGNORECASE,
)


# "In 1950 he moved": when or where, without a name, and then a person
LATER = re.compile(
    r"(?:(?i:in|on|at|after|before|during|since|from|later|then|there|here|soon|finally|eventually|afterwards|afterward"
    r"|subsequently|meanwhile|today|by|until|for|two|three|when|while|once))\b"
    r"(?:[^.;:!?A-ZÀ-ÖØ-Þ]|(?:January|February|March|April|May|June|July|August|September|October|November|December)\b)"
    r"{0,60}?\b(?:he|she|they)\b"
)


def leans_back(sentence: str) -> bool:
    """Whether `sentence` begins with a word that points to what was said before it, perhaps behind a time or place."""
    first = FIRST.match(sentence)
    if first is None:
        return False
    if LATER.match(sentence, first.start("word")):
        return True
    return first["word"].lower() in WORDS or BEGINNINGS.match(first["word"]) is not None


def is_told_there(sentence: str) -> bool:
    """Whether `sentence` begins with a word for the place or the time that was told right before it."""
    first = FIRST.match(sentence)
    return first is not None and first["word"].lower() in ("there", "here", "then")
