"""The commands of `python -m fastgrad`."""

__all__: list[str] = []
