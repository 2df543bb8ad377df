"""The notebook runs from top to bottom and shows what its text promises."""

import ast
import json
from pathlib import Path

import pytest

from bugzoo.finding import Checkup

PATH = Path(__file__).parent.parent / "examples" / "check.ipynb"
NOTEBOOK = json.loads(PATH.read_text())
CODE = [c for c in NOTEBOOK["cells"] if c["cell_type"] == "code"]


def shown(source, names):
    """Runs a cell; returns what a notebook would show: the value of its last line, if it is one."""
    tree = ast.parse(source)
    last = tree.body.pop() if isinstance(tree.body[-1], ast.Expr) else None
    exec(compile(tree, "cell", "exec"), names)
    return eval(compile(ast.Expression(last.value), "cell", "eval"), names) if last else None


def test_its_cells_run_and_show_right_and_wrong():
    """As Python, without Jupyter: three checkups and a frame, red, green and green with notes."""
    names = {}
    values = [shown("".join(cell["source"]), names) for cell in CODE]
    checkups = [v for v in values if isinstance(v, Checkup)]

    assert [c.ok for c in checkups] == [False, True, True]
    assert [c.notes != [] for c in checkups][2]
    assert all(c._repr_html_().startswith("<div") for c in checkups)
    assert len(values[3]) == len(checkups[0].findings)


def test_its_cells_run_in_jupyter():
    """The same with a kernel, where there is one."""
    nbformat, nbclient = pytest.importorskip("nbformat"), pytest.importorskip("nbclient")
    pytest.importorskip("ipykernel")
    notebook = nbformat.read(PATH, as_version=4)
    nbformat.validate(notebook)
    nbclient.NotebookClient(notebook, timeout=300, kernel_name="python3").execute()
    outputs = [out.data for c in notebook.cells if c.cell_type == "code" for out in c.outputs]

    assert len(outputs) == 4
    assert all("text/html" in data for data in outputs)
    assert "the gradient is not the derivative" in outputs[0]["text/html"]


def test_it_is_stored_clean():
    """No outputs, no counters, no metadata of somebody's editor; each cell has its name."""
    assert all(c["outputs"] == [] and c["execution_count"] is None for c in CODE)
    assert all(c["metadata"] == {} for c in NOTEBOOK["cells"])
    assert len({c["id"] for c in NOTEBOOK["cells"]}) == len(NOTEBOOK["cells"])
    assert (
        PATH.read_text(encoding="utf-8")
        == json.dumps(NOTEBOOK, indent=1, ensure_ascii=False) + "\n"
    )
