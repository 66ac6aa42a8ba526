"""Checks of what a build needs: if something is missing, a sentence says so before anything is compiled."""

import os
import shlex
import shutil
import sys
import sysconfig
import tempfile
from pathlib import Path

# The last version of CPython whose internals docs/decisions/internals.md has checked.
NEWEST = (3, 15)


def require_known_python() -> None:
    """Exit unless the tests have passed on this version of CPython, or whoever builds takes the risk."""
    if sys.implementation.name != "cpython":
        sys.exit(f"fastgrad relies on internals of CPython, and this is {sys.implementation.name}.")
    if sys.version_info[:2] > NEWEST and not os.environ.get("FASTGRAD_UNCHECKED_PYTHON"):
        newest, this = (".".join(map(str, version)) for version in (NEWEST, sys.version_info[:2]))
        sys.exit(
            f"fastgrad relies on internals of CPython that nobody has checked after {newest}, and this is "
            f"{this}: see docs/decisions/internals.md; FASTGRAD_UNCHECKED_PYTHON=1 builds all the same."
        )


def require_compiler() -> None:
    """Exit unless there is a C compiler, and Python's headers for it."""
    if sys.platform == "win32":
        from distutils.ccompiler import new_compiler
        from distutils.errors import DistutilsPlatformError

        try:
            new_compiler().initialize()
        except DistutilsPlatformError as error:
            sys.exit(f"fastgrad needs a C compiler: {error}")
    else:
        command = shlex.split(os.environ.get("CC") or sysconfig.get_config_var("CC") or "cc")[0]
        if shutil.which(command) is None:
            sys.exit(
                f"fastgrad needs a C compiler, and there is no {command!r}: install one (Debian and Ubuntu: "
                'apt install gcc; Fedora: dnf install gcc; macOS: xcode-select --install), or set "CC".'
            )
    header = Path(sysconfig.get_path("include"), "Python.h")
    if not header.exists():
        sys.exit(
            f"fastgrad needs the headers of Python, and there is no {str(header)!r}: install them (Debian "
            "and Ubuntu: apt install python3-dev; Fedora: dnf install python3-devel)."
        )


def is_writable(folder: Path) -> bool:
    """Return whether files can be made in a folder, whoever the user is and whatever the permissions say."""
    try:
        tempfile.TemporaryFile(dir=folder).close()
    except OSError:
        return False
    return True
