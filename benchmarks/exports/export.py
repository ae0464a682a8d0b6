"""One network in all its exported forms: how fast on one core, how large, how close to Keras.

TensorFlow Lite's own conversion of the same network is what the others are measured against.
"""

import os
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from benchmarks.exports.exported_models import ALL, CLASSES, CLIPS, STOCK
from benchmarks.options import Options
from benchmarks.turns import Contender, Result, in_turns, report
from keras_r3d import applications, recipe
from keras_r3d.data import demo
from keras_r3d.data.decoding.pixels import Frame
from keras_r3d.export.formats import Source, get_format
from keras_r3d.system.opencv import cv2

_CALIBRATION_CLIPS, _CLIPS_COMPARED = 32, 8
_FORMS = {  # of ours, by file: format and quantization
    **{f"{how}.tflite": ("tflite", how) for how in ("none", "float16", "dynamic", "int8")},
    **{"saved_model": ("saved_model", "none"), "model.onnx": ("onnx", "none")},
    "openvino": ("openvino", "none"),
}


def run(options: Options, contenders: Sequence[Contender] = ALL) -> dict[str, Any]:
    """Measures and prints; the contenders are the stock conversion, and others."""
    model, frames, size = options.model, options.frames, options.size
    network = options.build_network((frames, size, size, 3), classes=CLASSES)
    pinned = sorted(os.sched_getaffinity(0))[: options.cores]
    shown = draw_clips(_CLIPS_COMPARED, frames, size, split="test")
    calibration = draw_clips(_CALIBRATION_CLIPS, frames, size)
    move_weights(network, calibration[:_CLIPS_COMPARED])
    expected = network.predict_on_batch(shown.astype(np.float32))
    load = [os.getloadavg()[0]]
    file_of = {contender.name: contender.options["file"] for contender in contenders}
    with tempfile.TemporaryDirectory(prefix="keras_r3d-benchmark-") as scratch:
        folder = Path(scratch)
        np.save(folder / CLIPS, shown)
        failed = _write(network, folder, calibration, set(file_of.values()))
        sizes = {file: _megabytes(folder / file) for file in file_of.values()}
        turns = [range(options.clips)] * (options.rounds + 1)
        results = {name: Result(problem=failed.get(file, "")) for name, file in file_of.items()}
        results |= in_turns(
            [contender for contender in contenders if not results[contender.name].problem],
            *(folder, lambda pace: turns, [STOCK.name]),
            cores=pinned,
            shows=range(len(shown)),
        )
    load.append(os.getloadavg()[0])
    more: dict[str, dict[str, Any]] = {}
    for name, result in results.items():
        if not result.problem:
            file, scores = file_of[name], np.concatenate(result.shown)
            more[name] = {
                "MB": sizes[file],
                "smaller": sizes[file_of[STOCK.name]] / sizes[file],
                "off": float(np.abs(scores - expected).max()),
                "same class": float((scores.argmax(1) == expected.argmax(1)).mean()),
            }
    title = (
        f"Exported models, {model}, clips of {frames}x{size}x{size} one at a time on {len(pinned)} "
        f"of {os.cpu_count()} cores; load {load[0]:.1f} before, {load[1]:.1f} after (one is this)\n"
        "Made-up weights; calibrated and compared on clips of the demo's scenes. Of stock, "
        "smaller: against stock TFLite. Off: largest difference of a probability from Keras."
    )
    rows = report(title, results, "clips", against={"of stock": STOCK.name}, more=more)
    return {"contenders": rows, "load": load, "cores": len(pinned)}


def draw_clips(count: int, frames: int, size: int, *, split: str = "train") -> Frame:
    """Draws clips of the demo's scenes, RGB, which differ by split: a shape before a texture."""
    out = np.empty((count, frames, size, size, 3), np.uint8)
    for number, clip in enumerate(out):
        label = demo.CLASSES[number % len(demo.CLASSES)]
        scene = demo.frames(label, split, np.random.default_rng([0, number]))
        for place, frame in enumerate(clip):
            frame[..., ::-1] = cv2.resize(scene[place % len(scene)], (size, size))  # BGR
    return out


def move_weights(network: keras.Model, clips: Frame) -> None:
    """Gives a new network statistics and scores like those of a trained one.

    New batch norms multiply by 1 and add 0, and scores of random weights are all alike: mistakes
    would not show, nor would the rounding of int8. After this, each batch norm has the statistics
    of the clips, factors of 0.5-1.5 and offsets of up to 0.3, and logits have a deviation of 1.5.
    """
    rng = np.random.default_rng(0)
    norms = [n for n in network.layers if isinstance(n, keras.layers.BatchNormalization)]
    momentums = [norm.momentum for norm in norms]
    for norm in norms:
        if norm.scale:
            norm.gamma.assign(rng.uniform(0.5, 1.5, norm.gamma.shape))
        norm.beta.assign(rng.uniform(-0.3, 0.3, norm.beta.shape))
        norm.momentum = 0.0
    network(clips.astype(np.float32), training=True)
    for norm, momentum in zip(norms, momentums, strict=True):
        norm.momentum = momentum
    last = network.get_layer("predictions")
    features = keras.Model(network.input, last.input)(clips.astype(np.float32))
    kernel, *bias = last.get_weights()
    logits = keras.ops.convert_to_numpy(features) @ kernel
    last.set_weights([kernel * 1.5 / logits.std(), *bias])


def _write(
    network: keras.Model, folder: Path, calibration: np.ndarray, wanted: set[str]
) -> dict[str, str]:
    """Writes the files that are wanted; returns why some could not be written."""
    frames, size = network.input_shape[1:3]
    experiment = recipe.load("kinetics34", [f"clips.frames={frames}", f"clips.size={size}"])
    classes = tuple(f"{number:03}" for number in range(CLASSES))
    metadata = applications.Metadata(classes, recipe=recipe.to_dict(experiment))
    source = Source(network, metadata, calibration[0], lambda: calibration)
    failed = {}
    for file in sorted(wanted):
        path = folder / file
        try:
            if file == "model.keras":
                network.save(path)
            elif file == "weights.npz":
                write_weights(network, path)
            elif file.startswith("stock"):
                _write_stock(network, path, quantized=file == "stock-dynamic.tflite")
            else:
                form, quantize = _FORMS[file]
                get_format(form, quantize).write(source, path, quantize)
        except Exception as error:  # of any converter
            failed[file] = f"could not be written: {error}"
    return failed


def write_weights(network: keras.Model, path: Path) -> None:
    """Writes the weights by `layer/variable`, and the name of the network."""
    np.savez(path, name=network.name, **{v.path: np.array(v) for v in network.weights})


def _write_stock(network: keras.Model, path: Path, *, quantized: bool) -> None:
    """Writes a `.tflite` file that takes one uint8 clip, as TensorFlow Lite itself converts."""
    spec = tf.TensorSpec((1, *network.input_shape[1:]), tf.uint8, name="clip")
    function = tf.function(
        lambda clip: network(tf.cast(clip, tf.float32), training=False), input_signature=[spec]
    )
    # Not given the network, too: TensorFlow 2.16 fails on those of Keras 3.
    converter = tf.lite.TFLiteConverter.from_concrete_functions([function.get_concrete_function()])
    operators = tf.lite.OpsSet  # those that TensorFlow Lite lacks are TensorFlow's ("Flex")
    converter.target_spec.supported_ops = [operators.TFLITE_BUILTINS, operators.SELECT_TF_OPS]
    if quantized:
        converter.optimizations = [tf.lite.Optimize.DEFAULT]  # "dynamic range quantization"
    path.write_bytes(converter.convert())


def _megabytes(path: Path) -> float:
    """Returns the size of a file, or of all files in a folder."""
    parts = path.rglob("*") if path.is_dir() else [path]
    return sum(part.stat().st_size for part in parts if part.is_file()) / 1e6
