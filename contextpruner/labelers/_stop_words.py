"""Stop words: what says nothing of what a question is about, say articles, pronouns, question words, politeness.

Small closed lists. A word of one language may mean something in another ("war", "die"), so that a question is read
with one list only: the one that most of its words stand in, which also says the language that it is stemmed in.
"""

from __future__ import annotations

import functools
import re
from collections import Counter
from collections.abc import Sequence

from contextpruner.units.terms import terms


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


ENGLISH = _words(
    "a about am an and are as at be been before being between but by did do does doing done during for from had has "
    "have he her his how i in into is it its many much no not of on or she than that the their them there these they "
    "this those to was we were what when where which who whom whose why will with would you "
    "answer can could hello help hi hope just kindly know let like me my one our please should tell "
    "thank thanks us your"
)
GERMAN = _words(
    "aber alle als am an auch auf aus bei bis da das dass dem den der des die dies diese dieser dieses du durch ein "
    "eine einem einen einer eines er es für gab gibt haben hat hatte hatten ich ihr ihre ihrem ihren im in ist kann "
    "können man mit nach nicht noch nur ob oder sein seine seinem seinen seiner sich sie sind so über um und unter "
    "vom von vor wann war waren warum was welche welchem welchen welcher welches wem wen wenn wer werden wessen wie "
    "wieviel viele wird wo wodurch worden wurde wurden zu zum zur zwischen "
    "bitte danke hallo hilf könnte könnten mein meine mich mir sag sagen uns würde"
)
FRENCH = _words(
    "a à au aux avec avait ce cela ces cet cette combien comme comment d dans de des du elle elles en entre est et "
    "été étaient était eu fut il ils l la laquelle le lequel les lesquelles lesquels leur leurs lui mais n ne ont où "
    "ou par pas plus pour pourquoi qu quand que quel quelle quelles quels qui quoi s sa se ses son sont sous sur un "
    "une y aidez bonjour dites je merci moi mon pouvez pourriez vous"
)
SPANISH = _words(
    "a al algo como cómo con cuál cuáles cuándo cuando cuánta cuántas cuánto cuántos de del desde dónde donde durante "
    "e el él ella ellas ellos en entre era eran es esa ese eso está esta este esto fue fueron había ha han hay hasta "
    "la las le les lo los más me mi no o para pero por porque qué que quién quienes quiénes se ser si sin sobre son "
    "su sus también tiene tienen tuvo un una uno y ayuda dime favor gracias hola podría puede puedes usted"
)
RUSSIAN = _words(
    "а без бы был была были было в во вы где для до его ее её если есть же за и из или им их к как какая какие каким "
    "каких какое какой каком какую когда кем кому кого который которая которое которые кто ли между мы на над не нет "
    "ни но о об он она они оно от по под почему при с сколько со так также то у чего чем чему что чтобы эта эти это "
    "этот я здравствуйте мне можете мой нам подскажите пожалуйста помогите скажите спасибо"
)
ITALIAN = _words(
    "a al alla alle allo ai agli anche c che chi ci come con cosa cui da dal dalla dalle dallo dai dagli degli dei del "
    "della delle dello di dove dopo e è ed era erano fu furono gli ha hanno i il in io l la le lei lo loro lui ma mi "
    "nei nel nella nelle nello non o per perché più prima può qual quale quali quando quanti quanto quante quanta "
    "quello questa questo se si sia sono stata stato su sua sue sui sul sulla suo tra fra tu un una uno grazie ciao "
    "aiuto dimmi favore"
)
PORTUGUESE = _words(
    "a ao aos as até com como da das de dela dele do dos e é ela ele eles em entre era eram essa esse esta está este "
    "eu foi foram há isso isto mais mas me meu na nas não no nos nós o onde os ou para pela pelas pelo pelos por "
    "porque qual quais quando quanta quantas quanto quantos que quem se sem ser seu seus são só sua suas também tem "
    "tinha um uma você à às ajuda favor obrigado olá diga pode"
)
DUTCH = _words(
    "aan als bij dan dat de der deze die dit doet door doen dus een en er geen had hadden hebben heeft hem het hij hoe "
    "hoeveel hun ik in is je kan met mijn na naar niet nog of om onder ook op over te tot toen tussen uit uw van voor "
    "waar waarom wanneer waren was wat we welk welke werd werden wie wordt worden ze zij zijn zo zou alstublieft "
    "bedankt hallo help kunt"
)
SWEDISH = _words(
    "alla att av blev bli blir de dem den denna dess det detta du där efter ej eller en er ett från för ha hade han "
    "har hon hos hur hur i in inte jag kan kunde man med mellan men mot mycket många när någon några något och om på "
    "sig sin sina sitt ska skulle som så till under upp ut vad var varför vem vems vid vilka vilken vilket än är åt "
    "hej hjälp snälla tack"
)
TURKISH = _words(
    "acaba ama bir bu da de daha değil diye en gibi hangi hangisi her ile ise için kaç kadar kim kimdir kime kimin mi "
    "mı mu mü nasıl ne nedir neden nerede nereye ne niçin o olan olarak oldu olduğu olur sonra şu ve veya ya zaman "
    "lütfen merhaba teşekkürler"
)
ROMANIAN = _words(
    "a ai al ale am ar are au avea ca care cât câte câți câtă ce cel cele cine când cu cum cui de din după ei el ele "
    "era este eu fi fost în între îi la lor lui mai nu o pe pentru prin s sa sau să se și sunt sub su un una unde unei "
    "unor unui vă ajutor bună mulțumesc rog spuneți"
)
POLISH = _words(
    "a aby ale bez był była było były być co czy czym dla do gdy gdzie go i ich ile im iż ja jak jaka jaki jakie jako "
    "jego jej jest już kiedy kim kogo kto która które który których którzy ma mnie na nad nie o od oraz po pod przez "
    "przy są się ta tak te tego tej ten to tylko tym w we z za ze że dlaczego dziękuję proszę cześć"
)
INDONESIAN = _words(
    "ada adalah akan apa apakah atau bagaimana bagi bahwa berapa bisa dalam dan dapat dari dengan di dia ini itu "
    "juga kapan karena kenapa ke ketika mana mengapa mereka oleh pada para saat saja saya sebagai secara sebuah "
    "seorang siapa siapakah telah tersebut tidak untuk yang bantu halo mohon terima tolong"
)
LISTS = {
    "english": ENGLISH,
    "german": GERMAN,
    "french": FRENCH,
    "spanish": SPANISH,
    "russian": RUSSIAN,
    "italian": ITALIAN,
    "portuguese": PORTUGUESE,
    "dutch": DUTCH,
    "swedish": SWEDISH,
    "turkish": TURKISH,
    "romanian": ROMANIAN,
    "polish": POLISH,
    "indonesian": INDONESIAN,
}
# languages that nothing but their script is asked of
SCRIPTS = {
    "persian": re.compile("[\u067e\u0686\u0698\u06af\u06cc\u06a9]"),
    "arabic": re.compile("[\u0621-\u064a]"),
    "hindi": re.compile("[\u0905-\u0939]"),
    "greek": re.compile("[\u03b1-\u03c9]"),
    "tamil": re.compile("[\u0b85-\u0bb9]"),
    "armenian": re.compile("[\u0561-\u0587]"),
}
# a name in capitals is no stop word, where not all is written in them
CAPITALS = re.compile(r"\b[A-Z]{2,}\b")


def language_of(words: Sequence[str]) -> str | None:
    """The language of `words`, terms of a question or of a text: by stop words, or by script; None if none says."""
    counts = Counter(language for word in words for language in _languages().get(word, ()))
    if counts:
        # of equals the one that is listed first
        return max(LISTS, key=lambda language: counts[language])
    text = " ".join(words)
    return next((language for language, script in SCRIPTS.items() if script.search(text)), None)


def question_terms(question: str) -> list[str]:
    """The distinct terms of `question` that are no stop words; all of them where none would be left.

    A word in capitals is no stop word in a question that is not written in capitals: the WHO, IT.
    """
    words = list(dict.fromkeys(terms(question)))
    listed = _lists().get(language_of(words) or "", frozenset())
    named = {name.lower() for name in CAPITALS.findall(question)} if question != question.upper() else set()
    return [word for word in words if word not in listed or word in named] or words


@functools.cache
def _languages() -> dict[str, tuple[str, ...]]:
    """The languages of which a word is a stop word."""
    words = sorted(set().union(*_lists().values()))
    return {word: tuple(language for language, listed in _lists().items() if word in listed) for word in words}


@functools.cache
def _lists() -> dict[str, frozenset[str]]:
    """The lists as `terms` gives words."""
    return {language: frozenset(terms(" ".join(sorted(words)))) for language, words in LISTS.items()}
