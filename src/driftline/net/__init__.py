"""Requests that go out over HTTP, and checks of the requests that come in."""
