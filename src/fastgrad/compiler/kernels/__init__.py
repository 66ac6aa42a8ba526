"""The loops over lanes, once for each instruction set of the processors."""

__all__: list[str] = []
