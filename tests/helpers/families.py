"""A network of one block of each of the authors' later families, small enough to export often."""

import keras
from folded import moved

from keras_r3d.applications.builders import blocks, building
from keras_r3d.applications.networks import NETWORKS


def mixed(shape=(8, 20, 20, 3), classes=3) -> keras.Model:
    """Pre-activated, grouped, dense and factorized blocks; grouped ones at 8, 4 and 2 frames."""
    keras.utils.set_random_seed(0)
    clip = keras.Input(shape, name="clip")
    x = blocks.conv(clip, 16, "conv1", strides=(1, 2, 2))
    x = blocks.residual(x, 8, (1, 1, 1), "conv2_1", NETWORKS["preresnet50"], "B", "3d")
    x = blocks.residual(x, 8, (1, 1, 1), "conv2_2", NETWORKS["resnext50"], "B", "3d")
    x = blocks.residual(x, 16, (2, 2, 2), "conv3_1", NETWORKS["resnext50"], "B", "3d")
    x = blocks.transition(x, "conv4_transition")
    x = blocks.dense(x, 16, "conv4_1")
    x = blocks.residual(x, 16, (1, 1, 1), "conv4_2", NETWORKS["resnext50"], "B", "3d")
    x = blocks.residual(x, 8, (2, 2, 2), "conv5_1", NETWORKS["r2p1d50"], "B", "2+1d")
    options = {"classes": classes, "classifier_activation": "softmax"}
    model = moved(keras.Model(clip, building.classify(building.pool(x, "avg"), options)))
    kernel, bias = model.layers[-1].get_weights()
    model.layers[-1].set_weights([kernel / 50, 0 * bias])  # else one class has it all
    return model
