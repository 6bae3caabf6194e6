"""Line plots as SVG: axes, grid, lines with their names. In: points. Out: text of a file.

Small enough to read, and good for what the report shows: a few lines over a linear or logarithmic axis.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import TypeAlias

Points: TypeAlias = Sequence[tuple[float, float]]

WIDTH, HEIGHT = 760, 440
LEFT, RIGHT, TOP, BOTTOM = 72, 180, 40, 52  # margins; the names of the lines are on the right
COLORS = ("#c0392b", "#2471a3", "#1e8449", "#b9770e", "#7d3c98", "#117a65", "#5d6d7e", "#a04000", "#212f3d", "#76448a")
TICKS = 6  # of a linear axis, about
STYLE = "text{font:12px sans-serif;fill:#333}.grid{stroke:#ddd}.title{font-size:15px}path{fill:none;stroke-width:2}"


@dataclass(frozen=True)
class Axis:
    """From the smallest to the largest value; `label` says what they are."""

    label: str
    logarithmic: bool = False
    #: How a value is written at its tick.
    text: Callable[[float], str] = lambda value: f"{value:,.10g}"


def plot(title: str, lines: Mapping[str, Points], x: Axis, y: Axis) -> str:
    """A whole SVG. Values that a logarithmic axis cannot show are left out."""
    shown = {name: [point for point in points if _can_show(point, x, y)] for name, points in lines.items()}
    xs = [at for points in shown.values() for at, _ in points] or [1.0]
    ys = [at for points in shown.values() for _, at in points] or [1.0]
    across = _Scale(x, xs, LEFT, WIDTH - RIGHT)
    up = _Scale(y, ys, HEIGHT - BOTTOM, TOP)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" height="{HEIGHT}">',
        f'<style>{STYLE}</style><rect width="100%" height="100%" fill="#fff"/>',
        f'<text class="title" x="{LEFT}" y="{TOP - 16}">{escape(title)}</text>',
        *_grid(across, up),
        *(part for n, (name, points) in enumerate(shown.items()) for part in _line(n, name, points, across, up)),
        "</svg>\n",
    ]
    return "\n".join(parts)


def _can_show(point: tuple[float, float], x: Axis, y: Axis) -> bool:
    return (point[0] > 0 or not x.logarithmic) and (point[1] > 0 or not y.logarithmic)


class _Scale:
    """From values to pixels along one axis."""

    def __init__(self, axis: Axis, values: Sequence[float], begin: float, end: float) -> None:
        self.axis = axis
        self.begin, self.end = begin, end
        if axis.logarithmic:
            self.ticks = _decades(min(values), max(values))
        else:
            self.ticks = _steps(min(0.0, *values), max(values))
        self._low, self._high = self._measure(self.ticks[0]), self._measure(self.ticks[-1])

    def at(self, value: float) -> float:
        share = (self._measure(value) - self._low) / ((self._high - self._low) or 1)
        return round(self.begin + share * (self.end - self.begin), 1)

    def _measure(self, value: float) -> float:
        return math.log10(value) if self.axis.logarithmic else value


def _decades(low: float, high: float) -> list[float]:
    first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
    return [10.0**exponent for exponent in range(first, max(last, first + 1) + 1)]


def _steps(low: float, high: float) -> list[float]:
    """Round numbers around the values: steps of 1, 2 or 5 times a power of ten."""
    rough = ((high - low) or 1) / TICKS
    power = 10 ** math.floor(math.log10(rough))
    step = next(power * factor for factor in (1, 2, 5, 10) if power * factor >= rough)
    first, last = math.floor(low / step), math.ceil(high / step)
    return [round(number * step, 10) for number in range(first, max(last, first + 1) + 1)]


def _grid(across: _Scale, up: _Scale) -> Iterator[str]:
    for value in across.ticks:
        at, text = across.at(value), escape(across.axis.text(value))
        yield f'<line class="grid" x1="{at}" x2="{at}" y1="{up.begin}" y2="{up.end}"/>'
        yield f'<text x="{at}" y="{up.begin + 18}" text-anchor="middle">{text}</text>'
    for value in up.ticks:
        at, text = up.at(value), escape(up.axis.text(value))
        yield f'<line class="grid" x1="{across.begin}" x2="{across.end}" y1="{at}" y2="{at}"/>'
        yield f'<text x="{across.begin - 8}" y="{at + 4}" text-anchor="end">{text}</text>'
    middle = (across.begin + across.end) / 2
    yield f'<text x="{middle}" y="{HEIGHT - 12}" text-anchor="middle">{escape(across.axis.label)}</text>'
    centre = (up.begin + up.end) / 2
    label = escape(up.axis.label)
    yield f'<text transform="translate(16 {centre}) rotate(-90)" text-anchor="middle">{label}</text>'


def _line(number: int, name: str, points: Points, across: _Scale, up: _Scale) -> Iterator[str]:
    color = COLORS[number % len(COLORS)]
    pixels = [(across.at(x), up.at(y)) for x, y in points]
    if pixels:
        steps = " ".join(f"{'L' if index else 'M'}{x} {y}" for index, (x, y) in enumerate(pixels))
        yield f'<path d="{steps}" stroke="{color}"/>'
        if len(pixels) <= 2 * TICKS:  # a curve that was measured at some points, rather than a distribution
            yield from (f'<circle cx="{x}" cy="{y}" r="3" fill="{color}"/>' for x, y in pixels)
    at = TOP + 18 * number
    yield f'<rect x="{WIDTH - RIGHT + 12}" y="{at}" width="12" height="3" fill="{color}"/>'
    yield f'<text x="{WIDTH - RIGHT + 30}" y="{at + 6}">{escape(name)}</text>'
