"""Calls of preprocessing layers: data for `test_shapes.py`."""

from __future__ import annotations

from typing import Any

from shape_cases import CAST, FIRST, IMAGE, OPEN, PLANES, VECTOR
from shape_harness import case, layer

LOOKUP = "lookups put out their table's integers, not the float that is promised"
AXIS_1 = "it is axis 1 that is summed over, not the last one"
CROPS = "only training crops"

_WITHOUT_ARGUMENTS = """
    AugMix AutoContrast ContrastLimitedAdaptiveHistogramEqualization CutMix Equalization MixUp
    RandAugment RandomColorJitter RandomElasticTransform RandomErasing RandomFlip
    RandomGaussianBlur RandomGrayscale RandomInvert RandomPerspective RandomShear Solarization
""".split()
_WITH_FACTOR = """
    RandomRotation RandomContrast RandomBrightness RandomHue RandomSaturation RandomSharpness
    RandomColorDegeneration
""".split()
_IMAGE_LAYERS: dict[str, dict[str, Any]] = {
    **{name: {} for name in _WITHOUT_ARGUMENTS},
    **{name: {"factor": 0.1} for name in _WITH_FACTOR},
    "MaxNumBoundingBoxes": {"max_number": 3},
    "RandomPosterization": {"factor": 4},
    "RandomTranslation": {"height_factor": 0.1, "width_factor": 0.1},
    "RandomZoom": {"height_factor": 0.1},
}
_KEEP_BYTES = frozenset(
    """ContrastLimitedAdaptiveHistogramEqualization MaxNumBoundingBoxes MixUp RandomBrightness
    RandomColorDegeneration RandomColorJitter RandomContrast RandomHue RandomInvert
    RandomPosterization RandomSaturation""".split()
)
_PICTURE = (None, 16, 16, 3)
PREPROCESSING = [
    *(case(name, _PICTURE, **arguments) for name, arguments in _IMAGE_LAYERS.items()),
    *(
        case(name, _PICTURE, dtype="uint8", unlike=CAST if name in _KEEP_BYTES else "", **arguments)
        for name, arguments in _IMAGE_LAYERS.items()
    ),
    case("Rescaling", IMAGE, scale=1 / 255),
    case("Rescaling", IMAGE, dtype="uint8", scale=[1.0, 2.0, 3.0]),
    case("Normalization", VECTOR, mean=0.0, variance=1.0),
    case("Normalization", IMAGE, dtype="int32", mean=[0.0] * 3, variance=[1.0] * 3),
    case("Resizing", _PICTURE, height=4, width=5),
    case("Resizing", OPEN[1], height=4, width=5, crop_to_aspect_ratio=True),
    case("Resizing", PLANES[1], height=4, width=5, data_format=FIRST),
    case("Resizing", (9, 8, 3), height=4, width=5),
    case("Resizing", _PICTURE, dtype="int32", height=4, width=5, unlike=CAST),
    case("CenterCrop", _PICTURE, height=4, width=5),
    case("CenterCrop", _PICTURE, height=20, width=5),
    case("CenterCrop", PLANES[1], dtype="uint8", height=4, width=5, data_format=FIRST),
    case("RandomCrop", _PICTURE, height=4, width=5, unlike=CROPS),
    case("RandomCrop", _PICTURE, height=16, width=16),
    case("Pipeline", _PICTURE, layers=[
        layer("Resizing", height=4, width=5), layer("Rescaling", scale=2.0)
    ]),
    *(
        case("Discretization", shape, bin_boundaries=[0.0, 1.0], output_mode=mode)
        for shape in (VECTOR, (None, 1), (None, 4, 3))
        for mode in ("int", "one_hot", "multi_hot", "count")
    ),
    *(
        case("CategoryEncoding", shape, dtype="int32", num_tokens=5, output_mode=mode,
             unlike=AXIS_1 if len(shape) > 2 and mode != "one_hot" else "")
        for shape in (VECTOR, (None, 1), (None, 4, 3))
        for mode in ("one_hot", "multi_hot", "count")
    ),
    *(
        case("Hashing", shape, dtype="int32", num_bins=5, output_mode=mode,
             unlike="every element is encoded" if shape == VECTOR and mode == "one_hot" else "")
        for shape in (VECTOR, (None, 1))
        for mode in ("int", "one_hot", "multi_hot", "count")
    ),
    *(
        case("HashedCrossing", shape, shape, dtype="int32", num_bins=5, output_mode=mode)
        for shape in ((None, 1), (None,))
        for mode in ("int", "one_hot")
    ),
    *(
        case("IntegerLookup", shape, dtype="int64", vocabulary=[1, 2], output_mode=mode,
             unlike="" if mode == "int" else LOOKUP)
        for shape in (VECTOR, (None, 1), (None, 4, 3))
        for mode in ("int", "one_hot", "multi_hot", "count")
    ),
    case("IntegerLookup", VECTOR, dtype="int64", vocabulary=[1, 2], invert=True),
    case("StringLookup", VECTOR, dtype="string", vocabulary=["a", "b"], mask_token=""),
    case("StringLookup", VECTOR, dtype="string", vocabulary=["a", "b"], num_oov_indices=2,
         output_mode="one_hot", unlike=LOOKUP),
    case("StringLookup", VECTOR, dtype="string", vocabulary=["a", "b"], max_tokens=9,
         pad_to_max_tokens=True, output_mode="count", unlike=LOOKUP),
    case("StringLookup", VECTOR, dtype="string", vocabulary=["a", "b"], output_mode="tf_idf",
         idf_weights=[1.0, 2.0]),
    case("StringLookup", VECTOR, dtype="int64", vocabulary=["a", "b"], invert=True, unlike=LOOKUP),
    case("TextVectorization", (None, 1), dtype="string", vocabulary=["a", "b"]),
    case("TextVectorization", (None,), dtype="string", vocabulary=["a", "b"],
         output_sequence_length=7),
    case("TextVectorization", (None, 1), dtype="string", vocabulary=["a", "b"],
         output_mode="multi_hot", unlike=LOOKUP),
    case("TextVectorization", (None,), dtype="string", vocabulary=["a", "b"],
         output_mode="tf_idf", idf_weights=[1.0, 2.0]),
    case("TextVectorization", VECTOR, dtype="string", vocabulary=["a", "b"], split=None,
         output_sequence_length=7),
    case("TextVectorization", VECTOR, dtype="string", vocabulary=["a", "b"], split=None, ngrams=2),
    case("MelSpectrogram", (None, 4000), num_mel_bins=8, sequence_stride=100, fft_length=256),
    case("MelSpectrogram", (None, 4050), num_mel_bins=8, sequence_stride=100, fft_length=301),
    case("MelSpectrogram", (None, 4099), num_mel_bins=8, sequence_stride=100, fft_length=256,
         unlike="a frame more is promised than there is"),
    case("STFTSpectrogram", (None, 1000, 2)),
    case("STFTSpectrogram", (None, 1000, 2), mode="stft", frame_length=100, frame_step=30),
    case("STFTSpectrogram", (None, 1000, 2), mode="angle", fft_length=512, padding="same",
         expand_dims=True),
]  # fmt: skip
