"""A training step and a validation step, compiled, over all replicas."""

import functools
from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf

from keras_r3d.recipe import Train
from keras_r3d.system.devices import Devices
from keras_r3d.system.errors import DeviceError
from keras_r3d.training.optimization.mixup import mix
from keras_r3d.training.optimization.optimizer import build_optimizer

Batch = tuple[tf.Tensor, tf.Tensor]
SUMS = ("loss", "clip_top1", "clip_top5")  # of the clips of a batch


class Steps:
    """Computes steps of a network that gives logits and was built in the scope of the strategy.

    The loss of a step is the mean over its whole batch, however many replicas and parts compute it.
    Batch statistics are those of each replica's part (of all with
    `train.synchronized_batch_norm`); their running averages are averaged over the replicas.

    Args:
        head: the variables of its classifier.
        class_weights: of the loss, one a class.
        several: clips may have several labels, which are rows of 0 and 1: the loss is the sum of
            the classes' binary cross-entropies, so that rates fit as for one label.
        compiled: whether XLA compiles the computation of the gradient.
    """

    def __init__(
        self,
        network: keras.Model,
        train: Train,
        hardware: Devices,
        *,
        classes: int,
        head: Sequence[Any] = (),
        class_weights: Sequence[float] | None = None,
        compiled: bool = False,
        several: bool = False,
    ):
        self.network, self.classes, self.compiled = network, classes, compiled
        self._several = several
        self._train, self._strategy = train, hardware.strategy
        self._replicas, self._replicas_here = hardware.replicas, hardware.replicas_here
        self._weights = tf.constant(class_weights or [1.0] * classes, tf.float32)
        self.averages: list[tf.Variable] = []  # of the trainable weights
        with hardware.strategy.scope():
            self.optimizer = build_optimizer(train, head)
            self.optimizer.build(network.trainable_variables)
            if train.ema:
                self.averages = [tf.Variable(v.value) for v in network.trainable_variables]
        # Of frozen ones they are left out: also a mean of equal values may differ from them.
        self._statistics: list[tf.Variable] = []
        for layer in network.layers:
            if isinstance(layer, keras.layers.BatchNormalization):
                layer.synchronized = train.synchronized_batch_norm
                if layer.trainable:
                    self._statistics += [layer.moving_mean.value, layer.moving_variance.value]
        self._seeds = [
            layer.seed_generator.state.value
            for layer in network.layers
            if getattr(layer, "seed_generator", None) is not None
        ]
        # Whether replicas wait for each other in the midst of a network.
        self._meeting = train.synchronized_batch_norm and self._replicas > 1
        if compiled and self._meeting:
            raise DeviceError(
                "`xla` and 'train.synchronized_batch_norm' do not go together on several devices: "
                "leave either out."
            )
        self._gradient = tf.function(self._of_part, jit_compile=True) if compiled else self._of_part

    @tf.function(reduce_retracing=True)
    def train(self, batch: Batch, step: tf.Tensor, stop: tf.Tensor) -> tf.Tensor:
        """Takes one step, and returns `SUMS` over all replicas and the sum of `stop`, float32.

        `batch` are uint8 clips and int32 labels of each replica; randomness is a pure function of
        the number of the step; `stop` is above 0 where this worker was asked to stop.
        """
        on_replica = functools.partial(self._on_replica, step=step, stop=stop)
        sums = self._strategy.run(on_replica, args=(batch,))
        if self.averages:
            # The first steps forget the random start sooner.
            count = tf.cast(step, tf.float32) + 1
            decay = tf.minimum(self._train.ema, (1 + count) / (10 + count))

            def move(average, value):
                value = tf.cast(value, average.dtype)
                return average.assign(decay * average + (1 - decay) * value)

            variables = self.network.trainable_variables
            for average, variable in zip(self.averages, variables, strict=True):
                self._strategy.extended.update(average, move, args=(variable.value,))
        return self._strategy.reduce("SUM", sums, axis=None)

    @tf.function(reduce_retracing=True)
    def validate(self, batch: Batch) -> tuple[tf.Tensor, tf.Tensor]:
        """Scores clips; no step is taken, and workers need not keep pace.

        Returns of each replica `SUMS` and the number of clips, float32, and its confusion matrix:
        of several labels, how often each was seen with each best class.
        """
        return self._strategy.run(self._scores, args=(batch,))

    def shared_out(self, batch: Batch) -> Any:
        """Gives each replica of this worker its part of a batch; the last ones may get nothing."""
        if self._replicas_here == 1:
            return batch
        size = -(-batch[0].shape[0] // self._replicas_here)

        def part(context: tf.distribute.ReplicaContext) -> Batch:
            start = context.replica_id_in_sync_group % self._replicas_here * size
            return batch[0][start : start + size], batch[1][start : start + size]

        return self._strategy.experimental_distribute_values_from_function(part)

    def local_results(self, value: Any) -> tuple[tf.Tensor, ...]:
        """Returns the results of the replicas of this worker."""
        return self._strategy.experimental_local_results(value)

    def total(self, value: tf.Tensor) -> tf.Tensor:
        """Sums a tensor over the workers."""
        if self._replicas == 1:
            return value
        nothing = tf.zeros_like(value)

        def of_first(context: tf.distribute.ReplicaContext) -> tf.Tensor:
            return nothing if context.replica_id_in_sync_group % self._replicas_here else value

        values = self._strategy.experimental_distribute_values_from_function(of_first)
        return self._strategy.reduce("SUM", values, axis=None)

    def _on_replica(self, batch: Batch, *, step: tf.Tensor, stop: tf.Tensor) -> tf.Tensor:
        train = self._train
        clips, labels = batch
        targets = self._targets(labels)
        replica = tf.distribute.get_replica_context()
        number = step * self._replicas + replica.replica_id_in_sync_group
        for state in self._seeds:  # a layer's own seed, and a number that counts up with the parts
            first_part = tf.cast(number * (train.accumulate or 1), state.dtype)
            state.assign(tf.stack([state[0], first_part]))
        if train.mixup or train.cutmix:
            mixup, cutmix = train.mixup or 0.0, train.cutmix or 0.0
            seed = tf.stack([train.seed, 8 * number])
            clips, targets = mix(clips, targets, mixup=mixup, cutmix=cutmix, seed=seed)
        share = 1 / (clips.shape[0] * self._replicas)
        gradients, sums = self._in_parts(clips, targets, share)
        if self._replicas > 1 and (train.clip_norm or train.precision == "float16"):
            # All replicas then find the same norm, or that it is not finite. The optimizer adds up
            # what they give it.
            whole = replica.all_reduce("SUM", gradients)
            gradients = [gradient / self._replicas for gradient in whole]
        if train.clip_norm:
            gradients = self._clipped(gradients)
        self.optimizer.apply(gradients, self.network.trainable_variables)
        if self._replicas > 1 and self._statistics:
            means = replica.all_reduce("MEAN", [v.read_value() for v in self._statistics])
            for variable, mean in zip(self._statistics, means, strict=True):
                variable.assign(mean)
        return tf.concat([sums, [stop]], 0)

    def _in_parts(self, clips, targets, share: float) -> tuple[list[tf.Tensor], tf.Tensor]:
        parts = self._train.accumulate or 1
        if parts == 1:
            return self._gradient(clips, targets, share)
        clips, targets = (
            tf.reshape(whole, (parts, whole.shape[0] // parts, *whole.shape[1:]))
            for whole in (clips, targets)
        )
        variables = self.network.trainable_variables
        so_far = ([tf.zeros(v.shape, v.dtype) for v in variables], tf.zeros(len(SUMS)))

        def add(number, gradients, sums):
            more, sums_of_part = self._gradient(clips[number], targets[number], share)
            added = [a + b for a, b in zip(gradients, more, strict=True)]
            return number + 1, added, sums + sums_of_part

        if self._meeting:  # which cannot be in a loop of TensorFlow's
            gradients, sums = so_far
            for number in range(parts):
                with tf.control_dependencies(gradients):
                    _, gradients, sums = add(number, gradients, sums)
            return gradients, sums
        _, gradients, sums = tf.while_loop(
            lambda number, *_: number < parts, add, (0, *so_far), parallel_iterations=1
        )
        return gradients, sums

    def _of_part(self, clips, targets, share: float) -> tuple[list[tf.Tensor], tf.Tensor]:
        """Returns the gradient of the loss, its share of the batch, and the sums."""
        smoothing = self._train.label_smoothing or 0.0
        wanted = targets * (1 - smoothing) + smoothing / (2 if self._several else self.classes)
        with tf.GradientTape() as tape:
            logits = tf.cast(self.network(clips, training=True), tf.float32)
            losses = self._losses(wanted, targets, logits)
            loss = self.optimizer.scale_loss(tf.reduce_sum(losses) * share)
        variables = [v.value for v in self.network.trainable_variables]
        gradients = tape.gradient(loss, variables, unconnected_gradients="zero")
        if not self._several:  # the label that a clip was blended with less is none
            targets = tf.one_hot(tf.argmax(targets, 1), self.classes)
        return gradients, _sums(losses, logits, targets)

    def _targets(self, labels: tf.Tensor) -> tf.Tensor:
        """Returns rows of 0 and 1, float32 `(batch, classes)`."""
        return labels if self._several else tf.one_hot(labels, self.classes)

    def _losses(self, wanted: tf.Tensor, targets: tf.Tensor, logits: tf.Tensor) -> tf.Tensor:
        """Returns the weighted loss of each clip, `(batch,)`."""
        if self._several:
            each = tf.nn.sigmoid_cross_entropy_with_logits(wanted, logits)
            return tf.linalg.matvec(each, self._weights)
        weights = tf.linalg.matvec(targets, self._weights)
        return tf.nn.softmax_cross_entropy_with_logits(wanted, logits) * weights

    def _clipped(self, gradients: list[tf.Tensor]) -> list[tf.Tensor]:
        """Limits the norm of the gradient of the whole batch, given each replica's share of it."""
        scale = self.optimizer.scale_loss(1.0) / self._replicas
        norm = tf.linalg.global_norm([gradient / scale for gradient in gradients])
        factor = tf.minimum(1.0, self._train.clip_norm / (norm + 1e-12))
        return [gradient * factor for gradient in gradients]

    def _scores(self, batch: Batch) -> tuple[tf.Tensor, tf.Tensor]:
        clips, labels = batch
        count = tf.shape(labels)[0]

        def scored():
            logits = tf.cast(self.network(clips, training=False), tf.float32)
            targets = self._targets(labels)
            if self._several:
                each = tf.nn.sigmoid_cross_entropy_with_logits(targets, logits)
                losses = tf.reduce_sum(each, 1)
            else:
                losses = tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits)
            predicted = tf.one_hot(tf.argmax(logits, 1), self.classes)
            confusion = tf.cast(tf.matmul(targets, predicted, transpose_a=True), tf.int64)
            sums = _sums(losses, logits, targets)
            return tf.concat([sums, [tf.cast(count, tf.float32)]], 0), confusion

        nothing = tf.zeros(len(SUMS) + 1), tf.zeros((self.classes, self.classes), tf.int64)
        if clips.shape[0] == 0:  # known when it is traced; Keras's Add then fails
            return nothing
        return tf.cond(count > 0, scored, lambda: nothing)


def _sums(losses, logits, targets) -> tf.Tensor:
    # Of equal logits the first counts, as for argmax; in_top_k counts all of them.
    best = tf.math.top_k(logits, min(5, targets.shape[1])).indices
    hits = tf.cast(tf.gather(targets, best, axis=1, batch_dims=1) > 0.5, tf.float32)
    right = tf.reduce_sum(hits[:, :1]), tf.reduce_sum(tf.reduce_max(hits, 1))
    return tf.stack([tf.reduce_sum(losses), *right])
