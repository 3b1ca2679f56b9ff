"""Texts in which items, clauses and answers belong to what stands before them, and questions about them."""

from typing import NamedTuple

from contextpruner.documents.format_detection import Format


class Case(NamedTuple):
    """A text, a question, and what of the text stays and goes."""

    text: str
    question: str
    kept: tuple[str, ...]
    dropped: tuple[str, ...] = ()
    format: Format = "text"
    top_k: bool = True


LEAD_INS = {
    "forbidden": Case(
        "It is forbidden to:\n\n- smoke near the reactor;\n- run.\n\nIt is allowed to:\n\n- walk near the reactor.\n",
        "What is forbidden near the reactor?",
        ("It is forbidden to:\n\n- smoke", "It is allowed to:\n\n- walk"),
        top_k=False,
    ),
    "html": Case(
        "<h2>Limits</h2><p>The tool does not support:</p><ul><li>Windows</li><li>BSD</li></ul><p>Bread.</p>",
        "Does it support Windows?",
        ("Limits\nThe tool does not support:\nWindows",),
        ("Bread",),
        "html",
    ),
    "german": Case(
        "Nicht erstattet werden:\n\n* Fahrtkosten\n* Bücher\n\nErstattet werden:\n\n* Kursgebühren\n",
        "Werden Fahrtkosten bezahlt?",
        ("Nicht erstattet werden:\n\n* Fahrtkosten",),
        ("Erstattet", "Kursgebühren"),
    ),
    "french, ordered": Case(
        "<p>Il est interdit de :</p><ol><li>fumer</li><li>courir</li></ol><p>Bonjour.</p>",
        "Peut-on fumer ici ?",
        ("Il est interdit de :\nfumer",),
        ("Bonjour",),
        "html",
    ),
    "without a colon": Case(
        "The following are not covered\n\n- glass\n- tyres\n\nAll else is covered.\n",
        "Are tyres insured?",
        ("The following are not covered", "- tyres"),
        ("All else",),
    ),
    "a statement that promises": Case(
        "None of the following may be sent by post.\n\n1. batteries\n2. perfume\n\nLetters may.\n",
        "May I post perfume?",
        ("None of the following", "2. perfume"),
    ),
    "code": Case(
        "Never run this on a live server:\n\n```sh\nrm -r data\n```\n\nBread is baked.\n",
        "How do I remove data?",
        ("Never run this", "```sh\nrm -r data\n```"),
        ("Bread",),
    ),
    "lines without marks": Case(
        "These towns have no station:\nAlba\nBrion\nCarna\n\nThese have one:\nDuro\n",
        "Is there a station in Brion?",
        ("no station:", "Brion"),
        ("Duro",),
        top_k=False,
    ),
    "goes on after code": Case(
        "Do not:\n\n1. stop it:\n\n```\nkill 7\n```\n\n2. delete the journal\n\nBread is baked.\n",
        "May I delete the journal?",
        ("Do not:", "2. delete the journal"),
        ("Bread",),
    ),
}

NESTED = {
    "markdown": Case(
        "- Database\n  - port 5432\n- Cache\n  - port 6379", "What uses port 5432?", ("- Database\n  - port 5432",)
    ),
    "numbers and letters": Case(
        "1. Berlin\n   a) opens at nine\n2. Bonn\n   a) opens at seven\n",
        "What opens at seven?",
        ("2. Bonn\n   a) opens at seven",),
        (),
    ),
    "html": Case(
        "<ul><li>Paris<ul><li>Metro<ul><li>fare 2.15</li></ul></li></ul></li><li>Lyon<ul><li>fare 1.90</li></ul></ul>",
        "Where is the fare 2.15?",
        ("Paris\nMetro\nfare 2.15",),
        (),
        "html",
    ),
    "bullets of two kinds": Case(
        "● Montag\n○ Chor um acht\n● Dienstag\n○ Turnen um neun\n",
        "Wann ist Turnen?",
        ("● Dienstag\n○ Turnen",),
        ("Chor",),
    ),
    "a paragraph in an item": Case(
        "- Berlin\n\n  The office is closed in August.\n\n- Bonn\n\n  It is open all year.\n",
        "Which office is closed in August?",
        ("- Berlin", "closed in August."),
        ("Bonn",),
    ),
    "an article of law": Case(
        "Artikel 5\n\nVerboten ist:\n\n(a) Rauchen;\n(b) Singen.\n\nArtikel 6\n\nTanzen ist erlaubt.\n",
        "Ist Singen ein Problem?",
        ("Artikel 5\n\nVerboten ist:", "(b) Singen."),
        ("Tanzen", "Artikel 6"),
    ),
    "a clause of law": Case(
        "(1) Dogs may enter.\n\n(2) The following pay no fee:\n\na) schools;\n\nb) hospitals.\n\n(3) Due in May.\n",
        "Do hospitals pay?",
        ("(2) The following pay no fee:", "b) hospitals."),
        ("Dogs", "May."),
    ),
    "a paragraph of German law": Case(
        "§ 5 Gebühren\n\n(1) Hunde frei.\n\n(2) Keine Gebühr zahlen:\n\na) Schulen,\n\nb) Museen.\n\n(3) Im Mai.\n",
        "Zahlen Museen eine Gebühr?",
        ("(2) Keine Gebühr zahlen:", "b) Museen."),
        ("Hunde", "Mai"),
    ),
}

INTRODUCED = {
    "heading": Case(
        "## Refund policy\n\nWithin 30 days you get your money back.\n\n## Shipping\n\nBy train.\n",
        "What is the refund policy?",
        ("## Refund policy\n\nWithin 30 days",),
        ("train",),
    ),
    "heading over a heading": Case(
        "# Refunds\n\n## Germany\n\nThirty days.\n\n# Shipping\n\nBy train.\n",
        "Refunds?",
        ("# Refunds\n\n## Germany\n\nThirty days.",),
        ("train",),
    ),
    "html heading over a list": Case(
        "<h2>Opening hours</h2><ul><li>Monday 9-5</li><li>Friday 9-1</li></ul><h2>Prices</h2><p>Ten euros.</p>",
        "What are the opening hours?",
        ("Opening hours\nMonday 9-5\nFriday 9-1",),
        ("Ten",),
        "html",
    ),
    "underlined heading": Case(
        "Rückgabe\n========\n\nBinnen 30 Tagen.\n\nVersand\n=======\n\nMit der Bahn.\n",
        "Wie ist die Rückgabe geregelt?",
        ("Rückgabe\n========\n\nBinnen 30 Tagen.",),
        ("Bahn",),
    ),
    "a heading that asks": Case(
        "### Can I bring a dog?\n\nOnly on a lead. Not in the pool.\n\n### Is there parking?\n\nBehind the house.\n",
        "Can I bring a dog?",
        ("Can I bring a dog?\n\nOnly on a lead. Not in the pool.",),
        ("house",),
    ),
    "Q and A": Case(
        "Q: How do I reset it?\nA: Press the button.\n\nQ: Where is the manual?\nA: In the box.\n",
        "How can I reset it?",
        ("Q: How do I reset it?\nA: Press the button.",),
        ("box",),
    ),
    "Frage und Antwort": Case(
        "Frage: Was kostet der Eintritt?\nAntwort: Zehn Euro.\n\nFrage: Wo ist das Museum?\nAntwort: Am Markt.\n",
        "Was kostet der Eintritt?",
        ("Antwort: Zehn Euro.",),
        ("Markt",),
    ),
    "question et réponse": Case(
        "**Q : Quel est le tarif ?**\n**R :** Dix euros.\n\n**Q : Où manger ?**\n**R :** Au café.\n",
        "Quel est le tarif ?",
        ("Dix euros",),
        ("café",),
    ),
    "numbered questions": Case(
        "1. How do I pay?\n\nBy card. Or cash.\n\n2. How do I return it?\n\nBy post.\n",
        "How do I pay?",
        ("1. How do I pay?\n\nBy card. Or cash.",),
        ("post",),
    ),
    "a question above its answer": Case(
        "<p>How do I pay?</p><p>By card.</p><p>Bread.</p>", "How do I pay?", ("pay?\nBy card.",), ("Bread",), "html"
    ),
    "une question et une ligne": Case(
        "Qui a bâti la coupole ?\nPersonne ne le sait.\n\nLe pain est bon.\n",
        "Qui a bâti la coupole ?",
        ("Qui a bâti la coupole ?\nPersonne",),
        ("pain",),
    ),
    "terms": Case(
        "<dl><dt>Latency</dt><dd>The time a packet takes.</dd><dt>Jitter</dt><dd>Its variance.</dd></dl>",
        "What is latency?",
        ("Latency\nThe time a packet takes.",),
        ("variance",),
        "html",
    ),
    "details": Case(
        "<details><summary>Can I pay by card?</summary><p>From ten euros.</p></details>"
        "<details><summary>Do you deliver?</summary><p>On Fridays.</p></details>",
        "Can I pay by card?",
        ("Can I pay by card?\nFrom ten euros.",),
        ("Fridays",),
        "html",
    ),
    "bold line": Case(
        "**Opening hours**\n\nMonday to Friday, nine to five.\n\n**Prices**\n\nTen euros.\n",
        "What are the opening hours?",
        ("**Opening hours**\n\nMonday",),
        ("Ten",),
    ),
    "bold paragraph": Case(
        "<p><b>Öffnungszeiten</b></p><p>Montag bis Freitag.</p><p><strong>Preise</strong></p><p>Zehn Euro.</p>",
        "Wie sind die Öffnungszeiten?",
        ("Öffnungszeiten\nMontag",),
        ("Zehn",),
        "html",
    ),
    "a title in plain text": Case(
        "Refund policy\n\nWithin 30 days you get your money back.\n\nShipping\n\nWe ship by train.\n",
        "What is the refund policy?",
        ("Refund policy\n\nWithin 30 days",),
        ("train",),
    ),
    "steps": Case(
        "To reset the router:\n\n1. Unplug it.\n2. Wait ten seconds.\n3. Plug it in.\n\nThe lamp is green.\n",
        "How do I reset the router?",
        ("To reset the router:\n\n1. Unplug it.\n2. Wait ten seconds.\n3. Plug it in.",),
        ("lamp",),
    ),
    "ingredients": Case(
        "The soup has these ingredients:\n\n- carrots\n- onions\n- salt\n\nThe cake wants:\n\n- flour\n",
        "What are the ingredients of the soup?",
        ("The soup has these ingredients:\n\n- carrots\n- onions\n- salt",),
        ("flour",),
    ),
    "zutaten": Case(
        "<p>Die Zutaten der Suppe:</p><ul><li>Möhren</li><li>Salz</li></ul><p>Guten Appetit.</p>",
        "Welche Zutaten hat die Suppe?",
        ("Die Zutaten der Suppe:\nMöhren\nSalz",),
        ("Appetit",),
        "html",
    ),
    "letters of a clause": Case(
        "(1) No dogs.\n\n(2) The following are exempt from the fee:\n\na) schools;\n\nb) hospitals.\n\n(3) Bread.\n",
        "Who is exempt from the fee?",
        ("(2) The following are exempt from the fee:\n\na) schools;\n\nb) hospitals.",),
        ("Bread",),
    ),
    "a paragraph behind a colon": Case(
        "The password of the guest network is:\n\nhunter2\n\nBread is baked.\n",
        "What is the password of the guest network?",
        ("network is:\n\nhunter2",),
        ("Bread",),
    ),
}
