"""Rewrite sdists and wheels (`normalise.py FILE...`) so that the same contents are the same bytes.

What setuptools puts into them differs between builds in the dates, owners and modes of the files, and in
the date of the compression. Every date becomes SOURCE_DATE_EPOCH, in seconds since 1970.
"""

import gzip
import io
import os
import sys
import tarfile
import time
import zipfile
from pathlib import Path


def mode(executable: bool) -> int:
    """Return what a umask of 022 makes of a file's permissions."""
    return 0o755 if executable else 0o644


def normalised_sdist(data: bytes, epoch: int) -> bytes:
    """Return the .tar.gz with its members sorted, theirs nobody's, their dates the epoch."""
    compressed = io.BytesIO()
    with (
        tarfile.open(fileobj=io.BytesIO(data)) as source,
        gzip.GzipFile(filename="", mode="wb", fileobj=compressed, mtime=epoch) as stream,
        tarfile.open(fileobj=stream, mode="w", format=tarfile.PAX_FORMAT) as target,
    ):
        for member in sorted(source, key=lambda member: member.name):
            content = source.extractfile(member) if member.isfile() else None
            member.mode = mode(member.isdir() or bool(member.mode & 0o100))
            member.uid = member.gid = 0
            member.uname = member.gname = ""
            member.mtime = epoch
            # The fraction of the second is in a header of its own.
            member.pax_headers = {}
            target.addfile(member, content)
    return compressed.getvalue()


def normalised_wheel(data: bytes, epoch: int) -> bytes:
    """Return the .whl with its members in their order, RECORD last as the format asks, and dated alike."""
    packed = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as source, zipfile.ZipFile(packed, "w") as target:
        for member in source.infolist():
            if member.is_dir():
                continue
            plain = zipfile.ZipInfo(member.filename, time.gmtime(epoch)[:6])
            plain.compress_type = zipfile.ZIP_DEFLATED
            plain.create_system = 3
            plain.external_attr = (0o100000 | mode(bool(member.external_attr >> 16 & 0o100))) << 16
            target.writestr(plain, source.read(member))
    return packed.getvalue()


def main() -> None:
    """Rewrite each file in its place."""
    epoch = int(os.environ["SOURCE_DATE_EPOCH"])
    for path in map(Path, sys.argv[1:]):
        rewrite = normalised_wheel if path.suffix == ".whl" else normalised_sdist
        path.write_bytes(rewrite(path.read_bytes(), epoch))


if __name__ == "__main__":
    main()
