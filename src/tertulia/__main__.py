"""`python -m tertulia` is the command `tertulia`."""

from .api.cli import main

if __name__ == "__main__":
    raise SystemExit(main())
