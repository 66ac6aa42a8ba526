"""`import fastgrad`: a quick import of little, which has everything."""

import pytest

import fastgrad

PUBLIC = ["data", "export", "functional", "nn", "optim", "saving", "testing", "viz"]


def test_the_modules_are_loaded_at_their_first_use(run_script):
    loaded, listed = run_script("submodules.py").splitlines()
    assert loaded == "loaded"
    assert listed.split()[1:] == PUBLIC


@pytest.mark.parametrize("name", PUBLIC)
def test_a_module_is_found_as_an_attribute(name, monkeypatch):
    monkeypatch.delattr(fastgrad, name, raising=False)
    assert getattr(fastgrad, name).__name__ == f"fastgrad.{name}"


def test_what_is_public_is_listed():
    assert set(dir(fastgrad)) >= {*fastgrad.__all__, *PUBLIC, "__version__"}


def test_any_other_name_is_an_attribute_error_that_names_it():
    with pytest.raises(AttributeError, match="module 'fastgrad' has no attribute 'numpy'"):
        fastgrad.numpy  # noqa: B018
