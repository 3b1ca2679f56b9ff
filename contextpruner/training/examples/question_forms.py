"""Other ways to ask the same: politely, misspelt, in keywords.

People ask an assistant with a preamble and a search engine without a verb, and mistype; the gold stays where it is.
Keywords are what is left of a question without its short words and its marks, in scripts that put spaces between words.
"""

from __future__ import annotations

import random
import re

from contextpruner.units.terms import PAIRED

# {} is the question; {lower} the same, beginning with a small letter
POLITE: dict[str, tuple[str, ...]] = {
    "en": (
        "Could you please tell me: {}",
        "Hi there! I would like to know: {} Thank you!",
        "Good morning, I am preparing a talk and need some help. {}",
        "Sorry to bother you, but {lower}",
        "Using the text below, answer briefly: {}",
    ),
    "de": ("Könnten Sie mir bitte sagen: {}", "Hallo, ich hätte eine Frage: {} Vielen Dank!", "Bitte kurz: {}"),
    "es": ("¿Podría decirme, por favor? {}", "Hola, tengo una pregunta: {} ¡Muchas gracias!"),
    "fr": ("Pourriez-vous me dire, s'il vous plaît : {}", "Bonjour, j'ai une question : {} Merci !"),
    "it": ("Potrebbe dirmi, per favore: {}", "Buongiorno, avrei una domanda: {} Grazie!"),
    "pt": ("Poderia me dizer, por favor: {}", "Olá, tenho uma pergunta: {} Obrigado!"),
    "ru": ("Подскажите, пожалуйста: {}", "Здравствуйте! У меня вопрос: {} Спасибо!"),
    "uk": ("Підкажіть, будь ласка: {}", "Добрий день! Маю запитання: {} Дякую!"),
    "ar": ("من فضلك أخبرني: {}", "مرحبا، لدي سؤال: {} شكرا"),
    "fa": ("لطفا به من بگویید: {}", "سلام، یک سوال دارم: {} ممنون"),
    "he": ("בבקשה תגידו לי: {}", "שלום, יש לי שאלה: {} תודה"),
    "hi": ("कृपया मुझे बताइए: {}", "नमस्ते, मेरा एक सवाल है: {} धन्यवाद"),
    "bn": ("দয়া করে বলুন: {}",),
    "te": ("దయచేసి చెప్పండి: {}",),
    "th": ("ช่วยบอกหน่อยครับ {}", "สวัสดีค่ะ ขอถามหน่อย {} ขอบคุณค่ะ"),
    "zh": ("请问，{}", "你好，我想知道：{}谢谢！"),
    "ja": ("教えてください。{}", "こんにちは、質問があります。{}よろしくお願いします。"),
    "ko": ("알려 주세요. {}", "안녕하세요, 질문이 있습니다. {} 감사합니다."),
    "sv": ("Kan du vara snäll och säga mig: {}", "Hej, jag har en fråga: {} Tack!"),
    "fi": ("Voisitko kertoa minulle: {}", "Hei, minulla on kysymys: {} Kiitos!"),
    "tr": ("Lütfen söyler misiniz: {}", "Merhaba, bir sorum var: {} Teşekkürler!"),
    "vi": ("Xin vui lòng cho tôi biết: {}", "Xin chào, tôi có một câu hỏi: {} Cảm ơn!"),
    "id": ("Tolong beri tahu saya: {}", "Halo, saya punya pertanyaan: {} Terima kasih!"),
    "sw": ("Tafadhali niambie: {}", "Habari, nina swali: {} Asante!"),
    "el": ("Μπορείτε να μου πείτε, παρακαλώ: {}", "Γεια σας, έχω μια ερώτηση: {} Ευχαριστώ!"),
    "ro": ("Îmi puteți spune, vă rog: {}", "Bună ziua, am o întrebare: {} Mulțumesc!"),
}
# in scripts with letters and spaces
WORD = re.compile(rf"(?:(?![{PAIRED}])[^\W\d_]){{5,}}")
MARKS = re.compile(r"[^\w\s'-]")
# a word of a question as short as this says little
LONGEST_SMALL_WORD = 3


def polite(question: str, language: str, draw: random.Random) -> str:
    """`question` behind a preamble in its language; as it is where none is known."""
    if language not in POLITE:
        return question
    return draw.choice(POLITE[language]).format(question, lower=question[:1].lower() + question[1:])


def misspelt(question: str, draw: random.Random) -> str:
    """`question` with a letter of one or two of its longer words exchanged with its neighbour, left out or doubled."""
    words = list(WORD.finditer(question))
    chosen = draw.sample(words, min(len(words), draw.randint(1, 2)))
    # from the right, so that places stay
    for word in sorted(chosen, key=lambda word: -word.start()):
        at = word.start() + draw.randint(1, len(word[0]) - 3)
        one, two = question[at], question[at + 1]
        question = question[:at] + draw.choice([two + one, two, one + one + two]) + question[at + 2 :]
    return question


def keywords(question: str) -> str:
    """The words of `question` that are long, or numbers, or names, without marks; as it is where that leaves none."""
    words = MARKS.sub(" ", question).split()
    kept = [
        word
        for number, word in enumerate(words)
        if len(word) > LONGEST_SMALL_WORD or any(map(str.isdigit, word)) or (number and word[:1].isupper())
    ]
    return " ".join(kept) if 2 <= len(kept) < len(words) else question
