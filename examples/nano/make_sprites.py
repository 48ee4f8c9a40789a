"""Rebuilds the sprite sheet: python -m examples.nano.make_sprites NotoColorEmoji.ttf

In:  the colour bitmap font of Noto Color Emoji (bitmaps at 109 pixels per em).
Out: sprites.png, one cell of CELL_PX for every sprite of `facts`, row by row, and sprites.json,
     which says which cell is whose. Only needed when the vocabulary grows.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from apollo.cartoon.draw.sprites import FOLDER
from apollo.cartoon.world.facts import SPRITES
from apollo.errors import SettingError

CELL_PX = 128
CONTENT_PX = 116  # the rest of a cell is room for the outline drawn later
COLUMNS = 8
FONT_SIZE_PX = 109  # the only size the font's bitmaps exist in
PALETTE_COLOURS = 256  # of each sprite, alpha included; keeps the sheet small


def draw_emoji(font: ImageFont.FreeTypeFont, emoji: str) -> Image.Image:
    """One emoji, cropped to what is visible and centred in a cell."""
    canvas = Image.new("RGBA", (2 * CELL_PX, 2 * CELL_PX))
    ImageDraw.Draw(canvas).text((40, 40), emoji, font=font, embedded_color=True)
    box = canvas.getchannel("A").point(lambda alpha: 255 if alpha > 16 else 0).getbbox()
    if box is None:
        raise SettingError(f"The font has no picture for {emoji!r}; give it NotoColorEmoji.ttf.")
    picture = canvas.crop(box)
    scale = CONTENT_PX / max(picture.size)
    size = (max(1, round(picture.width * scale)), max(1, round(picture.height * scale)))
    picture = picture.resize(size, Image.Resampling.LANCZOS)
    picture = picture.quantize(PALETTE_COLOURS, Image.Quantize.FASTOCTREE).convert("RGBA")
    cell = Image.new("RGBA", (CELL_PX, CELL_PX))
    cell.paste(picture, ((CELL_PX - size[0]) // 2, (CELL_PX - size[1]) // 2))
    return cell


def make_sheet(font_path: Path) -> tuple[Image.Image, dict[str, object]]:
    """The sheet and its index for all sprites of the vocabulary."""
    try:
        font = ImageFont.truetype(str(font_path), FONT_SIZE_PX)
    except OSError as error:
        raise SettingError(f"{font_path} is not a usable font: {error}.") from error
    rows = -(-len(SPRITES) // COLUMNS)
    sheet = Image.new("RGBA", (COLUMNS * CELL_PX, rows * CELL_PX))
    for i, thing in enumerate(SPRITES.values()):
        assert thing.emoji is not None
        cell = draw_emoji(font, thing.emoji)
        sheet.paste(cell, ((i % COLUMNS) * CELL_PX, (i // COLUMNS) * CELL_PX))
    return sheet, {"cell_px": CELL_PX, "columns": COLUMNS, "names": list(SPRITES)}


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="Rebuild the cartoon world's sprite sheet.")
    parser.add_argument("font", type=Path, help="path of NotoColorEmoji.ttf")
    parser.add_argument("--out", type=Path, default=FOLDER, help="folder to write into")
    options = parser.parse_args(arguments)
    sheet, index = make_sheet(options.font)
    png = options.out / "sprites.png"
    sheet.save(png, optimize=True)
    (options.out / "sprites.json").write_text(json.dumps(index, indent=1) + "\n")
    sys.stdout.write(f"{png}: {len(SPRITES)} sprites, {png.stat().st_size / 1e6:.2f} MB\n")


if __name__ == "__main__":
    main()
