"""Pages: one HTML file each, with everything in it, for a browser or in place in a notebook."""

from __future__ import annotations

import base64
import gzip
import html
import json
import math
import sys
import tempfile
import webbrowser
from collections.abc import Sequence
from pathlib import Path
from typing import Any

__all__ = ["Page", "image_of", "in_ipython_notebook", "in_notebook", "plain", "whole_page"]

FOLDER = Path(__file__).parent

DOCUMENT = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>
{style}</style>
<noscript><style>main {{ display: none !important; }}</style></noscript>
</head>
<body>
<noscript>{picture}</noscript>
{body}
<script type="application/json" id="description">{data}</script>
{scripts}
</body>
</html>
"""
# A notebook stores each page that it shows: packed, one takes 45 kB and not 130.
UNPACK = """<!doctype html><meta charset="utf-8"><noscript>This page needs scripts.</noscript><script>
(async () => {{
  const packed = Uint8Array.from(atob("{packed}"), (letter) => letter.charCodeAt(0));
  const plain = new Blob([packed]).stream().pipeThrough(new DecompressionStream("gzip"));
  const page = await new Response(plain).text();
  document.open();
  document.write(page);
  document.close();
}})();
</script>"""
# Where a notebook is not trusted, it takes away the style and the frame, and the picture is seen. The page
# follows the colours of JupyterLab, VS Code, Colab and marimo, which need not be those of the system.
IN_PLACE = """<div><style>.fastgrad-picture {{ display: none; }}
:is([data-jp-theme-light=true], .vscode-light, [theme=light], .light) .fastgrad-page {{ color-scheme: light }}
:is([data-jp-theme-light=false], .vscode-dark, [theme=dark], .dark) .fastgrad-page {{ color-scheme: dark }}
</style><iframe class="fastgrad-page" title="{title}" sandbox="allow-scripts" width="100%" height="{height}" \
style="border: 0; resize: vertical; overflow: auto; width: 100%" srcdoc="{page}"></iframe>\
{picture}</div>"""


class Page:
    """A page. A notebook shows it in place; `save` writes it to a file, `open` shows it in the browser."""

    def __init__(self, title: str, document: str, picture: str = "", height: int = 640) -> None:
        self.title = title
        self.document = document
        self.picture = picture
        self.height = height

    def save(self, path: str | Path) -> Path:
        """Write the page to a file, and return its path."""
        path = Path(path)
        path.write_text(self.document, encoding="utf-8")
        return path

    def open(self) -> Path:
        """Show the page in the browser, from a file that is left in the directory for temporary files."""
        with tempfile.NamedTemporaryFile(prefix="fastgrad-", suffix=".html", delete=False) as file:
            path = self.save(file.name)
        if webbrowser.open(path.as_uri()) is False:
            print(f"no browser could be opened; the page is {path}")
        return path

    def _repr_html_(self) -> str:
        """Return the page in a frame of its own, for a notebook, with a picture where scripts do not run."""
        # Without the time, so that the same page is the same text.
        packed = base64.b64encode(gzip.compress(self.document.encode(), mtime=0)).decode()
        return IN_PLACE.format(
            title=html.escape(self.title),
            height=self.height,
            page=html.escape(UNPACK.format(packed=packed)),
            picture=image_of(self.picture, self.title, "fastgrad-picture") if self.picture else "",
        )

    def _repr_mimebundle_(self, **options: Any) -> dict[str, str]:
        """Return what a notebook shows: the page, the picture, and text."""
        shown = {"text/plain": repr(self), "text/html": self._repr_html_()}
        if self.picture:
            shown["image/svg+xml"] = self.picture
        return shown

    def __repr__(self) -> str:
        return f"<page of {self.title}: .open() shows it in the browser, .save(path) writes it>"


def image_of(svg: str, title: str, kind: str = "") -> str:
    """Return an SVG picture as an HTML image, which notebooks show even where they are not trusted."""
    encoded = base64.b64encode(svg.encode()).decode()
    return f'<img class="{kind}" alt="{html.escape(title)}" src="data:image/svg+xml;base64,{encoded}">'


def in_ipython_notebook() -> bool:
    """Whether IPython shows the result of a cell as HTML: not in a terminal, and not in a plain script."""
    shell = sys.modules["IPython"].get_ipython() if "IPython" in sys.modules else None
    return shell is not None and "text/html" in shell.display_formatter.active_types


def in_notebook() -> bool:
    """Whether the result of a cell is shown as HTML: by IPython, or by marimo."""
    return in_ipython_notebook() or ("marimo" in sys.modules and sys.modules["marimo"].running_in_notebook())


def plain(thing: Any) -> Any:
    """Return data for JSON, with nan and infinities as text, as JSON has neither."""
    if isinstance(thing, float):
        return (
            thing
            if math.isfinite(thing)
            else "NaN"
            if thing != thing
            else "-Infinity"
            if thing < 0
            else "Infinity"
        )
    if isinstance(thing, dict):
        return {key: plain(value) for key, value in thing.items()}
    if isinstance(thing, (list, tuple)):
        return [plain(value) for value in thing]
    return thing


def part(name: str) -> str:
    """Return the text of a file of the pages; a library has its licence, but no address of a source map."""
    text = (FOLDER / name).read_text(encoding="utf-8")
    if not name.endswith(".min.js"):
        return text
    licence = (FOLDER / name.replace(".min.js", ".LICENSE.txt")).read_text(encoding="utf-8")
    lines = [line for line in text.splitlines(keepends=True) if not line.startswith("//# sourceMappingURL")]
    return f"/*\n{licence}*/\n{''.join(lines)}"


def whole_page(title: str, stem: str, scripts: Sequence[str], data: Any, picture: str = "") -> str:
    """Return the document of a body, a style and some scripts of the folder, and the data that they show."""
    # No text of the data may end the element that it is in.
    encoded = json.dumps(plain(data), separators=(",", ":"), allow_nan=False).replace("<", "\\u003c")
    return DOCUMENT.format(
        title=html.escape(title),
        style=part(f"page/{stem}.css"),
        picture=picture,
        body=part(f"page/{stem}.html"),
        data=encoded,
        scripts="\n".join(f"<script>\n{part(script)}</script>" for script in scripts),
    )
