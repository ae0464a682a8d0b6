"""One training, from annotations to the best model in its run folder."""

import datetime
import math
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import keras
import tensorflow as tf

import keras_r3d
from keras_r3d import applications, files, run_folder
from keras_r3d.data import annotations, pipeline, sheet, source
from keras_r3d.data.reader import Reader
from keras_r3d.recipe import Model as ModelRecipe
from keras_r3d.recipe import Recipe, Train
from keras_r3d.training import callbacks, devices
from keras_r3d.training.sgd import SGD


def train(
    recipe: Recipe,
    data_dir: str | Path,
    workdir: Path,
    *,
    say: Callable[[str], None] = print,
) -> run_folder.Run:
    """Trains a model as a recipe says and keeps the best one of all epochs.

    Args:
        data_dir: folder of videos, a CSV file, or a clip store (`keras_r3d.data.source`).
        workdir: folder of the run; must not exist or be empty.
        say: takes each line of the report.

    Returns:
        The run. Its folder holds the best model (lowest validation loss), the log, the curves, a
        sheet of training clips and the list of broken videos.

    Raises:
        R3DError: anything in the recipe, the data or the folder that keeps it from being done.
    """
    started = time.monotonic()
    run_folder.check_free(workdir)
    opened = source.open_source(
        data_dir, recipe.data, cache_gib=recipe.data.cache_gib, seed=recipe.train.seed
    )
    found, reader = opened.annotations, opened.reader
    hardware = devices.visible()
    hardware.check_batch("train.batch_size", recipe.train.batch_size)
    hardware.check_batch("eval.batch_size", recipe.eval.batch_size)
    keras.utils.set_random_seed(recipe.train.seed)

    videos = found.split("train")
    found.split(recipe.eval.split)  # better missed now than after the training
    clip_sheet = sheet.training_sheet(reader, videos, recipe.data, recipe.train.seed)

    if found.splits.get("validation"):
        reader.require_readable(found.split("validation"), "validation")

    run = run_folder.create(
        workdir,
        recipe,
        found.classes,
        annotations.to_csv(found),
        {
            "status": "training",
            "data_dir": opened.path,
            "video_root": opened.root,
            "started": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
            "devices": hardware.description,
            "keras_r3d": keras_r3d.__version__,
            "keras": keras.__version__,
            "tensorflow": tf.__version__,
            "videos": {name: len(split) for name, split in found.splits.items()},
        },
    )
    with files.atomic(run.path / run_folder.CLIPS) as temporary:
        clip_sheet.savefig(temporary, dpi=100)
    for note in found.notes:
        say(f"Note: {note}")
    counts = ", ".join(f"{name} {len(split)}" for name, split in found.splits.items())
    say(f"Data: {opened.path}: {len(found.classes)} classes; videos: {counts}")
    say(f"Devices: {hardware.description}; batch {recipe.train.batch_size} clips")
    say(f"Run folder: {run.path} (training clips as the network sees them: {run_folder.CLIPS})")

    try:
        best = _fit(recipe, found, reader, run, hardware, say)
    except BaseException:
        run.update_summary(status="stopped")
        run.report_problems(reader.problems, say)
        if (run.path / run_folder.BEST_MODEL).is_file():
            say(f"Stopped; the best model so far is {run.path / run_folder.BEST_MODEL}.")
        raise
    minutes = (time.monotonic() - started) / 60
    run.update_summary(
        status="trained",
        best_epoch=best.best_epoch,
        best_loss=best.best,
        training_minutes=round(minutes, 2),
    )
    say(f"Trained in {minutes:.1f} minutes; the best model is that of epoch {best.best_epoch}.")
    run.report_problems(reader.problems, say)
    return run


def build_model(
    recipe: ModelRecipe, input_shape: tuple[int, ...], classes: Sequence[str]
) -> keras.Model:
    """Builds the network of a recipe for clips `(frames, height, width, 3)` and class names."""
    return applications.get_model(
        recipe.name,
        input_shape=input_shape,
        labels=classes,
        shortcut=recipe.shortcut,
        width=recipe.width,
        dropout=recipe.dropout,
        mean=recipe.mean,
        std=recipe.std,
    )


def build_optimizer(train: Train, steps_per_epoch: int) -> keras.optimizers.Optimizer:
    """Builds the optimiser of a recipe, with its rate constant ("plateau") or scheduled."""
    rate: float | keras.optimizers.schedules.LearningRateSchedule = train.learning_rate
    if train.schedule == "cosine":
        warmup_steps = train.warmup_epochs * steps_per_epoch
        rate = keras.optimizers.schedules.CosineDecay(
            0.0 if warmup_steps else train.learning_rate,
            decay_steps=train.epochs * steps_per_epoch - warmup_steps,
            warmup_target=train.learning_rate if warmup_steps else None,
            warmup_steps=warmup_steps,
        )
    if train.optimizer == "adamw":
        return keras.optimizers.AdamW(rate, weight_decay=train.weight_decay)
    return SGD(rate, momentum=train.momentum, weight_decay=train.weight_decay)


def _fit(
    recipe: Recipe,
    found: annotations.Annotations,
    reader: Reader,
    run: run_folder.Run,
    hardware: devices.Devices,
    say: Callable[[str], None],
) -> callbacks.KeepBest:
    data, train = recipe.data, recipe.train
    videos = found.split("train")
    classes = len(found.classes)
    steps_per_epoch = max(1, round(len(videos) * train.clips_per_video / train.batch_size))

    def one_hot(clips: tf.Tensor, labels: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        return clips, tf.one_hot(labels, classes)

    training = pipeline.training_clips(
        reader, videos, found.classes, data, batch_size=train.batch_size, seed=train.seed
    ).map(one_hot)
    validation = None
    if found.splits.get("validation"):
        validation = pipeline.validation_clips(
            reader,
            found.split("validation"),
            found.classes,
            data,
            batch_size=recipe.eval.batch_size,
        ).map(one_hot)
    else:
        say("Note: there is no validation split; the model of the lowest training loss is kept.")
    monitor = "loss" if validation is None else "val_loss"

    with hardware.strategy.scope():
        network = build_model(recipe.model, (data.frames, data.size, data.size, 3), found.classes)
        # What is saved: compiled with stock parts, so that plain Keras loads it and `predict` runs
        # without XLA where XLA is slow.
        network.compile(
            optimizer="sgd",
            loss="sparse_categorical_crossentropy",
            metrics=["accuracy"],
            jit_compile=hardware.jit_compile,
        )
        model = keras.Model(network.input, network.output)
        model.compile(
            optimizer=build_optimizer(train, steps_per_epoch),
            loss=keras.losses.CategoricalCrossentropy(label_smoothing=train.label_smoothing),
            metrics=[
                keras.metrics.CategoricalAccuracy(name="clip_top1"),
                keras.metrics.TopKCategoricalAccuracy(k=min(5, classes), name="clip_top5"),
            ],
            jit_compile=hardware.jit_compile,
        )
    say(f"Model: {recipe.model.name}, {network.count_params():,} parameters")
    best = callbacks.KeepBest(run.path / run_folder.BEST_MODEL, network, monitor)
    steps: list[keras.callbacks.Callback] = [
        callbacks.StopOnNonFinite(),
        callbacks.LogLearningRate(),
        best,
        keras.callbacks.CSVLogger(run.path / run_folder.LOG),
        keras.callbacks.TensorBoard(run.path / run_folder.TENSORBOARD),
        callbacks.DrawCurves(run.path),
    ]
    if train.schedule == "plateau":
        steps.append(
            keras.callbacks.ReduceLROnPlateau(
                monitor=monitor,
                factor=train.plateau_factor,
                patience=train.plateau_patience,
                min_lr=train.learning_rate * train.plateau_factor**train.plateau_drops,
                verbose=1,
            )
        )
    try:
        model.fit(
            training,
            validation_data=validation,
            epochs=train.epochs,
            steps_per_epoch=steps_per_epoch,
            callbacks=steps,
            shuffle=False,  # the pipeline has done so
            verbose=1 if sys.stdout.isatty() else 2,
        )
    except OSError as error:
        raise files.WriteError(files.explain(run.path, error)) from error
    except tf.errors.OpError as error:
        if detail := pipeline.reason(error):
            raise callbacks.TrainingError(f"The training stopped: {detail}") from error
        # Of memory, or of TensorBoard's files.
        line = next(line for line in error.message.splitlines() if line.strip())
        raise callbacks.TrainingError(
            f"TensorFlow stopped the training: {line} (If the disk of {run.path} is full, free "
            "some space there, then run again.)"
        ) from error
    if not math.isfinite(best.best):
        raise callbacks.TrainingError(
            f"No epoch had a finite {monitor}: lower `train.learning_rate`. Log: "
            f"{run.path / run_folder.LOG}"
        )
    return best
