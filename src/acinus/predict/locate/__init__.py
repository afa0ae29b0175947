"""The locate stage: structures are found at coarse resolution, then segmented in boxes."""

from acinus.predict.locate.head import find_head
from acinus.predict.locate.locators import (
    HeadLocator,
    KnownPlaces,
    Locator,
    MaskLocator,
    NetworkLocator,
    boxes_of,
    clipping,
)
from acinus.predict.locate.place import Place, places_in, sized
from acinus.predict.locate.stage import Located, Piece, locate, segment_places

__all__ = [
    "HeadLocator",
    "KnownPlaces",
    "Located",
    "Locator",
    "MaskLocator",
    "NetworkLocator",
    "Piece",
    "Place",
    "boxes_of",
    "clipping",
    "find_head",
    "locate",
    "places_in",
    "segment_places",
    "sized",
]
