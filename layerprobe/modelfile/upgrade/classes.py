"""Which layer classes are Keras' own, and which of them are known to be computed rightly."""

from __future__ import annotations

# Classes that Keras 2 on TensorFlow and Keras 3 compute alike, layer by layer, once the steps of
# `keras2` are done. Established by running both on real files and on recordings of the originals.
SAME_IN_KERAS_3 = frozenset(
    """
    InputLayer Dense Activation Flatten Reshape Permute RepeatVector Dropout Embedding Masking
    Add Subtract Multiply Average Maximum Minimum Concatenate Dot
    Conv1D Conv2D Conv3D Conv2DTranspose Conv3DTranspose SeparableConv1D SeparableConv2D
    DepthwiseConv2D MaxPooling1D MaxPooling2D MaxPooling3D AveragePooling1D AveragePooling2D
    AveragePooling3D GlobalAveragePooling1D GlobalAveragePooling2D GlobalAveragePooling3D
    GlobalMaxPooling1D GlobalMaxPooling2D GlobalMaxPooling3D ZeroPadding1D ZeroPadding2D
    ZeroPadding3D Cropping1D Cropping2D Cropping3D UpSampling1D UpSampling2D UpSampling3D
    BatchNormalization LayerNormalization PReLU LeakyReLU ELU ReLU Softmax GaussianNoise
    GaussianDropout AlphaDropout SimpleRNN LSTM GRU Bidirectional TimeDistributed RNN
    SimpleRNNCell LSTMCell GRUCell StackedRNNCells ActivityRegularization SpatialDropout1D
    SpatialDropout2D SpatialDropout3D MultiHeadAttention Attention AdditiveAttention EinsumDense
    Conv1DTranspose DepthwiseConv1D GroupNormalization UnitNormalization Rescaling Resizing
    CenterCrop Identity Normalization Discretization CategoryEncoding IntegerLookup RandomFlip
    RandomRotation RandomZoom RandomTranslation RandomContrast SpectralNormalization
    ConvLSTM1D ConvLSTM3D RandomBrightness StringLookup
    TextVectorization Hashing HashedCrossing
    """.split()
)
# Layers of `backend.legacy` that stand for the class of their name wherever Keras 1 or 2 wrote it.
# A Merge is one that computes cosines; other modes have become layers of Keras 2.
FORMER_LAYERS = frozenset(
    """
    ThresholdedReLU LocallyConnected1D LocallyConnected2D ConvLSTM2D ParametricSoftplus SReLU
    Highway MaxoutDense Merge
    """.split()
)
# Of these, the ones that were compared with this version and later ones alone.
COMPARED_SINCE = (2, 15)
COMPARED_LATE = frozenset("StringLookup TextVectorization Hashing HashedCrossing".split())
# Layers of which `keras2` makes others, that do the same outside training.
OF_TRAINING = frozenset({"SyncBatchNormalization", "RandomHeight", "RandomWidth"})
# Layers that ran on GPUs alone; `keras2` makes plain ones of them.
CUDNN_LAYERS = frozenset({"CuDNNLSTM", "CuDNNGRU"})
# Layers that keras.applications defines for ConvNeXt and InceptionResNetV2.
APPLICATION_CLASSES = frozenset({"LayerScale", "CustomScaleLayer"})
CODE = frozenset({"Lambda", "TFSMLayer", "TorchModuleWrapper", "JaxLayer", "FlaxLayer"})

# Classes that Keras itself once had; a file naming them does not bring code of its own along.
FORMER_CLASSES = frozenset(
    """
    CuDNNLSTM CuDNNGRU ThresholdedReLU LocallyConnected1D LocallyConnected2D Merge MaxoutDense
    Highway TimeDistributedDense Convolution1D Convolution2D Convolution3D AtrousConvolution1D
    AtrousConvolution2D Deconvolution2D Deconvolution3D SeparableConvolution1D
    SeparableConvolution2D ParametricSoftplus SReLU TensorFlowOpLayer TFOpLambda SlicingOpLambda
    ClassMethod InstanceProperty InstanceMethod SyncBatchNormalization
    RandomHeight RandomWidth
    """.split()
)
