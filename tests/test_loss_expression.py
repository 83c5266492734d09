"""Loss expressions: what they mean, by NumPy; and what they refuse, which is everything else."""

from __future__ import annotations

import operator

import numpy as np
import pytest

from layerprobe.errors import LayerprobeError
from layerprobe.loss_expression import FUNCTIONS
from layerprobe.loss_reader import read_loss

TARGET = np.array([[0.0, 1.0, 2.0], [3.0, 1.0, 0.5]], "float32")
OUTPUT = np.array([[0.5, 0.25, 1.0], [2.0, 1.5, 0.5]], "float32")
T, O = TARGET.astype(float), OUTPUT.astype(float)  # noqa: E741 - as short as in a formula
MEANINGS = [
    ("mean(square(target - output))", ((T - O) ** 2).mean()),
    (
        "mean(square(target - output)) + 0.01*mean(abs(output))",
        ((T - O) ** 2).mean() + 0.01 * np.abs(O).mean(),
    ),
    ("sum(where(target > 0.75, target, -output))", np.where(T > 0.75, T, -O).sum()),
    ("-sum(target / output) % 3", -(T / O).sum() % 3),
    ("2 - 3 - mean(output) ** 2 * -1", -1 + O.mean() ** 2),
    ("mean(max(output, axis=(0, 1)))", O.max()),
    ("sum(mean(output, 1, keepdims=True) * output)", (O.mean(1, keepdims=True) * O).sum()),
    ("mean(2 ** 0.5 * clip(output, 0.5, x_max=1))", 2**0.5 * np.clip(O, 0.5, 1).mean()),
    ("sum((target == output) * output // 0.3)", ((T == O) * O // 0.3).sum()),
    ("sum(take(output, -1, axis=1))", O[:, -1].sum()),
    ("(\n mean(output)\t+ +1\n)", O.mean() + 1),
]


@pytest.mark.engine
@pytest.mark.parametrize(("text", "expected"), MEANINGS)
def test_it_means_what_numpy_says(text, expected):
    """An expression on tensors of the engine comes to what the same formula does in NumPy."""
    import keras

    given = {"target": TARGET, "output": OUTPUT}
    tensors = {name: keras.ops.convert_to_tensor(array) for name, array in given.items()}
    operations = {name: getattr(keras.ops, name) for name in FUNCTIONS}
    found = read_loss(text).value(tensors, operations)
    np.testing.assert_allclose(keras.ops.convert_to_numpy(found), expected, rtol=1e-5)


ATTACKS = [
    ("__import__('os').system('true')", 1, "attributes"),
    ("mean(output.__class__.__base__)", 6, "attributes"),
    ("output.shape", 1, "attributes"),
    ("keras.ops.mean(output)", 1, "attributes"),
    ("(lambda: output)()", 2, "lambda"),
    ("mean((lambda x: x)(output))", 7, "lambda"),
    ("eval(output)", 1, "no function 'eval'"),
    ("exec('1')", 1, "no function 'exec'"),
    ("open('/etc/passwd')", 1, "no function 'open'"),
    ("getattr(output, 'x')", 1, "no function 'getattr'"),
    ("__builtins__", 1, "not known"),
    ("_", 1, "not known"),
    ("mean('output')", 6, "a str is not allowed"),
    ("mean(b'output')", 6, "a bytes is not allowed"),
    ("mean(f'{output}')", 6, "text"),
    ("mean(output, axis='x')", 19, "a str is not allowed"),
    ("[x for x in output]", 1, "ListComp"),
    ("sum(x for x in output)", 4, "GeneratorExp"),
    ("{output}", 1, "Set"),
    ("{1: output}", 1, "Dict"),
    ("[output]", 1, "List"),
    ("output[0]", 1, "square brackets"),
    ("output if output else target", 1, "'if'"),
    ("output and target", 1, "'and'"),
    ("not output", 1, "logical_not"),
    ("~output", 1, "logical_not"),
    ("output @ target", 1, "MatMult"),
    ("output << 3", 1, "LShift"),
    ("0 < output < 1", 1, "one of <"),
    ("output is target", 1, "one of <"),
    ("output in target", 1, "one of <"),
    ("(y := output)", 2, "NamedExpr"),
    ("y = output", 3, "cannot be read"),
    ("mean(output); 1", 13, "cannot be read"),
    ("import os", 1, "cannot be read"),
    ("await output", 1, "Await"),
    ("(yield output)", 2, "Yield"),
    ("mean(*output)", 6, "'*'"),
    ("mean(output, **output)", 16, "no argument '**'"),
    ("mean(output, dtype=1)", 20, "no argument 'dtype'"),
    ("mean(output, 0, axis=1)", 22, "no argument 'axis'"),
    ("mean(output, 0, True, 1)", 23, "too many"),
    ("mean(output, axis=output)", 19, "plain number"),
    ("mean(output, axis=(0, output))", 23, "whole number"),
    ("mean(output, axis=((0,),))", 20, "tuple"),
    ("mean(output)(1)", 1, "cannot be called"),
    ("mean", 1, "not known"),
    ("mean()", 1, "1 tensors"),
    ("mean(3) + output", 1, "neither target nor output"),
    ("9**9**9**9 * output", 7, "exponent"),
    ("9**99**1 * 9**99 * output", 1, "no number"),
    ("take(output, 0.5, 1)", 14, "whole number"),
    ("output + (mean(0) < 2)", 11, "neither"),
    ("output ** 1000", 11, "exponent"),
    ("output ** -1e9", 11, "exponent"),
    ("power(output, 10**5)", 15, "exponent"),
    ("one_hot(output, 10**9)", 17, "1,000,000"),
    ("one_hot(output, 1000000000)", 17, "1,000,000"),
    ("1e400 * output", 1, "too large"),
    ("9" * 60 + " * output", 1, "too large"),
    ("1 / 0 * output", 1, "no number"),
    ("(-8) ** 0.5 * output", 1, "no number"),
    ("1j * output", 1, "a complex is not allowed"),
    ("True * output", 1, "a bool is not allowed"),
    ("None", 1, "a NoneType is not allowed"),
    ("... + output", 1, "ellipsis is not allowed"),
    ("(output, target)", 1, "tuple"),
    ("mean(target)", 1, "does not hold `output`"),
    ("1 < 2", 1, "two numbers"),
    ("", 1, "cannot be read"),
    ("mean(output", 5, "cannot be read"),
    ("mean(\uff4futput)", 6, "is not allowed"),
    ("mean(output)\x00", 13, "is not allowed"),
    ("mean(\x1b[31moutput)", 6, "is not allowed"),
    ("(" * 60 + "output" + ")" * 60 + "+" * 900 + "1", 1001, "longer than"),
    ("-" * 900 + "output", 41, "nested too deeply"),
    ("abs(" * 90 + "output" + ")" * 90, 161, "nested too deeply"),
    ("output" + "+1" * 400, 1, "nested too deeply"),
    ("(" * 450 + "output" + ")" * 450, None, "cannot be read"),
    ("meen(output)", 1, "closest: mean"),
    ("mean(outputs)", 6, "closest: output"),
]


@pytest.mark.parametrize(("text", "at", "what"), ATTACKS, ids=lambda value: str(value)[:30])
def test_nothing_else_is_allowed(text, at, what):
    """Whatever is no formula is a usage error that shows where, and nothing of it is run."""
    with pytest.raises(LayerprobeError) as refused:
        read_loss(text)
    message = str(refused.value)
    assert refused.value.exit_code == 2
    assert what.lower() in message.lower()
    assert message.isprintable() or "\n" in message
    first, shown, caret, expected = message.splitlines()
    assert first.startswith("The loss expression is wrong at character ")
    assert expected.startswith("Expected: ")
    assert len(shown) <= 102
    if at is not None:
        assert first.startswith(f"The loss expression is wrong at character {at}: ")
        column = caret.index("^")
        if at <= len(text):
            assert shown[column : column + 1] == " ".join(text.split())[at - 1 : at]


@pytest.mark.parametrize(
    ("text", "shapes"),
    [
        ("mean(target - output)", [(4,), (4, 1)]),
        ("mean(target - output)", [(4, 1), (4, 10)]),
        ("mean(output - mean(output, axis=1))", [(4, 1), (4, 10)]),
        ("sum(where(target > 0, output, 0))", [(4,), (4, 10)]),
    ],
)
def test_nothing_is_spread_in_silence(text, shapes):
    """Shapes that would broadcast along an axis nobody meant are refused at the place."""
    given = dict(zip(("target", "output"), map(np.zeros, shapes), strict=True))
    names = {"subtract": np.subtract, "mean": np.mean, "where": np.where, "greater": operator.gt}
    with pytest.raises(LayerprobeError, match="do not go together; use keepdims"):
        read_loss(text).value(given, names)


@pytest.mark.engine("jax")
def test_every_function_is_one_of_keras():
    """The table of functions names nothing that keras.ops does not have."""
    import keras

    assert [name for name in FUNCTIONS if not hasattr(keras.ops, name)] == []
