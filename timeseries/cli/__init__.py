"""The command line, `timeseries`."""

from timeseries.cli.main import main

__all__ = ["main"]
