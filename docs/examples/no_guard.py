"""A script without a main guard: with cloudpickle its functions and classes travel by value, and it runs once."""

from __future__ import annotations

import os
from dataclasses import dataclass

from procorch import ProcessGroup


@dataclass
class Point:
    """Of this script, which no worker imports."""

    x: int
    y: int

    def moved(self) -> Point:
        """Give the point to the right of it.

        Returns:
            Point: A new one.
        """
        return Point(self.x + 1, self.y)


print("This line is printed once.")
offset = int(os.environ.get("OFFSET", "100"))

with ProcessGroup(2) as group:
    points = group.map(Point.moved, [Point(1, 2), Point(3, 4)])
    print(points, all(type(point) is Point for point in points))
    print(group.map(lambda point: point.x + offset, points))
