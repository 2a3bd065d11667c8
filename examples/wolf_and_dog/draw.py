"""Chart of accuracy by lag: docs/wolf-and-dog.svg from accuracy.json.

python -m examples.wolf_and_dog.draw
"""

from __future__ import annotations

import json
import math
from pathlib import Path

from examples.wolf_and_dog.train import HERE

WIDTH, HEIGHT, LEFT, TOP, RIGHT, BOTTOM = 640, 340, 70, 40, 110, 60
LINES = {"lstm": ("LSTM", "#2867c9"), "rnn": ("basic RNN", "#c43a1c")}
GREY = "#7a828a"
TARGET = Path(__file__).parents[2] / "docs" / "wolf-and-dog.svg"


def main() -> None:
    """Write the chart."""
    accuracies = json.loads((HERE / "accuracy.json").read_text())
    lags = accuracies["lags"]

    def x(lag: float) -> float:
        return LEFT + (WIDTH - LEFT - RIGHT) * math.log(lag) / math.log(lags[-1])

    def y(share: float) -> float:
        return TOP + (HEIGHT - TOP - BOTTOM) * (1.0 - share)

    def text(left: float, top: float, content: str, anchor: str = "middle", color: str = GREY) -> str:
        return f'<text x="{left:.1f}" y="{top:.1f}" text-anchor="{anchor}" fill="{color}">{content}</text>'

    marks = [text(x(lag), HEIGHT - BOTTOM + 20, f"{lag:,}") for lag in lags]
    marks.append(text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 14, "events between the cue and the picture"))
    marks.append(text(LEFT - 54, TOP - 18, "right answers", "start"))
    for share in (0.0, 0.25, 0.5, 0.75, 1.0):
        marks.append(text(LEFT - 10, y(share) + 4, f"{share:.0%}", "end"))
        dash = ' stroke-dasharray="4 4"' if share == 0.5 else ""
        marks.append(
            f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y(share):.1f}" y2="{y(share):.1f}" '
            f'stroke="{GREY}" stroke-opacity="0.4"{dash}/>'
        )
    for name, (title, color) in LINES.items():
        points = [(x(lag), y(share)) for lag, share in zip(lags, accuracies[name], strict=True)]
        joined = " ".join(f"{a:.1f},{b:.1f}" for a, b in points)
        marks.append(f'<polyline points="{joined}" fill="none" stroke="{color}" stroke-width="2.5"/>')
        marks += [f'<circle cx="{a:.1f}" cy="{b:.1f}" r="3.5" fill="{color}"/>' for a, b in points]
        marks.append(text(WIDTH - RIGHT + 12, points[-1][1] + 4, title, "start", color))
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" '
        'font-family="system-ui, sans-serif" font-size="12" role="img" '
        'aria-label="Right answers by lag: the LSTM at 100 %, the basic RNN near 50 %">'
    )
    TARGET.write_text("\n".join([head, *marks, "</svg>"]) + "\n", "utf-8")


if __name__ == "__main__":
    main()
