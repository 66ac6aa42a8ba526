"""A directory for sys.path: its module `micrograd` leads to fastgrad."""

__all__: list[str] = []
