"""How a long call keeps what it has done in a file, and goes on from there. Loaded only by calls that do."""
