"""What all tests share."""

from __future__ import annotations

import os

import hypothesis

# Time limits on single examples fail on slow machines and say nothing; CI takes the same examples each time.
hypothesis.settings.register_profile("here", deadline=None)
hypothesis.settings.register_profile("ci", deadline=None, derandomize=True, print_blob=True)
hypothesis.settings.load_profile("ci" if os.environ.get("CI") else "here")
