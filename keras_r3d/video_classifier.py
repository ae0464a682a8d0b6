"""The front door: a video classifier, from weights to predictions, evaluations and exports."""

import dataclasses
import functools
import json as json_text
import math
import os
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Unpack

import keras
import numpy as np

from keras_r3d import applications, run_folder
from keras_r3d import recipe as recipes
from keras_r3d.applications import metadata
from keras_r3d.applications.weights import hub, pretrained, weights_file
from keras_r3d.data.annotations import FRAME_RATE, FRAME_RATES, Video, listing
from keras_r3d.data.decoding import live
from keras_r3d.data.opening import file_reader
from keras_r3d.inference.embeddings import feature_file, features
from keras_r3d.inference.embeddings.feature_file import Features
from keras_r3d.inference.evaluation import evaluating
from keras_r3d.inference.evaluation.evaluation import Evaluation
from keras_r3d.inference.evaluation.split import Split, open_split
from keras_r3d.inference.explanation import explain
from keras_r3d.inference.explanation.explain import Explanation
from keras_r3d.inference.models import opening
from keras_r3d.inference.models import protocol as protocols
from keras_r3d.inference.models.classifier import (
    AS_THE_PAPER,
    Classifier,
    of_network,
    thresholds_of,
)
from keras_r3d.inference.models.opening import Named, Opened
from keras_r3d.inference.prediction import fusion, scoring, watching
from keras_r3d.inference.prediction.kept import KeptPredictions, is_served
from keras_r3d.inference.prediction.prediction import Prediction
from keras_r3d.inference.prediction.predictions import Predictions
from keras_r3d.inference.prediction.watching import Sighting
from keras_r3d.inference.segments import live as live_segments
from keras_r3d.inference.segments import segmenting
from keras_r3d.inference.segments.finding import SegmentRule
from keras_r3d.inference.segments.live import LiveSegment
from keras_r3d.inference.segments.segmenting import SegmentEvaluation, VideoSegments
from keras_r3d.recipe import Clips
from keras_r3d.recipe.tables import as_dict
from keras_r3d.run_folder import Run
from keras_r3d.serving import remote, server
from keras_r3d.system import cluster, files
from keras_r3d.system.devices import choose
from keras_r3d.system.errors import ArgumentError, DataError, ModelError, VideoError, check_range
from keras_r3d.system.objects import outputs
from keras_r3d.system.text import shown
from keras_r3d.system.work import Share, Spread, Spreading

if TYPE_CHECKING:
    from keras_r3d.export.exporting import Exported

Progress = Callable[[int, int], None]

_WEIGHTS_FILES = (
    *(".pth", ".pt", ".ckpt", ".pth.tar", ".safetensors", ".npz", ".h5", ".pickle"),
    ".index",  # of a checkpoint of TensorFlow
)
_SERVED = ("http://", "https://", "grpc://")
_LEAST_SECONDS = 0.1  # that anything is waited for
_CLASSES_DRAWN = 10  # beside the segments of a video
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
            - a file: `.keras`, `.weights.h5`, `.npz`, PyTorch's `.pth` or `.safetensors`,
              `.tflite`, `.onnx`, `.xml` of OpenVINO, the `.zip` that a page saves (`python -m
              keras_r3d.web`); or the folder of a SavedModel;
            - such a file on the Hugging Face hub, "hf://OWNER/NAME/FILE";
            - a `keras.Model` in memory that takes clips `(batch, frames, height, width, channels)`;
            - the address of a model behind TensorFlow Serving, "grpc://HOST:8500/NAME" or
              "http://HOST:8501/NAME", with `exported_from`. (`served` has more options, and `fused`
              takes several models.)
        clips: how clips are cut, where the model does not say so itself; else as it says.
        recipe: name or file of the recipe that says so, instead of `clips`.
        protocol: how windows are placed: "paper", "torch7", "follow_up", or "NxV": N windows of V
            views. None is what the model says.
        exported_from: of a served model: the run it was exported from, or the folder NAME/VERSION
            it was exported to, which say its classes and clips. Of a file: the run.
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
        recipe: str | None = None,
        protocol: str | None = None,
        exported_from: str | os.PathLike[str] | None = None,
        devices: str = "all",
    ):
        if clips is not None and recipe is not None:
            raise ArgumentError("`clips` and `recipe` both say how clips are cut: pass one.")
        experiment = recipe if clips is None else recipes.with_clips({"clips": as_dict(clips)})
        opened, weights = _open(model, experiment, protocol, exported_from, devices)
        if opened.classifier.described == AS_THE_PAPER:
            warnings.warn(
                f"{opened.classifier.name} does not say how its clips are cut: consecutive frames "
                "are taken, as in the paper. If it was trained on others, pass `clips`, or give "
                "them to its builder.",
                stacklevel=2,
            )
        how: dict[str, Any] = {"clips": clips, "recipe": recipe, "exported_from": exported_from}
        how |= {"protocol": protocol, "devices": devices}
        made_of = functools.partial(VideoClassifier, model, **how)
        self._set([opened], made_of, protocol=protocol, devices=devices, weights=weights)

    def _set(
        self,
        members: Sequence[Opened],
        made_of: "functools.partial[VideoClassifier]",
        shares: Sequence[float] = (1.0,),
        *,
        protocol: str | None,
        devices: str = "all",
        weights: str | None = None,  # what `fit` starts from, if not from the network in memory
    ) -> "VideoClassifier":
        self._members, self._shares, self._weights = members, shares, weights
        self.made_of = made_of
        self._protocol, self._devices = protocol, devices
        self._opened = members[0] if len(members) == 1 else Opened(_joined(members, shares), None)
        return self

    @classmethod
    def fused(
        cls,
        models: "Sequence[str | os.PathLike[str] | keras.Model | Run | VideoClassifier]",
        weights: Sequence[float | str] = (),
        *,
        protocol: str | None = None,
        devices: str = "all",
    ) -> "VideoClassifier":
        """Fuses several models into one, each with clips of its own: RGB and flow, say.

        A score is the weighted mean of theirs. It predicts and evaluates as any other.

        Args:
            models: two or more classifiers, or what `VideoClassifier` takes.
            weights: of each model; 1 each if none are given.
            protocol, devices: as of `VideoClassifier`, for the models that are opened.

        Raises:
            ArgumentError: they have different classes, or there is not a weight for each.
            R3DError: a model cannot be opened.
        """
        members: list[Opened] = []
        for model in models:
            if not isinstance(model, cls):
                model = cls(model, protocol=protocol, devices=devices)
            if len(model._members) > 1:
                raise ArgumentError(f"{model!r} cannot be fused again: name its models.")
            members.append(model._opened)
        classes = [member.classifier.classes for member in members]
        several = [member.classifier.thresholds is not None for member in members]
        shares = fusion.check(classes, evaluating.titles(members), weights, several)
        how: dict[str, Any] = {"protocol": protocol, "devices": devices}
        made_of = functools.partial(cls.fused, list(models), weights, **how)
        return cls.__new__(cls)._set(members, made_of, shares, protocol=protocol, devices=devices)

    @classmethod
    def served(
        cls,
        url: str,
        model: str | None = None,
        *,
        exported_from: str | os.PathLike[str],
        version: int | None = None,
        signature: Literal["serving_default", "jpeg"] = "serving_default",
        jpeg_quality: int = 95,
        protocol: str | None = None,
        concurrency: int = 4,
        deadline_seconds: float = 60.0,
        retries: int = 4,
        max_message_mib: float | None = None,
    ) -> "VideoClassifier":
        """Opens a model behind TensorFlow Serving.

        Args:
            url: server: http://HOST:8501 or https://… (REST), grpc://HOST:8500 (gRPC).
            model: its name on the server; None is that of the folder `exported_from`.
            exported_from: the run it was exported from, or the folder NAME/VERSION it was exported
                to, or its model.json: they say its classes, and how clips are cut.
            version: of the model; None is the newest.
            signature: what is sent: the pixels of clips, or their frames as JPEGs, which are
                smaller.
            jpeg_quality: of these, 1 to 100.
            protocol: how windows are placed, as `VideoClassifier` takes it.
            concurrency: requests at a time.
            deadline_seconds: of a request, with all its retries.
            retries: most of a request, while the server is away or busy.
            max_message_mib: of a request; None is 4 by gRPC, which servers take that set no limit,
                and 32 by REST.

        Raises:
            ServingError: the server cannot be asked, or its model is another one.
            RunError, ModelError: `exported_from` is damaged.
        """
        check_range(0, version=version, retries=retries)
        check_range(1, 100, jpeg_quality=jpeg_quality)
        check_range(1, 256, concurrency=concurrency)
        check_range(0.001, deadline_seconds=deadline_seconds, max_message_mib=max_message_mib)
        about, experiment, described = remote.known_of(exported_from)
        classes = about.labels or ()
        thresholds = thresholds_of(about, len(classes), os.fspath(exported_from))
        folder = Path(exported_from)
        if model is None and folder.is_dir() and not (folder / run_folder.RECIPE).is_file():
            model = folder.absolute().parent.name
        if not model:
            raise ModelError("`model` is missing: the name of the model on the server.")
        experiment = recipes.override(experiment, protocols.overrides(protocol))
        most_bytes = int(max_message_mib * 2**20) if max_message_mib else None
        manner = remote.Manner(
            signature, jpeg_quality, concurrency, deadline_seconds, retries, most_bytes
        )
        connected = server.connect(url, model, version)
        opened = remote.classifier(
            *(connected, manner, classes, experiment.clips, experiment.eval, described, thresholds)
        )
        made_of = functools.partial(
            cls.served,
            url,
            model,
            exported_from=exported_from,
            version=version,
            signature=signature,
            jpeg_quality=jpeg_quality,
            protocol=protocol,
            concurrency=concurrency,
            deadline_seconds=deadline_seconds,
            retries=retries,
            max_message_mib=max_message_mib,
        )
        return cls.__new__(cls)._set([Opened(opened, None)], made_of, protocol=protocol)

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickles it as what it was opened by, so that other processes open it, too."""
        return self.made_of, ()

    def __repr__(self) -> str:
        name, kind = shown(self._opened.classifier.name), self._opened.classifier.kind
        return f"VideoClassifier({name}, {kind}: {len(self.classes)} classes)"

    def __str__(self) -> str:
        """Names each model, and says how it cuts and scores videos."""
        return "\n".join(evaluating.headline(member.classifier) for member in self._members)

    @property
    def classes(self) -> Sequence[str]:
        """Class names, in the order of the scores."""
        return list(self._opened.classifier.classes)

    @property
    def thresholds(self) -> "dict[str, float] | None":
        """The score from which on each class is named; None of a model that names one label."""
        limits = self._opened.classifier.thresholds
        return None if limits is None else dict(zip(self.classes, limits.tolist(), strict=True))

    @property
    def model(self) -> keras.Model:
        """The Keras model: uint8 clips `(batch, frames, height, width, channels)` -> probabilities.

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
        return "; ".join(
            f"{model.described}: {protocols.described(model.clips, model.eval)}"
            for model in (member.classifier for member in self._members)
        )

    def fit(
        self,
        data: str | os.PathLike[str],
        *,
        recipe: str = _FEW,
        overrides: Iterable[str] = (),
        workdir: str | os.PathLike[str] | None = None,
        say: Callable[[str], None] = print,
    ) -> "VideoClassifier":
        """Trains on labeled videos, from this classifier's weights, and becomes what comes out.

        Args:
            data: as `keras_r3d.data.open_videos` takes it.
            recipe: name of a recipe or path of a TOML file. "few" fits in seconds, to one or more
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

        weights, name = self._weights, self._opened.classifier.name
        if weights is None and name.endswith(".keras") and os.path.isfile(name):
            weights = os.path.abspath(name)
        with files.scratch_folder() as folder:
            if weights is None:
                weights = str(folder / "weights.keras")
                self._network("cannot be trained").save(weights)
            changes = [f"model.weights={json_text.dumps(weights)}", *overrides]
            run = train(
                recipe, data, workdir=workdir, overrides=changes, devices=self._devices, say=say
            )
            assert isinstance(run, Run)
        opened = opening.of_run(run, None, self._protocol, self._devices)
        how: dict[str, Any] = {"protocol": self._protocol, "devices": self._devices}
        return self._set([opened], functools.partial(VideoClassifier, run, **how), **how)

    @cluster.spread
    def predict(
        self,
        videos: "str | os.PathLike[str] | Video | Iterable[str | os.PathLike[str] | Video]",
        *,
        top: int = 5,
        json: str | None = None,
        csv: str | None = None,
        timeline: str | None = None,
        annotate: str | None = None,
        html: str | None = None,
        frame_rate: float = FRAME_RATE,
        timeout: float = scoring.TIMEOUT,
        **spread: Unpack[Spreading],
    ) -> Prediction | Predictions:
        """Names what videos show.

        Interrupted, the same call resumes if it writes files, beside whose first parts are kept.

        Args:
            videos: a video: a file, a folder of pictures, or a `keras_r3d.data.Video`; several; or
                a folder, list or glob of some (of segments, each).
            top: classes that the files name.
            json: also writes a record for each video to this file.
            csv: also writes a row for each video to this file.
            timeline: also writes the scores over time, PNG and CSV, into this new folder.
            annotate: also writes a copy with the label burnt in: a .mp4 or .avi file, of several
                videos a new folder.
            html: also writes a page of video and scores: a .html file, or a new folder.
            frame_rate: of folders of pictures, in frames a second.
            timeout: seconds after which a file that gives no more window is given up.
            spread: as of `keras_r3d.data.prepare_store`, with the same files. Then `.share` of
                the iterator says what is made.

        Returns:
            A `Prediction`, or an iterator of one for each of several videos, in their order: of a
            broken one its `status` is "error". `.top(5)` gives the best classes with their scores,
            `.named_classes()` those whose scores reach their thresholds, where a video may have
            several labels.

        Raises:
            VideoError: one file was given, and it is no video.
            DataError: there is no such file or folder.
            ArgumentError: a file to be written exists already, or cannot be of that name.
        """
        check_range(1, top=top)
        check_range(_LEAST_SECONDS, timeout=timeout)
        found = _videos(videos, frame_rate)
        names = [video.name for video in found]
        wanted = {"json": json, "csv": csv, "timeline": timeline, "annotate": annotate}
        wanted["html"] = html
        places = (outputs.local(path, kind) for kind, path in wanted.items() if path)
        output, spreading = next(places, None), Spread(**spread)
        spreading.check(output, "json")
        models = [member.classifier for member in self._members]
        keeps = output and (spreading != Spread() or not any(map(is_served, models)))
        kept = KeptPredictions(
            models,
            [(file_reader(found, model.clips), found) for model in models],
            self._shares,
            timeout=timeout,
            folder=Path(f"{output}.parts") if keeps else None,
            spread=spreading,
        )
        place = kept if keeps else None
        predictions = Predictions(
            names, kept.predictions(), place, **wanted, top=top, timeout=timeout
        )
        if _names_several(videos) or spreading.is_share:
            return predictions
        (prediction,) = predictions
        if prediction.status == "error":
            raise VideoError(prediction.detail)
        return prediction

    def segments(
        self,
        videos: "str | os.PathLike[str] | Video | Iterable[str | os.PathLike[str] | Video]",
        *,
        rule: SegmentRule | None = None,
        json: str | None = None,
        csv: str | None = None,
        timeline: str | None = None,
        html: str | None = None,
        frame_rate: float = FRAME_RATE,
        timeout: float = scoring.TIMEOUT,
    ) -> VideoSegments | Predictions:
        """Finds when classes happen in long videos.

        Windows slide over a video; where a class reaches a threshold in several in a row is a
        segment. A class named "background" is never reported, nor are those that the model's recipe
        lists as `eval.silent`.

        Args:
            videos: as of `predict`.
            rule: numbers that shape the segments. Those that are None are as `evaluate_segments`
                chose them for the run, else the usual ones.
            json: also writes the segments of all videos to this file.
            csv: also writes a row for each segment to this file.
            timeline: also writes the scores over time, PNG and CSV, into this new folder.
            html: also writes a page of video, scores and segments: a .html file, or a new folder.
            frame_rate: of folders of pictures, in frames a second.
            timeout: seconds after which a file that gives no more window is given up.

        Returns:
            `.segments` of a video, each with `start_seconds`, `end_seconds`, `label` and `score`;
            or an iterator of one for each of several videos.

        Raises:
            VideoError: one file was given, and it is no video.
            DataError: there is no such file or folder.
            ArgumentError: a number is missing or out of range, models are fused, or a file to be
                written exists already.
        """
        check_range(_LEAST_SECONDS, timeout=timeout)
        check_range(*FRAME_RATES, frame_rate=frame_rate)
        rule = segmenting.settle(self._alone("Segments are found"), rule)
        classifier = self._opened.classifier
        # Of a list with segments each video once, as a whole.
        named = {video.path: video for video in _videos(videos, frame_rate)}
        whole = [
            dataclasses.replace(video, start_seconds=0.0, end_seconds=math.inf)
            for video in named.values()
        ]
        reader = file_reader(whole, classifier.clips)
        found = segmenting.segment(classifier, reader, whole, rule, timeout)
        wanted = {"json": json, "csv": csv, "timeline": timeline, "html": html}
        predictions = Predictions(
            list(named), found, None, **wanted, top=_CLASSES_DRAWN, timeout=timeout
        )
        if _names_several(videos):
            return predictions
        (only,) = predictions
        if only.status == "error":
            raise VideoError(only.detail)
        assert isinstance(only, VideoSegments)
        return only

    def _alone(self, done: str) -> Opened:
        if len(self._members) > 1:
            raise ArgumentError(f"{done} by one model, not by several fused.")
        return self._opened

    def watch(
        self,
        source: str,
        *,
        seconds: float | None = None,
        every: float | None = None,
        smooth: int = 1,
        duration: float | None = None,
        top: int = 5,
        json: str | None = None,
        timeout: float = 10.0,
        say: Callable[[str], None] = print,
    ) -> Iterator[Sighting]:
        """Names what a camera shows, again and again, until it ends or the iterator is closed.

        Args:
            source: number or address of a camera, or a video file, played at its own speed.
            seconds: of a camera: newest seconds that a clip is spread over, of models that spread
                clips over whole videos.
            every: of a camera: seconds from one window to the next; None: no overlap.
            smooth: of a camera: newest windows that are averaged.
            duration: of a camera: seconds after which it ends.
            top: classes that `json` names.
            json: also appends a line for each window to this file.
            timeout: seconds that connecting, and a frame, may take.
            say: takes what there is to say of the connection.

        Yields:
            Of each window its `scores`, `.top(5)`, `start_seconds`, `end_seconds`,
            `latency_seconds`.

        Raises:
            ArgumentError: the model cannot score a camera in the way that was asked for.
            VideoError: the source cannot be connected to, or ends before a window is full.
        """
        check_range(1, top=top, smooth=smooth)
        check_range(0, every=every, duration=duration)
        check_range(_LEAST_SECONDS, timeout=timeout, seconds=seconds)
        self._alone("A live source is scored")
        options: dict[str, Any] = {"every": every, "smooth": smooth, "duration": duration}
        for sighting in self._sightings(source, seconds, timeout, **options, say=say):
            if json is not None:
                sighting.append(json, top)
            yield sighting

    def watch_segments(
        self,
        source: str,
        *,
        rule: SegmentRule | None = None,
        duration: float | None = None,
        json: str | None = None,
        timeout: float = 10.0,
        say: Callable[[str], None] = print,
    ) -> Iterator[LiveSegment]:
        """Finds when classes happen before a camera: each segment is told when it ends.

        Args:
            source: number or address of a camera, or a video file, played at its own speed.
            rule: as of `segments`, but of several `window_seconds` the middle ones serve, and
                `overlap` is of no use.
            duration: of a camera: seconds after which it ends.
            json: also appends a line for each segment to this file.
            timeout: seconds that connecting, and a frame, may take.
            say: takes what there is to say of the connection.

        Yields:
            Segments: `start_seconds`, `end_seconds`, `label`, `score`, and `delay_seconds`, from
            its end until it is told.

        Raises:
            ArgumentError: the model cannot score a camera, or a number is missing or out of range.
            VideoError: the source cannot be connected to, or ends before a window is full.
        """
        check_range(0, duration=duration)
        check_range(_LEAST_SECONDS, timeout=timeout)
        rule = segmenting.settle(self._alone("Segments are found"), rule)
        options: dict[str, Any] = {"step": rule.step, "duration": duration, "say": say}
        length = rule.lengths[len(rule.lengths) // 2]
        sightings = self._sightings(source, length, timeout, **options)
        for segment in live_segments.segments_of(sightings, rule, self._opened.classifier.silent):
            if json is not None:
                segment.append(json)
            yield segment

    def _sightings(
        self, source: str, seconds: float | None, timeout: float, **options: Any
    ) -> Iterator[Sighting]:
        classifier = self._opened.classifier
        kept = watching.shape(classifier, seconds)
        watching.warm_up(classifier, kept)
        camera = live.Source(source, kept, timeout)
        try:
            yield from watching.watch(classifier, camera, kept, **options)
        finally:
            camera.stop()

    @cluster.spread
    def evaluate(
        self,
        data: str | os.PathLike[str] | None = None,
        *,
        split: str | None = None,
        frame_rate: float | None = None,
        timeout: float = scoring.TIMEOUT,
        output: str | os.PathLike[str] | None = None,
        resumable: bool = False,
        progress: Progress | None = None,
        **spread: Unpack[Spreading],
    ) -> Evaluation | Share:
        """Scores labeled videos, each exactly once.

        Args:
            data: as `keras_r3d.data.open_videos` takes it; None is the run's own.
            split: None is that of the recipe; of other data, the only one there is.
            frame_rate: of folders of pictures in `data`, in frames a second; None is that of the
                recipe, else 25.
            timeout: seconds after which a video that gives no more window is given up.
            output: new folder that the results will be saved in; None is one of the run.
            resumable: keeps what is done beside that folder until `save`: interrupted, the same
                call resumes.
            progress: takes the number of videos done, and of all.
            spread: as of `keras_r3d.data.prepare_store`; `resumable` then.

        Returns:
            The evaluation: `figures()`, `records()`, `save(FOLDER)`; printed, it is a table.

        Raises:
            DataError: there are no such videos, or they have classes the model does not know.
            ArgumentError: models that are fused have other videos each.
        """
        check_range(_LEAST_SECONDS, timeout=timeout)
        check_range(*FRAME_RATES, frame_rate=frame_rate)
        return evaluating.evaluate(
            self._members,
            self._shares,
            data=None if data is None else os.fspath(data),
            split=split,
            frame_rate=frame_rate,
            protocol=self._protocol,
            timeout=timeout,
            output=None if output is None else outputs.local(output),
            resumable=resumable,
            progress=progress or (lambda done, total: None),
            spread=Spread(**spread),
        )

    def evaluate_segments(
        self,
        data: str | os.PathLike[str] | None = None,
        *,
        split: str | None = None,
        rule: SegmentRule | None = None,
        timeout: float = scoring.TIMEOUT,
        say: Callable[[str], None] = print,
    ) -> SegmentEvaluation:
        """Finds the segments of long videos and compares them with the labeled ones.

        Without a `rule` it is chosen on the split "train" of the data, if there is one.

        Args:
            data: a list with the columns start_seconds,end_seconds, as
                `keras_r3d.data.open_videos` takes it; None is the run's own.
            split: None is that of the recipe; of other data, the only one there is.
            rule: numbers that shape the segments, as of `segments`.
            timeout: seconds after which a video that gives no more window is given up.
            say: takes a line of text, the numbers that were chosen.

        Returns:
            The evaluation: `mean_average_precision(OVERLAP)`, `figures()`, `save()`, `rule`;
            printed, it is a table.

        Raises:
            DataError: there are no such videos, segments have no end, or they have classes the
                model does not know.
            ArgumentError: a number is missing or out of range, or models are fused.
        """
        check_range(_LEAST_SECONDS, timeout=timeout)
        return segmenting.evaluate(
            self._alone("Segments are found"),
            rule,
            data=None if data is None else os.fspath(data),
            split=split,
            timeout=timeout,
            say=say,
        )

    def explain(
        self,
        video: str | os.PathLike[str],
        *,
        class_name: str | None = None,
        window: str | None = None,
        layer: str | None = None,
        method: Literal["integrated", "grad_cam", "layer_cam"] = "integrated",
        occlusion: bool = False,
        frame_rate: float = FRAME_RATE,
        output: str | None = None,
        npz: bool = False,
        progress: Progress | None = None,
    ) -> Explanation:
        """Explains what in a video speaks for a class.

        Args:
            class_name: None is the class that the video is taken for.
            window: its number, from 0, or a time in it ("2.5s"); None is the one with the highest
                score of the class.
            layer: whose map is used; None is the deepest of 14x14 cells or more.
            method: kind of Grad-CAM, see docs/explain.md.
            occlusion: also cover parts of the clip, to check (takes longer).
            frame_rate: of a folder of pictures, in frames a second.
            output: also writes VIDEO.explain.mp4, .png and .html into this folder; nothing is
                replaced.
            npz: also writes the numbers there, VIDEO.explain.npz.
            progress: takes the number of parts covered, and of all.

        Returns:
            The explanation: `heats`, `figure()`, `save(FOLDER)`.

        Raises:
            ArgumentError: it is an export or is served, or there is no such class or window, or a
                file exists already.
            VideoError: the video gives no frames.
        """
        path = os.fspath(video)
        check_range(*FRAME_RATES, frame_rate=frame_rate)
        if output is not None:
            explain.paths_of(path, output, npz)  # an error now, rather than after the work
        explanation = explain.explain(
            self._opened.classifier,
            path,
            class_name=class_name,
            window=None if window is None else str(window),
            layer=layer,
            method=method,
            occlusion=occlusion,
            frame_rate=frame_rate,
            progress=progress,
        )
        if output is not None:
            explanation.save(output, npz)
        return explanation

    @cluster.spread
    def embed(
        self,
        videos: "str | os.PathLike[str] | Video | Iterable[str | os.PathLike[str] | Video]",
        *,
        split: str | None = None,
        layer: str | None = None,
        per: str = "video",
        output: str | os.PathLike[str] | None = None,
        frame_rate: float = FRAME_RATE,
        timeout: float = scoring.TIMEOUT,
        progress: Progress = lambda done, total: None,
        **spread: Unpack[Spreading],
    ) -> Features | features.StoredFeatures | Share:
        """Computes embeddings of videos.

        Args:
            videos: labeled ones, as `keras_r3d.data.open_videos` takes them, if `split` names
                which; else videos, folders, lists or globs of some.
            layer: whose output they are; None is the one that feeds the classifier.
            per: "video", or "window" for each window.
            output: writes them to this file, `.npz` or `.parquet`, instead of returning them: of
                more than memory holds. Interrupted, the same call resumes.
            frame_rate: of folders of pictures without `split`, in frames a second.
            timeout: seconds after which a video that gives no more window is given up.
            progress: takes the number of videos done, and of all, where there is an `output`.
            spread: as of `keras_r3d.data.prepare_store`, where there is an `output`.

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
            raise ArgumentError(f"`per` must be one of {list(features.PER)}. Received: {per}")
        model, layer = features.embedder(self._opened.classifier, layer, choose(self._devices))
        if split is None:
            unlabeled = _videos(videos, frame_rate)
            side = Split(unlabeled, file_reader(unlabeled, model.clips), "", "")
        elif isinstance(videos, str | os.PathLike):
            side = open_split(self._opened, os.fspath(videos), split)
        else:
            raise DataError(
                "With `split`, `videos` must be a folder of labeled videos, a list or a store."
            )
        spreading = Spread(**spread)
        spreading.check(output)
        if output is None:
            return features.of_videos(model, layer, side, per=per, timeout=timeout)
        path = outputs.local(output)
        feature_file.check_new(path)
        return features.store(
            *(model, layer, side, path),
            per=per,
            timeout=timeout,
            progress=progress,
            spread=spreading,
        )

    def export(
        self,
        form: str,
        output: str | os.PathLike[str] | None = None,
        *,
        quantize: str | None = None,
        data: str | os.PathLike[str] | None = None,
        split: str | None = None,
        videos: int = 100,
        min_agreement: float | None = None,
        litert: str | None = None,
        progress: Progress | None = None,
    ) -> "Exported":
        """Exports the model, loads it again and keeps it only if it computes what Keras computes.

        Args:
            form: "saved_model", "tflite", "onnx", "openvino" or "web", a page for browsers.
            output: where to: for "saved_model" a folder that gets a new version number inside, for
                "openvino" and "web" a folder, else a file. None is a place in the folder of its
                run.
            quantize: what weights and activations become: of "tflite" and "web" "none", "float16",
                "dynamic" (int8 weights) or "int8"; of "saved_model" "none", "bfloat16" or
                "float16"; of the others "none". None is "int8" of "web", else "none".
            data: labeled videos to compare and calibrate on, as `keras_r3d.data.open_videos`
                takes them; None is those of its run.
            split: of the videos to compare on; None is that of the recipe.
            videos: most videos to compare on, evenly chosen; 0 is all.
            min_agreement: least share of the windows in which the export must see the class that
                Keras sees, 0 to 1. None is 0.99; of float16 0.98; of bfloat16, dynamic and int8
                0.95.
            litert: of "web": a node_modules that LiteRT.js is taken from. None takes it by npm, or
                else the page loads it from a CDN.
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

        check_range(0, videos=videos)
        check_range(0, 1, min_agreement=min_agreement)
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
            litert=litert,
            progress=progress,
        )

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Saves the Keras model, with its classes and how its clips are cut.

        Args:
            path: a `.keras` file that does not exist yet.

        Raises:
            ModelError: it is an export or is served.
            ArgumentError: the file exists.
            WriteError: it cannot be written.
        """
        path = Path(path)
        if path.suffix != ".keras":
            raise ModelError(f"`path` must end in .keras. Received: {path}")
        files.check_new(path, "path")
        network, classifier = self._network("cannot be saved"), self._opened.classifier
        about = applications.read_metadata(network)
        if about is not None and about.recipe is None:  # it was said with `clips`, or by its name
            tables = {"clips": as_dict(classifier.clips), "eval": as_dict(classifier.eval)}
            metadata.record(network, recipe=tables)
        with files.atomic(path) as temporary:
            network.save(temporary)
        return path

    def _network(self, lacking: str) -> keras.Model:
        classifier = self._opened.classifier
        if classifier.network is None:
            remedy = "pass the .keras file that it was exported from, or its run"
            if len(self._members) > 1:
                remedy = "take one of its models"
            raise ModelError(
                f"{classifier.name} is a {classifier.kind}, which {lacking}: {remedy}."
            )
        return classifier.network


def open_named(named: Named, protocol: str | None = None, devices: str = "all") -> VideoClassifier:
    """Opens the model, or the models, that the flags of a command name; errors as of the class."""
    how: dict[str, Any] = {"protocol": protocol, "devices": devices}
    if named.fuse:
        runs = [run_folder.open_run(path) for path in named.fuse]
        return VideoClassifier.fused(runs, named.weights, **how)
    if not named.model:
        return VideoClassifier(run_folder.open_run(str(named.workdir)), **how)
    with warnings.catch_warnings():  # the command says how clips are cut
        warnings.simplefilter("ignore", UserWarning)
        how |= {"recipe": named.recipe, "exported_from": named.workdir}
        return VideoClassifier(named.model, **how)


def _joined(members: Sequence[Opened], shares: Sequence[float]) -> Classifier:
    """Stands for models that are fused, where one is asked for."""

    def score(clips: np.ndarray) -> np.ndarray:
        raise ModelError("Models that are fused have clips of their own: score videos.")

    name, kind = " + ".join(evaluating.titles(members)), "fusion of models"
    models = [member.classifier for member in members]
    limits = fusion.mean_thresholds([(m.classes, m.thresholds) for m in models], shares)
    return dataclasses.replace(
        models[0], name=name, kind=kind, score=score, network=None, thresholds=limits
    )


def _open(
    model: "str | os.PathLike[str] | keras.Model | Run",
    experiment: str | recipes.Recipe | None,
    protocol: str | None,
    exported_from: str | os.PathLike[str] | None,
    devices: str,
) -> tuple[Opened, str | None]:
    """Opens a model of any kind; also returns the file of weights that it is, if it is one."""
    name = hub.fetch(os.fspath(model), "model") if isinstance(model, str | os.PathLike) else None
    served = name is not None and name.startswith(_SERVED)
    path = None if name is None or served else _weights(name)
    is_run = isinstance(model, Run) or bool(name and (Path(name) / run_folder.RECIPE).is_file())
    if exported_from is not None and (name is None or is_run or path is not None):
        raise ModelError("`exported_from` is for a served model, or for the file of a run.")
    if experiment is not None and not served and (is_run or exported_from is not None):
        raise ArgumentError("`clips` and `recipe` are for a model of no run: a run has its own.")
    if isinstance(model, Run):
        return opening.of_run(model, None, protocol, devices), None
    if served:
        return _ask_server(str(name), exported_from, protocol), None
    if name is not None and path is None:
        workdir = None if exported_from is None else os.fspath(exported_from)
        return opening.open_model(name, workdir, experiment, protocol, devices), None
    if path is None and not isinstance(model, keras.Model):
        raise ModelError(
            "`model` must be a name of weights, a run, a model file, a keras.Model or an address. "
            f"Received: {type(model).__name__}"
        )
    source = None if path is None else weights_file.open_file(path)
    if source is not None and experiment is None:
        # Our own, which come with keras_r3d, are for clips that are spread over videos.
        experiment = _FEW if source.path.suffix == ".npz" else source.recipe or recipes.PAPER
    if isinstance(experiment, str):
        experiment = recipes.load(experiment)
    changes, hardware = protocols.overrides(protocol), choose(devices)
    if source is not None:
        if source.network is None:
            raise ModelError(f"{path} does not name its network: build that, and pass it.")
        shape = experiment.clips.shape  # type: ignore[union-attr]
        with hardware.strategy.scope():
            model = applications.get_model(source.network, weights=source, input_shape=shape)
    classifier = of_network(model, experiment, overrides=changes, hardware=hardware)
    if name is None:
        return Opened(classifier, None), None
    packaged = any(row.packaged and row.name == name for row in pretrained.PRETRAINED)
    weights = name if packaged else str(path)
    return Opened(dataclasses.replace(classifier, name=name), None), weights


def _weights(name: str) -> Path | None:
    """Returns the file of weights that a name or a path stands for; None if it is no weights."""
    file, _ = weights_file.split_key(name)
    if file.name.endswith(_WEIGHTS_FILES) and file.is_file():
        return Path(name)
    if Path(name).exists():
        return None
    rows = [row for row in pretrained.PRETRAINED if pretrained.find(row.network, name) is row]
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


def _names_several(videos: object) -> bool:
    """Whether these are several videos: a collection, a folder or a glob."""
    if not isinstance(videos, str | os.PathLike):
        return not isinstance(videos, Video)
    return listing.names_several(os.fspath(videos))


def _videos(videos: object, frame_rate: float) -> list[Video]:
    """Returns the videos that are named."""
    alone = isinstance(videos, str | os.PathLike | Video)
    words = list(videos) if not alone and isinstance(videos, Iterable) else [videos]
    named = [
        word if isinstance(word, Video) else os.fspath(word)
        for word in words
        if isinstance(word, str | os.PathLike | Video)
    ]
    if len(named) < len(words):
        raise ArgumentError(
            "`videos` must be files, folders or globs. Received: "
            f"{type(videos).__name__}. For clips in memory: `classifier.model.predict(clips)`."
        )
    return listing.videos(named, opens_lists=alone, frame_rate=frame_rate)


def _ask_server(
    url: str, exported_from: str | os.PathLike[str] | None, protocol: str | None
) -> Opened:
    """Asks a server for a model; its address ends in the model's name."""
    if exported_from is None:
        raise ModelError(
            f"{url}: a server does not say what its classes are: pass `exported_from`, the run or "
            "the folder NAME/VERSION of the export."
        )
    address, _, name = url.rstrip("/").rpartition("/")
    if not name or address.endswith("/"):
        raise ModelError(f"{url} must end in the name of the model, as grpc://localhost:8500/NAME.")
    return VideoClassifier.served(
        address, name, exported_from=exported_from, protocol=protocol
    )._opened
