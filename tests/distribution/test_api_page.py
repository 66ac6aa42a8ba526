"""docs/api.md says what the docstrings say."""

import importlib.util
import inspect
from pathlib import Path

import pytest

from fastgrad.operations import TABLE

DOCS = Path(__file__).resolve().parents[2] / "docs"


@pytest.fixture(scope="module")
def generator():
    spec = importlib.util.spec_from_file_location("generate_api", DOCS / "generate_api.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_page_is_up_to_date(generator):
    page = (DOCS / "api.md").read_text(encoding="utf-8")
    assert page == generator.generate(), "run: python docs/generate_api.py"


def test_everything_listed_has_a_docstring(generator):
    for name in generator.MODULES:
        module = importlib.import_module(name)
        for public in generator.public_names(module):
            assert inspect.getdoc(getattr(module, public)), f"{name}.{public}"


@pytest.mark.parametrize(
    "name",
    [
        "TracingError",
        "GradcheckError",
        "TooManyNodesError",
        "Finding",
        "apply",
        "zero_grad",
        "clip_grad_norm_",
    ],
)
def test_what_programs_catch_call_and_get_is_listed(generator, name):
    assert f"\n### {name}\n" in generator.generate()


def test_what_programs_do_not_make_themselves_has_no_parameters(generator):
    assert "\n`class Compiled`\n" in generator.generate()


@pytest.mark.parametrize("name", ["data", "grad", "_prev", "_children", "_op", "_backward"])
def test_micrograds_attributes_are_listed_with_what_they_are(generator, name):
    (line,) = [line for line in generator.generate().splitlines() if line.startswith(f"- `{name}`: ")]
    assert line.endswith(".")
    assert "None" not in line


def test_every_operation_of_the_table_is_listed(generator):
    page = generator.generate()
    assert [operation.name for operation in TABLE if operation.doc not in page] == []
