# fastgrad.compiler.replay reads the address of a module's kernels.

from cpython.bytearray cimport PyByteArray_AS_STRING
from libc.stdint cimport uintptr_t
from libc.string cimport memset


__all__ = ["address", "evaluate"]

cdef Kernels kernels
kernels.forward = run_forward
kernels.backward = run_backward


def address():
    """Return the address of this module's Kernels."""
    return <uintptr_t>&kernels


def evaluate(str name, bytes x not None):
    """Return exp, log or tanh of doubles in bytes, as bytes; the tests use it."""
    cdef dict rows = {"exp": ROW_EXP, "log": ROW_LOG, "tanh": ROW_TANH}
    cdef Py_ssize_t count = len(x) // <Py_ssize_t>sizeof(double)
    cdef Py_ssize_t stride = whole(count)
    cdef bytearray registers
    cdef Instruction instruction
    cdef Block block
    if name not in rows:
        raise ValueError(f"there is no vector formulation of {name!r}")
    registers = bytearray(x.ljust(2 * stride * <Py_ssize_t>sizeof(double), b"\0"))
    memset(&instruction, 0, sizeof(Instruction))
    memset(&block, 0, sizeof(Block))
    instruction.opcode, instruction.out = <int>rows[name] << 2, 1
    block.registers, block.stride, block.lanes = <double *>PyByteArray_AS_STRING(registers), stride, count
    run_forward(&instruction, 1, &block)
    return bytes(registers[stride * sizeof(double):(stride + count) * sizeof(double)])
