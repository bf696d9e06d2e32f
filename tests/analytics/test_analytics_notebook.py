"""The example notebook: it runs from top to bottom, and the repository keeps it without outputs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient

NOTEBOOK = Path(__file__).parents[2] / "examples" / "occupancy.ipynb"


def read() -> Any:
    return nbformat.read(NOTEBOOK, as_version=4)


def test_the_notebook_is_kept_without_outputs() -> None:
    for cell in read().cells:
        assert cell.cell_type == "markdown" or (cell.outputs == [] and cell.execution_count is None)


@pytest.mark.filterwarnings("ignore")  # those of the kernel's own packages
def test_the_notebook_runs_and_shows_frames_and_pictures(
    database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TIMESERIES_DATABASE_URL", database)
    notebook = read()
    notebook.cells = [cell for cell in notebook.cells if "install" not in cell.metadata.get("tags", [])]
    NotebookClient(notebook, timeout=300, resources={"metadata": {"path": str(tmp_path)}}).execute()
    shown = [
        kind
        for cell in notebook.cells
        for output in cell.get("outputs", [])
        if output.output_type in ("execute_result", "display_data")
        for kind in output.data
    ]
    assert shown.count("text/html") >= 10
    assert shown.count("image/png") == 7
    assert "knocked over by a van" in str([cell.get("outputs") for cell in notebook.cells])
