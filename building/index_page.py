"""What PyPI shows of the project: its addresses, and the README with links that work there.

Whoever publishes gives the repository's address in FASTGRAD_URL, as the release workflow does. An sdist keeps
it, for the wheels that are built from it. A build that knows no address gives none.
"""

import os
import re
from email.parser import HeaderParser
from pathlib import Path

# A link or a picture of Markdown whose target is a file of the repository.
RELATIVE = re.compile(r"(!?)(\[[^]]*\])\((?!https?://|#)([^)\s]+)\)")


def repository(root: Path) -> str | None:
    """Return the address of the repository, without a slash at its end, or None if nobody gave it."""
    if address := os.environ.get("FASTGRAD_URL"):
        return address.rstrip("/")
    record = root / "PKG-INFO"
    urls = (
        HeaderParser().parsestr(record.read_text("utf-8")).get_all("Project-URL", [])
        if record.exists()
        else []
    )
    return next((url.removeprefix("Source, ") for url in urls if url.startswith("Source, ")), None)


def project_urls(address: str | None) -> dict[str, str]:
    """Return the links beside the description, by their names."""
    if address is None:
        return {}
    return {
        "Source": address,
        "Documentation": f"{address}/tree/HEAD/docs",
        "Changelog": f"{address}/blob/HEAD/CHANGELOG.md",
        "Issues": f"{address}/issues",
    }


def description(readme: str, address: str | None, version: str) -> str:
    """Return the README with links to the files of this version; one under development is none yet."""
    if address is None:
        return readme
    commit = "HEAD" if "dev" in version else f"v{version}"
    return RELATIVE.sub(
        lambda found: f"{found[1]}{found[2]}({address}/{'raw' if found[1] else 'blob'}/{commit}/{found[3]})",
        readme,
    )
