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
        "<table><tr><th><th>2023<th>2023<tr><th><th>Q2<th>Q3"
        "<tr><td>Steuer<td>120<td>150<tr><td>Miete<td>80<td>90</table>",
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
    "a grid of lines": Case(
        "┌──────┬─────┐\n│ Name │ Age │\n├──────┼─────┤\n│ Ann  │ 12  │\n│ Bob  │ 13  │\n└──────┴─────┘\n",
        "How old is Bob?",
        ("│ Name │ Age │", "│ Bob  │ 13  │"),
        ("Ann",),
    ),
    "a double line below the header": Case(
        "╒═════╤════╕\n│ Ort │ km │\n╞═════╪════╡\n│ Ulm │ 12 │\n├─────┼────┤\n│ Bad │ 13 │\n│     │ ?? │\n"
        "╘═════╧════╛\n",
        "Wie weit ist Ulm?",
        ("│ Ort │ km │", "│ Ulm │ 12 │"),
        ("Bad",),
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
    "a sentence as label": Case(
        "<p>Sales of Alpha.</p><table><tr><th>y<th>n<tr><td>2020<td>5</table>"
        "<p>Sales of Beta.</p><table><tr><th>y<th>n<tr><td>2020<td>7</table>",
        "What were the sales of Beta in 2020?",
        ("Sales of Beta.\ny | n\n2020 | 7",),
        ("Alpha", "5"),
        "html",
    ),
    "a figure with its caption below": Case(
        "<figure><table><tr><th>y<th>n<tr><td>2020<td>5</table><figcaption>Alpha</figcaption></figure>"
        "<figure><table><tr><th>y<th>n<tr><td>2020<td>7</table><figcaption>Beta</figcaption></figure>",
        "What of Beta?",
        ("y | n\n2020 | 7\nBeta",),
        ("Alpha", "5"),
        "html",
    ),
    "une légende": Case(
        "| an | n |\n|---|---|\n| 2020 | 5 |\n\nTableau 1 : Alpha\n\n| an | n |\n|---|---|\n| 2020 | 7 |\n\n"
        "Tableau 2 : Bêta\n",
        "Bêta en 2020 ?",
        ("| 2020 | 7 |", "Tableau 2 : Bêta"),
        ("Alpha", "| 5 |"),
    ),
    "a caption below": Case(
        "| y | s |\n|---|---|\n| 2020 | 5 |\n\nTable 1: Alpha\n\n| y | s |\n|---|---|\n| 2021 | 7 |\n\nTable 2: Beta\n",
        "2021",
        ("| 2021 | 7 |", "Table 2: Beta"),
        ("Alpha", "2020"),
    ),
    "rows that head a part": Case(
        "| Plan | Price |\n|---|---|\n| **Team** | |\n| yearly | 100 |\n| **Solo** | |\n"
        "| monthly | 5 |\n| yearly | 40 |\n",
        "Price of Solo yearly",
        ("| Plan | Price |", "| **Solo** | |\n", "| yearly | 40 |"),
        ("Team", "monthly"),
    ),
    "a cell across all columns": Case(
        "<table><tr><th>Item<th>Price<tr><td colspan=2>Drinks"
        "<tr><td>Tea<td>2<tr><td colspan=2>Food<tr><td>Soup<td>5</table>",
        "price of soup",
        ("Item", "Food", "Soup"),
        ("Drinks", "Tea"),
        "html",
    ),
    "a bold row is a row": Case(
        "<table><tr><th>Item<th>Euro<tr><td>Tea<td>2<tr><td><b>Total</b><td><b>9</b><tr><td>Tip<td>1</table>",
        "What is the total?",
        ("Item | Euro", "Total | 9"),
        ("Tea", "Tip"),
        "html",
    ),
    "captions above, one after the other": Case(
        "Table 1: Prices of 2023\n\n| Fruit | Euro |\n|---|---|\n| Plum | 2 |\n\nTable 2: Prices of 2024\n\n"
        "| Fruit | Euro |\n|---|---|\n| Plum | 3 |\n",
        "price of plum in 2024",
        ("Table 2: Prices of 2024", "| Plum | 3 |"),
        ("2023", "| Plum | 2 |"),
    ),
    "bars without dashes": Case(
        "Room | Capacity | Beamer\nA | 10 | yes\nB | 20 | no\n",
        "Capacity of room B",
        ("Room | Capacity | Beamer\nB | 20 | no",),
        ("A | 10",),
    ),
    "a fragment that nobody calls HTML": Case(
        "<table><tr><th>Country<th>City<th>Pop</tr><tr><td rowspan=2>Peru<td>Lima<td>10</tr><tr><td>Puno<td>0.1</tr>"
        "<tr><td>Chile<td>Arica<td>0.2</tr></table>",
        "population of Puno",
        ("Country", "Peru", "Puno"),
        ("Arica",),
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
    "fences in German": Case(
        "Läuft mit Node 18.\n\n```node version\n```\n\n```node version\nx\n```\n",
        "Welche Node-Version?",
        ("Node 18",),
        ("```",),
    ),
    "a header that has all words": Case(
        "<table><tr><th>Price of the ticket<th>Zone<tr><td>3<td>B</table><p>The ticket has a price of five euros.</p>",
        "What is the price of the ticket?",
        ("The ticket has a price",),
        ("Zone",),
        "html",
    ),
    "a number where its list began before": Case(
        "(a) pay;\n(b) clean.\n12. The landlord repairs the roof.\n13. Bread.\n",
        "Who repairs the roof?",
        ("12. The landlord repairs the roof.",),
        ("clean", "Bread"),
    ),
    "Roman numbers": Case(
        "1.1 Der Käufer:\n  (i) zahlt;\n  (ii) holt ab.\n1.2 Der Verkäufer versichert die Ware.\n",
        "Wer versichert die Ware?",
        ("1.2 Der Verkäufer versichert die Ware.",),
        ("zahlt", "holt"),
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
    "brothers & sons": Case(
        "Bread is baked. Johnson Bros. & Sons deliver oil. Butter is churned.",
        "Who delivers oil?",
        ("Johnson Bros. & Sons deliver oil.",),
        ("Bread", "Butter"),
    ),
    "ein Unternehmen": Case(
        "Brot wird gebacken. Meier u. Co. & Söhne liefern Öl. Butter ist weich.",
        "Wer liefert Öl?",
        ("Meier u. Co. & Söhne liefern Öl.",),
        ("Brot", "Butter"),
    ),
    "a title with signs": Case(
        "<title>Die Kuppel &amp; der Turm</title><h1>Die Kuppel & der Turm</h1><p>Aus Stein.</p>",
        "Woraus ist die Kuppel?",
        ("Die Kuppel & der Turm\nAus Stein.",),
        ("Turm\nDie",),
        "html",
    ),
    "a title in capitals": Case(
        "<title>DOME</title><body><header><h1>Dome</h1></header><p>Of brick.</p>",
        "What of the dome?",
        ("Dome\nOf brick.",),
        ("DOME",),
        "html",
    ),
    "un titre": Case(
        "<html><head><title> Horaires </title></head><body><h1>Horaires</h1><p>De neuf à cinq heures.</p></html>",
        "Quels sont les horaires ?",
        ("Horaires\nDe neuf",),
        ("Horaires\nHoraires",),
        "html",
    ),
    "a title twice": Case(
        "<title>The dome</title><h1>The  <i>dome</i></h1><p>Made of brick.</p>",
        "What is the dome?",
        ("The dome\nMade of brick.",),
        ("dome\nThe",),
        "html",
    ),
}
