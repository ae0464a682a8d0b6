"""What a SavedModel answers: its signatures, in operators that TensorFlow itself has.

All of them check what they are given in the graph, so that a server says what is wrong, too.
"""

import functools
from collections.abc import Sequence
from pathlib import Path

import keras
import tensorflow as tf

from keras_r3d import recipe
from keras_r3d.export.saved_model import windowing
from keras_r3d.inference.embeddings.features import embedding_layer, embedding_network

MOST_LABELS = 5
_FRAMES_AT_ONCE = 16  # JPEGs decoded and not yet scaled
_BYTES_AT_ONCE = 2**28  # of a video's frames that are not yet scaled
_JPEG_START, _JPEG_END = b"\xff\xd8\xff", b"\xff\xd9"

Outputs = dict[str, tf.Tensor]


class Signatures(tf.Module):
    """A network with what it takes to serve it, ready for `tf.saved_model.save`.

    It is kept as graphs and variables: nothing of Keras goes with it.

    Args:
        model: gives probabilities or logits, of clips `(frames, size, size, channels)` of 0-255.
        labels: file with a class name a line; becomes an asset.
    """

    def __init__(
        self,
        model: keras.Model,
        classes: Sequence[str],
        data: recipe.Data,
        evaluation: recipe.Eval,
        labels: Path,
    ):
        super().__init__(name="signatures")
        self._data, self._eval = data, evaluation
        self._classes = tuple(classes)
        self._labels = tf.saved_model.Asset(str(labels))
        embedding = embedding_network(model, embedding_layer(model)).output
        both = keras.Model(model.inputs, [model.output, embedding])
        logits = getattr(model.layers[-1], "activation", None) is keras.activations.linear

        # Functions of their own, which the signatures share.
        clips = self._spec("clips", (None, *self._shape(data.size)))

        @tf.function(input_signature=[clips], autograph=False)
        def network(clips: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            scores, features = both(tf.cast(clips, tf.float32), training=False)
            scores = tf.cast(scores, tf.float32)
            return tf.nn.softmax(scores) if logits else scores, features

        frames = self._spec("frames", (None, None, None, data.channels))

        @functools.cache
        def views(count: int):
            def cut(frames: tf.Tensor) -> tf.Tensor:
                with tf.device("/CPU:0"):  # where frames come from, and where areas are averaged
                    return windowing.views(frames, data, count)

            return tf.function(cut, input_signature=[frames], autograph=False)

        self._network, self._views = network, views
        self._variables = [variable.value for variable in both.weights]

    def _shape(self, size: int | None) -> tuple[int | None, ...]:
        return (self._data.frames, size, size, self._data.channels)

    def _spec(self, name: str, shape: Sequence[int | None]) -> tf.TensorSpec:
        return tf.TensorSpec(shape, tf.uint8, name=name)

    def functions(self) -> dict[str, tf.types.experimental.ConcreteFunction]:
        """Returns the signatures by name; `jpeg` is one where clips are RGB."""
        clip = self._spec("clip", (None, *self._shape(None)))
        jpegs = tf.TensorSpec((None, self._data.frames), tf.string, name="jpegs")
        video = self._spec("video", (None, None, None, self._data.channels))
        given = {
            "serving_default": (self.of_clips, clip),
            "features": (self.features, clip),
            "jpeg": (self.of_jpegs, jpegs),
            "video": (self.of_video, video),
        }
        if self._data.input != "rgb":
            del given["jpeg"]
        return {
            name: tf.function(
                function, input_signature=[spec], autograph=False
            ).get_concrete_function()
            for name, (function, spec) in given.items()
        }

    def of_clips(self, clip: tf.Tensor) -> Outputs:
        """Scores clips, uint8 `(batch, frames, height, width, channels)`."""
        return self._named(self._network(self._prepared(clip))[0])

    def features(self, clip: tf.Tensor) -> Outputs:
        """Returns the embeddings, float32 `(batch, d)`, of clips as `of_clips` takes them."""
        return {"features": self._network(self._prepared(clip))[1]}

    def of_jpegs(self, jpegs: tf.Tensor) -> Outputs:
        """Scores clips whose frames are JPEGs, string `(batch, frames)`.

        Frames of a clip are of one size, clips of a batch need not be.
        """
        return self._named(self._network(self._decoded(jpegs))[0])

    def of_video(self, video: tf.Tensor) -> Outputs:
        """Scores a video, uint8 `(frames, height, width, channels)`, as `evaluate` does."""
        shape = _shape_fed(video)
        wanted = f"(frames, height, width, {self._data.channels}), frames, height and width"
        fits = _fits(shape, (None, None, None, self._data.channels))
        with _required(fits, f"`video` must be {wanted} of at least 1. Received: {{}}", shape):
            video = tf.identity(video)
        count = tf.shape(video, tf.int64)[0]
        numbers = windowing.frame_numbers(count, self._data, self._eval.windows)
        of_window = self._data.frames * tf.reduce_prod(tf.shape(video, tf.int64)[1:])
        at_once = tf.clip_by_value(
            tf.cast(_BYTES_AT_ONCE // of_window, tf.int32),
            1,
            max(1, self._eval.batch_size // self._eval.views),
        )
        windows = tf.shape(numbers)[0]
        steps = -(-windows // at_once)
        parts = tf.TensorArray(
            tf.float32, steps, infer_shape=False, element_shape=(None, len(self._classes))
        )
        # One after the other, or all of them would be in memory.
        _, parts = tf.while_loop(
            lambda step, parts: step < steps,
            lambda step, parts: (
                step + 1,
                parts.write(
                    step, self._of_windows(video, numbers[step * at_once : (step + 1) * at_once])
                ),
            ),
            (0, parts),
            parallel_iterations=1,
        )
        scores = tf.ensure_shape(parts.concat(), (None, len(self._classes)))
        mean = windowing.average(scores, self._eval.average)
        named = self._named(mean[tf.newaxis])
        return {name: output[0] for name, output in named.items()} | {
            "window_probabilities": scores
        }

    def _of_windows(self, video: tf.Tensor, numbers: tf.Tensor) -> tf.Tensor:
        """Scores windows, float32 `(windows, classes)`, each the average of its views.

        Args:
            numbers: of their frames, int64 `(windows, frames)`.
        """
        count = self._eval.views
        with tf.device("/CPU:0"):
            frames = tf.gather(video, tf.reshape(numbers, (-1,)))
        clips = tf.reshape(self._views(count)(frames), (-1, *self._shape(self._data.size)))
        scores = tf.reshape(self._network(clips)[0], (count, -1, len(self._classes)))
        return windowing.average(tf.transpose(scores, (1, 0, 2)), self._eval.average)

    def _prepared(self, clip: tf.Tensor) -> tf.Tensor:
        """Checks clips and cuts them as an evaluation: `(batch, frames, size, size, channels)`."""
        shape = _shape_fed(clip)
        wanted = (None, self._data.frames, None, None, self._data.channels)
        with _required(
            _fits(shape, wanted),
            f"`clip` must be (batch, {self._data.frames}, height, width, {self._data.channels}), "
            "batch, height and width of at least 1. Received: {}",
            shape,
        ):
            clip = tf.identity(clip)
        sizes = tf.shape(clip)
        frames = tf.reshape(clip, tf.concat([[-1], sizes[2:]], axis=0))
        return tf.reshape(self._views(1)(frames), (-1, *self._shape(self._data.size)))

    def _decoded(self, jpegs: tf.Tensor) -> tf.Tensor:
        """Decodes JPEGs and cuts each frame as an evaluation."""
        count = self._data.frames
        shape = _shape_fed(jpegs)
        message = f"`jpegs` must be (batch, {count}), batch of at least 1. Received: {{}}"
        with _required(_fits(shape, (None, count)), message, shape):
            files = tf.reshape(jpegs, (-1,))
        whole = tf.equal(tf.strings.substr(files, 0, len(_JPEG_START)), _JPEG_START)
        message = "`jpegs`: frame {} of clip {} (counted from 0) is not a JPEG: {} bytes that "
        with _required_of_all(
            whole, count, message + "do not begin with ff d8 ff.", tf.strings.length(files)
        ):
            files = tf.identity(files)
        parts = tf.strings.split(files, _JPEG_END).row_lengths()
        with _required_of_all(
            parts > 1,
            count,
            "`jpegs`: frame {} of clip {} (counted from 0) is cut short: {} bytes without the end "
            "marker ff d9.",
            tf.strings.length(files),
        ):
            files = tf.identity(files)

        def decoded(file: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            frame = tf.io.decode_jpeg(file, 3, dct_method="INTEGER_ACCURATE")  # as OpenCV
            return self._views(1)(frame[tf.newaxis])[0, 0], tf.shape(frame)[:2]

        frames, sizes = tf.map_fn(
            decoded,
            files,
            parallel_iterations=_FRAMES_AT_ONCE,
            fn_output_signature=(
                tf.TensorSpec(self._shape(self._data.size)[1:], tf.uint8),
                tf.TensorSpec((2,), tf.int32),
            ),
        )
        first = tf.repeat(sizes[::count], count, axis=0)
        same = tf.reduce_all(sizes == first, axis=1)
        message = (
            "`jpegs`: frame {} of clip {} (counted from 0) is of (height, width) {}, others of the "
            "clip are not: frames of a clip must be of one size."
        )
        with _required_of_all(same, count, message, sizes):
            return tf.reshape(frames, (-1, *self._shape(self._data.size)))

    def _named(self, probabilities: tf.Tensor) -> Outputs:
        """Adds names and scores of the most probable classes."""
        count = min(MOST_LABELS, len(self._classes))
        scores, numbers = tf.math.top_k(probabilities, count)
        labels = tf.gather(tf.constant(self._classes), numbers)
        return {"probabilities": probabilities, "labels": labels, "scores": scores}


def _shape_fed(value: tf.Tensor) -> tf.Tensor:
    """Returns the shape of what is fed, which need not be the one that was declared.

    A server feeds what comes, and the graph optimiser takes for granted what was declared: so
    nothing is declared here.
    """
    return tf.shape(tf.compat.v1.placeholder_with_default(value, None))


def _fits(shape: tf.Tensor, wanted: Sequence[int | None]) -> tf.Tensor:
    """Whether a shape is as wanted; None is any size of at least 1."""
    return tf.cond(
        tf.equal(tf.size(shape), len(wanted)),
        lambda: tf.reduce_all(
            [shape[n] >= 1 if one is None else shape[n] == one for n, one in enumerate(wanted)]
        ),
        lambda: False,
    )


def _required(condition: tf.Tensor, message: str, *values: tf.Tensor):
    """Lets what is computed under it wait for a check.

    Args:
        message: of the error, with `{}` for each of `values`.
    """
    text = tf.strings.format(message, values)
    return tf.control_dependencies([tf.debugging.Assert(condition, [text])])


def _required_of_all(right: tf.Tensor, frames: int, message: str, values: tf.Tensor):
    """As `_required`, of each frame of all clips: the first that is not right is named.

    Args:
        right: bool `(batch * frames,)`.
        message: of the error, with `{}` for frame, clip and value.
        values: `(batch * frames, …)`.
    """
    first = tf.argmin(tf.cast(right, tf.int32))
    return _required(
        tf.reduce_all(right), message, first % frames, first // frames, tf.gather(values, first)
    )
