"""Small files that make who reads them allocate or wait."""

from __future__ import annotations

import io
import json
import struct
import zipfile
import zlib

import h5py
from model_files import INPUT, dense, sequential, write_h5, write_keras

from hostile import REFUSE, Case


def packed(name, size):
    """Return a maker of an archive with one member that unpacks to zeros of that many bytes."""

    def made(place):
        path = write_keras(place.folder / "m.keras", sequential())
        with (
            zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED) as archive,
            archive.open(name, "w", force_zip64=True) as member,
        ):
            for _ in range(size >> 20):
                member.write(bytes(1 << 20))
        return path

    return made


def packed_config(place):
    """Return an archive whose config unpacks to spaces by the megabyte."""
    text = json.dumps(sequential()).encode() + b" " * (60 << 20)
    return write_keras(place.folder / "m.keras", text, compression=zipfile.ZIP_DEFLATED)


def many_assets(place):
    """Return an archive of many assets, each not too large."""
    path = write_keras(place.folder / "m.keras", sequential())
    with zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED) as archive:
        for number in range(40):
            archive.writestr(f"assets/{number}", bytes(15 << 20))
    return path


def declared(shape, *, chunks=None, many=1):
    """Return the bytes of an HDF5 file whose datasets declare far more than they store."""
    buffer = io.BytesIO()
    with h5py.File(buffer, "w") as file:
        for number in range(many):
            file.create_dataset(f"layers/dense/vars/{number}", shape, "f4", chunks=chunks)
    return buffer.getvalue()


def shaped(shape, **given):
    """Return a maker of an archive with such weights."""
    return lambda place: write_keras(
        place.folder / "m.keras", sequential(), model_weights_h5=declared(shape, **given)
    )


def shaped_h5(place):
    """Return an .h5 model with a weight of 4 petabytes."""
    path = write_h5(place.folder / "m.h5", sequential())
    with h5py.File(path, "a") as file:
        file["model_weights/dense/dense"].create_dataset("extra", (1 << 50,), "f4", chunks=(1024,))
    return path


def zeros(place):
    """Return an .h5 model with a gigabyte of zeros, packed to a thousandth."""
    path = write_h5(place.folder / "m.h5", sequential())
    with h5py.File(path, "a") as file:
        chunk = zlib.compress(bytes(64 << 20))
        data = file.create_dataset("model_weights/zeros", (1 << 28,), "f4", chunks=(1 << 24,),
                                   compression="gzip")  # fmt: skip
        for start in range(0, 1 << 28, 1 << 24):
            data.id.write_direct_chunk((start,), chunk)
    return path


def config(*layers):
    """Return a maker of an archive of these layers."""
    return lambda place: write_keras(place.folder / "m.keras", sequential(*layers))


def named(class_name, **settings):
    """Return a layer."""
    inner = {"name": class_name.lower(), "trainable": True} | settings
    return {"class_name": class_name, "config": inner}


def text(content):
    """Return a maker of an architecture of this text."""

    def made(place):
        path = place.folder / "m.json"
        path.write_bytes(content)
        return path

    return made


def deep(place):
    """Return models nested 150 deep, each in the last."""
    model = sequential(INPUT, dense())
    for number in range(150):
        model = sequential(INPUT, model, name=f"m{number}")
    return write_keras(place.folder / "m.keras", model)


def groups(place):
    """Return an .h5 model with groups nested 200 deep."""
    path = write_h5(place.folder / "m.h5", sequential())
    with h5py.File(path, "a") as file:
        file.create_group("/".join(["g"] * 200))
    return path


def arrays(place):
    """Return an .npz whose array declares 4 petabytes."""
    header = b"{'descr': '<f4', 'fortran_order': False, 'shape': (1125899906842624,), }"
    header += b" " * (117 - len(header)) + b"\n"
    path = place.folder / "m.npz"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("x.npy", b"\x93NUMPY\1\0" + struct.pack("<H", len(header)) + header)
    return path


def yaml_laughs(place):
    """Return an architecture in YAML of nine lists, each ten times the one before it."""
    lines = ["class_name: Sequential", "config:", "  a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"  a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 10)]
    path = place.folder / "m.yaml"
    path.write_text("\n".join(lines))
    return path


_MANY = [named("Dropout", name=f"d{n}", rate=0.5) for n in range(10_100)]
CASES = [
    Case("member of 400 MB", REFUSE, "zip-bomb", packed("assets/a", 400 << 20)),
    Case("config of 60 MB", REFUSE, "zip-bomb", packed_config),
    Case("forty assets", REFUSE, "zip-bomb", many_assets),
    Case("weights of petabytes", REFUSE, "hdf5-bomb", shaped((1 << 25, 1 << 25), chunks=(64, 64))),
    Case("weights of a gigabyte", REFUSE, "hdf5-bomb", shaped((1 << 28,), chunks=(1024,))),
    Case("weights not stored", REFUSE, "hdf5-bomb", shaped((1 << 26,))),
    Case("small weights by the hundred", REFUSE, "hdf5-bomb", shaped((3 << 20,), many=100)),
    Case("weights of petabytes in h5", REFUSE, "hdf5-bomb", shaped_h5),
    Case("zeros in h5", REFUSE, "hdf5-bomb", zeros),
    Case("groups 200 deep", REFUSE, "hdf5-bomb", groups),
    Case("array of petabytes in npz", REFUSE, "zip-bomb", arrays),
    Case("units by the trillion", REFUSE, "weights-bomb", config(INPUT, dense(units=10**13))),
    Case("wide after wide", REFUSE, "weights-bomb",
         config(INPUT, dense("a", units=60_000), dense("b", units=60_000))),
    Case("embedding of billions", REFUSE, "weights-bomb",
         config(INPUT, named("Embedding", input_dim=10**7, output_dim=10**4))),
    Case("wide lstm", REFUSE, "weights-bomb",
         config(named("InputLayer", batch_shape=[None, 3, 3], dtype="float32"),
                named("LSTM", units=100_000))),
    Case("wide convolution", REFUSE, "weights-bomb",
         config(named("InputLayer", batch_shape=[None, 99, 99, 3], dtype="float32"),
                named("Conv2D", filters=10**6, kernel_size=[99, 99], strides=[1, 1],
                      padding="valid", data_format="channels_last", dilation_rate=[1, 1],
                      groups=1))),
    Case("rows repeated", REFUSE, "activation-bomb",
         config(INPUT, named("RepeatVector", n=10**10))),
    Case("images enlarged", REFUSE, "activation-bomb",
         config(named("InputLayer", batch_shape=[None, 8, 8, 3], dtype="float32"),
                named("UpSampling2D", size=[50_000, 50_000], data_format="channels_last",
                      interpolation="nearest"))),
    Case("padding of billions", REFUSE, "activation-bomb",
         config(named("InputLayer", batch_shape=[None, 8, 3], dtype="float32"),
                named("ZeroPadding1D", padding=[2**32, 2**32]))),
    Case("input of petabytes", REFUSE, "activation-bomb",
         config(named("InputLayer", batch_shape=[None, 2**50], dtype="float32"), named("Dropout"))),
    Case("ten thousand layers", REFUSE, "too-many-layers", config(INPUT, *_MANY)),
    Case("models 150 deep", REFUSE, "config-depth", deep),
    Case("json 100,000 deep", REFUSE, "config-depth", text(b'{"class_name": ' + b"[" * 100_000)),
    Case("json 300 deep", REFUSE, "config-depth",
         text(b'{"class_name": "Sequential", "config": ' + b"[" * 300 + b"]" * 300 + b"}")),
    Case("json of 40 MB", REFUSE, "config-size",
         text(b'{"class_name": "Sequential", "x": "' + b"y" * (40 << 20) + b'"}')),
    Case("json of empty lists", REFUSE, "config-size",
         text(b'{"class_name": "Sequential", "x": [' + b"[]," * (6 << 20) + b"[]]}")),
    Case("yaml that grows", REFUSE, "config-size", yaml_laughs),
]  # fmt: skip
