"""Draw the README's picture: stepping backward through a neuron, and a boundary that moves.

    python docs/draw_animation.py

Needs Chromium, and `pip install playwright pillow scikit-learn`.
"""

import io
import shutil
import tempfile
from pathlib import Path

from PIL import Image
from playwright.sync_api import sync_playwright

from fastgrad import Value, viz
from fastgrad.commands.demo import eager_step, moons
from fastgrad.nn import MLP

PICTURE = Path(__file__).with_name("learning.gif")
SIZE = {"width": 840, "height": 400}
STEPPING = "main { min-height: 0 !important } #panel, .help, .zoom { display: none !important }"
FILM = (
    "#hidden-figure, #pictures > :last-child { display: none !important } canvas { height: 280px !important }"
)
COLOURS = 48


def neuron() -> viz.Page:
    """The page of the lecture's neuron."""
    leaves = {"x1": 1.5, "x2": -0.5, "w1": 0.8, "w2": 1.2, "b": 0.1}
    x1, x2, w1, w2, b = (Value(number, label=label) for label, number in leaves.items())
    out = (x1 * w1 + x2 * w2 + b).tanh()
    out.label = "out"
    return viz.explore(out, open=False)


def training() -> viz.Page:
    """The page of the training on two moons."""
    X, y = moons(1337)
    model = MLP(2, [16, 16, 1])
    step = eager_step(model, X, y)
    film = viz.watch(model, X, y)
    for k in range(100):
        film.record(step(1.0 - 0.9 * k / 100)[0])
    return film.page()


def pictures(browser, page, style, script, steps):
    """Pictures of a page after a script for each step."""
    with tempfile.TemporaryDirectory() as folder:
        tab = browser.new_page(viewport=SIZE)
        tab.goto(page.save(Path(folder) / "page.html").as_uri())
        tab.add_style_tag(content=style)
        tab.evaluate("window.dispatchEvent(new Event('resize'))")
        for step in steps:
            tab.evaluate(script, step)
            tab.wait_for_timeout(50)
            yield Image.open(io.BytesIO(tab.screenshot())).convert("RGB")


def main() -> None:
    """Draw the picture."""
    flags = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"]
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=shutil.which("chromium"), args=flags)
        # The last of the forward pass, the seed, and every arrow.
        stepping = list(pictures(browser, neuron(), STEPPING, "explorer.go", range(5, 17)))
        film = list(pictures(browser, training(), FILM, "film.go", range(0, 100, 4)))
        browser.close()
    frames = [frame.quantize(COLOURS, dither=Image.Dither.NONE) for frame in stepping + film]
    times = [1200] * len(stepping) + [140] * (len(film) - 1) + [2500]
    frames[0].save(PICTURE, save_all=True, append_images=frames[1:], duration=times, loop=0, optimize=True)
    print(f"{PICTURE.name}: {PICTURE.stat().st_size:,} bytes, {len(frames)} pictures")


if __name__ == "__main__":
    main()
