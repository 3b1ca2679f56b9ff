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
    "must and must not": Case(
        "Employees must not:\n\n* share passwords;\n* leave doors open.\n\nEmployees must:\n\n"
        "* share their calendar.\n",
        "May I share my password?",
        ("Employees must not:\n\n* share passwords;",),
        ("doors", "calendar"),
    ),
    "bold": Case(
        "**Do not use with:**\n\n1. ibuprofen\n2. alcohol\n\n**May be used with:**\n\n1. paracetamol\n",
        "Can I take it with alcohol?",
        ("**Do not use with:**", "2. alcohol"),
        ("ibuprofen", "paracetamol"),
    ),
    "dashes": Case(
        "The warranty does not cover\n\n– scratches;\n– water damage.\n\nIt covers the battery.\n",
        "Is water damage covered?",
        ("The warranty does not cover", "water damage."),
        ("scratches", "battery"),
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
    "three levels": Case(
        "* Europe\n    * France\n        * Capital: Paris\n    * Spain\n        * Capital: Madrid\n",
        "Which country has the capital Madrid?",
        ("* Europe\n", "    * Spain\n        * Capital: Madrid"),
        ("Paris", "France"),
    ),
    "tabs": Case(
        "+ Kaffee\n\t+ Espresso 2,50\n+ Tee\n\t+ Assam 3,10\n",
        "Was kostet Assam?",
        ("+ Tee\n\t+ Assam 3,10",),
        ("Kaffee", "Espresso"),
    ),
    "clauses below their number": Case(
        "3. Termination\n\n3.1 Either party may end it. \n\n3.2 Notice is in writing.\n\n4. Liability\n\n4.1 None.\n",
        "Is notice in writing?",
        ("3. Termination", "3.2 Notice is in writing."),
        ("3.1", "Liability"),
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
