"""Export to OpenVINO, float32: uint8 clips in, probabilities out, any batch size.

By way of a SavedModel, which OpenVINO reads itself. Keras's own exporter hands OpenVINO a function
instead: on Python 3.13 that fails inside OpenVINO (2026.4), and it needs SciPy.
"""

import json
from pathlib import Path

import keras
import tensorflow as tf

from keras_r3d.export.formats import Source
from keras_r3d.inference.models.runtimes import loaders
from keras_r3d.system import files

MODEL = "model.xml"  # its weights lie beside it, in model.bin


def write(source: Source, path: Path, quantize: str) -> None:
    """Writes a folder with `model.xml` and `model.bin`; `quantize` is "none", the only way.

    The input `clip` is uint8 `(batch, frames, height, width, channels)`, the output
    `probabilities` float32 `(batch, classes)`. The runtime information has, in a section of ours,
    the class names as JSON and `model.json`.
    """
    import openvino

    model, section = source.network, loaders.OPENVINO_SECTION
    spec = tf.TensorSpec((None, *model.input_shape[1:]), tf.uint8, name=loaders.INPUT)
    archive = keras.export.ExportArchive()
    archive.track(model)
    archive.add_endpoint(
        "serving_default",
        lambda clip: {loaders.OUTPUT: model(tf.cast(clip, tf.float32), training=False)},
        input_signature=[spec],
    )
    with files.scratch_folder() as folder:
        archive.write_out(str(folder), verbose=False)
        converted = openvino.convert_model(str(folder))
    converted.set_friendly_name(model.name)
    # Otherwise the temporary folder is named in the file.
    converted.set_rt_info(model.name, ["conversion_parameters", "input_model"])
    names = json.dumps(list(source.classes), ensure_ascii=False)
    converted.set_rt_info(names, [section, loaders.CLASSES])
    converted.set_rt_info(source.metadata.to_json(), [section, loaders.OPENVINO_METADATA])
    path.mkdir()
    # Otherwise it would save the weights in float16.
    openvino.save_model(converted, path / MODEL, compress_to_fp16=False)
