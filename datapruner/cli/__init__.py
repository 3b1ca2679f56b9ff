"""The command line, as `datapruner` and `python -m datapruner.cli`."""

from datapruner.cli.commands import app

__all__ = ["app"]
