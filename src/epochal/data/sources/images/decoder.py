"""Encoded images as uint8 arrays, decoded by Pillow. All but `ImageSpec` runs in a child process.

Of an animation the first frame counts. An image whose EXIF orientation is not upright is turned; one that is not opaque
is laid on white. Images of 16 bits are refused: cutting them to 8 would lose detail.
"""

import io
import re
import warnings
from collections import Counter
from collections.abc import Iterable
from dataclasses import astuple, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from epochal.data.options import Color, Reading
from epochal.data.sources.files import brief
from epochal.errors import DataError, RecipeError, escaped, option
from epochal.system.memory import format_bytes

FORMATS = ("PNG", "JPEG", "BMP", "GIF", "WEBP", "TIFF", "PPM")
SUFFIXES = {
    ".png", ".jpg", ".jpeg", ".jpe", ".jfif", ".bmp", ".dib", ".gif", ".webp", ".tif", ".tiff", ".ppm", ".pgm", ".pbm",
    ".pnm",
}  # fmt: skip
MAX_PIXELS = 100_000_000
MAX_SIDE = 65_535
MAX_PATH = 4096
MAX_SCANS = 100  # each goes over all pixels again; a progressive JPEG has about ten
TRANSIENT = 16
"""Bytes for each pixel that decoding one image may take beside the result: copies in other modes, a decoder's own."""

_GREY = {"1", "L", "LA", "La"}
_DEEP = {"I", "F", "I;16", "I;16L", "I;16B", "I;16N"}
_UPRIGHT = 1
_ORIENTATION = 0x0112
# How to turn an image whose EXIF orientation is the key; the values are of PIL.Image.Transpose.
_TURNS = {2: 0, 3: 3, 4: 1, 5: 5, 6: 4, 7: 6, 8: 2}


@dataclass(frozen=True)
class ImageSpec:
    """What all images of a data set are to become, and what they may take."""

    rows: int
    limit: int
    size: tuple[int, int] | None = None
    color: Color = "auto"
    first: tuple[str, int, int] | None = None  # an image, its height and width; the others must have them too
    may_overflow: bool = False  # rows that take more than the limit go to a file

    @classmethod
    def of(cls, reading: Reading, rows: int, limit: int) -> "ImageSpec":
        """As `reading` says. Raises RecipeError where its size is none."""
        return cls(rows, limit, None if reading.image_size is None else _size(reading.image_size), reading.color)

    @property
    def most_pixels(self) -> int:
        """An image of more is refused before it is decoded."""
        return min(MAX_PIXELS, max(1, self.limit // 4))

    def plain(self) -> list[Any]:
        return list(astuple(self))


def _size(text: str) -> tuple[int, int]:
    match = re.fullmatch(r"([0-9]{1,9})[x×]([0-9]{1,9})", str(text).strip().lower())
    height, width = (int(match[1]), int(match[2])) if match else (0, 0)
    if not (1 <= height <= MAX_SIDE and 1 <= width <= MAX_SIDE):
        raise RecipeError(f"image_size: must be height x width, like 32x32, each from 1 to {MAX_SIDE:,}, got {text!r}")
    return height, width


@dataclass
class ImageDecoder:
    """Images in order as they are decoded, and a count of what was done to them."""

    spec: ImageSpec
    x: list[np.ndarray] = field(default_factory=list)
    done: Counter[str] = field(default_factory=Counter)

    def add(self, name: str, source: str | bytes | memoryview) -> None:
        """Decode a file or its bytes. Raises DataError, which begins with `name`."""
        try:
            x = self._decoded(name, source)
        except DataError:
            raise
        except MemoryError:
            raise DataError(
                f"{name}: decoding needs more memory than is granted; grant more with {option('host_memory')}"
            ) from None
        except Exception as error:  # decoders raise whatever comes to them on damaged bytes
            raise DataError(f"{name}: {_told(error, source)}") from None
        height, width = x.shape[:2]
        if self.spec.first is None:
            self.spec = replace(self.spec, first=(name, height, width))
        before, *shape = self.spec.first or (name, height, width)
        if [height, width] != shape:
            raise DataError(
                f"{name}: has {height}×{width} pixels (height × width), but {before} has {shape[0]}×{shape[1]}; all "
                f"must have one size: resize them with {option('image_size', f'{shape[0]}x{shape[1]}')}, or another"
            )
        total, limit = format_bytes(x.nbytes * self.spec.rows), format_bytes(self.spec.limit)
        if x.nbytes * self.spec.rows > self.spec.limit and not self.spec.may_overflow:
            raise DataError(
                f"{name}: has {height}×{width} pixels of {x.nbytes // height // width} bytes, and {self.spec.rows:,} "
                f"such images take {total}, more than {limit}, the memory granted for reading; "
                f"make them smaller with {option('image_size')}, or grant more with {option('host_memory')}"
            )
        self.x.append(x)

    def _decoded(self, name: str, source: str | bytes | memoryview) -> np.ndarray:
        from PIL import Image

        if not (Path(source).stat().st_size if isinstance(source, str) else len(source)):
            raise DataError(f"{name}: byte 0: the image is empty; fetch or write it again")
        with Image.open(source if isinstance(source, str) else io.BytesIO(source), formats=FORMATS) as image:
            width, height = image.size
            if width * height > self.spec.most_pixels:
                raise DataError(
                    f"{name}: its header declares {height:,}×{width:,} pixels, more than {self.spec.most_pixels:,}; "
                    f"it is damaged, or make it smaller (at most {MAX_PIXELS:,} pixels, and a quarter of the bytes of "
                    f"{option('host_memory')})"
                )
            if image.format in ("JPEG", "MPO") and (scans := _scans(source)) > MAX_SCANS:
                raise DataError(
                    f"{name}: is a JPEG of {scans:,} scans, at most {MAX_SCANS} are decoded; is it hostile? "
                    f"write it again"
                )
            if _is_deep(image):
                raise DataError(
                    f"{name}: has more than 8 bits a channel (mode {image.mode}); save it with 8, or all images as one "
                    f"array with numpy.save"
                )
            return self._drawn(image)

    def _drawn(self, image: Any) -> np.ndarray:
        from PIL import Image

        size = self.spec.size
        if size:
            image.draft(None, (2 * max(size), 2 * max(size)))  # a large JPEG is decoded at a half, quarter or eighth
        image.load()
        turn = _TURNS.get(_orientation(image))
        grey = self.spec.color == "grey" or (self.spec.color == "auto" and _is_grey(image))
        if image.has_transparency_data:
            image = self._on_white(image.convert("RGBA"))
        image = image.convert("L" if grey else "RGB")
        if turn is not None:
            self.done["turned"] += 1
            image = image.transpose(Image.Transpose(turn))
        if size and image.size != size[::-1]:
            self.done["resized"] += 1
            image = image.resize(size[::-1], Image.Resampling.BILINEAR, reducing_gap=2.0)
        return np.asarray(image)

    def _on_white(self, image: Any) -> Any:
        from PIL import Image

        if image.getchannel("A").getextrema() == (255, 255):
            return image
        self.done["laid"] += 1
        white = Image.new("RGBA", image.size, "white")
        white.alpha_composite(image)
        return white

    def stacked(self) -> np.ndarray:
        """All images: uint8 [rows, height, width], or [rows, height, width, 3] where one of them has colours."""
        colours = any(x.ndim == 3 for x in self.x)
        out = np.empty((len(self.x), *self.x[0].shape[:2], *((3,) if colours else ())), np.uint8)
        for row, x in enumerate(self.x):
            out[row] = x[..., None] if colours and x.ndim == 2 else x
        return out


def decode(spec: list[Any], names: Iterable[str], sources: Iterable[str | bytes | memoryview]) -> ImageDecoder:
    """Decode files or bytes of files, in order. Raises DataError at the first that cannot be."""
    from PIL import Image, TiffImagePlugin, WebPImagePlugin  # noqa: F401  the others are found without

    rows, limit, size, color, first, may_overflow = spec
    Image.MAX_IMAGE_PIXELS = None  # the limits here are stricter
    pixels = ImageDecoder(ImageSpec(rows, limit, size and tuple(size), color, first and tuple(first), may_overflow))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for name, source in zip(names, sources, strict=True):
            pixels.add(name, source)
    return pixels


def answer(pixels: ImageDecoder) -> dict[str, Any]:
    """The array, what was done to how many, and the first image with the height and width that all have."""
    return {"x": pixels.stacked(), "done": dict(pixels.done), "first": pixels.spec.first}


def decode_files(spec: list[Any], paths: list[str]) -> dict[str, Any]:
    return answer(decode(spec, [escaped(path, MAX_PATH) for path in paths], paths))


def _told(error: Exception, source: str | bytes | memoryview) -> str:
    if isinstance(error, OSError) and error.errno is not None and isinstance(source, str):
        return f"cannot be read: {error.strerror or error}; check its path, kind and permissions"
    said = brief(error)
    if "cannot identify" in said or not said:
        said = f"none of {', '.join(FORMATS)} by its first bytes"
    return f"cannot be decoded ({said[:200]}); it is damaged or of another form, fetch or write it again"


def _scans(source: str | bytes | memoryview) -> int:
    """How often a JPEG says that a scan begins; within the numbers of a scan these two bytes do not occur."""
    return (Path(source).read_bytes() if isinstance(source, str) else bytes(source)).count(b"\xff\xda")


def _is_deep(image: Any) -> bool:
    """Whether the file holds more than 8 bits a channel; Pillow cuts some of those to 8 on its own."""
    if image.mode in _DEEP:
        return True
    if image.format not in ("PNG", "TIFF", "PPM", "WEBP"):
        return False  # ";16" is there three channels in 16 bits
    for tile in image.tile:
        arguments = tile[3] if isinstance(tile[3], tuple) else (tile[3],)
        if any(";16" in a if isinstance(a, str) else image.format == "PPM" and (a or 0) > 255 for a in arguments):
            return True
    return image.format == "TIFF" and max(image.tag_v2.get(258, (8,))) > 8


def _is_grey(image: Any) -> bool:
    """By its mode; a palette is grey where all its colours are."""
    if image.mode in ("P", "PA"):
        palette = np.array(image.getpalette("RGB") or [0, 0, 0]).reshape(-1, 3)
        return bool((palette == palette[:, :1]).all())
    return image.mode in _GREY


def _orientation(image: Any) -> int:
    try:
        return image.getexif().get(_ORIENTATION, _UPRIGHT)
    except Exception:  # a damaged EXIF block of an image that is sound
        return _UPRIGHT
