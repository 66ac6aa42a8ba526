"""A directory for sys.path: what is imported from it goes by another name and is fastgrad."""

__all__: list[str] = []
