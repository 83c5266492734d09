"""How long texts of HDF5 objects are, read from their headers; h5py wrote them."""

from __future__ import annotations

import io

import h5py
import numpy as np
import pytest

from layerprobe.modelfile.hdf5_headers import longest_text

VERSIONS = ["earliest", "latest", ("earliest", "v110")]


def written(write, **how):
    """Return a file of which `write` changed the root and a group, and where their headers are."""
    file = io.BytesIO()
    with h5py.File(file, "w", **how) as made:
        group = made.create_group("group")
        for place in (made, group):
            write(place)
        places = [h5py.h5o.get_info(place.id).addr for place in (made, group)]
    return file, places


@pytest.mark.parametrize("track_order", [False, True])
@pytest.mark.parametrize("libver", VERSIONS)
@pytest.mark.parametrize("count", [0, 1, 7])
def test_the_longest_text_is_found(libver, track_order, count):
    """Whatever else there is, and however often a header is continued."""

    def write(place):
        place.attrs["numbers"] = np.arange(5)
        for number in range(count):
            place.attrs[f"text {number}"] = number * "many "

    wanted = max(5 * (count - 1), 0)
    file, places = written(write, libver=libver, track_order=track_order)
    assert [longest_text(file, at) for at in places] == [wanted, wanted]


@pytest.mark.parametrize("libver", VERSIONS)
def test_lists_of_texts_and_texts_of_one_length(libver):
    """Each text of a list counts; texts of one length take the room that they say."""

    def write(place):
        place.attrs["names"] = ["a", "b" * 70, "c"]
        place.attrs["fixed"] = np.array([b"d" * 900, b"e"])
        place.attrs["numbers"] = np.array([1, 2, 3], "f8")

    file, places = written(write, libver=libver)
    assert [longest_text(file, at) for at in places] == [70, 70]


def test_more_attributes_than_a_header_holds():
    """Many are in as many blocks, or apart, where nobody sees them."""

    def write(place):
        for number in range(200):
            place.attrs[f"text {number}"] = number * "x"

    file, places = written(write)
    assert [longest_text(file, at) for at in places] == [199, 199]
    file, places = written(write, libver="latest")
    for at in places:
        with pytest.raises(ValueError, match="kept apart"):
            longest_text(file, at)


def test_a_datatype_that_is_kept_apart():
    """An attribute may share its datatype with others."""

    def write(place):
        place["type"] = h5py.string_dtype()
        place.attrs.create("text", "a text", dtype=place["type"])

    file, places = written(write)
    for at in places:
        with pytest.raises(ValueError, match="kept apart"):
            longest_text(file, at)


@pytest.mark.parametrize("libver", VERSIONS)
def test_damage_is_an_error_or_a_number(libver):
    """No byte of a header, changed, leads to anything else; nothing goes on for ever."""

    def write(place):
        for number in range(7):
            place.attrs[f"text {number}"] = "text"

    file, (at, _) = written(write, libver=libver)
    whole = file.getvalue()
    for place in range(at, min(at + 600, len(whole))):
        for value in (0, 1, 0x10, 0x15, 0xFF):
            changed = whole[:place] + bytes([value]) + whole[place + 1 :]
            try:
                assert longest_text(io.BytesIO(changed), at) >= 0
            except ValueError:
                continue


def test_a_header_without_end():
    """A header that is continued by itself, or by more than is there, is an error."""
    again = b"\x10\0\x10\0\0\0\0\0" + (16).to_bytes(8, "little") + (24).to_bytes(8, "little")
    large = b"\x10\0\x10\0\0\0\0\0" + bytes(8) + (1 << 40).to_bytes(8, "little")
    for block in (again, large):
        header = b"\1\0\1\0" + bytes(4) + len(block).to_bytes(4, "little") + bytes(4) + block
        with pytest.raises(ValueError, match="no end"):
            longest_text(io.BytesIO(header), 0)
