"""Runs a program as a notebook runs a cell: an expression at the end is shown, and an error is printed."""

import itertools
import linecache
import sys
import traceback
import types

import page
from pyodide.code import eval_code_async

FILE = "program.py"
# In the order of what is shown rather.
KINDS = {"text/html": "_repr_html_", "image/svg+xml": "_repr_svg_", "text/plain": "__repr__"}
places = itertools.count()


class Markup:
    """HTML or SVG that was made by hand."""

    def __init__(self, data):
        self.data = data


class HTML(Markup):
    """A piece of a page."""

    def _repr_html_(self):
        return self.data


class SVG(Markup):
    """A picture."""

    def _repr_svg_(self):
        return self.data


class Handle:
    """A place of the output, what is shown at which can change."""

    def __init__(self):
        self.display_id = str(next(places))

    def update(self, thing):
        """Show another thing there."""
        bundle = thing._repr_mimebundle_() if hasattr(thing, "_repr_mimebundle_") else {}
        for kind, method in KINDS.items():
            content = bundle.get(kind) or (getattr(thing, method)() if hasattr(thing, method) else None)
            if content is not None:
                page.show(kind, content, self.display_id)
                return


def display(*things, display_id=None):
    """Show things; with a `display_id`, return the handle of the last one."""
    for thing in things:
        handle = Handle()
        handle.update(thing)
    return handle if display_id else None


def prepare():
    """Be to libraries what IPython is: they ask it whether a picture can be shown, and how."""
    formatter = types.SimpleNamespace(active_types=list(KINDS))
    shell = types.SimpleNamespace(display_formatter=formatter)
    ipython = types.ModuleType("IPython")
    ipython.get_ipython = lambda: shell
    ipython.display = types.ModuleType("IPython.display")
    vars(ipython.display).update(display=display, HTML=HTML, SVG=SVG)
    sys.modules |= {"IPython": ipython, "IPython.display": ipython.display}


async def run(source):
    """Run a program in a module of its own."""
    linecache.cache[FILE] = (len(source), None, source.splitlines(keepends=True), FILE)
    module = sys.modules["__main__"] = types.ModuleType("__main__")
    try:
        value = await eval_code_async(source, vars(module), filename=FILE)
        if value is not None:
            display(value)
    except SystemExit as error:
        if error.code is not None:
            print(error.code, file=sys.stderr)
    except BaseException as error:
        frames = error.__traceback__
        while frames is not None and frames.tb_frame.f_code.co_filename != FILE:
            frames = frames.tb_next
        traceback.print_exception(error.with_traceback(frames))
    sys.stdout.flush()
    sys.stderr.flush()
