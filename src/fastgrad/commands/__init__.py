"""What `python -m fastgrad` runs."""

__all__: list[str] = []
