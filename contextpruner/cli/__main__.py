"""`python -m contextpruner.cli` is the command `contextpruner`."""

from contextpruner.cli import app

app(prog_name="contextpruner")
