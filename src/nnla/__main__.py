"""``python -m nnla`` is the command ``nnla``."""

from nnla.cli import main

if __name__ == "__main__":
    main()
