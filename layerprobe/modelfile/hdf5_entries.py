"""The entries of an HDF5 file: how large each dataset is, and what of them is a danger.

Nothing is loaded: HDF5 keeps shapes apart from data. Nothing that leads out of the file is
followed and no group is walked twice, so that a file can neither make us open another one nor lead
us in circles.
"""

from __future__ import annotations

import io
import math
from typing import BinaryIO, NamedTuple

import h5py

from layerprobe.errors import TrustError
from layerprobe.modelfile.audit.findings import Finding, short
from layerprobe.modelfile.hdf5_headers import longest_text

# What HDF5 itself unpacks; for all others it looks for a plugin, which is a program.
_FILTERS = frozenset(
    {
        *(h5py.h5z.FILTER_DEFLATE, h5py.h5z.FILTER_SHUFFLE, h5py.h5z.FILTER_FLETCHER32),
        *(h5py.h5z.FILTER_SZIP, h5py.h5z.FILTER_NBIT, h5py.h5z.FILTER_SCALEOFFSET),
        h5py.h5z.FILTER_LZF,
    }
)
# Packed weights take at least this part of their size; zeros can take less, so small ones may.
_MOST_EXPANSION, _SMALL = 200, 16 << 20
_MOST_ENTRIES, _DEEPEST, _MOST_FINDINGS = 500_000, 64, 100


class Survey(NamedTuple):
    """Number of elements of every dataset by its path, and what is dangerous."""

    sizes: dict[str, int]
    findings: list[Finding]


def dataset_sizes(group: h5py.Group) -> dict[str, int]:
    """Return the number of elements of every dataset below a group, by its path relative to it.

    Raises:
        TrustError: Data lies elsewhere, or a group is linked twice. What a link points to is not
            opened.
    """
    sizes, findings = survey(group)
    if findings:
        raise TrustError(
            f"The model file's {findings[0]}.",
            expected="weights stored in the file itself, each once",
            findings=findings,
        )
    return sizes


def survey(group: h5py.Group, bytes_of: BinaryIO | None = None) -> Survey:
    """Look at all that lies below a group.

    This uses h5py's low-level calls: with hundreds of groups the others take most of the time of a
    listing.

    Args:
        group: What is looked at.
        bytes_of: The file it is in, if attributes are looked at too.
    """
    found = Survey({}, [])
    seen: set[int] = set()
    waiting = [("", group.id)]
    while waiting and len(found.findings) < _MOST_FINDINGS:
        prefix, here = waiting.pop()
        if bytes_of is not None:
            _look_at_texts(here, prefix, bytes_of, found)
        for name in here:
            path = prefix + name.decode("utf-8", "surrogateescape")
            if len(found.sizes) + len(seen) > _MOST_ENTRIES or path.count("/") > _DEEPEST:
                _tell(found, "hdf5-bomb", path, "it is one of more entries than any model has")
                return found
            if here.links.get_info(name).type != h5py.h5l.TYPE_HARD:
                _tell(found, "hdf5-link", path, f"it is a link to {_link_target(here, name)!r}")
                continue
            child = h5py.h5o.open(here, name)
            if isinstance(child, h5py.h5g.GroupID):
                place = h5py.h5o.get_info(child).addr
                if place in seen:
                    _tell(
                        found, "hdf5-twice", path, "it is a second link to a group of the same file"
                    )
                    continue
                seen.add(place)
                waiting.append((f"{path}/", child))
            elif isinstance(child, h5py.h5d.DatasetID):
                found.sizes[path] = _look_at(child, path, found)
    _weigh(found, group)
    return found


def _look_at_texts(group: h5py.Group, path: str, file: BinaryIO, found: Survey) -> None:
    try:
        longest = longest_text(file, h5py.h5o.get_info(group).addr)
    except ValueError as error:
        _tell(found, "hdf5-bomb", path or "/", f"nobody can see how long its texts are: {error}")
        return
    if longest > file.seek(0, io.SEEK_END):
        _tell(found, "hdf5-bomb", path or "/", f"a text of it declares {longest:,} bytes")


def _look_at(dataset: h5py.h5d.DatasetID, path: str, found: Survey) -> int:
    """Return the number of elements of a dataset, without reading one."""
    storage = dataset.get_create_plist()
    if storage.get_layout() == h5py.h5d.VIRTUAL or storage.get_external_count():
        _tell(found, "hdf5-storage", path, "it keeps its data in another file")
        return 0
    for number in range(storage.get_nfilters()):
        code = storage.get_filter(number)[0]
        if code not in _FILTERS:
            _tell(found, "hdf5-filter", path, f"it needs the filter plugin number {code}")
    if dataset.get_space().get_simple_extent_type() == h5py.h5s.NULL:
        return 0
    count = math.prod(dataset.shape)
    size = dataset.get_type().get_size()
    declared = count * size
    if storage.get_layout() == h5py.h5d.CHUNKED:
        declared = max(declared, math.prod(storage.get_chunk()) * size)
    stored = dataset.get_storage_size()
    if declared > max(_SMALL, _MOST_EXPANSION * stored):
        _tell(found, "hdf5-bomb", path, f"it declares {declared:,} bytes, stores {stored:,}")
    return int(count)


def _weigh(found: Survey, group: h5py.Group) -> None:
    """Compare all that is declared with what the file is: many small bombs make a large one."""
    total = sum(found.sizes.values())
    most = max(8 * _SMALL, _MOST_EXPANSION * group.file.id.get_filesize())
    if total > most:
        _tell(found, "hdf5-bomb", "/", f"it declares {total:,} numbers, more than its bytes hold")


def _tell(found: Survey, rule: str, path: str, what: str) -> None:
    found.findings.append(Finding(rule, f"entry {short(path)!r}", what))


def _link_target(group: h5py.h5g.GroupID, name: bytes) -> str:
    value = group.links.get_val(name)
    target = value[0] if isinstance(value, tuple) else value
    return short(target.decode("utf-8", "replace") if isinstance(target, bytes) else target)
