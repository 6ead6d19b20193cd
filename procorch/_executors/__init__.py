"""A group's other faces, see `_facades`: an executor and a pool."""
