"""Export to OpenVINO, float32: uint8 clips in, probabilities out, any batch size.

By way of a SavedModel, which OpenVINO reads itself. Keras's own exporter hands OpenVINO a function
instead: on Python 3.13 that fails inside OpenVINO (2026.4), and it needs SciPy.
"""

import json
import tempfile
from pathlib import Path

import keras
import tensorflow as tf

from keras_r3d.export.formats import Source
from keras_r3d.inference.models.runtimes.exported import (
    CLASSES,
    INPUT,
    OPENVINO_METADATA,
    OPENVINO_SECTION,
    OUTPUT,
)
from keras_r3d.system import files

MODEL = "model.xml"  # its weights lie beside it, in model.bin


def write(source: Source, path: Path, quantize: str) -> None:
    """Writes a folder with `model.xml` and `model.bin`.

    The input `clip` is uint8 `(batch, frames, height, width, channels)`, the output
    `probabilities` float32 `(batch, classes)`. The runtime information has, in the section
    `OPENVINO_SECTION`, the class names as JSON (`CLASSES`) and `model.json` (`OPENVINO_METADATA`).

    Args:
        quantize: "none", the only one.

    Raises:
        WriteError: it cannot be written.
    """
    import openvino

    model = source.network
    spec = tf.TensorSpec((None, *model.input_shape[1:]), tf.uint8, name=INPUT)
    archive = keras.export.ExportArchive()
    archive.track(model)
    archive.add_endpoint(
        "serving_default",
        lambda clip: {OUTPUT: model(tf.cast(clip, tf.float32), training=False)},
        input_signature=[spec],
    )
    with tempfile.TemporaryDirectory(prefix="keras_r3d-openvino-") as folder:
        archive.write_out(folder, verbose=False)
        made = openvino.convert_model(folder)
    made.set_friendly_name(model.name)
    # Otherwise the temporary folder is named in the file.
    made.set_rt_info(model.name, ["conversion_parameters", "input_model"])
    names = json.dumps(list(source.classes), ensure_ascii=False)
    made.set_rt_info(names, [OPENVINO_SECTION, CLASSES])
    made.set_rt_info(source.metadata.to_json(), [OPENVINO_SECTION, OPENVINO_METADATA])
    try:
        path.mkdir()
    except OSError as error:
        raise files.WriteError(files.explain(path, error)) from error
    # Otherwise it would save the weights in float16.
    openvino.save_model(made, path / MODEL, compress_to_fp16=False)
