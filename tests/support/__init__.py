"""Helpers that several test files share; `from support.x import y` finds them."""
