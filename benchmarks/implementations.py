"""The implementations that are compared: their names, versions, and how to do without them."""

import importlib.util
import os
import shutil
import subprocess
import sys
from collections.abc import Collection
from importlib import metadata
from typing import NamedTuple

import pytest


class Implementation(NamedTuple):
    """A row of the comparison; `module` is None for what needs no package."""

    label: str
    module: str | None
    colour: str


IMPLEMENTATIONS = {
    "fastgrad": Implementation("fastgrad", "fastgrad", "#d62728"),
    "operations": Implementation("fastgrad, operation by operation", "fastgrad", "#ff9896"),
    "compiled": Implementation("fastgrad, compiled", "fastgrad", "#8c1515"),
    "threads": Implementation("fastgrad, compiled, two threads", "fastgrad", "#5a0d0d"),
    "micrograd": Implementation("micrograd", "micrograd", "#7f7f7f"),
    "float": Implementation("plain floats, no gradients", None, "#2ca02c"),
    "torch": Implementation("torch, float64, one thread", "torch", "#ff7f0e"),
    "torch-rows": Implementation("torch, a row at a time", "torch", "#ffbb78"),
    "jax": Implementation("jax.jit, float64", "jax", "#9467bd"),
    "xad": Implementation("xad", "xad", "#8c564b"),
    "casadi": Implementation("CasADi", "casadi", "#e377c2"),
    "numpy": Implementation("numpy by hand", "numpy", "#bcbd22"),
    "c": Implementation("hand-written C", None, "#1f77b4"),
    "c-rows": Implementation("hand-written C, a row at a time", None, "#aec7e8"),
}


def missing(name: str) -> str | None:
    """Return why an implementation cannot run here, or None."""
    if name in ("c", "c-rows"):
        return None if sys.platform != "win32" and shutil.which("cc") else "no C compiler called cc"
    module = IMPLEMENTATIONS[name].module
    if module is not None and importlib.util.find_spec(module) is None:
        return f"{module} is not installed"
    return None


def prepare_process(names: Collection[str]) -> None:
    """Have these implementations compute in float64 on one thread."""
    if {"torch", "torch-rows"} & set(names):
        import torch

        torch.set_num_threads(1)
    if "jax" in names:
        os.environ.setdefault(
            "XLA_FLAGS", "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"
        )
        import jax

        jax.config.update("jax_enable_x64", True)
        jax.config.update("jax_platforms", "cpu")


def require(name: str) -> None:
    """Skip the calling test if the implementation cannot run here."""
    reason = missing(name)
    if reason is not None:
        pytest.skip(reason)
    prepare_process([name])


def version(name: str) -> str:
    """Return the version of an installed implementation: of its package, of Python or of cc."""
    if name in ("c", "c-rows"):
        return subprocess.check_output(["cc", "--version"], text=True).splitlines()[0]
    module = IMPLEMENTATIONS[name].module
    if module is None:
        return sys.version.split()[0]
    try:
        return metadata.version(module)
    except metadata.PackageNotFoundError:
        return "source tree"
