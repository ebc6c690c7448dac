"""A notebook runs on the kernel of the environment that executes it."""

import json
import sys
from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_notebook

from experiment.cli.notebooks import execute_all

KERNELSPEC = {"display_name": "Python 3", "language": "python", "name": "python3"}


def test_a_kernel_of_the_same_name_that_is_somebody_elses_is_not_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    theirs = tmp_path / "jupyter" / "kernels" / "python3"
    theirs.mkdir(parents=True)
    (theirs / "kernel.json").write_text(json.dumps({"argv": ["/bin/false"], "display_name": "x", "language": "python"}))
    monkeypatch.setenv("JUPYTER_PATH", str(tmp_path / "jupyter"))
    folder = tmp_path / "notebooks"
    folder.mkdir()
    notebook = new_notebook(cells=[new_code_cell("import sys; sys.executable")], metadata={"kernelspec": KERNELSPEC})
    nbformat.write(notebook, folder / "one.ipynb")
    (written,) = execute_all(tmp_path / "out", folder=folder)
    (output,) = nbformat.read(written, as_version=4).cells[0].outputs
    assert output["data"]["text/plain"] == repr(sys.executable)
