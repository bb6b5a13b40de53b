"""``python -m driftline``."""

from driftline.cli.main import run

if __name__ == "__main__":
    run()
