"""The same program gives the same bits: run again, in another process, with other hashes and addresses."""

import pytest

from fastgrad.compiler.replay import available_kernels

pytest.importorskip("numpy")


@pytest.fixture(scope="module")
def digests():
    """The bits of the first process, with which the others are compared."""
    return {}


@pytest.mark.parametrize(
    ("seed", "shift", "threads"), [("0", 0, 1), ("0", 3, 1), ("4242", 1001, 2), ("random", 70, 3)]
)
def test_other_processes_have_the_same_bits(run_script, digests, seed, shift, threads):
    """micrograd adds gradients in the order of its sets, which is that of addresses."""
    printed = run_script("bits.py", shift, threads, environment={"PYTHONHASHSEED": seed})
    assert len(printed.splitlines()) == 9
    assert printed == digests.setdefault("first", printed)


@pytest.mark.parametrize("kernels", available_kernels()[:-1])
def test_kernels_that_are_asked_for_keep_their_bits(run_script, kernels):
    first, second = (
        run_script("bits.py", shift, 1, environment={"FASTGRAD_KERNELS": kernels}) for shift in (0, 333)
    )
    assert first == second
