"""`python -m ziggurat`."""

from __future__ import annotations

from ziggurat.cli import main

if __name__ == "__main__":
    main()
