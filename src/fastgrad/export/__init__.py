"""Models go to PyTorch and ONNX, and come back from PyTorch; compiled functions go to C."""

from fastgrad.export.c_source import to_c
from fastgrad.export.models import from_torch, to_onnx, to_torch

__all__ = ["from_torch", "to_c", "to_onnx", "to_torch"]
