"""`make demo-picture`: what the demo prints of the observed agent, as an SVG for the README.

All text in it is escaped, and holds no path.
"""

from __future__ import annotations

import io
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

from rich.console import Console
from rich.terminal_theme import TerminalTheme
from rich.text import Text

HERE = Path(__file__).resolve().parent
PICTURE = HERE.parent / "demo.svg"
COLUMNS = 118

# Rich's own frame asks a content network for its font; this one is drawn with what the reader has.
FRAME = """<svg class="rich-terminal" viewBox="0 0 {width} {height}" xmlns="http://www.w3.org/2000/svg">
<style>
.{unique_id}-matrix {{ font-family: ui-monospace, Menlo, Consolas, "DejaVu Sans Mono", monospace;
  font-size: {char_height}px; line-height: {line_height}px; font-variant-east-asian: full-width; }}
{styles}
</style>
<defs>{lines}</defs>
<rect fill="#16181d" width="{width}" height="{height}" rx="8"/>
<g transform="translate({terminal_x}, {terminal_y})">
{backgrounds}
<g class="{unique_id}-matrix">
{matrix}
</g>
</g>
</svg>
"""
THEME = TerminalTheme(
    (22, 24, 29),
    (214, 217, 224),
    [(22, 24, 29), (240, 104, 104), (126, 200, 120), (229, 192, 96), (97, 160, 240), (200, 130, 220), (90, 190, 200),
     (214, 217, 224)],
)  # fmt: skip


def main() -> int:
    """Runs the demo and writes the picture."""
    with tempfile.TemporaryDirectory() as folder:
        environment = {**os.environ, "DEMO_FOLDER": folder, "FORCE_COLOR": "1", "COLUMNS": str(COLUMNS)}
        command = [sys.executable, HERE / "run.py"]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)  # noqa: S603 -- our own
    if done.returncode:
        print(done.stderr, file=sys.stderr)
        return 1
    console = Console(record=True, width=COLUMNS, file=io.StringIO())
    shown, _, _ = done.stdout.strip().partition("\n\n$ cylestio policy learn")
    console.print(Text.from_ansi(shown), soft_wrap=True)
    svg = console.export_svg(theme=THEME, code_format=FRAME, unique_id="demo", font_aspect_ratio=0.6)
    PICTURE.write_text(re.sub(r"[ \t]+$", "", svg, flags=re.MULTILINE), "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
