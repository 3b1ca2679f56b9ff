"""JSON, mail, chats, subtitles, tables of cells and LaTeX, and questions about them."""

from tests.contextpruner.decisions.list_cases import Case

PEOPLE = '[\n  {\n    "name": "Ann",\n    "age": 12\n  },\n  {\n    "name": "Bob",\n    "age": 13\n  }\n]\n'

JSON = {
    "records of a list": Case(PEOPLE, "How old is Bob?", ('"name": "Bob",\n    "age": 13\n  }',), ("Ann",)),
    "records below a key": Case(
        '{"shop": {"city": "Rome"}, "name": "Alba", "orders": [\n  {"id": 7, "total": 30, "tags": ["a", "b"]},\n'
        '  {"id": 8, "total": 45}\n], "port": 5432}',
        "What is the total of order 8?",
        ('"name": "Alba"', '"orders": [\n', '{"id": 8, "total": 45}\n]'),
        ("30", "5432", "Rome"),
    ),
    "records in records": Case(
        '{"users": [{"name": "Ann", "orders": [{"item": "tea"}, {"item": "milk"}]},'
        ' {"name": "Bob", "orders": [{"item": "salt"}]}]}',
        "Who ordered salt?",
        ('"name": "Bob"', '{"item": "salt"}'),
        ("Ann", "tea"),
    ),
    "a log": Case(
        '{"level": "info", "msg": "started"}\n{"level": "error", "msg": "disk full"}\n'
        '{"level": "info", "msg": "done"}\n',
        "Which error was there?",
        ('{"level": "error", "msg": "disk full"}',),
        ("started", "done"),
    ),
    "settings": Case(
        '{\n  "port": 5432,\n  "host": "localhost",\n  "tls": {"cert": "a.pem", "key": "b.pem"}\n}\n',
        "Which key does tls use?",
        ('"tls": {"cert": "a.pem", "key": "b.pem"}',),
        ("5432",),
    ),
    "records by name": Case(
        '{"berlin": {"einwohner": 3700000}, "bonn": {"einwohner": 330000}}',
        "Wie viele Einwohner hat Bonn?",
        ('"bonn": {"einwohner": 330000}',),
        ("berlin",),
    ),
    "cut off": Case(PEOPLE[:-20], "How old is Ann?", ('"name": "Ann",\n    "age": 12\n  }',), ("Bob",), format="json"),
}

TALK = {
    "srt": Case(
        "1\n00:00:01,000 --> 00:00:02,000\nBread is baked.\n\n2\n00:00:03,000 --> 00:00:05,000\n"
        "The dome was\nbuilt by him.\n\n",
        "Who built the dome?",
        ("2\n00:00:03,000 --> 00:00:05,000\nThe dome was\nbuilt by him.",),
        ("Bread", "00:00:01"),
    ),
    "vtt": Case(
        "WEBVTT\n\nNOTE a dome\n\n00:01.000 --> 00:02.000\nHello.\n\n"
        "intro\n00:03.000 --> 00:05.000\nThe dome is tall.\n",
        "How tall is the dome?",
        ("intro\n00:03.000 --> 00:05.000\nThe dome is tall.",),
        ("Hello", "NOTE"),
    ),
    "srt without blank lines": Case(
        "1\r\n00:00:01,000 --> 00:00:02,000\r\nBrot.\r\n\r\n2\r\n00:00:03,000 --> 00:00:05,000\r\nDie Kuppel.\r\n",
        "Wo ist die Kuppel?",
        ("2\r\n00:00:03,000 --> 00:00:05,000\r\nDie Kuppel.",),
        ("Brot",),
    ),
    "a question in a chat": Case(
        "Ann: When does the train leave?\nBob: At five.\nFrom platform two.\nAnn: Thanks.\nCarl: Bread is baked.\n",
        "When does the train leave?",
        ("Ann: When does the train leave?\nBob: At five.\nFrom platform two.",),
        ("Bread",),
    ),
    "two speakers": Case(
        "[12:03] <ann> the server is down\n[12:04] <bob> bread is baked\n[12:05] <ann> it is alpha\n",
        "Which server is down?",
        ("<ann> the server is down",),
        ("bob", "alpha"),
    ),
    "ein Gespräch": Case(
        "03.01.2024, 12:03 - Änne: Die Bahn fährt um acht.\n03.01.2024, 12:04 - Björn: Gut.\n"
        "03.01.2024, 12:05 - Änne: Bis dann.\n",
        "Wann fährt die Bahn?",
        ("Änne: Die Bahn fährt um acht.",),
        ("Björn", "Bis dann"),
    ),
    "mail": Case(
        "From: ann@x.org\nTo: bob@x.org\nSubject: The offer for the dome\nDate: Mon, 1 Jan 2024\nMessage-ID: <7@x>\n\n"
        "Hello Bob,\n\nit is ten euros. Please answer.\n\n> When do you\n> Send it?\n",
        "What about the offer?",
        ("Subject: The offer for the dome", "Hello Bob,\n\nit is ten euros."),
        ("Message-ID", "answer"),
    ),
    "who sent a mail": Case(
        "Return-Path: <ann@x.org>\nVon: Ann Bauer\nBetreff: Kuppel\nDatum: 1.1.2024\n\nDas Angebot. Es gilt.\n",
        "Was schreibt Bauer?",
        ("Von: Ann Bauer",),
        ("Return-Path", "gilt"),
        format="mail",
    ),
    "a mailbox": Case(
        "From a@x.org Mon Jan  1 10:00:00 2024\nFrom: a@x.org\nSubject: Bread\n\nIt is baked.\n\n"
        "From b@x.org Mon Jan  1 11:00:00 2024\nFrom: b@x.org\nSubject: The dome\n\nMade of brick.\n",
        "What of the dome?",
        ("Subject: The dome\n\nMade of brick.",),
        ("baked",),
    ),
    "times behind names": Case(
        "Ann (10:01): The build is red.\nBob (10:02): Which job?\nAnn (10:03): The linter.\nBob (10:05): I see.\n",
        "Which job?",
        ("Bob (10:02): Which job?\nAnn (10:03): The linter.",),
        ("build", "I see"),
    ),
}

CELLS = {
    "csv": Case(
        'name,age,city\nAnn,12,Rome\nBob,13,Bonn\n"Carl, the\nsecond",14,Ulm\n',
        "How old is Bob?",
        ("name,age,city\n", "Bob,13,Bonn"),
        ("Ann", "Carl"),
    ),
    "a row of two lines": Case(
        'name,age,city\nAnn,12,Rome\n"Carl, the\nsecond",14,Ulm\n',
        "How old is the second Carl?",
        ('name,age,city\n"Carl, the\nsecond",14,Ulm',),
        ("Ann",),
        format="csv",
    ),
    "semicolons": Case(
        "Stadt;Linie;Preis\nBerlin;U2;3,20\nWien;U4;2,40\n",
        "Preis in Wien?",
        ("Stadt;Linie;Preis\nWien;U4",),
        ("Berlin",),
    ),
    "tabs": Case("ville\tligne\nParis\tM1\nLyon\tB\n", "ligne de Lyon", ("ville\tligne\nLyon\tB",), ("Paris",), "csv"),
}

LATEX = {
    "a formula and where it belongs": Case(
        "\\documentclass{article}\n\\begin{document}\n\\section{Energy}\nThe energy of a body\nat rest is given by\n"
        "\\begin{equation}\nE = mc^2\n\\end{equation}\nwhere $m$ is the mass. Bread is baked.\n\n\\end{document}\n",
        "What is the mass?",
        ("\\section{Energy}", "is given by\n\\begin{equation}\nE = mc^2\n\\end{equation}\nwhere $m$ is the mass."),
        ("Bread", "documentclass"),
    ),
    "prose is prose": Case(
        "We bake bread. The dome is tall.\n\\begin{align*}\na &= b \\\\\nc &= d\n\\end{align*}\nButter is churned.\n",
        "How tall is the dome?",
        ("The dome is tall.",),
        ("bread", "Butter", "align"),
    ),
    "a list": Case(
        "\\section{Verbote}\n"
        "Verboten sind:\n\\begin{itemize}\n\\item Hunde\n\\item Feuer im Wald\n\\end{itemize}\nEnde.\n",
        "Ist Feuer erlaubt?",
        ("Verboten sind:", "\\item Feuer im Wald"),
        ("Hunde", "Ende"),
    ),
    "a displayed formula": Case(
        "\\section{Aire}\nL'aire du cercle vaut\n\\[\nA = \\pi r^2\n\\]\n\n\\section{Pain}\nOn mange.\n",
        "Quelle est l'aire du cercle ?",
        ("\\section{Aire}", "L'aire du cercle vaut\n\\[\nA = \\pi r^2\n\\]"),
        ("Pain",),
    ),
}

SETTINGS = {
    "records of keys and values": Case(
        "Customer: ACME\nOrder: 17\nStatus: shipped\n\nCustomer: Globex\nOrder: 18\nStatus: open\n",
        "What is the status of the order of Globex?",
        ("Customer: Globex\nOrder: 18\nStatus: open",),
        ("ACME",),
    ),
    "records between rules": Case(
        "host: db1\nport: 5432\n\n---\n\nhost: cache1\nport: 6379\n",
        "Which port does cache1 use?",
        ("host: cache1\nport: 6379",),
        ("5432",),
    ),
    "sections of settings": Case(
        "[server]\nport = 80\nname = web\n\n[database]\nport = 5432\nname = shop\n",
        "What is the port of the database?",
        ("[database]\nport = 5432",),
        ("80",),
    ),
}
