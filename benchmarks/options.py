"""What a benchmark can be asked for: the flags of `python -m benchmarks KIND`."""

import dataclasses
import json
from collections.abc import Sequence
from typing import Any

from keras_r3d import recipe as recipes
from keras_r3d.system.errors import R3DError


@dataclasses.dataclass(frozen=True)
class Options:
    """What a benchmark is asked for. A default that is a `field` is none of the flag's.

    Attributes:
        data: folder of videos, list of them, or clip store. By default the demo's rendered videos
            for few.
        recipe: recipe that cuts clips. By default kinetics34, of few and few_shots the recipe few.
        overrides: changes of recipe keys: clips.frames=8. May be repeated.
        weights: few, few_shots: in place of the recipe's, such as a .keras file.
        model: network. By default r3d34, of export r3d18.
        rounds: turns of each contender.
        clips: pipeline, export, motion: clips in a turn; prepare, evaluate, scale: videos. By
            default 64, of export 4, of motion 536, of scale 300,000.
        cores: pipeline: most cores given to our loader, by default all; export: of each, by
            default 1.
        batch_size: train: clips in a step.
        frames: train, export: frames of a clip.
        size: train, export: side of a clip in pixels.
        xla: train: also our step compiled by XLA (slow on CPU).
        file: checkpoint: PyTorch checkpoint to read.
        videos: pipeline: of a store, the folder it was made of.
        gpu_clips_per_second: pipeline: clips a second that your GPU trains with.
        network_threads: evaluate: cores that the network may use; videos are decoded on all.
        per_class: few_shots: training videos of each class; by default 1,2,3,5.
        draws: few_shots: draws of each number of videos.
        scratch_draws: few_shots: likewise of recipe gestures, a minute each.
        picture: few_shots: PNG file to draw the curves into.
    """

    data: str = dataclasses.field(default="")
    recipe: str = dataclasses.field(default="kinetics34")
    overrides: Sequence[str] = ()
    weights: str | None = None
    model: str = dataclasses.field(default="r3d34")
    rounds: int = 5
    clips: int = dataclasses.field(default=64)
    cores: int | None = None
    batch_size: int = 8
    frames: int = 16
    size: int = 112
    xla: bool = False
    file: str = ""
    videos: str | None = None
    gpu_clips_per_second: Sequence[float] = ()
    network_threads: int | None = None
    per_class: Sequence[float] = dataclasses.field(default=(1, 2, 3, 5))
    draws: int = 30
    scratch_draws: int = 0
    picture: str | None = None

    def load_recipe(self) -> recipes.Recipe:
        """Loads the recipe, with its changes and weights."""
        weights = [f"model.weights={json.dumps(self.weights)}"] if self.weights else []
        return recipes.load(self.recipe, [*self.overrides, *weights])

    def build_network(self, shape: tuple[int, ...], **arguments: Any) -> Any:
        """Builds the network for clips `(frames, size, size, channels)`, its weights random."""
        from keras_r3d import applications  # TensorFlow, which comes after the flags

        names = applications.list_models()
        if self.model not in names:
            raise R3DError(f"`model` must be one of {names}. Received: {self.model}")
        return applications.get_model(self.model, input_shape=shape, **arguments)
