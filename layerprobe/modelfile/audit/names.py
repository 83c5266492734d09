"""Names of Keras that a config may hold: an allowlist, so that what is new or unknown is told.

Layers are those that have a rule for their shapes (`shapes.LAYER_CLASSES`); the others are listed
here. Each is Keras' own, computes only, and takes numbers, not paths.
"""

from __future__ import annotations

# Initializers, regularizers, constraints, losses, metrics, optimizers, schedules, dtype policies.
CLASSES = frozenset(
    """
    Constant GlorotNormal GlorotUniform HeNormal HeUniform Identity IdentityInitializer LecunNormal
    LecunUniform Ones Orthogonal OrthogonalInitializer RandomNormal RandomUniform STFT
    STFTInitializer TruncatedNormal VarianceScaling Zeros
    L1 L1L2 L2 OrthogonalRegularizer
    MaxNorm MinMaxNorm NonNeg UnitNorm
    BinaryCrossentropy BinaryFocalCrossentropy CTC CategoricalCrossentropy
    CategoricalFocalCrossentropy CategoricalGeneralizedCrossEntropy CategoricalHinge Circle
    CosineSimilarity Dice Hinge Huber KLDivergence LogCosh MeanAbsoluteError
    MeanAbsolutePercentageError MeanSquaredError MeanSquaredLogarithmicError Poisson
    SparseCategoricalCrossentropy SquaredHinge Tversky
    AUC Accuracy BinaryAccuracy BinaryIoU CategoricalAccuracy ConcordanceCorrelation F1Score
    FBetaScore FalseNegatives FalsePositives IoU LogCoshError Mean MeanIoU MeanMetricWrapper
    OneHotIoU OneHotMeanIoU PearsonCorrelation Precision PrecisionAtRecall R2Score Recall
    RecallAtPrecision RootMeanSquaredError SensitivityAtSpecificity SparseCategoricalAccuracy
    SparseTopKCategoricalAccuracy SpecificityAtSensitivity Sum TopKCategoricalAccuracy
    TrueNegatives TruePositives
    Adadelta Adafactor Adagrad Adam AdamW Adamax Ftrl Lamb Lion LossScaleOptimizer MultiOptimizer
    Muon Nadam RMSprop SGD ScheduleFreeAdamW
    CosineDecay CosineDecayRestarts ExponentialDecay InverseTimeDecay PiecewiseConstantDecay
    PolynomialDecay
    AWQDTypePolicy DTypePolicy DTypePolicyMap FloatDTypePolicy GPTQDTypePolicy Int4DTypePolicy
    QuantizedDTypePolicy QuantizedFloat8DTypePolicy
    AWQConfig AbsMaxQuantizer Float8QuantizationConfig GPTQConfig Int4QuantizationConfig
    Int8QuantizationConfig QuantizationConfig
    SeedGenerator
    """.split()
)
# What older Kerases wrote and Keras 3 has no more, or under another name.
FORMER = frozenset(
    """
    Policy PolicyV1 LossScale DynamicLossScale WarmUp GlorotUniformV2 RandomNormalV2 ZerosV2 OnesV2
    WeightRegularizer ActivityRegularizer EigenvalueRegularizer TFOptimizer NadamV2
    MeanRelativeError CosineProximity SumOverBatchSize LossFunctionWrapper MetricsList
    CompileMetrics CompileLoss VarianceScalingV2 ConstantV2 OrthogonalV2 RandomUniformV2
    TruncatedNormalV2
    """.split()
)
# Activations, losses and metrics that are functions.
FUNCTIONS = frozenset(
    """
    celu elu exponential gelu glu hard_shrink hard_sigmoid hard_silu hard_swish hard_tanh leaky_relu
    linear log_sigmoid log_softmax mish relu relu6 selu sigmoid silu soft_shrink softmax softplus
    softsign sparse_plus sparse_sigmoid sparsemax squareplus swish tanh tanh_shrink threshold
    binary_accuracy binary_crossentropy binary_focal_crossentropy categorical_accuracy
    categorical_crossentropy categorical_focal_crossentropy categorical_generalized_cross_entropy
    categorical_hinge circle concordance_correlation cosine_similarity ctc dice hinge huber
    kl_divergence log_cosh mean_absolute_error mean_absolute_percentage_error mean_squared_error
    mean_squared_logarithmic_error pearson_correlation poisson sparse_categorical_accuracy
    sparse_categorical_crossentropy sparse_top_k_categorical_accuracy squared_hinge
    top_k_categorical_accuracy tversky
    """.split()
)
FORMER_FUNCTIONS = frozenset(
    """
    softmax_v2 relu_v2 swish_v2 crelu leaky_relu_v2 accuracy acc mse mae mape msle kld logcosh
    cosine cosine_proximity kullback_leibler_divergence softmax_cross_entropy matthews_correlation
    fbeta_score precision recall fmeasure mean_pred top_k_accuracy huber_loss
    """.split()
)
# Values that are neither layers nor functions: how Keras 2 and 3 write what JSON has no word for.
PLAIN = frozenset(
    """
    __keras_tensor__ __tensor__ __numpy__ __bytes__ __ellipsis__ __slice__ __tuple__ __list__
    TensorShape __typespec__
    """.split()
)
_SPACES = frozenset(
    """
    activations applications constraints dtype_policies engine initializers layers legacy losses
    metrics mixed_precision models ops optimizers quantizers random regularizers trainers
    """.split()
)
_ROOTS = frozenset({"keras", "tf_keras"})


def is_keras_space(module: str) -> bool:
    """Tell whether a module is one of those of Keras that a model consists of.

    Example:
        >>> is_keras_space("keras.layers"), is_keras_space("keras.src.models.functional")
        (True, True)
        >>> is_keras_space("keras.utils"), is_keras_space("os")
        (False, False)
    """
    root, *rest = module.split(".")
    while rest[:1] in (["src"], ["api"], ["_tf_keras"], ["keras"]):
        rest = rest[1:]
    return root in _ROOTS and (not rest or rest[0] in _SPACES)


def is_keras(module: str) -> bool:
    """Tell whether a module is a part of Keras, of whatever kind."""
    return module.partition(".")[0] in _ROOTS
