"""Shows what in a video speaks for a class: `python -m keras_r3d.explain VIDEO --workdir RUN`."""

import difflib
import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from absl import flags

from keras_r3d import run_folder
from keras_r3d.system import command, files
from keras_r3d.system.errors import R3DError

if TYPE_CHECKING:
    from keras_r3d.data.annotations import Video
    from keras_r3d.data.decoding.reader import Reader, Window
    from keras_r3d.inference.models.classifier import Classifier
    from keras_r3d.inference.models.opening import Named

_METHODS = ("integrated", "grad_cam", "layer_cam")  # of inference.gradcam, which loads TensorFlow


class ExplainError(R3DError):
    """Something that cannot be explained."""


def _define_flags() -> None:
    flags.DEFINE_string("workdir", None, "Folder of the run whose best model is explained.")
    flags.DEFINE_string("model", None, "A .keras file instead of the run's best model.")
    flags.DEFINE_string("recipe", None, "Recipe that says how clips are cut for a --model.")
    flags.DEFINE_string(
        "class", None, "Class that is explained. Default: the one the video is taken for."
    )
    flags.DEFINE_string(
        "window",
        None,
        "Window that is explained: its number, from 0, or a time in it, such as 2.5s. Default: "
        "the one with the highest score of the class.",
    )
    flags.DEFINE_enum("method", "integrated", _METHODS, "Kind of Grad-CAM: see docs/explain.md.")
    flags.DEFINE_string(
        "layer", None, "Layer whose map is used. Default: the deepest of 14x14 cells or more."
    )
    flags.DEFINE_bool("occlusion", False, "Check by covering parts of the clip (takes longer).")
    flags.DEFINE_string("output", ".", "Folder for VIDEO.explain.mp4 and .png; nothing replaced.")
    flags.DEFINE_bool("npz", False, "Write the heat as numbers too, VIDEO.explain.npz.")


def _main(video: str) -> None:
    from keras_r3d.inference.models import opening

    output = Path(command.value("output"))
    paths = {
        kind: output / f"{Path(video).stem}.explain.{kind}"
        for kind in ("mp4", "png", *(["npz"] if command.value("npz") else []))
    }
    for path in paths.values():
        if path.exists():
            raise ExplainError(f"{path} exists and is left as it is: choose another --output.")
    model = _open(opening.Named(*map(command.value, ("workdir", "model", "recipe"))))
    print(f"{model.name} ({model.described})")
    run_folder.make(output)
    explain(
        model,
        video,
        paths,
        class_name=command.value("class"),
        window=command.value("window"),
        layer=command.value("layer"),
        method=command.value("method"),
        occlude=command.value("occlusion"),
    )


def _open(named: "Named") -> "Classifier":
    """Opens the model that flags name.

    Raises:
        ExplainError: it is no Keras model.
    """
    from keras_r3d.inference.models import opening

    (opened,) = opening.open_models(named)
    model = opened.classifier
    if model.network is None:
        raise ExplainError(
            f"{model.name} is a {model.kind}, which has scores but no gradients: pass the "
            ".keras file that it was exported from."
        )
    return model


def _windows(model: "Classifier", reader: "Reader", video: "Video") -> Iterator["Window"]:
    from keras_r3d.data import clips

    return clips.windows(reader, video, model.data, model.eval.windows, model.eval.views)


def explain(
    model: "Classifier",
    video: str,
    paths: dict[str, Path],
    *,
    class_name: str | None = None,
    window: str | None = None,
    layer: str | None = None,
    method: str = "integrated",
    occlude: bool = False,
) -> None:
    """Writes a video and a strip of frames that show what speaks for a class.

    Args:
        paths: "mp4", "png" and perhaps "npz" -> file to write.
        class_name: None is the class that the video is taken for.
        window: its number, or a time in it ("2.5s"); None is the one with the class's highest
            score.
        layer, method: as `gradcam.grad_cam` takes them.
        occlude: checks by occlusion, and draws it too.

    Raises:
        ExplainError: there is no such class or window.
        VideoError: the video gives no frames.
        StageError: the model has no map that could be drawn, or no such layer.
        WriteError: a file cannot be written.
    """
    import numpy as np

    from keras_r3d.data import clips
    from keras_r3d.data.annotations import Video
    from keras_r3d.data.decoding import flow
    from keras_r3d.data.opening import file_reader
    from keras_r3d.inference.explanation import feature_maps, gradcam, heat, overlay
    from keras_r3d.inference.explanation.occlusion import occlusion
    from keras_r3d.inference.models.averaging import average

    network = model.network
    assert network is not None  # `_open` sees to it
    stage = feature_maps.choose(
        network, (model.data.frames, model.data.size, model.data.size), layer
    )
    wanted = None if class_name is None else _class_index(class_name, model.classes)
    scores, times = [], []
    source = Video(video, label="")
    reader = file_reader([video], model.data)
    for one in _windows(model, reader, source):
        scores.append(average(model.score(one.pixels), model.eval.average))
        times.append((one.start_seconds, one.end_seconds))
    whole = average(np.array(scores), model.eval.average)
    predicted = int(whole.argmax())
    index = predicted if wanted is None else wanted
    number = _window_number(window, times, [float(score[index]) for score in scores])
    chosen = next(itertools.islice(_windows(model, reader, source), number, None))
    if (problem := reader.problem(source)) is not None:
        print(f"Note: {problem.detail}")
    if len(np.unique(chosen.frame_numbers)) < len(chosen.frame_numbers):
        print(
            f"Note: the window has {len(np.unique(chosen.frame_numbers))} frames of its own; they "
            f"are looped to the {len(chosen.frame_numbers)} that the model takes."
        )
    clip = chosen.pixels[clips.views_of(model.data, model.eval.views).middle]
    heats = {"Grad-CAM": gradcam.grad_cam(network, clip[None], index, stage.layer, method)[0]}
    if not heats["Grad-CAM"].any():
        print(f"Note: nothing in this window speaks for '{model.classes[index]}'.")
    if occlude:
        progress = command.Progress("boxes covered")
        heats["occlusion"] = occlusion(model.score, clip[None], index, progress=progress)[0]
    score, mean = scores[number][index], whole[index]
    span = f"{times[number][0]:.2f}-{times[number][1]:.2f} s"
    title = [Path(video).name, model.classes[index], f"score {score:.1%} at {span}"]
    seconds = reader.seconds(source)[chosen.frame_numbers]
    of_flow = model.data.input != "rgb"
    drawn = flow.colours(clip) if of_flow else clip
    figure = overlay.strip(drawn, heats, seconds, title, of_flow=of_flow)
    with files.atomic(paths["png"]) as temporary:
        figure.savefig(temporary, dpi=100)
    overlay.write_video(paths["mp4"], drawn, heats["Grad-CAM"], seconds, title, of_flow=of_flow)
    if "npz" in paths:
        with files.atomic(paths["npz"]) as temporary:
            np.savez_compressed(
                temporary,
                clip=clip,
                seconds=seconds,
                **{"class": model.classes[index], "score": score, "layer": stage.layer},
                **{name.lower().replace("-", "_"): one for name, one in heats.items()},
            )
    taken = "" if index == predicted else f" (it is taken for '{model.classes[predicted]}')"
    count = f"{len(scores)} window{'s' * (len(scores) > 1)}"
    print(f"{video}: {model.classes[index]} {mean:.1%} over {count}{taken}")
    print(
        f"Window {number}, {span}: {score:.1%}. Map of layer {stage.layer}: "
        f"{'x'.join(map(str, stage.cells))} cells (frames x height x width), method {method}"
    )
    if occlude:
        both = heats["Grad-CAM"], heats["occlusion"]
        print(
            f"Grad-CAM and occlusion: rank correlation {heat.rank_correlation(*both):.2f}; of the "
            f"hottest 10 % of each, {heat.overlap(*both):.0%} are the same (by chance 10 %)"
        )
    print(f"Written: {', '.join(map(str, paths.values()))}")


def _class_index(name: str, classes) -> int:
    if name in classes:
        return list(classes).index(name)
    near = difflib.get_close_matches(name, classes, 1)
    hint = f"Did you mean '{near[0]}'?" if near else f"Its classes: {', '.join(classes[:20])}"
    raise ExplainError(f"--class: the model does not know '{name}'. {hint}")


def _window_number(text: str | None, times: list[tuple[float, float]], scores: list[float]) -> int:
    """Returns the number of the window that is meant.

    Raises:
        ExplainError: there is none.
    """
    if text is None:
        return scores.index(max(scores))
    there = f"It has {len(times)}, the last ends at {times[-1][1]:.2f} s."
    try:
        if text.endswith("s"):
            second = float(text[:-1])
            found = [n for n, (start, end) in enumerate(times) if start <= second < end]
        else:
            found = [n for n in [int(text)] if 0 <= n < len(times)]
    except ValueError as error:
        raise ExplainError(
            f"--window must be a number, such as 3, or a time, such as 2.5s. Received: {text}"
        ) from error
    if not found:
        raise ExplainError(f"--window {text}: the video has no such window. {there}")
    return found[0]


if __name__ == "__main__":
    command.run(_define_flags, _main, arguments=("VIDEO",))
