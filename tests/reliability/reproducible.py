"""Build the checkout twice, as differently as one machine can, and compare the archives byte by byte.

The sdist of each build is normalised and its wheel built from it, as a release does.
"""

import hashlib
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
EPOCH = "1700000000"


def build(checkout: Path, hash_seed: str, umask: int) -> dict[str, str]:
    """Return the digests of a copy's sdist and wheel."""
    dist = checkout.parent / "dist"

    def run(*command: object) -> None:
        subprocess.run(
            list(map(str, command)),
            cwd=checkout,
            env=os.environ | {"PYTHONHASHSEED": hash_seed, "SOURCE_DATE_EPOCH": EPOCH},
            umask=umask,
            check=True,
            stdout=subprocess.DEVNULL,
        )

    listed = subprocess.check_output(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"], cwd=ROOT
    )
    for name in filter(None, listed.decode().split("\0")):
        if (ROOT / name).exists():
            (checkout / name).parent.mkdir(parents=True, exist_ok=True)
            (checkout / name).write_bytes((ROOT / name).read_bytes())
    run(sys.executable, "-m", "build", "--sdist", "--outdir", dist, ".")
    [sdist] = dist.glob("*.tar.gz")
    run(sys.executable, ROOT / ".ci" / "normalise.py", sdist)
    run(sys.executable, "-m", "pip", "wheel", "--no-deps", "--wheel-dir", dist, sdist)
    [wheel] = dist.glob("*.whl")
    run(sys.executable, ROOT / ".ci" / "normalise.py", wheel)
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in (sdist, wheel)}


def main() -> int:
    """Print the digests; return whether they differ."""
    with tempfile.TemporaryDirectory() as work:
        first = build(Path(work) / "one" / "here", hash_seed="1", umask=0o022)
        # Dates in a zip file are even seconds.
        time.sleep(3)
        second = build(Path(work) / "another" / "longer" / "way", hash_seed="2", umask=0o077)
    for name, digest in first.items():
        print(name, digest, "the same twice" if second[name] == digest else f"but then {second[name]}")
    return first != second


if __name__ == "__main__":
    sys.exit(main())
