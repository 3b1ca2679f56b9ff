"""Sentences of prose: one case for each rule, and one that looks like it and is none."""

import pytest

from contextpruner import split


def texts(text: str) -> list[str]:
    return [text[unit.start : unit.end] for unit in split(text)]


@pytest.mark.parametrize(
    "sentences",
    [
        # a face behind a stop goes with it, one alone ends a sentence before a capital
        ["We won! 🏆🎉 ", "Nobody slept. :) ", "we did not either."],
        ["So tired 😴 ", "Back tomorrow."],
        ["I 💛 you and you 💛 me. ", "Good."],
        ["🎯 Goals for May"],
        ["Too late! <3 ", "See you."],
        # lower case behind a plain word, an ellipsis, an abbreviation, a dash
        ["The server crashed again. ", "we restarted it. ", "Fine."],
        ["Does it work? ", "it should."],
        ["We waited... and waited... until noon. ", "Then it came."],
        ["Sold by e.g. bakers, approx. ten a day. ", "Cheap."],
        ["—¿Vienes? —preguntó él. ", "—No."],
        # a space that was forgotten, and names that have none
        ["The soup was cold.", "We sent it back."],
        ["Use config.Load or numpy.Array here. ", "Then os.The_end."],
        # what is numbered at the head of a caption or a title
        ["Table 3. Growth rates of algae. ", "See Table 3. ", "They grew."],
        ["Abbildung 2. Die Brücke."],
        # ASCII stops between Chinese letters
        ["你来吗?", "我不去.", "太远了!", "真的"],
        ["版本3.14很好。", "文件a.b.c在这里。"],
        ["我😂真的不知道。", "好。"],
        ["我们走吧……", "天黑了。", "我……我不知道。"],
        # who says so, behind a quotation that opens the sentence
        ["It rained. ", "“Are we late?” Mary Ann asked. ", "“No.” ", "Ann asked why."],
        ['He asked, "Why?" ', "Ann said nothing."],
        ["“走吧。", "天黑了。”老人说。", "他笑了。"],
        ["“तुम कहाँ थे?” माँ ने पूछा। ", "वह चुप रहा।"],
        ['"أين كنت؟" سألته أمه. ', "لم يجب."],
        # a full stop where a danda ends sentences, and where none does
        ["डॉ. शर्मा आए। ", "वे कि.मी. गिनते हैं।"],
        ["मी घरी गेलो. ", "तो आला."],
        ["यह घर है | ", "वह पेड़ है |"],
        ["قال د. سمير إن ذلك عام 320 ق.م. على النهر. ", "ثم انتهى."],
        # and so on: over before a capital
        ["Pens, paper, etc. ", "Rulers cost more. ", "Tea, etc. was free."],
        ["Он продаёт книги, ручки и т. д. ", "Цены низкие."],
        ["Er kam 320 v. Chr. nach Rom, h. c. Karl auch. ", "Gut."],
        # references and what is cited by a letter, a sign or a number
        ["See Ex. B and Thm. 3 under 18 U.S.C. § 5. ", "That is all."],
        ["Selon l'art. 5, non. ", "Oui."],
        ["The parties agree: 1. Price is five. ", "2. Term is one year."],
        ["Nació en el 44 a. C. ", "Después murió."],
        ["Ο κ. Παπάς ήρθε. ", "Τέλος."],
        ["It took 21 ms. ", "Ms. Lee measured it."],
        ["Он умер в 1990 г. ", "Москва скорбела. ", "Он жил в г. Москва."],
        ["« Ainsi ! » ", "Il partit. ", "« Oui. »"],
    ],
)
def test_sentences_end_where_a_reader_ends_them(sentences: list[str]) -> None:
    assert texts("".join(sentences)) == sentences


def test_a_quotation_is_looked_for_a_bounded_way_back() -> None:
    far = "“" + "word " * 100 + "again?” "
    assert texts(far + "Mary asked.") == [far, "Mary asked."]
