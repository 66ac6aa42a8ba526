"""examples/browser in Chromium, on local copies of Pyodide and the wheel.

`ports.sh pyodide` leaves these in `$PORTS/pyodide`; FASTGRAD_PYODIDE names that folder.
"""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "examples" / "browser"
PROGRAMS = sorted(path.stem for path in (PAGE / "programs").glob("*.py"))
SHOWN = "#output .shown:last-child"
# Python is loaded in 2 s, and a machine may be busy.
PATIENCE = 120_000

pytestmark = [pytest.mark.processes, pytest.mark.distribution]


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    """The address of the page with the local copies beside it, served as by `python -m http.server`."""
    copies = os.environ.get("FASTGRAD_PYODIDE")
    if not copies:
        pytest.skip("FASTGRAD_PYODIDE does not name the folder that ports.sh pyodide makes")
    served = tmp_path_factory.mktemp("served") / "browser"
    shutil.copytree(PAGE, served, ignore=shutil.ignore_patterns("local"))
    (served / "local").mkdir()
    (served / "local" / "pyodide").symlink_to(Path(copies, "node_modules", "pyodide"))
    for pattern in ("fastgrad-*.whl", "micrograd-*.whl"):
        [wheel] = Path(copies, "wheels").glob(pattern)
        shutil.copy(wheel, served / "local")
    server = subprocess.Popen(
        [sys.executable, "-u", "-m", "http.server", "0", "--bind", "127.0.0.1", "--directory", served],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    port = re.search(r"port (\d+)", server.stdout.readline())[1]
    yield f"http://127.0.0.1:{port}/?local"
    server.terminate()
    server.wait()
    server.stdout.close()


class Opened:
    """The page, its Python loaded."""

    def __init__(self, browser, address, **options):
        self.complaints = []
        self.page = browser.new_page(viewport={"width": 1200, "height": 800}, **options)
        self.page.set_default_timeout(PATIENCE)
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("console", lambda message: self.complaints.append(message.text))
        self.page.on("request", self.note_request)
        self.page.goto(address)
        self.wait_for("ready")

    def note_request(self, request):
        """Nothing is fetched from elsewhere."""
        if not re.match(r"http://127\.0\.0\.1:|data:|about:|blob:", request.url):
            self.complaints.append(f"a request for {request.url}")

    def wait_for(self, state):
        self.page.wait_for_selector(f"html[data-state={state}]")

    def run(self, program):
        """Run a program to its end, and return the text of the output."""
        self.page.fill("#editor", program)
        self.page.keyboard.press("Control+Enter")
        self.wait_for("ready")
        return self.text()

    def text(self):
        return self.page.inner_text("#output").rstrip("\n")

    def choose(self, program):
        self.page.select_option("#program", program)
        self.page.wait_for_function("text => editor.value === text", arg=source_of(program))


def source_of(program):
    return (PAGE / "programs" / f"{program}.py").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def shared(browser, address):
    opened = Opened(browser, address)
    yield opened
    opened.page.close()


@pytest.fixture
def page(shared):
    yield shared
    assert shared.complaints == []


def test_every_program_can_be_chosen(page):
    values = page.page.eval_on_selector_all("#program option", "options => options.map(o => o.value)")
    assert sorted(values) == PROGRAMS


def test_what_is_printed_is_seen(page):
    assert page.run("from fastgrad import Value\na = Value(3.0)\n(a * a).backward()\nprint(a.grad)") == "6.0"


def test_a_line_is_seen_before_the_program_ends(page):
    page.page.fill("#editor", "print('early')\nwhile True: pass")
    page.page.click("#run")
    page.page.wait_for_selector("#output >> text=early")
    page.page.click("#stop")
    page.wait_for("ready")


def test_an_expression_at_the_end_is_shown_as_its_page(page):
    page.run(source_of("expression"))
    graph = page.page.frame_locator(f"{SHOWN} iframe")
    graph.locator("svg .box").first.wait_for()
    assert graph.locator("svg .box .title").all_text_contents()[-1] == "L"


@pytest.mark.parametrize(
    ("program", "text"),
    [("1 + 2", "3"), ("[1,\n 2]", "[1, 2]"), ("1;", ""), ("None", ""), ("x = 1", ""), ("'text'", "'text'")],
)
def test_another_value_at_the_end_is_shown_as_its_repr(page, program, text):
    assert page.run(program) == text


def test_an_error_is_what_python_shows(page, tmp_path):
    program = 'def f(x):\n    return 1 / x\n\nprint("before")\nf(0)\n'
    (tmp_path / "program.py").write_text(program)
    plain = subprocess.run(
        [sys.executable, "program.py"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    shown = page.run(program)
    # Where in a line it happened is marked by each version in its own way.
    lines = [line for line in shown.splitlines() if not set(line) <= {" ", "~", "^"}]
    errors = [line for line in plain.stderr.splitlines() if not set(line) <= {" ", "~", "^"}]
    assert lines == ["before", *[re.sub(r'".*(program\.py)"', r'"\1"', line) for line in errors]]


def test_a_wrong_line_is_named(page):
    shown = page.run("a = 1\nb = = 2\n")
    assert shown.startswith('  File "program.py", line 2\n    b = = 2\n')
    assert shown.endswith("SyntaxError: invalid syntax")


def test_an_exit_is_no_error(page):
    assert page.run("print('a')\nraise SystemExit") == "a"


def test_nothing_is_left_of_the_program_before(page):
    page.run("left = 1")
    assert page.run("print('left' in globals(), __name__)") == "False __main__"


def test_a_loop_without_an_end_is_stopped_and_python_is_there_again(page):
    page.page.fill("#editor", "while True:\n    pass")
    page.page.keyboard.press("Control+Enter")
    page.wait_for("running")
    page.page.keyboard.press("Escape")
    page.wait_for("ready")
    assert "Stopped" in page.text()
    assert page.run("print('again')") == "again"


def test_a_flood_of_output_is_cut(page):
    shown = page.run("for k in range(300_000):\n    print('line', k)")
    assert shown.endswith("No more is shown.")
    assert len(shown) < 1_100_000


def test_the_moons_are_watched_while_they_are_learnt(page):
    page.choose("moons")
    page.page.click("#run")
    picture = page.page.locator("#output .shown svg")
    picture.wait_for()
    first = picture.inner_html()
    page.page.wait_for_function(
        "before => document.querySelector('#output .shown svg').innerHTML !== before", arg=first
    )
    page.wait_for("ready")
    film = page.page.frame_locator(f"{SHOWN} iframe")
    film.locator("#sentence", has_text="accuracy 100%").wait_for()


def test_a_neurons_loss_falls(page):
    page.choose("neuron")
    page.page.click("#run")
    page.page.frame_locator(f"{SHOWN} iframe").locator("svg .box").first.wait_for()
    losses = [float(line.split()[-1]) for line in page.text().splitlines() if line.startswith("step")]
    assert len(losses) == 10
    assert losses[-1] < 0.1 * losses[0]


def test_micrograd_takes_the_same_step_more_slowly(page):
    page.choose("speed")
    page.page.click("#run")
    page.wait_for("ready")
    times, losses = zip(*re.findall(r"([\d.]+) ms a step, loss ([\d.]+)", page.text()), strict=True)
    assert len(set(losses)) == 1
    assert float(times[0]) < 0.1 * float(times[2])


def test_the_editor_indents_by_keys_and_lets_go_of_the_keyboard(page):
    keyboard = page.page.keyboard
    page.page.fill("#editor", "")
    keyboard.type("if True:\nprint(1)\n")
    keyboard.press("Tab")
    assert page.page.input_value("#editor") == "if True:\n    print(1)\n        "
    keyboard.press("Escape")
    keyboard.press("Tab")
    assert page.page.evaluate("document.activeElement.id") == "output"


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_page_is_light_or_dark_as_the_system_is(browser, address, scheme):
    page = browser.new_page(color_scheme=scheme)
    page.goto(address)
    ground = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (ground == "rgb(255, 255, 255)") == (scheme == "light")
    page.close()


def test_python_that_cannot_be_loaded_is_said(browser, address):
    page = browser.new_page()
    page.route("**/pyodide.mjs", lambda route: route.abort())
    page.goto(address)
    page.wait_for_selector("html[data-state=failed]")
    assert "pyodide.mjs" in page.inner_text("#output")
    page.close()
