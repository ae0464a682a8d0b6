"""All commands under one name: `python -m keras_r3d COMMAND …`, or `keras-r3d COMMAND …`."""

import difflib
import runpy
import sys

COMMANDS = {
    "train": "trains a model as a recipe says: on a few videos in seconds, or on a data set",
    "predict": "names what videos, or a camera, show",
    "evaluate": "scores a model on labeled videos",
    "explain": "draws where and when a video speaks for a class",
    "features": "writes embeddings of videos, and finds nearest neighbors",
    "export": "exports to SavedModel, TFLite, ONNX, OpenVINO or a web page, and proves it equal",
    "web": "serves a web page in which a network runs",
    "client": "predict, by a model behind TensorFlow Serving",
    "scan": "examines a folder of videos: what there is, what is broken or the same",
    "view": "draws training clips as the network sees them",
    "prepare": "makes a clip store, which trainings read many times as fast",
    "flow": "stores optical flow ahead",
    "convert": "converts a PyTorch checkpoint, or to a compact file of weights",
}


def main() -> None:
    """Lists the commands, or runs the one that is named first."""
    name = sys.argv[1] if len(sys.argv) > 1 else "--help"
    if name in ("-h", "--help", "--helpfull", "help"):
        print("Usage: python -m keras_r3d COMMAND …; COMMAND --help says more.\n")
        for command, text in COMMANDS.items():
            print(f"  {command:10}{text}")
        print("\nTo begin: python -m keras_r3d train MY_VIDEOS --recipe few")
        return
    if name not in COMMANDS:
        near = difflib.get_close_matches(name, COMMANDS, n=1)
        meant = f"Did you mean '{near[0]}'?" if near else f"They are: {', '.join(COMMANDS)}."
        sys.exit(f"Error: there is no command '{name}'. {meant}")
    sys.argv = [f"{sys.argv[0]} {name}", *sys.argv[2:]]
    runpy.run_module(f"keras_r3d.{name}", run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
