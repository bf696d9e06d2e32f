"""The command line, as a test types it."""

from __future__ import annotations

from click.testing import CliRunner, Result

from tests.support.keys import SECRET_KEY
from timeseries.cli import main


def run(url: str, *words: str, text: str | None = None) -> Result:
    runner = CliRunner(env={"TIMESERIES_DATABASE_URL": url, "TIMESERIES_SECRET_KEY": SECRET_KEY})
    return runner.invoke(main, words, input=text)
