"""Newer versions: where they are announced, whether they are ours, and how one takes the place of this one.

- `build`: what a release says of itself: the address it asks and the keys it trusts.
- `manifest`: what is announced, signed. `fetch`: bytes from a server, within limits.
- `install`: how this program came here, and who replaces it. `replace`: a single file, by itself.
"""
