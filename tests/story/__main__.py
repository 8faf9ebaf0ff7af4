"""`python -m tests.story`: draws `docs/pictures/story.svg` anew, after the story or what is quoted of it has changed."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # as pytest does: `story`, `crash`

from story.picture import PICTURE, draw

if __name__ == "__main__":
    PICTURE.parent.mkdir(parents=True, exist_ok=True)
    PICTURE.write_text(draw(), encoding="utf-8")
