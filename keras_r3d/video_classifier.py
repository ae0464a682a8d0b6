"""The front door: a video classifier, from weights to predictions, evaluations and exports."""

import dataclasses
import json
import os
import tempfile
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import keras

from keras_r3d import applications, recipe, run_folder
from keras_r3d.applications import metadata
from keras_r3d.applications.weights import pretrained, weights_file
from keras_r3d.data import annotations
from keras_r3d.data.annotations import Video, listing
from keras_r3d.data.clip_config import Clips
from keras_r3d.data.decoding import live
from keras_r3d.data.opening import file_reader
from keras_r3d.inference.embeddings import feature_file, features
from keras_r3d.inference.embeddings.feature_file import Features
from keras_r3d.inference.evaluation import evaluating, labelled, scoring
from keras_r3d.inference.evaluation.evaluation import Evaluation
from keras_r3d.inference.explanation import explain
from keras_r3d.inference.explanation.explain import Explanation
from keras_r3d.inference.models import classifier, opening, protocol
from keras_r3d.inference.models.classifier import Classifier
from keras_r3d.inference.models.opening import Opened
from keras_r3d.inference.prediction import prediction, watching
from keras_r3d.inference.prediction.prediction import Prediction
from keras_r3d.inference.prediction.watching import Sighting
from keras_r3d.run_folder import Run
from keras_r3d.serving import remote, server
from keras_r3d.serving.remote import known_of
from keras_r3d.system import files
from keras_r3d.system.devices import choose
from keras_r3d.system.errors import ModelError

if TYPE_CHECKING:
    from keras_r3d.export.exporting import Exported

Progress = Callable[[int, int], None]

_WEIGHTS_FILES = (".pth", ".pt", ".npz", ".weights.h5")
_SERVED = ("http://", "https://", "grpc://")
_FEW = "few"  # the recipe whose clips our own weights were made for


class VideoClassifier:
    """Names what videos show.

        classifier = keras_r3d.VideoClassifier("motion_wide").fit("MY_VIDEOS")
        classifier.predict("some.mp4").top(3)

    Args:
        model: what classifies:

            - weights by name: "motion" or "motion_wide" (come with keras_r3d, and name rendered
              motions; made to be fitted), or "r3d34/kinetics400" and the like
              (`applications.list_weights`);
            - the folder of a run, or the `Run` that a training returned;
            - a file: `.keras`, `.weights.h5`, `.npz`, PyTorch's `.pth`, `.tflite`, `.onnx`, `.xml`
              of OpenVINO; or the folder of a SavedModel;
            - a `keras.Model` in memory that takes clips `(batch, frames, height, width, channels)`;
            - the address of a model behind TensorFlow Serving, "grpc://HOST:8500/NAME" or
              "http://HOST:8501/NAME", with `exported_from`.
        clips: how clips are cut, where the model does not say so itself; else as it says.
        protocol: how windows are placed: "paper", "torch7", "follow_up", or "NxV": N windows of V
            views. None is what the model says.
        exported_from: of a served model: the run it was exported from, or the folder NAME/VERSION
            it was exported to, which say its classes and clips.
        devices: "all", "cpu", "cpu:N" or "gpu:0,2,…".

    Raises:
        ModelError: there is no such model, it is damaged, or does not fit the clips.
        WeightsError: weights cannot be had.
        RunError: the folder of a run is damaged.
        ServingError: the server cannot be asked.
        RecipeError, ArgumentError, DeviceError: an argument is wrong.
    """

    def __init__(
        self,
        model: "str | os.PathLike[str] | keras.Model | Run",
        *,
        clips: Clips | None = None,
        protocol: str | None = None,
        exported_from: str | os.PathLike[str] | None = None,
        devices: str = "all",
    ):
        self._devices, self._protocol = devices, protocol
        self._opened, self._weights = _open(model, clips, protocol, exported_from, devices)

    def __repr__(self) -> str:
        own = self._opened.classifier
        return f"VideoClassifier({own.name}, {own.kind}: {len(own.classes)} classes)"

    @property
    def classes(self) -> Sequence[str]:
        """Class names, in the order of the scores."""
        return list(self._opened.classifier.classes)

    @property
    def model(self) -> keras.Model:
        """The Keras model: uint8 clips `(batch, frames, size, size, channels)` -> probabilities.

        Raises:
            ModelError: it is an export or is served, which has none.
        """
        return self._network("has no Keras model")

    @property
    def run(self) -> Run | None:
        """The run it is of: `path`, `summary`, `recipe`; None if it is of none."""
        return self._opened.run

    @property
    def described(self) -> str:
        """How videos are cut and scored, in words."""
        own = self._opened.classifier
        return f"{own.described}: {protocol.described(own.data, own.eval)}"

    def fit(
        self,
        data: str | os.PathLike[str],
        *,
        recipe: str = _FEW,
        overrides: Iterable[str] = (),
        workdir: str | os.PathLike[str] | None = None,
        say: Callable[[str], None] = print,
    ) -> "VideoClassifier":
        """Trains on labelled videos, from this classifier's weights, and becomes what comes out.

        Args:
            data: as `keras_r3d.data.open_videos` takes it.
            recipe: name of a recipe or path of a TOML file. "few" fits in seconds, to two and more
                videos of each class; "finetune" trains the whole network.
            overrides: changes of the recipe, "section.key=value".
            workdir: folder of the run; None is runs/RECIPE, or the next that is free.
            say: takes lines of text.

        Returns:
            This classifier.

        Raises:
            ModelError: it is an export or is served.
            R3DError: anything in the recipe, the data or the folder that keeps it from being done.
        """
        from keras_r3d.training.experiment import train

        with tempfile.TemporaryDirectory(prefix="keras_r3d_") as folder:
            weights = self._weights
            if weights is None:
                weights = str(Path(folder) / "weights.keras")
                self._network("cannot be trained").save(weights)
            run = train(
                recipe,
                data,
                workdir=workdir,
                overrides=[f"model.weights={json.dumps(weights)}", *overrides],
                devices=self._devices,
                say=say,
            )
        self._opened, self._weights = opening.of_run(run, None, self._protocol, self._devices), None
        return self

    def predict(
        self,
        videos: "str | os.PathLike[str] | Iterable[str | os.PathLike[str]]",
        *,
        timeout: float = scoring.TIMEOUT,
    ) -> Prediction | Iterator[Prediction]:
        """Names what videos show.

        Args:
            videos: a video file; or several, or a folder or glob of some.
            timeout: seconds after which a file that gives no more window is given up.

        Returns:
            A `Prediction`, or an iterator of one for each of several videos, in their order: of a
            broken one its `status` is "error". `.top(5)` gives the best classes with their scores.

        Raises:
            VideoError: one file was given, and it is no video.
            DataError: there is no such file or folder.
        """
        if isinstance(videos, str | os.PathLike) and not _names_several(os.fspath(videos)):
            return prediction.predict(self._opened.classifier, os.fspath(videos), timeout)
        return self._predictions(_paths(videos), timeout)

    def _predictions(self, paths: Sequence[str], timeout: float) -> Iterator[Prediction]:
        own = self._opened.classifier
        videos = [Video(path, "") for path in paths]
        for one in scoring.score(own, file_reader(paths, own.data), videos, timeout=timeout):
            yield prediction.of_scored(one, own.classes)

    def watch(
        self,
        source: str,
        *,
        seconds: float | None = None,
        every: float | None = None,
        smooth: int = 1,
        timeout: float = 10.0,
        say: Callable[[str], None] = print,
    ) -> Iterator[Sighting]:
        """Names what a camera shows, again and again, until it ends or the iterator is closed.

        Args:
            source: number or address of a camera, or a video file, played at its own speed.
            seconds: newest seconds that a clip is spread over, of models that spread clips over
                whole videos.
            every: seconds from one window to the next; None: they do not overlap.
            smooth: newest windows that are averaged.
            timeout: seconds that connecting, and a frame, may take.
            say: takes what there is to say of the connection.

        Yields:
            Of each window its `scores`, `.top(5)`, `start_seconds`, `end_seconds`,
            `latency_seconds`.

        Raises:
            ArgumentError: the model cannot score a camera in the way that was asked for.
            VideoError: the source cannot be connected to.
        """
        own = self._opened.classifier
        shape = watching.shape(own, seconds)
        watching.warm_up(own, shape)
        camera = live.Source(source, shape, timeout)
        try:
            yield from watching.watch(
                own, camera, shape, every=every, smooth=smooth, stopped=lambda: False, say=say
            )
        finally:
            camera.stop()

    def evaluate(
        self,
        data: str | os.PathLike[str] | None = None,
        *,
        split: str | None = None,
        timeout: float = scoring.TIMEOUT,
        progress: Progress | None = None,
    ) -> Evaluation:
        """Scores labelled videos, each exactly once.

        Args:
            data: as `keras_r3d.data.open_videos` takes it; None is the run's own.
            split: None is that of the recipe; of other data, the only one there is.
            timeout: seconds after which a video that gives no more window is given up.
            progress: takes the number of videos done, and of all.

        Returns:
            The evaluation: `figures()`, `records()`, `save(FOLDER)`; printed, it is a table.

        Raises:
            DataError: there are no such videos, or they have classes the model does not know.
        """
        side = labelled.videos_of(self._opened, None if data is None else os.fspath(data), split)
        own = self._opened.classifier
        return evaluating.scored([own], [side], timeout, say=_ignore, progress=progress)

    def explain(
        self,
        video: str | os.PathLike[str],
        *,
        class_name: str | None = None,
        window: str | None = None,
        layer: str | None = None,
        method: str = "integrated",
        occlusion: bool = False,
    ) -> Explanation:
        """Explains what in a video speaks for a class.

        Args:
            class_name: None is the class that the video is taken for.
            window: its number, or a time in it ("2.5s"); None is the most telling one.
            layer: whose map is used; None is the deepest of 14x14 cells or more.
            method: "integrated", "grad_cam" or "layer_cam".
            occlusion: also cover parts of the clip, to check (takes longer).

        Returns:
            The explanation: `heats`, `figure()`, `save(FOLDER)`.

        Raises:
            ArgumentError: it is an export or is served, or there is no such class or window.
            VideoError: the video gives no frames.
        """
        return explain.explain(
            self._opened.classifier,
            os.fspath(video),
            class_name=class_name,
            window=window,
            layer=layer,
            method=method,
            occlude=occlusion,
        )

    def embed(
        self,
        videos: "str | os.PathLike[str] | Iterable[str | os.PathLike[str]]",
        *,
        split: str | None = None,
        layer: str | None = None,
        per: str = "video",
        output: str | os.PathLike[str] | None = None,
        timeout: float = scoring.TIMEOUT,
        progress: Progress | None = None,
    ) -> Features | features.StoredFeatures:
        """Computes embeddings of videos.

        Args:
            videos: labelled ones, as `keras_r3d.data.open_videos` takes them, if `split` names
                which; else files, folders or globs of videos.
            layer: whose output they are; None is the one that feeds the classifier.
            per: "video", or "window" for each window.
            output: writes them to this file, `.npz` or `.parquet`, instead of returning them: of
                more than memory holds. Interrupted, the same call resumes.
            timeout: seconds after which a video that gives no more window is given up.
            progress: takes the number of videos done, and of all, where there is an `output`.

        Returns:
            `embedding` float32 `(n, d)`, and of each `video`, `path`, `label`, `window`,
            `start_seconds`, `end_seconds`, `status`. What is broken is in `metadata["errors"]`.
            With `output`: how many were written, and what is broken.

        Raises:
            ArgumentError: it is an export or is served, there is no such layer, or no video can be
                read.
            DataError: there are no such videos.
        """
        if per not in features.PER:
            raise features.ArgumentError(
                f"`per` must be one of {list(features.PER)}. Received: {per}"
            )
        own, layer = features.embedder(self._opened.classifier, layer, choose(self._devices))
        if split is not None:
            if not isinstance(videos, str | os.PathLike):
                raise annotations.DataError(
                    "With `split`, `videos` must be a folder of labelled videos, a list or a store."
                )
            side = labelled.videos_of(self._opened, os.fspath(videos), split)
        else:
            paths = _paths(videos)
            reader = file_reader(paths, own.data)
            side = labelled.Labelled([Video(path, "") for path in paths], reader, "", "")
        if output is None:
            return features.of_videos(own, layer, side, per=per, timeout=timeout)
        path = Path(output)
        feature_file.check_new(path)
        return features.store(own, layer, side, path, per=per, timeout=timeout, progress=progress)

    def export(
        self,
        form: str,
        output: str | os.PathLike[str] | None = None,
        *,
        quantize: str = "none",
        data: str | os.PathLike[str] | None = None,
        split: str | None = None,
        videos: int = 100,
        min_agreement: float | None = None,
        progress: Progress | None = None,
    ) -> "Exported":
        """Exports the model, loads it again and keeps it only if it computes what Keras computes.

        Args:
            form: "saved_model", "tflite", "onnx" or "openvino".
            output: where to: for "saved_model" a folder that gets a new version number inside, for
                "openvino" a folder, else a file. None is a place in the folder of its run.
            quantize: what weights and activations become: of "tflite" "none", "float16", "dynamic"
                (int8 weights) or "int8"; of "saved_model" "none", "bfloat16" or "float16"; of the
                others "none".
            data: labelled videos to compare and calibrate on, as `keras_r3d.data.open_videos`
                takes them; None is those of its run.
            split: of the videos to compare on; None is that of the recipe.
            videos: most videos to compare on, evenly chosen; 0 is all.
            min_agreement: least share of the windows in which the export must see the class that
                Keras sees, 0 to 1. None is 0.99; of float16 0.98; of bfloat16, dynamic and int8
                0.95.
            progress: takes the number of videos done, and of all: each counts twice, scored by
                Keras and by the export.

        Returns:
            The export: `path`, `parity`, `record`; printed, it is a report.

        Raises:
            ExportError: it is of no run and `data` or `output` is missing, the place is taken, the
                format cannot hold the model, or the export differs from Keras by more than it may.
            DataError: there are no such videos.
            ModelError: it is an export or is served.
            WriteError: it cannot be written.
        """
        from keras_r3d.export import exporting

        self._network("cannot be exported")
        return exporting.export(
            self._opened,
            form,
            output,
            quantize=quantize,
            data=data,
            split=split,
            videos=videos,
            min_agreement=min_agreement,
            progress=progress,
        )

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Saves the Keras model, with its classes and how its clips are cut.

        Args:
            path: a `.keras` file that does not exist yet.

        Raises:
            ModelError: it is an export or is served, or the file exists.
            WriteError: it cannot be written.
        """
        path = Path(path)
        if path.suffix != ".keras":
            raise ModelError(f"`path` must end in .keras. Received: {path}")
        if path.exists():
            raise ModelError(f"{path} already exists; choose another file.")
        network, own = self._network("cannot be saved"), self._opened.classifier
        about = applications.read_metadata(network)
        if about is not None and about.recipe is None:  # it was said with `clips`, or by its name
            tables = {"data": dataclasses.asdict(own.data), "eval": dataclasses.asdict(own.eval)}
            metadata.record(network, recipe=tables)
        with files.atomic(path) as temporary:
            network.save(temporary)
        return path

    def _network(self, lacking: str) -> keras.Model:
        own = self._opened.classifier
        if own.network is None:
            raise ModelError(
                f"{own.name} is a {own.kind}, which {lacking}: pass the .keras file that it was "
                "exported from, or its run."
            )
        return own.network


def _open(
    model: "str | os.PathLike[str] | keras.Model | Run",
    clips: Clips | None,
    protocol_name: str | None,
    exported_from: str | os.PathLike[str] | None,
    devices: str,
) -> tuple[Opened, str | None]:
    """Opens a model of any kind; also returns the file of weights that it is, if it is one."""
    changes = protocol.overrides(protocol_name)
    hardware = choose(devices)
    experiment = None
    if clips is not None:
        experiment = recipe.of_clips(clips.tables())
    if exported_from is not None and not _is_served(model):
        raise ModelError("`exported_from` is for the address of a served model.")
    if isinstance(model, keras.Model):
        own = classifier.of_network(model, experiment, overrides=changes, hardware=hardware)
        return _said(Opened(own, None), model.name), None
    if isinstance(model, Run):
        return opening.of_run(model, None, protocol_name, devices), None
    if not isinstance(model, str | os.PathLike):
        raise ModelError(
            "`model` must be a name of weights, a run, a model file, a keras.Model or an address. "
            f"Received: {type(model).__name__}"
        )
    name = os.fspath(model)
    if name.startswith(_SERVED):
        return Opened(_served(name, exported_from, changes), None), None
    if (Path(name) / run_folder.RECIPE).is_file():
        return opening.of_run(run_folder.open_run(name), None, protocol_name, devices), None
    path = _weights(name)
    if path is None:
        known = None if clips is not None else classifier.run_of(Path(name))
        if known is not None:
            return opening.of_run(known, Path(name), protocol_name, devices), None
        own = classifier.of_file(name, experiment, overrides=changes, hardware=hardware)
        return _said(Opened(own, None), name), None
    source = weights_file.open_file(path)
    if source.network is None:
        raise ModelError(f"{path} does not say of which network it is: build that, and pass it.")
    if experiment is None:
        # Our own, which come with keras_r3d, are for clips that are spread over videos.
        experiment = recipe.load(_FEW) if path.suffix == ".npz" else recipe.load(recipe.PAPER)
    data = experiment.data
    shape = (data.frames, data.size, data.size, data.channels)
    with hardware.strategy.scope():
        network = applications.get_model(source.network, weights=source, input_shape=shape)
    own = classifier.of_network(network, experiment, overrides=changes, hardware=hardware)
    packaged = any(row.packaged and row.name == name for row in pretrained.PRETRAINED)
    weights = name if packaged else str(path)
    return Opened(dataclasses.replace(own, name=name), None), weights


def _weights(name: str) -> Path | None:
    """Returns the file of weights that a name or a path stands for; None if it is no weights."""
    if name.endswith(_WEIGHTS_FILES) and Path(name).is_file():
        return Path(name)
    if Path(name).exists():
        return None
    network, slash, rest = name.partition("/")
    rows = [
        row
        for row in pretrained.PRETRAINED
        if (row.network == network and row.name == rest if slash else row.name == name)
    ]
    if len(rows) > 1:
        ways = ", ".join(f"'{row.network}/{row.name}'" for row in rows)
        raise ModelError(f"There are several weights '{name}': say one of {ways}.")
    if rows:
        return pretrained.fetch(rows[0])
    if Path(name).suffix or os.sep in name:
        return None  # what opens files says what is wrong
    packaged = [row.name for row in pretrained.PRETRAINED if row.packaged]
    raise ModelError(
        f"There is no model '{name}': neither a run, a file, nor weights such as {packaged} or "
        "'r3d34/kinetics400'."
    )


def _names_several(word: str) -> bool:
    """Whether a word is a folder or a glob."""
    return os.path.isdir(word) or (not os.path.exists(word) and any(c in word for c in "*?["))


def _paths(videos: "str | os.PathLike[str] | Iterable[str | os.PathLike[str]]") -> list[str]:
    """Returns the paths of the videos that are named."""
    if isinstance(videos, str | os.PathLike):
        return listing.paths([os.fspath(videos)])
    return listing.paths([os.fspath(path) for path in videos])


def _is_served(model: object) -> bool:
    return isinstance(model, str) and model.startswith(_SERVED)


def _served(
    url: str, exported_from: str | os.PathLike[str] | None, changes: Iterable[str]
) -> Classifier:
    """Asks a server for a model; its address ends in the model's name."""
    if exported_from is None:
        raise ModelError(
            f"{url}: a server does not say what its classes are: pass `exported_from`, the run or "
            "the folder NAME/VERSION of the export."
        )
    address, _, name = url.rstrip("/").rpartition("/")
    if not name or address.endswith("/"):
        raise ModelError(f"{url} must end in the name of the model, as grpc://localhost:8500/NAME.")
    classes, experiment, described = known_of(exported_from)
    experiment = recipe.override(experiment, changes)
    connected = server.connect(address, name, None)
    return remote.classifier(
        connected, remote.Manner(), classes, experiment.data, experiment.eval, described
    )


def _said(opened: Opened, name: str) -> Opened:
    """Warns of a model that does not know how its clips are cut."""
    if opened.classifier.described == classifier.AS_THE_PAPER:
        warnings.warn(
            f"{name} does not say how its clips are cut: consecutive frames are taken, as in the "
            "paper. If it was trained on others, pass `clips`, or give them to its builder.",
            stacklevel=4,
        )
    return opened


def _ignore(_: str) -> None:
    """Says nothing."""
