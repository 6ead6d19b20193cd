"""SHA-256 of every file below a folder: a lazy stream, in whatever order; what cannot be read is a value like others.

What it can do:
    python digest_tree.py                            of the standard library, tests left out: a summary
    python digest_tree.py --list FOLDER              as sha256sum prints it, for sha256sum -c
    python digest_tree.py --progress FOLDER          with a bar on standard error (extra "progress")
"""

from __future__ import annotations

import argparse
import hashlib
import os
import sysconfig
from collections.abc import Iterator
from pathlib import Path

from procorch import ProcessGroup


def digest(path: Path) -> tuple[Path, int, str]:
    """Read a file.

    Args:
        path (Path): Where it is.

    Returns:
        tuple[Path, int, str]: The same, how many bytes there are, and their digest in hexadecimal.
    """
    with path.open("rb") as file:
        text = hashlib.file_digest(file, "sha256").hexdigest()
        return path, file.tell(), text


def files(folder: Path, skip: list[str]) -> Iterator[Path]:
    """Walk a tree; `imap` asks for the next file only when there is room for it.

    Args:
        folder (Path): Its root.
        skip (list[str]): Names of folders to leave out.

    Yields:
        Path: Each file.
    """
    for root, folders, names in os.walk(folder):
        folders[:] = set(folders) - set(skip)
        yield from (path for path in map(Path(root).joinpath, names) if path.is_file())


def main() -> None:
    """Digest a tree."""
    parser = argparse.ArgumentParser(description="SHA-256 of every file below a folder.")
    parser.add_argument("folder", nargs="?", type=Path, default=Path(sysconfig.get_path("stdlib")))
    parser.add_argument("--skip", nargs="*", default=["site-packages", "test"], help="names of folders to leave out")
    parser.add_argument("--list", action="store_true", help="print each digest")
    parser.add_argument("--progress", action="store_true", help="show a bar on standard error")
    options = parser.parse_args()

    found: dict[Path, str] = {}
    size = 0
    unreadable: list[BaseException] = []
    with ProcessGroup() as group:
        paths = files(options.folder, options.skip)
        stream = group.imap(digest, paths, ordered=False, return_exceptions=True, progress=options.progress)
        for result in stream:
            if isinstance(result, BaseException):
                unreadable.append(result)
                continue
            path, length, text = result
            found[path] = text
            size += length
            if options.list:
                print(f"{text}  {path}")

    for error in unreadable:
        print(f"not read: {error}", *error.__notes__)  # a note names the item
    if not options.list:
        whole = hashlib.sha256("".join(found[path] for path in sorted(found)).encode()).hexdigest()
        print(f"{len(found)} files, {size / 1e6:.1f} MB, {len(unreadable)} that could not be read")
        print(f"all their digests, in the order of their paths, have the digest {whole}")


if __name__ == "__main__":
    main()
