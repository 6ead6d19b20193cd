"""Begin of a fresh process for one measurement. Almost empty: workers of several peers import their parent's script."""

from __future__ import annotations

if __name__ == "__main__":
    import sys

    from child import main

    sys.exit(main(sys.argv[1], sys.argv[2]))
