"""Stop words: what says nothing of what a question is about, say articles, pronouns, prepositions, question words.

Small closed lists. A word of one language may mean something in another ("war", "die"), so that a question is read
with one list only: the one that most of its words stand in.
"""

from __future__ import annotations

from collections.abc import Sequence


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


ENGLISH = _words(
    "a about am an and are as at be been before being between but by did do does doing done during for from had has "
    "have he her his how i in into is it its many much no not of on or she than that the their them there these they "
    "this those to was we were what when where which who whom whose why will with would you"
)
GERMAN = _words(
    "aber alle als am an auch auf aus bei bis da das dass dem den der des die dies diese dieser dieses du durch ein "
    "eine einem einen einer eines er es für gab gibt haben hat hatte hatten ich ihr ihre ihrem ihren im in ist kann "
    "können man mit nach nicht noch nur ob oder sein seine seinem seinen seiner sich sie sind so über um und unter "
    "vom von vor wann war waren warum was welche welchem welchen welcher welches wem wen wenn wer werden wessen wie "
    "wieviel viele wird wo wodurch worden wurde wurden zu zum zur zwischen"
)
FRENCH = _words(
    "a à au aux avec avait ce cela ces cet cette combien comme comment d dans de des du elle elles en entre est et "
    "été étaient était eu fut il ils l la laquelle le lequel les lesquelles lesquels leur leurs lui mais n ne ont où "
    "ou par pas plus pour pourquoi qu quand que quel quelle quelles quels qui quoi s sa se ses son sont sous sur un "
    "une y"
)
SPANISH = _words(
    "a al algo como cómo con cuál cuáles cuándo cuando cuánta cuántas cuánto cuántos de del desde dónde donde durante "
    "e el él ella ellas ellos en entre era eran es esa ese eso está esta este esto fue fueron había ha han hay hasta "
    "la las le les lo los más me mi no o para pero por porque qué que quién quienes quiénes se ser si sin sobre son "
    "su sus también tiene tienen tuvo un una uno y"
)
RUSSIAN = _words(
    "а без бы был была были было в во вы где для до его ее её если есть же за и из или им их к как какая какие каким "
    "каких какое какой каком какую когда кем кому кого который которая которое которые кто ли между мы на над не нет "
    "ни но о об он она они оно от по под почему при с сколько со так также то у чего чем чему что чтобы эта эти это "
    "этот я"
)
LISTS = (ENGLISH, GERMAN, FRENCH, SPANISH, RUSSIAN)


def without_stop_words(words: Sequence[str]) -> list[str]:
    """`words` without stop words, in lower case as `terms` gives them; all of them where none would be left."""
    listed = max(LISTS, key=lambda words_of: sum(word in words_of for word in words))
    return [word for word in words if word not in listed] or [*words]
