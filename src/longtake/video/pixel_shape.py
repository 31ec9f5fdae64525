"""Sizes of frames whose pixels are not square."""

from fractions import Fraction

SQUARE = Fraction(1, 50)  # of a pixel's width: resizing often leaves such as 1280:1281 behind
LONGEST = 4  # times as wide as high, or as high as wide; files with more are broken


def square_size(height: int, width: int, pixel_aspect: Fraction | None) -> tuple[int, int]:
    """Height and width that a frame has with square pixels: it is made wider or higher.

    Args:
        height: height in pixels.
        width: width in pixels.
        pixel_aspect: width of a pixel divided by its height; None if the file does not say it. The
            size stays if it is within 2 % of 1, under 1/4 or over 4.
    """
    aspect = pixel_aspect or Fraction(1)
    if not Fraction(1, LONGEST) <= aspect <= LONGEST or abs(aspect - 1) <= SQUARE:
        return height, width
    return (height, round(width * aspect)) if aspect > 1 else (round(height / aspect), width)
