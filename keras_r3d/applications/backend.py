"""Says so in a sentence where Keras is set up for another backend than TensorFlow."""

import os

from keras_r3d.system.errors import DeviceError

try:
    import keras

    _backend = keras.backend.backend()
except ModuleNotFoundError as error:  # of a backend that is not installed
    _backend = os.environ.get("KERAS_BACKEND") or str(error.name)
if _backend != "tensorflow":
    raise DeviceError(
        f"keras_r3d needs Keras on TensorFlow, but Keras is set up for '{_backend}' here: set the "
        "environment variable KERAS_BACKEND=tensorflow before Keras is imported (it has precedence "
        "over ~/.keras/keras.json)."
    )
