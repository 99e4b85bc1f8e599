"""Prints the requirements of the named groups of pyproject.toml, one a line: requirements.py GROUP ...

Groups: `build` (what the native build needs), `base` (what the package needs), and the optional ones by their names.
"""

from __future__ import annotations

import sys
import tomllib
from pathlib import Path


def requirements(groups: list[str]) -> list[str]:
    document = tomllib.loads((Path(__file__).parent.parent / "pyproject.toml").read_text(encoding="utf-8"))
    project = document["project"]
    known = {
        "build": document["build-system"]["requires"],
        "base": project["dependencies"],
        **project["optional-dependencies"],
    }
    found: list[str] = []
    for group in groups:
        for line in known[group]:
            # "ziggurat[test]" inside a group means that other group, not a package to fetch
            inner = line.removeprefix("ziggurat[").removesuffix("]") if line.startswith("ziggurat[") else None
            found += requirements([inner]) if inner else [line]
    return found


if __name__ == "__main__":
    print("\n".join(requirements(sys.argv[1:])))
