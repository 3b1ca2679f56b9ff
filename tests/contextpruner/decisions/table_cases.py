"""Texts with tables, code and quotations, and questions about them."""

from tests.contextpruner.decisions.list_cases import Case

TABLES = {
    "a header of two rows": Case(
        "| | 2023 | 2023 |\n| | Q2 | Q3 |\n|---|---|---|\n| Tax | 120 | 150 |\n| Rent | 80 | 90 |\n",
        "Tax in Q3",
        ("| | 2023 | 2023 |\n| | Q2 | Q3 |\n|---|---|---|\n| Tax | 120 | 150 |",),
        ("Rent",),
    ),
    "a second header row below the dashes": Case(
        "| | 2023 | 2023 |\n|---|---|---|\n| | Q2 | Q3 |\n| Tax | 120 | 150 |\n| Rent | 80 | 90 |\n",
        "Tax in Q3",
        ("| | 2023 | 2023 |\n|---|---|---|\n| | Q2 | Q3 |\n| Tax | 120 | 150 |",),
        ("Rent",),
    ),
    "two rows of th": Case(
        "<table><tr><th><th>2023<th>2023<tr><th><th>Q2<th>Q3<tr><td>Steuer<td>120<td>150<tr><td>Miete<td>80<td>90</table>",
        "Steuer in Q3",
        ("2023 | 2023\nQ2 | Q3\nSteuer | 120 | 150",),
        ("Miete",),
        "html",
    ),
    "rowspan": Case(
        "<table><tr><th>Day<th>Course<th>Time<tr><td rowspan=2>Monday<td>Physics<td>9:00<tr><td>Algebra<td>11:00"
        "<tr><td>Tuesday<td>Art<td>8:00</table>",
        "When is Algebra?",
        ("Day | Course | Time\nMonday | Physics | 9:00\nAlgebra | 11:00",),
        ("Tuesday",),
        "html",
    ),
    "two columns that reach down": Case(
        "<table><tr><th>Land<th>Stadt<th>Linie<tr><td rowspan='3'>Italien<td rowspan=\"2\">Rom<td>A<tr><td>Bravo"
        "<tr><td>Turin<td>Charlie<tr><td>Malta<td>Valletta<td>Delta</table>",
        "Wo fährt Charlie?",
        ("Italien | Rom | A", "Turin | Charlie"),
        ("Bravo", "Malta"),
        "html",
    ),
    "a grid as databases print it": Case(
        "+------+-----+\n| Name | Age |\n+------+-----+\n| Ann  | 12  |\n| Bob  | 13  |\n+------+-----+\n",
        "How old is Bob?",
        ("| Name | Age |", "| Bob  | 13  |"),
        ("Ann",),
    ),
    "a grid of rows with borders": Case(
        "+------+-----+\n| Name | Age |\n+======+=====+\n| Ann  | 12  |\n+------+-----+\n"
        "| Bob  | 13  |\n|      | (?) |\n+------+-----+\n",
        "How old is Bob?",
        ("| Name | Age |", "| Bob  | 13  |\n|      | (?) |"),
        ("Ann",),
    ),
    "aligned columns": Case(
        "NAME    READY   STATUS\nweb-1   1/1     Running\ncache   0/1     Pending\n\nBread.\n",
        "What is the status of the cache?",
        ("NAME    READY   STATUS", "cache   0/1     Pending"),
        ("web-1", "Bread"),
    ),
    "underlined columns": Case(
        "Stadt     Linie\n--------  -----\nBerlin    U2\nWien      U4\n",
        "Welche Linie in Wien?",
        ("Stadt     Linie\n--------  -----\nWien      U4",),
        ("Berlin",),
    ),
    "a label above": Case(
        "Results of Alpha\n\n| year | sales |\n|---|---|\n| 2020 | 5 |\n\n"
        "Results of Beta\n\n| year | sales |\n|---|---|\n| 2020 | 7 |\n",
        "What were the sales of Beta?",
        ("Results of Beta\n\n| year | sales |\n|---|---|\n| 2020 | 7 |",),
        ("Alpha", "| 5 |"),
    ),
    "a statement as label": Case(
        "This is what Alpha sold.\n\n| Jahr | Absatz |\n|---|---|\n| 2020 | 5 |\n\n"
        "This is what Beta sold.\n\n| Jahr | Absatz |\n|---|---|\n| 2021 | 7 |\n",
        "2021",
        ("This is what Beta sold.", "| 2021 | 7 |"),
        ("Alpha", "| 5 |"),
    ),
    "a caption": Case(
        "<table><caption>Alpha</caption><tr><th>y<th>s<tr><td>2020<td>5</table>"
        "<table><caption>Beta</caption><tr><th>y<th>s<tr><td>2021<td>7</table>",
        "What about Beta?",
        ("Beta\ny | s\n2021 | 7",),
        ("Alpha", "2020"),
        "html",
    ),
    "a caption below": Case(
        "| y | s |\n|---|---|\n| 2020 | 5 |\n\nTable 1: Alpha\n\n| y | s |\n|---|---|\n| 2021 | 7 |\n\nTable 2: Beta\n",
        "2021",
        ("| 2021 | 7 |", "Table 2: Beta"),
        ("Alpha", "2020"),
    ),
}

NO_ANSWERS = {
    "fences": Case(
        "Needs Python 3.11 or later.\n\n```python\n```\n\nBread.\n\n```python\nx = 1\n```\n",
        "Which Python version is needed?",
        ("Needs Python 3.11",),
        ("```",),
    ),
    "table headers": Case(
        "| Preis | Stadt |\n|---|---|\n| 5 | Bonn |\n\nDer Preis in Ulm ist 7.\n",
        "Welcher Preis gilt in Ulm?",
        ("Der Preis in Ulm",),
        ("Stadt",),
    ),
    "headings": Case(
        "<h1>Prices of tickets</h1><h2>Tickets</h2><h2>Prices</h2><p>A ride costs two euros.</p><p>Bread.</p>",
        "What are the prices of tickets?",
        ("A ride costs",),
        ("Bread",),
        "html",
    ),
    "a wrapped quotation": Case(
        "> The dome was engineered by\n> Brunelleschi, who won. He\n> was a goldsmith.\n",
        "Who engineered the dome?",
        ("engineered by\n> Brunelleschi, who won.",),
        ("goldsmith",),
    ),
    "quoted mail": Case(
        "Ann wrote:\n\n> > The offer was sent by\n> > Bertram.\n> When was\n> That?\n\nYesterday.\n",
        "Who sent the offer?",
        ("> > The offer was sent by\n> > Bertram.",),
        ("Yesterday",),
    ),
    "ein Zitat": Case(
        "Davor.\n\n> Die Kuppel baute\n> Brunelleschi. Sie ist\n> hoch.\n",
        "Wer baute die Kuppel?",
        ("Die Kuppel baute\n> Brunelleschi.",),
        ("Davor", "hoch"),
    ),
    "a clause behind a letter": Case(
        "5.1 The tenant shall:\n(a) pay;\n(b) clean.\n5.3 The landlord repairs the roof.\n",
        "Who repairs the roof?",
        ("5.3 The landlord repairs the roof.",),
        ("clean", "tenant"),
    ),
    "clauses that wrap": Case(
        "2.1 Der Mieter darf:\n(a) kochen;\n(b) singen.\n2.2 Der Vermieter heizt\nim Winter.\n2.2.1 Auch nachts.\n",
        "Wer heizt?",
        ("2.2 Der Vermieter heizt\nim Winter.",),
        ("singen", "nachts"),
    ),
    "an abbreviation before &": Case(
        "Bread is baked. Com. & Adm. rules apply. Butter is churned.",
        "Which rules apply?",
        ("Com. & Adm. rules apply.",),
        ("Bread", "Butter"),
    ),
    "a title twice": Case(
        "<title>The dome</title><h1>The  <i>dome</i></h1><p>Made of brick.</p>",
        "What is the dome?",
        ("The dome\nMade of brick.",),
        ("dome\nThe",),
        "html",
    ),
}
