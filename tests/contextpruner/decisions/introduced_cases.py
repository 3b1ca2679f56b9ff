"""Texts in which a heading, a question, a term or a lead-in introduces its answer, and questions about them."""

from tests.contextpruner.decisions.list_cases import Case

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
    "a number and its clauses": Case(
        "3. Termination\n\n3.1 Either party may end it.\n\n3.2 Notice is in writing.\n\n4. Liability\n\n4.1 None.\n",
        "What about termination?",
        ("3. Termination\n\n3.1 Either party may end it.\n\n3.2 Notice",),
        ("Liability",),
    ),
    "terms with colons": Case(
        "Latency\n: The time a packet takes.\n\nJitter\n:   Its variance.\n",
        "What is jitter?",
        ("Jitter\n:   Its variance.",),
        ("packet",),
    ),
    "ein Begriff und zwei Bedeutungen": Case(
        "Bank\n: Ein Geldhaus.\n: Ein Sitz.\n\nTor\n: Ein Eingang.\n",
        "Was ist eine Bank?",
        ("Bank\n: Ein Geldhaus.",),
        ("Eingang",),
    ),
    "a title in capitals": Case(
        "REFUNDS\nWithin 30 days you get your money back.\n\nSHIPPING\nWe ship by train.\n",
        "What about refunds?",
        ("REFUNDS\nWithin 30 days",),
        ("train",),
    ),
    "lettres capitales": Case(
        "TARIFS\nDix euros par jour. Gratuit le lundi.\n\nACCÈS\nPar le train. Ou à pied.\n",
        "Quels sont les tarifs ?",
        ("TARIFS\nDix euros",),
        ("train",),
    ),
    "a question above code": Case(
        "# How do I install it?\n\n```sh\npip install foo\n```\n\n# How do I remove it?\n\n```sh\n"
        "pip uninstall foo\n```\n",
        "How do I install it?",
        ("# How do I install it?\n\n```sh\npip install foo\n```",),
        ("uninstall",),
    ),
    "opening hours": Case(
        "Opening hours:\nMonday 9-5\nSunday closed\n\nAddress:\nMain Street 4\n",
        "What are the opening hours?",
        ("Opening hours:\nMonday 9-5\nSunday closed",),
        ("Main Street",),
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
    "numbered titles": Case(
        "1. Introduction\nThis paper is about bees.\n2. Results\nBees dance to tell where food is.\n"
        "3. Limits\nOne hive.\n",
        "What are the results?",
        ("2. Results\nBees dance",),
        ("Introduction", "One hive"),
    ),
    "a question within a paragraph": Case(
        "Which cards do you accept? Visa and Maestro. Which delivery do you offer? Post and bike.",
        "Which cards do you accept?",
        ("Which cards do you accept? Visa and Maestro.",),
        ("bike",),
    ),
    "a question that is quoted deeper than its answer": Case(
        "> On Monday Carl wrote:\n> > Will the server be down\n> > on Sunday night?\n"
        "> Yes, from 10 pm.\n\nThanks to all.\n",
        "Will the server be down on Sunday night?",
        ("> > Will the server", "> Yes, from 10 pm."),
        ("Thanks",),
    ),
    "lines with numbers": Case(
        "Ingredients for 4 persons\n500 g flour\n2 eggs\n\nPreparation\n\nKnead everything. Bake it.\n",
        "What are the ingredients?",
        ("Ingredients for 4 persons\n500 g flour\n2 eggs",),
        ("Knead",),
    ),
    "a comment in code": Case(
        "// Retries three times before it gives up.\nconst retries = 3;\n\n"
        "// Wait between tries, in ms.\nconst wait = 200;\n",
        "How often is it retried before it gives up?",
        ("// Retries three times before it gives up.\nconst retries = 3;",),
        ("200",),
    ),
    "what a function says it does": Case(
        'def area(r):\n    """Area of a circle."""\n    return 3.14 * r * r\n\n\ndef length(r):\n    return 6.28 * r\n',
        "How is the area of a circle computed?",
        ("def area(r):", "return 3.14"),
        ("6.28",),
    ),
}
