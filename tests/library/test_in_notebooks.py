"""Pages in notebooks: in frames like those of each kind of notebook, and in the installed programs."""

import contextlib
import html
import json
import os
import random
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest

import fastgrad
from fastgrad import Value, nn, viz
from pages.browser import READY

pytestmark = pytest.mark.processes


def graph():
    a, b = Value(2.0, label="a"), Value(-3.0, label="b")
    out = a * b
    out.backward()
    return viz.explore(out, open=False)


def training():
    random.seed(2)
    X, y = [[0.0, 1.0], [1.0, 0.0], [-1.0, 0.5], [0.5, -1.0]], [-1, 1, -1, 1]
    model = nn.MLP(2, [4, 3, 1])
    film = viz.watch(model, X, y)
    for _ in range(3):
        film.record(sum((1 - label * model(x)).relu() for x, label in zip(X, y, strict=True)))
    return film.page()


def step_through(frame):
    """Use a graph's page in a frame."""
    frame.locator("#first").click()
    frame.locator("#next").click()
    assert frame.locator("#sentence").text_content() == "a*b = a * b = 2 * -3 = -6"
    frame.locator("#position").press("End")
    assert "b.grad += 2 * (a*b).grad" in frame.locator("#sentence").text_content()
    frame.locator("[data-id=b0]").click()
    frame.locator("#exact").fill("5")
    assert frame.locator("[data-id=b2]").text_content().endswith("data-15grad1")


# VS Code's outputs are in a webview with this policy.
VS_CODE = (
    "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; script-src 'unsafe-inline' "
    "'unsafe-eval'; style-src 'unsafe-inline'; img-src https: http: data:; font-src https:; "
    'connect-src https:; child-src https: data:;">{}'
)
SHOWN_BY = {
    "jupyter": "{}",
    "vs code": VS_CODE,
    # Colab's outputs are in a frame of another origin.
    "colab": '<iframe sandbox="allow-scripts" style="width: 900px; height: 700px" srcdoc="{}"></iframe>',
}


@pytest.mark.parametrize("notebook", SHOWN_BY)
def test_the_page_works_where_outputs_are_confined(notebook, browser):
    shown = graph()._repr_html_()
    tab = browser.new_page()
    complaints = []
    tab.on("pageerror", lambda error: complaints.append(str(error)))
    tab.set_content(SHOWN_BY[notebook].format(html.escape(shown) if notebook == "colab" else shown))
    frame = tab.frame_locator("iframe")
    step_through(frame.frame_locator("iframe") if notebook == "colab" else frame)
    assert complaints == []
    tab.close()


THEMES = {
    "jupyter": '<body data-jp-theme-light="{}">',
    "vs code": '<body class="vscode-{}">',
    "colab": '<html theme="{}"><body>',
    "marimo": '<body class="{}">',
}


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("notebook", THEMES)
def test_the_page_has_the_notebooks_colours(notebook, theme, browser):
    name = {"light": "true", "dark": "false"}[theme] if notebook == "jupyter" else theme
    tab = browser.new_page(color_scheme="null")
    tab.set_content(THEMES[notebook].format(name) + graph()._repr_html_())
    frame = tab.frames[1]
    frame.wait_for_function(READY)
    assert frame.evaluate("matchMedia('(prefers-color-scheme: dark)').matches") == (theme == "dark")
    tab.close()


def test_a_film_is_drawn_when_it_gets_its_size(browser):
    """JupyterLab runs a page before it gives it one."""
    tab = browser.new_page()
    tab.set_content(f'<div id="cell" style="width: 0">{training()._repr_html_()}</div>')
    frame = tab.frames[1]
    frame.wait_for_function(READY)
    tab.evaluate("document.getElementById('cell').style.width = '800px'")
    frame.wait_for_function(
        "document.getElementById('plane').width === document.getElementById('plane').clientWidth"
    )
    assert frame.evaluate("document.getElementById('plane').clientWidth") > 300
    tab.close()


# In the programs that are installed.

CELLS = """
from fastgrad import Value, viz
a, b = Value(2.0, label="a"), Value(-3.0, label="b")
out = a * b
out.backward()
out
---
viz.explore(out)
---
film = viz.watch([a, b])
for _ in range(3):
    film.record(out)
film
---
live = viz.watch([a, b], live=True)
live.record(out)
""".strip().split("\n---\n")


KERNEL_IS_READY = """() => {
    const session = window.jupyterapp?.shell.currentWidget?.sessionContext?.session;
    return session?.kernel?.status === "idle" && session.kernel.connectionStatus === "connected";
}"""


FOUR_PICTURES = """() => {
    const pictures = [...document.querySelectorAll(".jp-OutputArea-output img")];
    return pictures.filter((picture) => picture.checkVisibility()).length === 4;
}"""


def free_port():
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


@contextlib.contextmanager
def server(directory, *command):
    """Run a notebook's server, a module of this Python, in a directory that is its home, too."""
    paths = [str(Path(fastgrad.__file__).resolve().parent.parent), os.environ.get("PYTHONPATH", "")]
    environment = {**os.environ, "HOME": str(directory), "PYTHONPATH": os.pathsep.join(filter(None, paths))}
    # The kernel must open no browser: this stands for it.
    environment["BROWSER"] = f"{sys.executable} -c \"open('opened', 'w')\" %s"
    with (directory / "log").open("w") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", *command], cwd=directory, env=environment, stdout=log, stderr=log
        )
    try:
        yield
    finally:
        # The server ends its kernels, which takes a while.
        process.terminate()
        process.wait(300)
    assert not (directory / "opened").exists()


def opened(browser, address):
    """A tab of an address, as soon as there is a server."""
    for _ in range(120):
        with contextlib.suppress(OSError):
            urllib.request.urlopen(address, timeout=60).close()
            break
        time.sleep(0.5)
    tab = browser.new_page(viewport={"width": 1200, "height": 2400})
    tab.set_default_timeout(90_000)
    tab.goto(address)
    return tab


def frames_of(tab, count):
    """The pages' frames, when each is ready."""
    tab.wait_for_function(f"document.querySelectorAll('iframe.fastgrad-page').length === {count}")
    found = [handle.content_frame() for handle in tab.query_selector_all("iframe.fastgrad-page")]
    for frame in found:
        frame.wait_for_function(READY)
    return found


def notebook_of(cells, text=""):
    return json.dumps(
        {
            "cells": [
                {
                    "cell_type": "code",
                    "execution_count": None,
                    "id": f"cell{k}",
                    "metadata": {},
                    "outputs": [],
                    "source": cell,
                }
                for k, cell in enumerate(cells)
            ],
            "metadata": {"kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"}},
            "nbformat": 4,
            "nbformat_minor": 5,
        }
    )


@pytest.mark.parametrize(
    ("program", "app", "path"),
    [("jupyterlab", "LabApp", "lab/tree/"), ("notebook", "JupyterNotebookApp", "notebooks/")],
)
def test_jupyter_shows_pages_in_place_and_stores_them(program, app, path, browser, tmp_path):
    pytest.importorskip(program)
    file = tmp_path / "lesson.ipynb"
    file.write_text(notebook_of(CELLS))
    port = free_port()
    options = (
        "--allow-root",
        "--no-browser",
        f"--{app}.expose_app_in_browser=True",
        "--IdentityProvider.token=",
        f"--port={port}",
        "--port-retries=0",
    )
    address = f"http://127.0.0.1:{port}/{path}"
    with server(tmp_path, program, *options):
        tab = opened(browser, address + file.name)
        tab.wait_for_function(KERNEL_IS_READY)
        tab.evaluate("jupyterapp.commands.execute('notebook:run-all-cells')")
        first, second, film = frames_of(tab, 3)
        step_through(first)
        step_through(second)
        assert film.text_content("#where") == "step 2"
        assert tab.locator(".jp-OutputArea-output >> text=Open it as a page").is_visible()
        tab.evaluate("jupyterapp.commands.execute('docmanager:save')")
        assert "Open it as a page" in file.read_text()
        tab.close()
        # Opened again by the user who ran it.
        tab = opened(browser, address + file.name)
        step_through(frames_of(tab, 3)[0])
        tab.close()
        # Opened by another user: no scripts, and a picture of each page.
        copy = tmp_path / "of_another.ipynb"
        copy.write_text(file.read_text().replace("out.backward()", "out.backward()  # changed"))
        tab = opened(browser, f"{address}{copy.name}?reset")
        tab.wait_for_function(FOUR_PICTURES)
        assert tab.locator("iframe.fastgrad-page").count() == 0
        tab.close()


def test_marimo_shows_pages_in_place(browser, tmp_path):
    pytest.importorskip("marimo")
    cells = "".join(
        f"\n@app.cell\ndef _({names}):\n" + "".join(f"    {line}\n" for line in cell.splitlines()) + returned
        for cell, names, returned in zip(
            CELLS[:3],
            ("", "out, viz", "a, b, out, viz"),
            ("    return a, b, out, viz\n", "    return\n", "    return\n"),
            strict=True,
        )
    )
    (tmp_path / "lesson.py").write_text(f"import marimo\napp = marimo.App()\n{cells}")
    port = free_port()
    command = (
        "marimo",
        "run",
        "lesson.py",
        "--headless",
        "--no-token",
        "--host",
        "127.0.0.1",
        "-p",
        str(port),
    )
    with server(tmp_path, *command):
        tab = opened(browser, f"http://127.0.0.1:{port}/")
        first, second, film = frames_of(tab, 3)
        step_through(first)
        step_through(second)
        assert film.text_content("#where") == "step 2"
        tab.close()
