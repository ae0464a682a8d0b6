"""Shows what in a video speaks for a class: `python -m keras_r3d.explain VIDEO --workdir RUN`."""

from absl import flags

from keras_r3d.system import command

_METHODS = ("integrated", "grad_cam", "layer_cam")  # of inference.gradcam, which loads TensorFlow


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
    from keras_r3d.inference.models.opening import Named

    named = Named(*map(command.value, ("workdir", "model", "recipe")))

    # Loaded when names are in order: TensorFlow takes seconds.
    from keras_r3d.inference.explanation import explain
    from keras_r3d.video_classifier import open_named

    output, npz = command.value("output"), command.value("npz")
    paths = explain.paths_of(video, output, npz)
    classifier = open_named(named)
    print(classifier)
    explanation = classifier.explain(
        video,
        class_name=command.value("class"),
        output=output,
        npz=npz,
        progress=command.Progress("boxes covered"),
        **{name: command.value(name) for name in ("window", "layer", "method", "occlusion")},
    )
    print(explanation)
    print(f"Written: {', '.join(map(str, paths.values()))}")


if __name__ == "__main__":
    command.run(_define_flags, _main, arguments=("VIDEO",))
