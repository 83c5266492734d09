"""Shape rules of preprocessing layers: images, audio, numbers, categories and text.

Here Keras' symbolic shapes and dtypes are often not what a call returns; these rules say what is
returned when a trained model is run (`training=False`), and None where that is not certain.
"""

from __future__ import annotations

from layerprobe.layers import Shape
from layerprobe.modelfile.shape_call import (
    Call,
    DtypeRule,
    Rule,
    ShapeRule,
    Tensor,
    attempt,
    computed,
    integer,
    is_float,
    items,
    kept,
    same_shape,
    single,
)
from layerprobe.modelfile.shape_spatial import window_size

_OLD_MODES = {"binary": "multi_hot", "tf-idf": "tf_idf"}


def _on_images(shape: ShapeRule, dtype: DtypeRule = computed) -> Rule:
    """Return the rule of an image layer; None for a dict of images, labels and boxes."""

    def rule(call: Call) -> list[Tensor] | None:
        return single(shape, dtype)(call) if len(call.inputs) == 1 else None

    return rule


def _uncast(call: Call) -> str | None:
    """Return the dtype of an augmentation that casts integers in training alone."""
    dtype = kept(call)
    return None if call.kwargs.get("training") and not is_float(dtype or "") else dtype


def _resized(call: Call) -> Shape:
    shape = list(call.shape())
    if len(shape) not in (3, 4):  # one image, or a batch of them
        raise ValueError(shape)
    height = len(shape) - (2 if call.channels_first else 3)
    shape[height : height + 2] = [call.integer("height"), call.integer("width")]
    return tuple(shape)


def _center_crop_dtype(call: Call) -> str | None:
    """Return the dtype of CenterCrop, which resizes an image that is too small.

    TensorFlow resizes to float32 whatever the policy is.
    """
    resized, shape = attempt(_resized, call), call.inputs[0].shape
    crops = (
        resized is not None
        and shape is not None
        and all(
            before is not None and after is not None and before >= after
            for before, after in zip(shape[-3:], resized[-3:], strict=True)
        )
    )
    return call.compute_dtype if crops or call.compute_dtype == "float32" else None


def _random_crop(call: Call) -> Shape:
    """Return the axes on which training, which crops, and inference, which does not, agree."""
    pairs = zip(call.shape(), _resized(call), strict=True)
    return tuple(before if before == after else None for before, after in pairs)


def _random_crop_dtype(call: Call) -> str | None:
    """Return the dtype of RandomCrop: only training casts the images."""
    dtype = call.inputs[0].dtype
    return dtype if dtype == call.compute_dtype else None


def _rescaled(call: Call) -> Shape:
    """Return the shape of the input, which a scale given as an array may widen."""
    plain = all(isinstance(call.config.get(key, 0), (int, float)) for key in ("scale", "offset"))
    return tuple(size if plain or size != 1 else None for size in call.shape())


def _mel_spectrogram(call: Call) -> Shape:
    """Return (batch, bins, frames); the signal is padded by half a window on both sides."""
    *batch, samples = call.shape()
    if len(batch) > 1:
        raise ValueError(call.inputs)
    window = call.integer("fft_length", 2048)
    stride = call.integer("sequence_stride", 512)
    padded = None if samples is None else samples + 2 * (window // 2)
    return (*batch, call.integer("num_mel_bins", 128), window_size(padded, window, stride, "valid"))


def _stft_spectrogram(call: Call) -> Shape:
    """Return the frequencies of every frame, as channels or with `expand_dims` as an axis."""
    shape = call.shape(3)
    first = call.channels_first
    samples, channels = (shape[2], shape[1]) if first else (shape[1], shape[2])
    length = call.integer("frame_length", 256)
    step = length // 2 if call.config.get("frame_step") is None else call.integer("frame_step")
    window = call.config.get("fft_length")
    window = 1 << (length - 1).bit_length() if window is None else integer(window)
    bins = window // 2 + 1
    if call.config.get("mode", "log") == "stft":
        bins *= 2
    frames = window_size(samples, length, step, str(call.config.get("padding", "valid")))
    if call.config.get("expand_dims"):
        return (shape[0], channels, frames, bins) if first else (shape[0], frames, bins, channels)
    depth = None if channels is None else channels * bins
    return (shape[0], depth, frames) if first else (shape[0], frames, depth)


def _encoded(shape: Shape, mode: str, depth: int | None) -> Shape:
    """Return the shape of categories encoded as integers, or along a new last axis.

    One-hot drops a last axis of one category; the other modes sum over axis 1.
    """
    if mode == "int":
        return shape
    if mode == "one_hot":
        if len(shape) > 1 and shape[-1] is None:
            raise ValueError(shape)  # whether the axis is dropped depends on its size
        return (*(shape[:-1] if len(shape) > 1 and shape[-1] == 1 else shape), depth)
    if mode not in ("multi_hot", "count", "tf_idf"):
        raise ValueError(mode)
    return (*shape[:1], *shape[2:], depth) if len(shape) > 1 else (depth,)


def _mode(call: Call, default: str = "int") -> str:
    mode = str(call.config.get("output_mode", default))
    return _OLD_MODES.get(mode, mode)


def _discretized(call: Call) -> Shape:
    bounds = call.config.get("bin_boundaries")
    depth = call.integer("num_bins") if bounds is None else len(items(bounds)) + 1
    return _encoded(call.shape(), _mode(call), depth)


def _discretized_dtype(call: Call) -> str | None:
    return "int32" if _mode(call) == "int" else call.compute_dtype


def _category_encoding(call: Call) -> Shape:
    return _encoded(call.shape(), _mode(call, "multi_hot"), call.integer("num_tokens"))


def _hashed(call: Call) -> Shape:
    return _encoded(call.shape(), _mode(call), call.integer("num_bins"))


def _hashed_dtype(call: Call) -> str | None:
    if call.config.get("dtype") is None and _mode(call) == "int":
        return "int64"
    return call.variable_dtype


def _crossed(call: Call) -> Shape:
    shape = call.shape()
    if shape != call.shape(position=1) or not (len(shape) == 1 or shape[1:] == (1,)):
        raise ValueError(call.inputs)
    return _hashed(call)


def _vocabulary_size(call: Call) -> int | None:
    if call.config.get("pad_to_max_tokens"):
        return call.integer("max_tokens")
    size = call.config.get("vocabulary_size")
    return None if size is None else integer(size)


def _looked_up(call: Call) -> Shape:
    return _encoded(call.shape(), _mode(call), _vocabulary_size(call))


def _looked_up_dtype(call: Call) -> str | None:
    if _mode(call) == "tf_idf":
        return "float32"
    return "int64"


def _string_lookup_dtype(call: Call) -> str | None:
    return "string" if call.config.get("invert") else _looked_up_dtype(call)


def _vectorized_text(call: Call) -> Shape:
    """Return the tokens of each text, or their encoding; texts are split along a last axis of 1."""
    shape, length = call.shape(), call.config.get("output_sequence_length")
    if call.config.get("split", "whitespace") is not None:
        if len(shape) > 2 or (len(shape) == 2 and shape[1] not in (1, None)):
            raise ValueError(shape)
        shape = (shape[0], None)
    elif call.config.get("ngrams") is not None:
        shape = (*shape[:-1], None)
    if _mode(call) != "int":
        return _encoded(shape, _mode(call), _vocabulary_size(call))
    if length is None or call.config.get("ragged"):
        return shape
    return (*shape[:-1], integer(length))


def _pipeline(call: Call) -> list[Tensor] | None:
    """Return the outputs of image layers applied one after the other."""
    tensors: list[Tensor] | None = list(call.inputs)
    for layer in items(call.config["layers"]):
        if tensors is None:
            return None
        tensors = call.infer(layer, tensors)
    return tensors


_IMAGES = _on_images(same_shape)
_IMAGES_UNCAST = _on_images(same_shape, _uncast)

RULES: dict[str, Rule] = {
    "Rescaling": single(_rescaled),
    "Normalization": single(same_shape),
    "MelSpectrogram": single(_mel_spectrogram),
    "STFTSpectrogram": single(_stft_spectrogram),
    "Resizing": _on_images(_resized, kept),
    "CenterCrop": _on_images(_resized, _center_crop_dtype),
    "RandomCrop": _on_images(_random_crop, _random_crop_dtype),
    **dict.fromkeys(
        """AugMix AutoContrast CutMix RandAugment RandomElasticTransform RandomErasing RandomFlip
        RandomGaussianBlur RandomPerspective RandomRotation RandomSharpness RandomShear
        RandomTranslation RandomZoom Solarization""".split(),
        _IMAGES,
    ),
    **dict.fromkeys(
        """ContrastLimitedAdaptiveHistogramEqualization Equalization MaxNumBoundingBoxes MixUp
        RandomBrightness RandomColorDegeneration RandomColorJitter RandomContrast RandomGrayscale
        RandomHue RandomInvert RandomPosterization RandomSaturation""".split(),
        _IMAGES_UNCAST,
    ),
    "Pipeline": _pipeline,
    "Discretization": single(_discretized, _discretized_dtype),
    "CategoryEncoding": single(_category_encoding, lambda call: call.variable_dtype),
    "Hashing": single(_hashed, _hashed_dtype),
    "HashedCrossing": single(_crossed, _hashed_dtype),
    "IntegerLookup": single(_looked_up, _looked_up_dtype),
    "StringLookup": single(_looked_up, _string_lookup_dtype),
    "TextVectorization": single(_vectorized_text, _looked_up_dtype),
}
