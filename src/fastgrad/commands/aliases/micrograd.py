"""fastgrad under micrograd's name, in the processes that a program starts."""

from fastgrad.commands.run import install_alias

__all__: list[str] = []

if __name__ == "micrograd":
    install_alias()  # no cover: in processes that a program starts, whose counts are lost with them
