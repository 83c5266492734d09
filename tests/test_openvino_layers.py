"""Keras' own layers on OpenVINO: each gives TensorFlow's numbers, or is refused with the reason."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import layer_numbers
import numpy as np
import pytest
from command import ROOT, environment

from layerprobe import backend
from layerprobe.errors import BackendError

pytestmark = pytest.mark.engine("openvino")

# Settings in which the classes that `UNSUPPORTED` names are refused; in others they run.
_IF = {
    "CategoryEncoding": lambda c: c.spec.arguments["output_mode"] == "multi_hot",
    "Conv1DTranspose": lambda c: None in c.inputs[0].shape[1:],
    "Conv2DTranspose": lambda c: None in c.inputs[0].shape[1:],
    "Conv3DTranspose": lambda c: None in c.inputs[0].shape[1:],
    "Discretization": lambda c: c.spec.arguments["output_mode"] == "multi_hot",
    "GroupQueryAttention": lambda _: False,  # only with a mask: in test_backend_openvino.py
    "LeakyReLU": lambda c: c.inputs[0].dtype == "int32",
    "MultiHeadAttention": lambda _: False,
    "RNN": lambda c: len(c.spec.arguments["cell"].arguments.get("cells", [])) == 1,
    "TimeDistributed": lambda c: None in c.inputs[0].shape[1:],
}
# Keras' OpenVINO turns these into int32; what lies beyond is refused where it is fed.
_INT32 = frozenset({"Maximum"})
_CASES = layer_numbers.cases()


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Return what the layers give on TensorFlow when they are called by hand."""
    path = tmp_path_factory.mktemp("numbers") / "tensorflow.npz"
    subprocess.run(
        [sys.executable, layer_numbers.__file__, path],
        env=environment(KERAS_BACKEND="tensorflow"),
        cwd=ROOT / "tests",
        check=True,
        capture_output=True,
    )
    return np.load(path)


def refusal(case: Any) -> str:
    """Return the documented reason why a case is refused, or nothing."""
    from layerprobe.backend.openvino import UNSUPPORTED

    name = case.spec.class_name
    return UNSUPPORTED.get(name, "") if _IF.get(name, lambda _: True)(case) else ""


@pytest.mark.parametrize("number", range(len(_CASES)), ids=list(_CASES))
def test_a_layer_gives_the_numbers_of_tensorflow(recorded: Any, number: int) -> None:
    """Every layer of Keras, in many settings, equals TensorFlow's, or is refused by the table."""
    case = list(_CASES.values())[number]
    _, inputs, outputs = layer_numbers.layer_of(case)
    if refusal(case):
        with pytest.raises(BackendError, match="OpenVINO cannot run") as refused:
            backend.function(inputs, outputs)
        assert refusal(case) in str(refused.value)
        return
    results = backend.function(inputs, outputs)(layer_numbers.rows_of(case))
    for at, result in enumerate(results):
        wanted = recorded[f"{number}:{at}"]
        assert result.shape == wanted.shape
        kind = "i" if case.spec.class_name in _INT32 else result.dtype
        assert wanted.dtype == result.dtype or wanted.dtype.kind == kind
        bound = 1e-5 * np.abs(wanted.astype("float64")).max(initial=0.0)
        np.testing.assert_allclose(result.astype("float64"), wanted, rtol=0, atol=bound)


def test_the_table_of_what_is_refused_is_true_and_written_down() -> None:
    """Every class in it is refused in a case here or with a mask, and stands in the documents."""
    from layerprobe.backend.openvino import UNSUPPORTED

    refused = {case.spec.class_name for case in _CASES.values() if refusal(case)}
    assert set(UNSUPPORTED) - refused == {"GroupQueryAttention", "MultiHeadAttention"}
    text = (ROOT / "docs/backend.md").read_text("utf-8")
    for name, reason in UNSUPPORTED.items():
        assert any(f"`{name}`" in line and reason in line for line in text.splitlines()), name
