"""Folders of images: what a row is, which rows there are, and what is refused."""

from __future__ import annotations

import importlib
import json
from pathlib import Path

import h5py
import numpy as np
import pytest
from command import refused, sample_folder, typed
from PIL import Image

import layerprobe
from layerprobe.errors import DataError
from layerprobe.sources import SourceOptions, array_source, open_source
from layerprobe.sources.preprocessing import MODES, Scaled, mode_of
from layerprobe.testing import SourceSuite

COLOUR = SourceOptions(wanted=(None, None, None, 3))
SMALL = SourceOptions(wanted=(None, 4, 4, 3))
NOISE = np.random.default_rng(0).integers(0, 256, (6, 10, 3)).astype("uint8")


@pytest.fixture(autouse=True)
def _folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "p").mkdir()


def _save(name, array=NOISE, **how):
    Image.fromarray(array).save(f"p/{name}", **how)


class TestImages(SourceSuite):
    """Images in colour or in grey, in a folder, without loss."""

    shapes = ((11, 2, 3, 3), (11, 4, 5, 1))
    dtypes = ("uint8",)

    @pytest.fixture
    def make_source(self):
        def make(array):
            for at, image in enumerate(array):
                _save(f"{at:02}.png", image[..., 0] if image.shape[-1] == 1 else image)
            return open_source("p", options=SourceOptions(wanted=(None, *array.shape[1:])))

        return make


class TestChannelsFirst(TestImages):
    """Images for a model that takes the channels first, found by a pattern."""

    shapes = ((11, 3, 5, 6),)

    @pytest.fixture
    def make_source(self):
        def make(array):
            for at, image in enumerate(array):
                _save(f"{at:02}.bmp", image.transpose(1, 2, 0))
            return open_source("p/*.bmp", options=SourceOptions(wanted=(None, *array.shape[1:])))

        return make


def _row(options=COLOUR, name="p"):
    with open_source(name, options=options) as source:
        return source.read(0, 1)[0]


def test_values_are_scaled_as_keras_does():
    """For each network of keras.applications, by its name there and by that of its module."""
    found = importlib.import_module("keras.applications")
    networks = [name for name in dir(found) if name[0].isupper()]
    assert len(networks) > 30
    assert {mode_of(name) for name in networks} == set(MODES) - {"unit"}
    for name in networks:
        module = importlib.import_module(getattr(found, name).__module__.replace(".src", "", 1))
        images = NOISE[None].astype("float32")
        expected = module.preprocess_input(images.copy(), data_format="channels_last")
        for called in (name, module.__name__.rpartition(".")[2]):
            ours = Scaled(array_source(NOISE[None]), called, -1).read(0, 1)
            np.testing.assert_array_equal(ours, expected, err_msg=called)
        first = Scaled(array_source(NOISE[None].transpose(0, 3, 1, 2)), name, 1).read(0, 1)
        np.testing.assert_array_equal(first, expected.transpose(0, 3, 1, 2))
        assert np.array_equal(expected, images) == (mode_of(name) == "none")


def _halved(values, axis):
    """Shrink an axis to half with a triangle 4 pixels wide, cut off at the borders."""
    values = np.moveaxis(values.astype("float64"), axis, 0)
    weights = np.array([1, 3, 3, 1])
    rows = []
    for at in range(0, len(values), 2):
        places = np.arange(at - 1, at + 3)
        inside = (places >= 0) & (places < len(values))
        rows.append(np.average(values[places[inside]], axis=0, weights=weights[inside]))
    return np.moveaxis(np.array(rows), 0, axis)


def test_shrinking_weighs_all_pixels():
    """To half the size every pixel counts, by a triangle: computed by hand, to one in rounding."""
    _save("a.png")
    row = _row(SourceOptions(wanted=(None, 3, 5, 3)))
    expected = _halved(_halved(NOISE, 1), 0)
    assert np.abs(row - expected).max() <= 1.01


@pytest.mark.parametrize("orientation", range(1, 9))
def test_images_stand_upright(orientation):
    """Whatever way the camera was held, the row is what a person sees."""
    turned = {
        1: NOISE, 2: NOISE[:, ::-1], 3: NOISE[::-1, ::-1], 4: NOISE[::-1],
        5: NOISE.swapaxes(0, 1), 6: np.rot90(NOISE), 7: np.rot90(NOISE, 2).swapaxes(0, 1),
        8: np.rot90(NOISE, -1),
    }[orientation]  # fmt: skip
    exif = Image.Exif()
    exif[0x0112] = orientation
    _save("a.png", np.ascontiguousarray(turned), exif=exif)
    np.testing.assert_array_equal(_row(), NOISE)


def test_other_colours_become_the_models():
    """Grey is repeated, alpha dropped, a palette looked up; colour becomes grey by its luma."""
    grey = NOISE[..., 0]
    _save("a.png", grey)
    np.testing.assert_array_equal(_row(), np.repeat(grey[..., None], 3, -1))
    _save("a.png", np.dstack([NOISE, grey]))
    np.testing.assert_array_equal(_row(), NOISE)
    Image.fromarray(NOISE // 128 * 255).convert("P").save("p/a.png")
    np.testing.assert_array_equal(_row(), NOISE // 128 * 255)
    _save("a.png")
    luma = NOISE @ np.array([0.299, 0.587, 0.114])
    row = _row(SourceOptions(wanted=(None, 6, 10, 1)))
    assert np.abs(row[..., 0] - luma).max() < 1


def test_rows_are_the_images_in_plain_order():
    """Folders in the folder count, hidden files do not; the row ids are the paths."""
    for name in ("b.png", "B.png", "a10.png", "a9.png"):
        _save(name)
    for name in ("p/sub", "p/.thumbs"):
        Path(name).mkdir()
    _save("sub/a.JPG")
    _save(".thumbs/a.png")
    _save(".a.png")
    with open_source("p", options=COLOUR) as source:
        assert source.row_ids(0, 5) == ["B.png", "a10.png", "a9.png", "b.png", "sub/a.JPG"]
        assert source.row_ids(3, 4) == ["b.png"]
        assert source.place_of(4) == "sub/a.JPG"
    with open_source("p/*.png", options=COLOUR) as source:
        assert source.row_ids(1, 3) == ["p/a10.png", "p/a9.png"]


def _cut():
    _save("b.jpg")
    Path("p/b.jpg").write_bytes(Path("p/b.jpg").read_bytes()[:-200])


BAD = {
    "cut short": (_cut, "[Tt]runcated"),
    "text": (lambda: Path("p/b.png").write_text("no image"), "cannot identify"),
    "empty": (lambda: Path("p/b.png").touch(), "cannot identify"),
    "16 bits": (lambda: _save("b.png", NOISE[..., 0].astype("uint16")), "more than 8 bits"),
    "frames": (
        lambda: _save("b.gif", save_all=True, append_images=[Image.fromarray(255 - NOISE)]),
        "holds 2 images",
    ),
    "script": (lambda: Path("p/b.png").write_text("%!PS-Adobe-3.0 EPSF"), "cannot ide"),
}


@pytest.mark.parametrize("case", BAD)
def test_what_is_no_image_is_named(case):
    """A bad image is an error with its name and row, and the rows before it are given."""
    make, what = BAD[case]
    _save("a.png")
    make()
    with open_source("p", options=SMALL) as source:
        source.read(0, 1)
        with pytest.raises(DataError, match=rf"p/b\.... \(row 1\).*{what}") as caught:
            source.read(1, 2)
    assert (caught.value.exit_code, caught.value.fields["row"]) == (65, 1)
    assert len(str(caught.value).splitlines()) <= 4


def test_images_too_large_or_of_other_sizes(monkeypatch):
    """An image that declares far too many pixels, or not those of the first, is refused."""
    _save("a.png")
    _save("b.png", NOISE[:5])
    with (
        open_source("p", options=COLOUR) as source,
        pytest.raises(DataError, match=r"p/b.png \(row 1\) has 10 x 5 pixels"),
    ):
        source.read(0, 2)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 20)
    with pytest.raises(DataError, match=r"a.png \(row 0\).*exceeds limit of 40 pixels"):
        open_source("p", options=COLOUR)


def test_folders_and_models_that_do_not_fit():
    """An empty folder, other files in it, and models that take no images are errors."""
    cases = [(COLOUR, "holds no file at all"), (COLOUR, "no images: c.txt")]
    for options, what in cases:
        with pytest.raises(DataError, match=what):
            open_source("p", options=options)
        _save("a.png")
        Path("p/c.txt").touch()
    for wanted in ((None, 7), (None, 5, 5, 7)):
        with pytest.raises(DataError, match="the model takes rows of shape"):
            open_source("p/a.png", options=SourceOptions(wanted=wanted))
    with pytest.raises(DataError, match="says its dtype itself"):
        open_source("p", options=SourceOptions("uint8", wanted=(None, 4, 4, 3)))


def test_pillow_is_asked_for(monkeypatch):
    """Without Pillow the error says how to install it."""
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    with pytest.raises(DataError, match=r"pip install 'layerprobe\[images\]'") as caught:
        open_source("p")
    assert caught.value.exit_code == 70


def test_a_folder_on_the_command_line(samples, capfd):
    """Photos give what their pixels as an array give, scaled; their names are in the dump."""
    sample_folder(samples)
    pixels = (np.load("digits.npy")[:20] * 255).astype("uint8")
    for at, image in enumerate(pixels):
        _save(f"{at}.png", image[..., 0])
    cnn = ["extract", "cnn.keras", "-l", "features"]
    order = sorted(range(20), key=str)
    np.save("x.npy", pixels[order] / np.float32(255))
    assert typed(capfd, *cnn, "-i", "x.npy", "--rows", "5:20", "-o", "npy.h5").code == 0
    given = ["-i", "p", "--preprocess", "unit", "--rows", "5:20"]
    done = typed(capfd, *cnn, *given, "-o", "out.h5")
    assert done.code == 0, done.stderr
    with h5py.File("npy.h5") as one, h5py.File("out.h5") as other:
        np.testing.assert_array_equal(one["features"][:], other["features"][:])
        (entry,) = json.loads(other.attrs["layerprobe"])["inputs"]
    names = [f"{at}.png" for at in order[5:]]
    assert (entry["row_ids"], entry["location"]) == (names, "p")
    with layerprobe.open_dump("out.h5") as dump, layerprobe.open_dump("npy.h5") as plain:
        assert (dump.row_ids, plain.row_ids) == (tuple(names), None)
    for name, what in (("resnet5", "resnet50"), ("vgg16", "holds images with 1 channels")):
        code = 2 if name == "resnet5" else 65
        arguments = [*cnn, "-i", "p", "--preprocess", name, "-o", "no.h5"]
        assert what in refused(capfd, *arguments, code=code)
    text = ["extract", "places.keras", "-l", "lstm", "-o", "no.h5", "-i"]
    words = refused(capfd, *text, "places.npy", "--preprocess", "tf", code=2)
    assert "is for images" in words
    assert "the model takes rows of shape (any)" in refused(capfd, *text, "p", code=65)
    Path("p/7.png").write_bytes(b"damaged")
    assert "p/7.png (row 17)" in refused(capfd, *cnn, "-i", "p", "-o", "no.h5", code=65)
