"""Configs that bring code along, or name what is not Keras' to run."""

from __future__ import annotations

import base64
import json
import marshal

from model_files import INPUT, dense, sequential, write_h5, write_keras

from hostile import REFUSE, TRUST, Case


def payload(place):
    """Return bytecode that writes the marker, as Keras saves that of a lambda."""
    scope = {}
    exec(f"f = lambda x: (open({str(place.marker)!r}, 'w').close(), x)[1]", scope)  # noqa: S102
    return base64.b64encode(marshal.dumps(scope["f"].__code__)).decode()


def bytecode(place):
    """Return the function of a Lambda as Keras 3 writes it."""
    inner = {"code": payload(place), "defaults": None, "closure": None}
    return {"class_name": "__lambda__", "config": inner}


def function(module, name, registered=None):
    """Return a function as Keras 3 writes it."""
    return {"class_name": "function", "config": name, "module": module,
            "registered_name": registered or name}  # fmt: skip


def layer(class_name, module="keras.layers", registered=None, **config):
    """Return a layer as Keras 3 writes it."""
    return {"class_name": class_name, "module": module, "registered_name": registered,
            "config": {"name": "evil", "trainable": True} | config}  # fmt: skip


def lambda_layer(place):
    """Return a Lambda with the payload."""
    return layer("Lambda", function=bytecode(place), arguments={})


def old_lambda(place):
    """Return a Lambda with the payload as Keras 2 wrote it."""
    inner = {"name": "evil", "trainable": True, "function_type": "lambda",
             "function": [payload(place), None, None], "arguments": {}}  # fmt: skip
    return {"class_name": "Lambda", "config": inner}


def nested(inner):
    """Return a model in a model in a model."""
    model = sequential(INPUT, inner, name="deep")
    return sequential(INPUT, sequential(INPUT, model, name="middle"), name="outer")


def with_layer(make):
    """Return a maker of a .keras file with one hostile layer."""
    return lambda place: write_keras(
        place.folder / "m.keras", sequential(INPUT, make(place), dense())
    )


def with_layer_h5(make, **attributes):
    """Return a maker of an .h5 file with one hostile layer."""
    return lambda place: write_h5(
        place.folder / "m.h5", sequential(INPUT, make(place), dense()), **attributes
    )


def as_json(make):
    """Return a maker of an architecture in JSON with one hostile layer."""

    def made(place):
        path = place.folder / "m.json"
        path.write_text(json.dumps(sequential(INPUT, make(place), dense())))
        return path

    return made


def inside(key, value):
    """Return a maker of a .keras file whose Dense has a hostile setting."""
    return with_layer(lambda place: dense("evil", **{key: value(place)}))


def as_yaml(place):
    """Return an architecture in YAML that names a Python function to call."""
    path = place.folder / "m.yaml"
    path.write_text(
        "class_name: Sequential\n"
        f"config: !!python/object/apply:os.system ['touch {place.marker}']\n"
    )
    return path


def training(place, what):
    """Return an .h5 file whose training config is hostile."""
    return write_h5(place.folder / "m.h5", sequential(), training_config=json.dumps(what))


def pipeline(place):
    """Return a Lambda among the layers of a preprocessing Pipeline."""
    return layer("Pipeline", layers=[lambda_layer(place)])


def wrapped(place):
    """Return a Lambda in a TimeDistributed."""
    return layer("TimeDistributed", layer=lambda_layer(place))


CASES = [
    Case("lambda in keras", TRUST, "lambda-bytecode", with_layer(lambda_layer)),
    Case("lambda in h5", TRUST, "lambda-bytecode", with_layer_h5(lambda_layer)),
    Case("lambda of keras 2", TRUST, "lambda-bytecode",
         with_layer_h5(old_lambda, keras_version="2.3.1", backend="tensorflow")),
    Case("lambda in json", TRUST, "lambda-bytecode", as_json(lambda_layer)),
    Case("lambda three deep", TRUST, "lambda-bytecode",
         lambda p: write_keras(p.folder / "m.keras", nested(lambda_layer(p)))),
    Case("lambda wrapped", TRUST, "lambda-bytecode", with_layer(wrapped)),
    Case("lambda in a pipeline", TRUST, "lambda-bytecode", with_layer(pipeline)),
    Case("lambda as output shape", TRUST, "lambda-bytecode",
         with_layer(lambda p: layer("Dense", units=2, output_shape=bytecode(p)))),
    Case("bytecode as an activation", TRUST, "lambda-bytecode", inside("activation", bytecode)),
    Case("bytecode as an initializer", TRUST, "lambda-bytecode",
         inside("kernel_initializer", bytecode)),
    Case("bytecode in a list", TRUST, "lambda-bytecode",
         inside("anything", lambda p: [[{"a": [bytecode(p)]}]])),
    Case("lambda calling relu", TRUST, "lambda-function",
         with_layer(lambda p: layer("Lambda", function=function("keras.activations", "relu")))),
    Case("lambda calling the author", TRUST, "lambda-function",
         with_layer(lambda p: layer("Lambda", function=function("theirs", "run")))),
    Case("lambda calling keras.visualization", REFUSE, "keras-function",
         with_layer(lambda p: layer("Lambda", arguments={"path": str(p.marker)}, function=function(
             "keras.visualization", "plot_image_gallery")))),
    Case("lambda calling os", REFUSE, "foreign-module",
         with_layer(lambda p: layer("Lambda", function=function("os", "system")))),
    Case("lambda calling keras.utils", REFUSE, "keras-function",
         with_layer(lambda p: layer("Lambda", function=function("keras.utils", "get_file")))),
    Case("activation os.system", REFUSE, "foreign-module",
         inside("activation", lambda p: function("os", "system"))),
    Case("activation builtins.eval", REFUSE, "foreign-module",
         inside("activation", lambda p: function("builtins", "eval"))),
    Case("activation as text os.system", REFUSE, "foreign-module",
         inside("activation", lambda p: "os.system")),
    Case("activation of the author", TRUST, "custom-function",
         inside("activation", lambda p: "my_activation")),
    Case("initializer get_file", REFUSE, "keras-function",
         inside("kernel_initializer", lambda p: function("keras.utils", "get_file"))),
    Case("function of keras.ops", REFUSE, "keras-function",
         inside("activation", lambda p: function("keras.ops", "save_to_file"))),
    Case("unsafe deserialization", REFUSE, "keras-function",
         inside("kernel_regularizer",
                lambda p: function("keras.config", "enable_unsafe_deserialization"))),
    Case("class of subprocess", REFUSE, "foreign-module",
         with_layer(lambda p: layer("Popen", "subprocess", args=["touch", str(p.marker)]))),
    Case("class of keras.src.saving", REFUSE, "keras-function",
         with_layer(lambda p: layer("KerasFileEditor", "keras.src.saving.file_editor"))),
    Case("class of keras.callbacks", REFUSE, "keras-function",
         with_layer(lambda p: layer("CSVLogger", "keras.callbacks", filename=str(p.marker)))),
    Case("safe mode off", REFUSE, "unsafe-setting", inside("safe_mode", lambda p: False)),
    Case("custom class", TRUST, "custom-class", with_layer(lambda p: layer("Odd", "my.layers"))),
    Case("custom class in h5", TRUST, "custom-class",
         with_layer_h5(lambda p: {"class_name": "Odd", "config": {"name": "evil"}})),
    Case("class without a module", TRUST, "custom-class",
         with_layer(lambda p: layer("Odd", "builtins"))),
    Case("registered class", TRUST, "custom-class",
         with_layer(lambda p: layer("Odd", None, "theirs>Odd"))),
    Case("class of __main__", TRUST, "custom-class",
         with_layer(lambda p: layer("Dense", "__main__", units=2))),
    Case("class of a keras_hub", TRUST, "custom-class",
         with_layer(lambda p: layer("Backbone", "keras_hub.models"))),
    Case("dense of another module", TRUST, "custom-class",
         with_layer(lambda p: layer("Dense", "keras_evil.layers", units=2))),
    Case("custom initializer", TRUST, "custom-class",
         inside("kernel_initializer", lambda p: layer("Zeros", "theirs.initializers"))),
    Case("subclassed model", TRUST, "subclassed-model",
         lambda p: write_keras(p.folder / "m.keras", {
             "class_name": "Theirs", "module": "theirs", "config": {"units": 2}})),
    Case("tfsm layer", TRUST, "external-model",
         with_layer(lambda p: layer("TFSMLayer", filepath=str(p.secret)))),
    Case("torch module", TRUST, "external-model",
         with_layer(lambda p: layer("TorchModuleWrapper", module="gASV"))),
    Case("jax layer", TRUST, "external-model", with_layer(lambda p: layer("JaxLayer"))),
    Case("vocabulary path", TRUST, "vocabulary-path",
         with_layer(lambda p: layer("StringLookup", vocabulary=str(p.secret)))),
    Case("vocabulary of text", TRUST, "vocabulary-path",
         with_layer(lambda p: layer("TextVectorization", vocabulary=str(p.secret)))),
    Case("vocabulary of the network", TRUST, "vocabulary-path",
         with_layer_h5(lambda p: layer("IntegerLookup", vocabulary="http://169.254.169.254/x"))),
    Case("tf.io as a layer", TRUST, "tf-operation",
         with_layer_h5(lambda p: {"class_name": "TFOpLambda", "config": {
             "name": "evil", "function": "io.write_file"}}, keras_version="2.9.0")),
    Case("py_function as a layer", TRUST, "tf-operation",
         with_layer_h5(lambda p: {"class_name": "TFOpLambda", "config": {
             "name": "evil", "function": "py_function"}}, keras_version="2.9.0")),
    Case("WriteFile as a layer", TRUST, "tf-operation",
         with_layer_h5(lambda p: {"class_name": "TensorFlowOpLayer", "config": {
             "name": "evil", "node_def": {"op": "WriteFile"}, "constants": {}}},
             keras_version="2.4.0")),
    Case("loss of os", REFUSE, "foreign-module",
         lambda p: training(p, {"loss": function("os", "system")})),
    Case("loss with bytecode", TRUST, "lambda-bytecode",
         lambda p: training(p, {"loss": bytecode(p)})),
    Case("typespec of os", REFUSE, "foreign-module",
         inside("input_spec", lambda p: {"class_name": "__typespec__", "module": "os",
                                         "config": [], "spec_name": "system",
                                         "registered_name": None})),
    Case("yaml that calls", REFUSE, "yaml-code", as_yaml),
]  # fmt: skip
