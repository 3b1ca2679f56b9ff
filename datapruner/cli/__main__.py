"""`python -m datapruner.cli`."""

from datapruner.cli.commands import app

if __name__ == "__main__":
    app()
