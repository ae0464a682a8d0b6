"""One network in all its exported forms: how fast on one core, how large, how close to Keras.

TensorFlow Lite's own conversion of the same network is what the others are measured against.
"""

import os
import platform
import statistics
import tempfile
import textwrap
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np

from benchmarks.exports import samples, stock
from benchmarks.exports.exported_models import (
    ALL,
    CLIPS,
    ExportedModel,
    ExportTask,
    OnnxRuntime,
    OpenVINO,
    Ours,
    OursDynamic,
    OursFloat16,
    OursInt8,
    SavedModel,
    Stock,
    StockDynamic,
    TensorFlow,
)
from benchmarks.process import Process, Turn, in_turns
from keras_r3d import applications, recipe
from keras_r3d.export.formats import Source, get_format
from keras_r3d.system import files
from keras_r3d.system.errors import R3DError

_CLASSES = 400
_CALIBRATION_CLIPS, _CLIPS_COMPARED = 32, 8


def run(
    name: str,
    *,
    frames: int,
    size: int,
    clips: int,
    cores: int,
    rounds: int,
    json: str | None,
    contenders: Sequence[type[ExportedModel]] = ALL,
    say: Callable[[str], None] = print,
) -> dict[str, Any]:
    """Measures and prints.

    Args:
        name: network, as `applications.get_model` takes it; its weights are made up.
        clips: scored one after the other in a turn.
        cores: that each may use, in as many threads.
        json: file that the figures are also written to.

    Returns:
        The figures.

    Raises:
        R3DError: there is no such network, or the stock conversion fails or does not run.
    """
    if name not in applications.list_models():
        raise R3DError(f"--model must be one of {applications.list_models()}. Received: {name}")
    pinned = sorted(os.sched_getaffinity(0))[:cores]
    shown = samples.clips(_CLIPS_COMPARED, frames, size, split="test")
    network = applications.get_model(name, input_shape=(frames, size, size, 3), classes=_CLASSES)
    calibration = samples.clips(_CALIBRATION_CLIPS, frames, size)
    samples.move_weights(network, calibration[:_CLIPS_COMPARED])
    expected = network.predict_on_batch(shown.astype(np.float32))
    scores: dict[str, np.ndarray] = {}
    load = [os.getloadavg()[0]]
    with tempfile.TemporaryDirectory(prefix="keras_r3d-benchmark-") as made:
        folder = Path(made)
        np.save(folder / CLIPS, shown)
        failed = _write(network, folder, calibration, {one.file for one in contenders})
        task = ExportTask(name, folder, _CLASSES)

        def show(contender: str, process: Process) -> None:
            scores[contender] = process.show(range(len(shown)))  # type: ignore[arg-type,assignment]

        turns, problems, versions = in_turns(
            [one for one in contenders if one.file not in failed],
            task,
            pinned,
            range(clips),
            rounds,
            before=show,
        )
        sizes = {one.name: _megabytes(folder / one.file) for one in contenders if one.file}
    load.append(os.getloadavg()[0])
    problems |= {one.name: failed[one.file] for one in contenders if one.file in failed}
    if Stock.name in problems:
        raise R3DError(f"'{Stock.name}' {problems[Stock.name]}")
    measured = {
        one.name: _figures(one, turns, sizes, scores, expected)
        for one in contenders
        if one.name not in problems
    }
    figures: dict[str, Any] = {
        "benchmark": "export",
        "date": time.strftime("%Y-%m-%d"),
        "machine": f"{len(pinned)} of {os.cpu_count()} cores ({platform.machine()})",
        "load": load,
        "model": name,
        "clip": [frames, size, size, 3],
        "clips": clips,
        "rounds": rounds,
        "versions": versions,
        "contenders": measured,
        "dropped_out": problems,
    }
    for line in _lines(figures, contenders):
        say(line)
    if json:
        files.write_json(json, figures)
    return figures


def _write(
    network: keras.Model, folder: Path, calibration: np.ndarray, wanted: set[str]
) -> dict[str, str]:
    """Writes the exported models that are wanted.

    Returns:
        Why some could not be written, by file.
    """
    names = [f"{number:03}" for number in range(_CLASSES)]
    frames, size = network.input_shape[1:3]
    experiment = recipe.load("kinetics34", [f"clips.frames={frames}", f"clips.size={size}"])
    metadata = applications.Metadata(tuple(names), recipe=recipe.to_dict(experiment))
    source = Source(network, metadata, calibration[0], lambda: calibration)

    def ours(form: str, quantize: str = "none") -> Callable[[Path], None]:
        return lambda path: get_format(form, quantize).write(source, path, quantize)

    writers: dict[str, Callable[[Path], None]] = {
        Stock.file: lambda path: stock.write(network, path, quantized=False),
        StockDynamic.file: lambda path: stock.write(network, path, quantized=True),
        Ours.file: ours("tflite"),
        OursFloat16.file: ours("tflite", "float16"),
        OursDynamic.file: ours("tflite", "dynamic"),
        OursInt8.file: ours("tflite", "int8"),
        TensorFlow.file: network.save,
        SavedModel.file: ours("saved_model"),
        OnnxRuntime.file: ours("onnx"),
        OpenVINO.file: ours("openvino"),
    }
    failed = {}
    for file, write in writers.items():
        if file in wanted:
            try:
                write(folder / file)
            except Exception as error:  # of any converter
                failed[file] = f"could not be written: {error}"
    return failed


def _megabytes(path: Path) -> float:
    """Returns the size of a file, or of all files in a folder."""
    parts = path.rglob("*") if path.is_dir() else [path]
    return sum(part.stat().st_size for part in parts if part.is_file()) / 1e6


def _figures(
    one: type[ExportedModel],
    turns: dict[str, list[Turn]],
    sizes: dict[str, float],
    scores: dict[str, np.ndarray],
    expected: np.ndarray,
) -> dict[str, float | None]:
    """Returns what is told of one."""

    def seconds(name: str) -> float:
        return statistics.median(turn.seconds / turn.clips for turn in turns[name])

    return {
        "seconds": seconds(one.name),
        "cpu_seconds": statistics.median(t.cpu_seconds / t.clips for t in turns[one.name]),
        "megabytes": sizes.get(one.name),
        "times_faster": seconds(Stock.name) / seconds(one.name),
        "times_smaller": sizes[Stock.name] / sizes[one.name] if one.name in sizes else None,
        "largest_difference": float(np.abs(scores[one.name] - expected).max())
        if one.same
        else None,
        "same_class": float((scores[one.name].argmax(1) == expected.argmax(1)).mean())
        if one.same
        else None,
    }


def _lines(figures: dict[str, Any], contenders: Sequence[type[ExportedModel]]) -> list[str]:
    """Returns the report."""
    frames, size = figures["clip"][:2]
    lines = [
        f"Exported models, {figures['model']}, clips of {frames}x{size}x{size} one at a time, "
        f"{figures['machine']}, {figures['date']}, median of {figures['rounds']} turns of "
        f"{figures['clips']} clips; load of the machine {figures['load'][0]:.1f} before, "
        f"{figures['load'][1]:.1f} after (one is this)",
        "Made-up weights; calibrated and compared on clips of the demo's scenes. Faster, smaller: "
        "than stock TFLite. Off: largest difference of a probability from Keras.",
        f"  {'':32}{'s a clip':>9}{'CPU s':>8}{'faster':>8}{'MB':>8}{'smaller':>8}{'off':>9}",
    ]
    for one in contenders:
        if one.name in figures["dropped_out"]:
            why = textwrap.shorten(figures["dropped_out"][one.name], 150, placeholder=" …")
            lines.append(f"  {one.name:32} {why}")
            continue
        row = figures["contenders"][one.name]
        cells = [
            f"{row['seconds']:9.3f}{row['cpu_seconds']:8.3f}{row['times_faster']:8.2f}",
            "" if row["megabytes"] is None else f"{row['megabytes']:8.1f}",
            "" if row["times_smaller"] is None else f"{row['times_smaller']:8.2f}",
            "" if row["largest_difference"] is None else f"{row['largest_difference']:9.1e}",
        ]
        widths = (0, 8, 8, 9)
        text = "".join(f"{cell:>{width}}" for cell, width in zip(cells, widths, strict=True))
        lines.append(f"  {one.name:32}{text}  ({figures['versions'][one.name]})")
    return lines
