"""Run the notebooks of examples/ and store them with their outputs.

    python docs/execute_notebooks.py

Needs what `pip install ".[test,demo,viz]"` brings. A notebook with an error is not stored.
"""

import json
import os
import tempfile
from pathlib import Path

import nbclient
import nbformat

ROOT = Path(__file__).resolve().parent.parent
NOTEBOOKS = ("backprop", "moons")


def without_traces(notebook):
    """Take away what differs from run to run, and join what one cell printed."""
    for cell in notebook.cells:
        cell.metadata.pop("execution", None)
    notebook.metadata = {
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
        "language_info": {"name": "python"},
    }
    return notebook


def execute(name: str) -> None:
    """Run one notebook, and store it."""
    path = ROOT / "examples" / f"{name}.ipynb"
    notebook = nbformat.read(path, as_version=4)
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(ROOT / "src"), os.environ.get("PYTHONPATH", "")]),
    }
    # The kernel shows figures in the notebook unless it is told otherwise.
    environment.pop("MPLBACKEND", None)
    with tempfile.TemporaryDirectory() as folder:
        client = nbclient.NotebookClient(
            notebook, timeout=300, coalesce_streams=True, resources={"metadata": {"path": folder}}
        )
        done = without_traces(client.execute(env=environment))
    text = json.dumps(json.loads(nbformat.writes(done)), indent=1, ensure_ascii=False) + "\n"
    path.write_text(text, encoding="utf-8")
    print(f"{path.name}: {len(text):,} characters")


if __name__ == "__main__":
    for each in NOTEBOOKS:
        execute(each)
