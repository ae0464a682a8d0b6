"""What a SavedModel answers: its signatures, in operators that TensorFlow itself has.

All of them check what they are given in the graph, so that a server says what is wrong, too.
"""

from collections.abc import Sequence
from pathlib import Path

import keras
import tensorflow as tf

from keras_r3d.inference.embeddings.features import embedding_layer, embedding_network
from keras_r3d.inference.models.runtimes.loaders import probabilities_of
from keras_r3d.recipe import Clips

MOST_LABELS = 5
_FRAMES_AT_ONCE = 16  # JPEGs decoded and not yet scaled
_JPEG_START, _JPEG_END = b"\xff\xd8\xff", b"\xff\xd9"
_BILINEAR_BELOW = 1.4  # shrunk by less, a side; as in keras_r3d.data.decoding.pixels

Outputs = dict[str, tf.Tensor]


class Signatures(tf.Module):
    """A network with what it takes to serve it, ready for `tf.saved_model.save`.

    It is kept as graphs and variables: nothing of Keras goes with it. `labels` is a file with a
    class name a line, which becomes an asset.
    """

    def __init__(self, model: keras.Model, classes: Sequence[str], clips: Clips, labels: Path):
        super().__init__(name="signatures")
        self._clips = clips
        self._classes = tuple(classes)
        self._labels = tf.saved_model.Asset(str(labels))
        embedding = embedding_network(model, embedding_layer(model)).output
        both = keras.Model(model.inputs, [model.output, embedding])
        to_probabilities = probabilities_of(model)

        # Functions of their own, which the signatures share.
        pixels = tf.TensorSpec((None, *clips.shape), tf.uint8, "clips")
        frames = tf.TensorSpec((None, None, None, clips.channels), tf.uint8, "frames")

        @tf.function(input_signature=[pixels], autograph=False)
        def network(pixels: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            scores, features = both(tf.cast(pixels, tf.float32), training=False)
            return to_probabilities(tf.cast(scores, tf.float32)), features

        @tf.function(input_signature=[frames], autograph=False)
        def cut(frames: tf.Tensor) -> tf.Tensor:
            with tf.device("/CPU:0"):  # where frames come from, and where areas are averaged
                return cut_frames(frames, clips)

        self._network, self._cut = network, cut
        self._variables = [variable.value for variable in both.weights]

    def functions(self) -> dict[str, tf.types.experimental.ConcreteFunction]:
        """Returns the signatures by name; `jpeg` is one where clips are RGB."""
        count, channels = self._clips.frames, self._clips.channels
        clip = tf.TensorSpec((None, count, None, None, channels), tf.uint8, "clip")
        jpegs = tf.TensorSpec((None, count), tf.string, name="jpegs")
        inputs = {
            "serving_default": (self.score_clips, clip),
            "features": (self.embed_clips, clip),
            "jpeg": (self.score_jpegs, jpegs),
        }
        if self._clips.input != "rgb":
            del inputs["jpeg"]
        return {
            name: tf.function(function, autograph=False).get_concrete_function(spec)
            for name, (function, spec) in inputs.items()
        }

    def score_clips(self, clip: tf.Tensor) -> Outputs:
        """Scores clips, uint8 `(batch, frames, height, width, channels)`."""
        return self._named(self._network(self._prepared(clip))[0])

    def embed_clips(self, clip: tf.Tensor) -> Outputs:
        """Returns the embeddings, float32 `(batch, d)`, of clips as `score_clips` takes them."""
        return {"features": self._network(self._prepared(clip))[1]}

    def score_jpegs(self, jpegs: tf.Tensor) -> Outputs:
        """Scores clips whose frames are JPEGs, string `(batch, frames)`, of one size in a clip."""
        return self._named(self._network(self._decoded(jpegs))[0])

    def _prepared(self, clip: tf.Tensor) -> tf.Tensor:
        """Checks clips and cuts them as an evaluation: `(batch, *clips.shape)`."""
        count, channels = self._clips.frames, self._clips.channels
        shape = _shape_fed(clip)
        clip = _checked(
            clip,
            _fits(shape, (None, count, None, None, channels)),
            f"`clip` must be (batch, {count}, height, width, {channels}), batch, height and width "
            "of at least 1. Received: {}",
            shape,
        )
        frames = tf.reshape(clip, tf.concat([[-1], tf.shape(clip)[2:]], axis=0))
        return tf.reshape(self._cut(frames), (-1, *self._clips.shape))

    def _decoded(self, jpegs: tf.Tensor) -> tf.Tensor:
        """Decodes JPEGs and cuts each frame as an evaluation."""
        count, shape = self._clips.frames, _shape_fed(jpegs)
        message = f"`jpegs` must be (batch, {count}), batch of at least 1. Received: {{}}"
        files = tf.reshape(_checked(jpegs, _fits(shape, (None, count)), message, shape), (-1,))

        def each_checked(value, right: tf.Tensor, message: str, received: tf.Tensor) -> tf.Tensor:
            """Names the first frame that is not right; `right` is bool `(batch * frames,)`."""
            first = tf.argmin(tf.cast(right, tf.int32))
            place = (first % count, first // count, tf.gather(received, first))
            text = "`jpegs`: frame {} of clip {} (counted from 0) is " + message
            return _checked(value, tf.reduce_all(right), text, *place)

        whole = tf.equal(tf.strings.substr(files, 0, len(_JPEG_START)), _JPEG_START)
        message = "not a JPEG: {} bytes that do not begin with ff d8 ff."
        files = each_checked(files, whole, message, tf.strings.length(files))
        ended = tf.strings.split(files, _JPEG_END).row_lengths() > 1
        message = "cut short: {} bytes without the end marker ff d9."
        files = each_checked(files, ended, message, tf.strings.length(files))

        def decoded(file: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            frame = tf.io.decode_jpeg(file, 3, dct_method="INTEGER_ACCURATE")  # as OpenCV
            return self._cut(frame[tf.newaxis])[0], tf.shape(frame)[:2]

        kinds = (tf.TensorSpec(self._clips.shape[1:], tf.uint8), tf.TensorSpec((2,), tf.int32))
        frames, sizes = tf.map_fn(
            decoded, files, parallel_iterations=_FRAMES_AT_ONCE, fn_output_signature=kinds
        )
        same = tf.reduce_all(sizes == tf.repeat(sizes[::count], count, axis=0), axis=1)
        message = (
            "of (height, width) {}, others of the clip are not: frames of a clip must be of one "
            "size."
        )
        frames = each_checked(frames, same, message, sizes)
        return tf.reshape(frames, (-1, *self._clips.shape))

    def _named(self, probabilities: tf.Tensor) -> Outputs:
        """Adds names and scores of the most probable classes."""
        count = min(MOST_LABELS, len(self._classes))
        scores, numbers = tf.math.top_k(probabilities, count)
        labels = tf.gather(tf.constant(self._classes), numbers)
        return {"probabilities": probabilities, "labels": labels, "scores": scores}


def cut_frames(frames: tf.Tensor, clips: Clips) -> tf.Tensor:
    """Cuts frames as an evaluation does with one view: shrinks, crops and scales them.

    The arithmetic is TensorFlow's: a few pixels are a gray level beside those of OpenCV, which an
    evaluation uses. Frames of the model's size stay as they are. uint8 `(n, height, width,
    channels)` become `(n, *clips.shape[1:])`.
    """
    height, width = tf.shape(frames)[1], tf.shape(frames)[2]
    ready = tf.reduce_all(tf.shape(frames)[1:3] == clips.image_size)
    if clips.input == "rgb" and clips.short_side:  # flow is that of frames that were shrunk before
        scale = clips.short_side / tf.cast(tf.minimum(height, width), tf.float64)
        scale = tf.minimum(tf.constant(1, tf.float64), scale)  # never enlarged
        height, width = (
            tf.maximum(1, tf.cast(tf.round(tf.cast(side, tf.float64) * scale), tf.int32))
            for side in (height, width)
        )
        frames = _scaled(frames, height, width, bilinear_below=1)
    rows, columns = clips.image_size
    if not clips.is_whole:
        aspect = tf.constant(columns / rows, tf.float64)
        largest = tf.minimum(tf.cast(height, tf.float64), tf.cast(width, tf.float64) / aspect)
        largest *= tf.where(ready, tf.constant(1, tf.float64), clips.center_share)
        tall, wide = (
            tf.maximum(1, tf.cast(tf.round(side), tf.int32)) for side in (largest, largest * aspect)
        )
        top, left = (height - tall) // 2, (width - wide) // 2
        frames = frames[:, top : top + tall, left : left + wide]
    frames = _scaled(frames, rows, columns, bilinear_below=_BILINEAR_BELOW)
    return tf.ensure_shape(frames, (None, *clips.shape[1:]))


def _scaled(
    frames: tf.Tensor, rows: int | tf.Tensor, columns: int | tf.Tensor, bilinear_below: float
) -> tf.Tensor:
    """Scales frames: bilinearly where they shrink by less or grow, else to averages over areas."""
    sizes, target = tf.shape(frames)[1:3], tf.stack([rows, columns])
    shares = tf.cast(sizes, tf.float64) / tf.cast(target, tf.float64)
    bilinear = (tf.reduce_max(shares) < bilinear_below) | (tf.reduce_min(shares) < 1)

    def resized(method: str) -> tf.Tensor:
        return tf.cast(tf.round(tf.image.resize(frames, target, method)), tf.uint8)

    return tf.case(
        [(tf.reduce_all(sizes == target), lambda: frames), (bilinear, lambda: resized("bilinear"))],
        default=lambda: resized("area"),
    )


def _shape_fed(value: tf.Tensor) -> tf.Tensor:
    """Returns the shape of what is fed, which need not be the one that was declared.

    A server feeds what comes, and the graph optimizer takes for granted what was declared: so
    nothing is declared here.
    """
    return tf.shape(tf.compat.v1.placeholder_with_default(value, None))


def _fits(shape: tf.Tensor, wanted: Sequence[int | None]) -> tf.Tensor:
    """Whether a shape is as wanted; None is any size of at least 1."""
    return tf.cond(
        tf.equal(tf.size(shape), len(wanted)),
        lambda: tf.reduce_all(
            [shape[n] >= 1 if size is None else shape[n] == size for n, size in enumerate(wanted)]
        ),
        lambda: False,
    )


def _checked(value: tf.Tensor, condition: tf.Tensor, message: str, *received: tf.Tensor):
    """Returns a value that nobody gets before a check has passed.

    The error's message has a `{}` for each of `received`.
    """
    text = tf.strings.format(message, received)
    with tf.control_dependencies([tf.debugging.Assert(condition, [text])]):
        return tf.identity(value)
