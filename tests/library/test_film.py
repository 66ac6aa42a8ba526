"""A recorded training run: what is kept, the page of it, and the page that is sent it while it trains."""

import base64
import gc
import json
import math
import random
import re
import sys
import threading
import time
import urllib.error
import urllib.request
import zlib
from itertools import pairwise

import pytest

from fastgrad import Value, nn, viz
from fastgrad.viz import bitmaps, filming, pages, serving
from pages.browser import Opened

X = [[0.0, 1.0], [1.0, 0.0], [-1.0, 0.5], [0.5, -1.0]]
Y = [-1, 1, -1, 1]


def train(film, model, steps, rate=0.1):
    """Some steps of a max-margin loss; the losses."""
    losses = []
    for _ in range(steps):
        loss = sum((1 - label * model(x)).relu() for x, label in zip(X, Y, strict=True))
        model.zero_grad()
        loss.backward()
        film.record(loss)
        losses.append(loss.data)
        for p in model.parameters():
            p.data -= rate * p.grad
    return losses


@pytest.fixture
def model():
    random.seed(2)
    return nn.MLP(2, [4, 3, 1])


def page_data(document):
    return json.loads(re.search(r'id="description">(.*?)</script>', document, re.DOTALL)[1])


def test_every_step_is_kept(model):
    film = viz.watch(model, X, Y)
    losses = train(film, model, 5)
    assert [frame.loss for frame in film.frames] == losses
    assert list(film.frames[-1].grads) == [p.grad for p in model.parameters()]


def test_recording_changes_nothing(model):
    random.seed(2)
    alone = nn.MLP(2, [4, 3, 1])
    film = viz.watch(model, X, Y)
    unwatched = type("Unwatched", (), {"record": staticmethod(lambda loss: None)})
    assert train(film, model, 10) == train(unwatched, alone, 10)
    before = model.state_dict()
    film.page()
    assert model.state_dict() == before


def test_of_a_long_run_evenly_spaced_steps_are_kept(model, monkeypatch):
    monkeypatch.setattr(filming, "KEPT", 8)
    film = viz.watch(model)
    for step in range(100):
        film.record(float(step))
    steps = [frame.step for frame in film.frames]
    assert len(steps) <= 9
    assert len({b - a for a, b in pairwise(steps)}) == 1


def test_of_a_long_run_the_page_shows_evenly_spaced_steps(model, monkeypatch):
    monkeypatch.setattr(filming, "SHOWN", 5)
    film = viz.watch(model)
    for step in range(17):
        film.record(float(step))
    data = page_data(film.page().document)
    assert [frame["step"] for frame in data["frames"]] == [0, 4, 8, 12, 16]
    assert len(data["losses"]) == 17


def test_steps_may_be_left_out(model):
    film = viz.watch(model, every=3)
    for step in range(7):
        film.record(float(step))
    assert [frame.step for frame in film.frames] == [0, 3, 6]


def test_the_page_has_the_scores_of_each_step(model):
    film = viz.watch(model, X, Y)
    train(film, model, 3)
    data = page_data(film.page().document)
    assert [frame["step"] for frame in data["frames"]] == [0, 1, 2]
    assert data["hidden"] == [["layer 0", 4], ["layer 1", 3]]
    assert len({frame["scores"] for frame in data["frames"]}) == 3
    # That of the last step, as the parameters are now.
    grid = filming.points_on(film.grid)
    film.record(0.0)
    shown = film._shown(film.frames[-1])
    for byte, point in zip(base64.b64decode(shown["scores"])[::97], grid[::97], strict=True):
        assert abs(byte - (127 + 127 * max(-1, min(1, model(point).data / filming.FULL)))) <= 1


def test_shares_of_active_neurons_are_counted(model):
    film = viz.watch(model, X, Y)
    film.record(0.0)
    active = film._shown(film.frames[0])["active"]
    layer = model.layers[0]
    expected = [sum(neuron(x).data > 0 for x in X) / len(X) for neuron in layer.neurons]
    assert active[0] == expected


def test_accuracy_is_that_of_the_points(model):
    film = viz.watch(model, X, Y)
    film.record(1.0)
    hits = [(model(x).data > 0) == (label > 0) for x, label in zip(X, Y, strict=True)]
    assert film._shown(film.frames[0])["accuracy"] == sum(hits) / 4


def test_values_without_a_model_are_watched_without_a_boundary():
    w = Value(1.0, label="w")
    film = viz.watch([w])
    film.record(2.0)
    data = page_data(film.page().document)
    assert (data["names"], data["grid"], data["hidden"]) == (["w"], None, [])


def test_a_model_that_cannot_be_compiled_is_called():
    w = Value(1.0)

    class Odd(nn.Module):
        def __init__(self):
            self.w = w

        def __call__(self, x):
            return w * float(x[0]) if float(x[0]) > 0 else w * 2

    film = viz.watch(Odd(), X, Y)
    film.record(0.0)
    assert film._shown(film.frames[0])["accuracy"] is not None


def test_losses_that_are_no_numbers_leave_a_gap(model):
    film = viz.watch(model, X, Y)
    for loss in (1.0, math.nan, math.inf):
        film.record(loss)
    assert page_data(film.page().document)["losses"] == [[0, 1.0], [2, "Infinity"]]


@pytest.mark.parametrize(
    ("arguments", "options", "message"),
    [
        (([],), {}, "no parameters to watch"),
        ((nn.MLP(2, [1]), X, [1]), {}, "a label for each of the 4 rows"),
        ((nn.MLP(2, [1]),), {"every": 0}, "every must be at least 1, not 0"),
        ((nn.MLP(2, [1]), [[1.0, 2.0], [1.0]]), {}, "row 1 of X has 1 numbers, but row 0 has 2"),
        ((nn.MLP(2, [1]), [[1.0, math.nan]]), {}, "row 0 of X has a number that is not finite"),
    ],
)
def test_what_cannot_be_watched_is_refused(arguments, options, message):
    with pytest.raises(ValueError, match=message):
        viz.watch(*arguments, **options)


@pytest.mark.parametrize(("X", "options"), [([1.0, 2.0], {}), (3.0, {}), (X, {"every": 1.5})])
def test_what_is_of_another_type_is_refused(X, options):
    with pytest.raises(
        TypeError, match=r"X must be rows of numbers|'float' object cannot be .* as an integer"
    ):
        viz.watch(nn.MLP(2, [1]), X, **options)


def test_a_model_of_several_scores_has_no_boundary(model):
    film = viz.watch(nn.MLP(2, [3]), X, Y)
    film.record(0.0)
    with pytest.raises(ValueError, match="gives 3 scores for a point"):
        film.page()


def test_a_film_without_steps_has_no_page(model):
    film = viz.watch(model)
    with pytest.raises(ValueError, match="nothing is recorded yet"):
        film.page()
    assert list(film._repr_mimebundle_()) == ["text/plain"]


def test_bytes_of_the_page_say_nan_and_cut_off():
    packed = base64.b64decode(filming.packed([-2.0, -1.0, 0.0, 0.5, 1.0, 9.0, math.nan]))
    assert list(packed) == [0, 0, 127, 191, 254, 254, 255]


def test_pictures_are_png_files():
    image = pytest.importorskip("PIL.Image")
    import io

    pixels = bytes([255, 0, 0, 0, 255, 0, 0, 0, 255, 10, 20, 30])
    picture = image.open(io.BytesIO(bitmaps.png_of(2, 2, pixels)))
    assert picture.size == (2, 2)
    assert [picture.getpixel((x, y)) for y in (0, 1) for x in (0, 1)] == [
        (255, 0, 0),
        (0, 255, 0),
        (0, 0, 255),
        (10, 20, 30),
    ]


def test_a_notebook_shows_the_picture_as_it_changes(model, monkeypatch):
    display = pytest.importorskip("IPython.display")
    shown = []

    class Handle:
        def update(self, picture):
            shown.append(picture.data)

    monkeypatch.setattr(pages, "in_ipython_notebook", lambda: True)
    monkeypatch.setattr(
        display, "display", lambda picture, display_id: shown.append(picture.data) or Handle()
    )
    film = viz.watch(model, X, Y, live=True)
    monkeypatch.setattr(filming, "PICTURES_A_SECOND", math.inf)
    train(film, model, 3)
    assert len(shown) == 3
    assert "step 2: loss" in svg_in(shown[-1])
    # The way to the page, where points are added.
    assert f'href="{film.live.url}"' in shown[-1]
    post(film.live.url + "message", b'{"point": [0.5, 2], "label": 1}')
    assert film.added() == [([0.5, 2.0], 1.0)]


def svg_in(html):
    """The picture that an <img> shows."""
    return base64.b64decode(re.search(r"base64,([^\"]+)", html)[1]).decode()


def test_the_server_ends_with_its_film(model, monkeypatch):
    monkeypatch.setattr(serving.webbrowser, "open", lambda url: None)
    film = viz.watch(model, X, Y, live=True)
    address, ended = film.live.url, threading.Event()
    close = film.live.server.server_close
    film.live.server.server_close = lambda: close() or ended.set()
    del film
    gc.collect()
    assert ended.wait(60)
    with pytest.raises(urllib.error.URLError):
        urllib.request.urlopen(address, timeout=120)


@pytest.fixture
def threads():
    """Skip where there are none: in a browser."""
    if sys.platform == "emscripten":
        pytest.skip("there are no threads")


@pytest.mark.usefixtures("threads")
@pytest.mark.parametrize(("notebook", "kind"), [(True, serving.InNotebook), (False, serving.Served)])
def test_a_live_film_is_shown_where_it_is_made(notebook, kind, model, monkeypatch):
    opened = []
    monkeypatch.setattr(pages, "in_ipython_notebook", lambda: notebook)
    monkeypatch.setattr(serving.webbrowser, "open", opened.append)
    film = viz.watch(model, X, Y, live=True)
    assert type(film.live) is kind
    assert opened == ([] if notebook else [film.live.url])


def test_a_picture_without_numbers_is_grey_and_has_no_curve(model):
    grid = ((0.0, 1.0), (0.0, 1.0))
    plane = bitmaps.Plane(grid, 2, [math.nan] * 4, [[0.5, 0.5]], [])
    picture = bitmaps.picture_of(plane, [(0, math.inf)], [], [[math.nan]])
    assert "polyline" not in picture
    encoded, _ = re.findall(r"base64,([^\"]+)", picture)
    assert zlib.decompress(base64.b64decode(encoded)[41:-16])[1:4] == bytes([128, 128, 128])


def test_a_picture_marks_dead_neurons():
    picture = bitmaps.picture_of(None, [], [[0.0, 0.5], [1.0, 0.0]], [[0.5], [-0.5]])
    assert picture.count("&#215;</text>") == 2


def test_a_list_of_one_score_is_a_score():
    w = Value(1.0)

    class Listed(nn.Module):
        def __init__(self):
            self.w = w

        def __call__(self, x):
            return [w * float(x[0])]

    film = viz.watch(Listed(), X, Y)
    film.record(0.0)
    assert film._shown(film.frames[0])["accuracy"] == 1.0


# A page that is sent pictures.


@pytest.fixture
def served(model, threads):
    film = viz.watch(model, X, Y)
    film.live = serving.Served(film, open=False)
    yield film
    film.live.close()


def post(address, content):
    request = urllib.request.Request(address, data=content)
    with urllib.request.urlopen(request, timeout=120) as answer:
        return answer.status


def refused_with(status, send, *arguments, **options):
    with pytest.raises(urllib.error.HTTPError, match=status) as refusal:
        send(*arguments, **options)
    # Otherwise the answer is closed when it is collected, and 3.15 warns of it.
    refusal.value.close()


def test_only_the_secret_address_has_a_page(served):
    root, secret = served.live.url.rstrip("/").rsplit("/", 1)
    assert root.startswith("http://127.0.0.1:")
    assert len(secret) > 20
    with urllib.request.urlopen(served.live.url, timeout=120) as answer:
        assert b"a training run" in answer.read()
    for address in (root + "/", root + "/frames", f"{root}/{secret}x/"):
        refused_with("404", urllib.request.urlopen, address, timeout=120)
    refused_with("404", post, root + "/message", b'{"speed": 3}')


def test_a_page_sends_points_and_its_speed(served):
    post(served.live.url + "message", b'{"point": [0.5, 2], "label": 1}')
    post(served.live.url + "message", b'{"speed": 4}')
    assert served.added() == [([0.5, 2.0], 1.0)]
    assert served.added() == []
    assert served.points[-1] == [0.5, 2.0]
    assert served.live.speed == 4


@pytest.mark.parametrize(
    "content", [b"no", b"{}", b"[]", b'{"point": 3, "label": 1}', b'{"speed": "fast"}', b"3"]
)
def test_other_messages_are_refused(served, content):
    refused_with("400", post, served.live.url + "message", content)
    refused_with("404", post, served.live.url + "message", b" " * 2000)


HAS_PICTURE = """(name) => {
    const canvas = document.getElementById(name);
    const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
    return data.some((byte) => byte > 0);
}"""


def test_pictures_are_sent_while_a_page_is_open(served, model, monkeypatch):
    monkeypatch.setattr(serving, "PATIENCE", 0.0)
    # Nobody is there yet.
    served.live.show(served)
    assert served.live.is_watched()
    with urllib.request.urlopen(served.live.url + "frames", timeout=120) as stream:
        while not served.live.listening:
            pass
        assert served.live.is_watched()
        train(served, model, 1)
        served.live.show(served)
        line = stream.readline()
        while not line.startswith(b"data: "):
            line = stream.readline()
        assert json.loads(line[6:])["step"] == 0
        # A page that reads nothing misses pictures, and does not block the training.
        for _ in range(2 * serving.WAITING):
            served.live.show(served)
        # While nothing happens, the server sends comments, to learn whether the page is still there.
        while not stream.readline().startswith(b":"):
            pass
    while served.live.listening:
        served.live.show(served)
        time.sleep(0.05)
    assert not served.live.is_watched()


# In a browser.


@pytest.mark.processes
@pytest.mark.parametrize("dark", [False, True])
def test_the_slider_goes_through_the_steps(browser, tmp_path, model, dark):
    film = viz.watch(model, X, Y)
    losses = train(film, model, 6)
    page = Opened(browser, film.page().document, tmp_path, dark=dark)
    assert page.sentence.startswith(f"step 5: loss {losses[5]:.4g}")
    page.keyboard.press("Home")
    assert page.sentence.startswith(f"step 0: loss {losses[0]:.4g}")
    page.keyboard.press("ArrowRight")
    assert page.text_content("#where") == "step 1"
    # Something is drawn on each canvas.
    for canvas in ("plane", "loss", "hidden", "sizes"):
        assert page.evaluate(HAS_PICTURE, canvas), canvas
    assert page.complaints == []
    page.close()


@pytest.mark.processes
def test_playing_ends_at_the_last_step(browser, tmp_path, model):
    film = viz.watch(model, X, Y)
    train(film, model, 4)
    page = Opened(browser, film.page().document, tmp_path)
    page.click("#play")
    page.wait_for_function(
        "document.getElementById('where').textContent === 'step 3'"
        " && document.getElementById('play').textContent === '▶'"
    )
    assert page.complaints == []
    page.close()


@pytest.mark.processes
@pytest.mark.parametrize("compiled", [False, True])
def test_the_demo_is_watched_and_trains_on_what_is_clicked(browser, monkeypatch, capsys, compiled):
    demo = pytest.importorskip("fastgrad.commands.demo")
    address = []
    opened = threading.Event()
    monkeypatch.setattr(serving.webbrowser, "open", lambda url: address.append(url) or opened.set())
    monkeypatch.setattr(serving, "PATIENCE", 0.5)
    training = threading.Thread(target=demo.watch_moons, args=(100, 1337, compiled))
    training.start()
    assert opened.wait(60)
    page = browser.new_page()
    complaints = []
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.goto(address[0])
    page.wait_for_function("film.known.length > 5")
    page.check('input[value="high"]')
    page.locator("#plane").click(position={"x": 40, "y": 40})
    assert page.evaluate("film.points.length") == 101
    page.evaluate("document.getElementById('speed').value = 4; document.getElementById('speed').oninput()")
    page.wait_for_function("film.known[film.known.length - 1].step > 100")
    page.click("#pause")
    page.close()
    training.join(60)
    assert not training.is_alive()
    assert complaints == []
    assert "on 101 points: loss" in capsys.readouterr().out


@pytest.fixture
def demo(monkeypatch):
    """The demo's module, with a page that is not opened."""
    module = pytest.importorskip("fastgrad.commands.demo")
    monkeypatch.setattr(serving.webbrowser, "open", lambda url: None)
    return module


def test_the_watched_demo_ends_with_its_result(demo, monkeypatch, capsys):
    def interrupt(served):
        raise KeyboardInterrupt

    monkeypatch.setattr(serving.Served, "is_watched", interrupt)
    demo.watch_moons(10, 1337)
    assert "no step was taken" in capsys.readouterr().out


def test_the_watched_demo_fails_with_its_loss(demo, monkeypatch):
    monkeypatch.setattr(demo, "eager_step", lambda *_: lambda rate: (math.nan, 0.5))
    monkeypatch.setattr(serving.Served, "is_watched", lambda served: served.listening.append(None) or True)
    with pytest.raises(FloatingPointError, match="the loss is nan at step 0"):
        demo.watch_moons(10, 1337)


def test_the_demo_is_watched_from_the_command_line(demo, monkeypatch):
    from fastgrad.__main__ import main

    called = []
    monkeypatch.setattr(demo, "watch_moons", lambda *options: called.append(options))
    main(["demo", "--watch", "--steps", "7", "--compiled"])
    assert called == [(7, 1337, True)]

    def fail(*options):
        raise FloatingPointError("the loss is nan")

    monkeypatch.setattr(demo, "watch_moons", fail)
    with pytest.raises(SystemExit, match="error: the loss is nan"):
        main(["demo", "--watch"])
