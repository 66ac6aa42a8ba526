"""A build that lacks something says so before anything is compiled, and writes only into its own folders."""

import contextlib
import importlib
import os
import re
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

pytestmark = pytest.mark.skipif(not (ROOT / "building").is_dir(), reason="the sources are not here")


@contextlib.contextmanager
def imported(name, monkeypatch):
    """Import a module of building/ afresh, and forget it afterwards."""
    monkeypatch.syspath_prepend(str(ROOT / "building"))
    monkeypatch.delitem(sys.modules, name, raising=False)
    yield importlib.import_module(name)
    sys.modules.pop(name, None)


@pytest.fixture
def needs(monkeypatch):
    """building/needs.py."""
    with imported("needs", monkeypatch) as module:
        yield module


def test_a_python_that_is_too_old_is_told_which_is_needed(monkeypatch, tmp_path):
    # Nothing after the sentence is run: there is no setuptools here, nor the files that setup.py imports.
    text = (ROOT / "setup.py").read_text().replace("sys.version_info", "(3, 10, 4)")
    with pytest.raises(
        SystemExit, match=r"^fastgrad needs Python 3\.11 or later, and this is Python 3\.10\.$"
    ):
        exec(text, {"__file__": str(tmp_path / "setup.py"), "__name__": "__main__"})


def test_a_python_that_nobody_has_checked_is_refused(needs, monkeypatch):
    monkeypatch.delenv("FASTGRAD_UNCHECKED_PYTHON", raising=False)
    monkeypatch.setattr(sys, "version_info", (needs.NEWEST[0], needs.NEWEST[1] + 1, 0))
    with pytest.raises(
        SystemExit, match=r"nobody has checked after 3\.15, and this is 3\.16: .*internals\.md"
    ):
        needs.require_known_python()
    monkeypatch.setenv("FASTGRAD_UNCHECKED_PYTHON", "1")
    needs.require_known_python()


def test_another_implementation_of_python_is_refused(needs, monkeypatch):
    monkeypatch.setattr(sys.implementation, "name", "pypy")
    with pytest.raises(SystemExit, match=r"internals of CPython, and this is pypy\.$"):
        needs.require_known_python()


def test_the_newest_python_is_the_last_that_the_metadata_and_the_page_of_internals_name(needs):
    newest = ".".join(map(str, needs.NEWEST))
    classifiers = re.findall(r"Python :: (3\.\d+)", (ROOT / "pyproject.toml").read_text())
    assert classifiers[-1] == newest
    page = (ROOT / "docs" / "decisions" / "internals.md").read_text(encoding="utf-8")
    assert f"hold on CPython {', '.join(classifiers[:-1])} and {newest}" in page


@pytest.mark.skipif(sys.platform == "win32", reason="setuptools looks for the compiler")
@pytest.mark.parametrize("command", ["no-such-compiler", "no-such-compiler -pthread"])
def test_a_missing_compiler_is_named(needs, monkeypatch, command):
    monkeypatch.setenv("CC", command)
    with pytest.raises(SystemExit, match=r"needs a C compiler, and there is no 'no-such-compiler': install"):
        needs.require_compiler()


@pytest.mark.skipif(sys.platform == "win32", reason="setuptools looks for the compiler")
def test_missing_headers_are_named(needs, monkeypatch, tmp_path):
    monkeypatch.setenv("CC", sys.executable)
    monkeypatch.setattr(sysconfig, "get_path", lambda name: str(tmp_path))
    with pytest.raises(SystemExit, match=r"needs the headers of Python, and there is no '.*Python\.h'"):
        needs.require_compiler()


def test_a_folder_is_writable_if_a_file_can_be_made_in_it(needs, tmp_path):
    assert needs.is_writable(tmp_path)
    assert not needs.is_writable(tmp_path / "absent")


@pytest.fixture
def index_page(monkeypatch):
    """building/index_page.py."""
    monkeypatch.delenv("FASTGRAD_URL", raising=False)
    with imported("index_page", monkeypatch) as module:
        yield module


@pytest.mark.parametrize(
    ("text", "there"),
    [
        ("[a](docs/a.md)", "[a](https://host/me/it/blob/v1.2/docs/a.md)"),
        ("[a\nb](docs/a.md#there)", "[a\nb](https://host/me/it/blob/v1.2/docs/a.md#there)"),
        ("![a](docs/a.svg)", "![a](https://host/me/it/raw/v1.2/docs/a.svg)"),
        ("[a](#below)", "[a](#below)"),
        ("[a](https://other/docs/a.md)", "[a](https://other/docs/a.md)"),
        ("f(x)[i](y z)", "f(x)[i](y z)"),
    ],
)
def test_links_to_files_work_on_the_page_of_an_index(index_page, text, there):
    assert index_page.description(text, "https://host/me/it", "1.2") == there
    assert index_page.description(text, None, "1.2") == text


def test_the_links_of_a_version_under_development_are_to_the_newest_commit(index_page):
    described = index_page.description("[a](b)", "https://host/me/it", "1.2.dev0")
    assert described == "[a](https://host/me/it/blob/HEAD/b)"


def test_no_link_of_the_readme_is_relative_on_the_page_of_an_index(index_page):
    readme = index_page.description((ROOT / "README.md").read_text("utf-8"), "https://host/me/it", "1.2")
    targets = re.findall(r"\]\(([^)]+)\)", readme)
    assert targets
    assert [target for target in targets if not target.startswith(("https://", "#"))] == []


def test_an_sdist_keeps_the_address_for_the_wheels_that_are_built_from_it(index_page, monkeypatch, tmp_path):
    assert index_page.repository(tmp_path) is None
    (tmp_path / "PKG-INFO").write_text(
        "Name: fastgrad\nProject-URL: Issues, https://host/me/it/issues\nProject-URL: Source, https://host/me/it\n"
        "\nProject-URL: Source, https://elsewhere\n"
    )
    assert index_page.repository(tmp_path) == "https://host/me/it"
    monkeypatch.setenv("FASTGRAD_URL", "https://host/us/it/")
    assert index_page.repository(tmp_path) == "https://host/us/it"
    assert index_page.project_urls("https://host/us/it")["Issues"] == "https://host/us/it/issues"
    assert index_page.project_urls(None) == {}


def copied(tmp_path):
    """A checkout of a package whose modules are empty."""
    checkout = tmp_path / "checkout"
    for name in ("building", "codegen", "examples", "src"):
        shutil.copytree(
            ROOT / name,
            checkout / name,
            ignore=shutil.ignore_patterns("*.c", "*.so", "generated", "__pycache__"),
        )
    for name in ("LICENSE", "README.md", "pyproject.toml", "setup.py"):
        shutil.copy(ROOT / name, checkout)
    package = checkout / "src" / "fastgrad"
    for name in ("engine.pyi", "ops.pxd"):
        (package / name).unlink(missing_ok=True)
    for module in package.rglob("*.pyx"):
        module.write_text("")
    for declarations in package.rglob("*.pxd"):
        declarations.unlink()
    return checkout


def contents(folder):
    return {path.relative_to(folder): path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}


def setup(checkout, *command, **settings):
    environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1", **settings}
    return subprocess.run(
        [sys.executable, *command], cwd=checkout, env=environment, capture_output=True, text=True
    )


@pytest.mark.distribution
@pytest.mark.skipif(sys.platform == "win32", reason="a compiler that is a script of the shell")
def test_a_build_writes_nothing_beside_the_sources_and_a_wheel_has_what_was_generated(tmp_path):
    pytest.importorskip("Cython")
    pytest.importorskip("setuptools", "77")
    checkout = copied(tmp_path)
    compiler = tmp_path / "cc"
    compiler.write_text('#!/bin/sh\nwhile [ $# -gt 1 ]; do [ "$1" != -o ] || touch "$2"; shift; done\n')
    compiler.chmod(0o755)
    before = contents(checkout / "src")
    finished = setup(
        checkout, "setup.py", "-q", "build", "-b", "built", CC=str(compiler), LDSHARED=str(compiler)
    )
    assert finished.returncode == 0, finished.stderr
    assert contents(checkout / "src") == before
    [library] = (checkout / "built").glob("lib*")
    assert (library / "fastgrad" / "engine.pyi").exists()
    assert (library / "fastgrad" / "examples" / "moons.ipynb").exists()


@pytest.mark.distribution
@pytest.mark.skipif(sys.platform != "linux", reason="mounts a checkout read-only")
def test_a_checkout_that_cannot_be_written_is_built_elsewhere_but_not_in_place(tmp_path):
    pytest.importorskip("Cython")
    pytest.importorskip("setuptools", "77")
    checkout = copied(tmp_path)
    mounted = "mount --bind . . && mount -o remount,ro,bind . && cd . && exec"
    within = ["unshare", "--mount", "sh", "-c", f'cd {checkout} && {mounted} "$@"', "sh"]
    if subprocess.run([*within, "true"], capture_output=True).returncode != 0:
        pytest.skip("nothing can be mounted")

    def built(*command):
        environment = os.environ | {"PYTHONDONTWRITEBYTECODE": "1"}
        return subprocess.run(
            [*within, sys.executable, *command], env=environment, capture_output=True, text=True
        )

    elsewhere = "import sys; sys.argv[1:] = ['--name']; exec(open('setup.py').read())"
    assert built("-c", f"__file__ = 'setup.py'; {elsewhere}").stdout.strip() == "fastgrad"
    refused = built("setup.py", "-q", "build_ext", "--inplace")
    assert refused.returncode != 0
    assert refused.stderr.strip().splitlines()[-1].startswith("fastgrad cannot be built in place")
