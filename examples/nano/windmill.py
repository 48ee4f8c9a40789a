"""The picture of a windmill: a thing that no seed shows, for the trial of teaching it to nano."""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageDraw

PICTURE_PX, DRAWN_PX = 64, 256
WINDMILL = "windmill"


def windmill_picture() -> np.ndarray:
    """A brown tower with a teal cap and four pale sails, (PICTURE_PX, PICTURE_PX, 4) uint8."""
    image = Image.new("RGBA", (DRAWN_PX, DRAWN_PX))
    draw = ImageDraw.Draw(image)
    draw.polygon([(104, 112), (152, 112), (178, 246), (78, 246)], fill=(150, 92, 58, 255))
    draw.polygon([(92, 118), (128, 62), (164, 118)], fill=(22, 128, 128, 255))
    draw.rectangle((112, 196, 144, 246), fill=(70, 40, 26, 255))
    hub = np.array([128.0, 104.0])
    for quarter in range(4):
        angle = np.deg2rad(45 + 90 * quarter)
        along = np.array([np.cos(angle), np.sin(angle)])
        across = np.array([-along[1], along[0]])
        corners = [(14, -4), (112, -4), (112, 26), (30, 26)]
        sail = [tuple(hub + a * along + b * across) for a, b in corners]
        draw.polygon(sail, fill=(240, 226, 178, 255))
        draw.line([tuple(hub), tuple(hub + 114 * along)], fill=(80, 50, 32, 255), width=9)
    draw.ellipse((116, 92, 140, 116), fill=(80, 50, 32, 255))
    return np.asarray(image.resize((PICTURE_PX, PICTURE_PX), Image.Resampling.LANCZOS))
