"""`training.train` and `training.dry_run`: all that the command does."""

import inspect
import subprocess
import sys
from pathlib import Path

import pytest

from keras_r3d import recipe, run_folder, training
from keras_r3d.system.errors import RecipeError, RunError
from keras_r3d.train import closing_lines


def test_wrong_arguments_are_found_before_tensorflow_is_imported():
    script = (
        "import sys\n"
        "from keras_r3d import training, errors\n"
        "for arguments, options in ((['dmo'], {}), (['kinetics34'], {}), "
        "(['demo'], {'folds': 3}), (['demo'], {'overrides': ['train.epoch=1']})):\n"
        "    try:\n"
        "        training.train(*arguments, **options)\n"
        "    except errors.RecipeError as error:\n"
        "        print(str(error).splitlines()[0])\n"
        "print('tensorflow' in sys.modules)\n"
    )
    root = Path(__file__).parents[2]
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=root, capture_output=True, text=True, check=True
    )
    lines = done.stdout.splitlines()
    assert lines[0].startswith("Unknown recipe 'dmo'. Did you mean 'demo'?")
    assert lines[1].startswith("Recipe 'kinetics34' needs videos: pass --data_dir DATA_DIR")
    assert lines[2] == "`folds` is for recipes with [few], such as few; 'demo' has none."
    assert "Unknown recipe key 'train.epoch'. Did you mean 'train.epochs'?" in lines[3]
    assert lines[4] == "False"


def test_a_taken_folder_is_refused_before_anything_is_rendered(tmp_path):
    (tmp_path / "letter.txt").write_text("dear")
    with pytest.raises(RunError, match="is not empty and is left as it is"):
        training.train("demo", workdir=tmp_path)


def test_few_videos_take_no_callbacks():
    with pytest.raises(RecipeError, match="has no epochs, and takes no `callbacks`"):
        training.train("few", "videos", callbacks=[None])


def test_every_argument_is_described():
    for function in (training.train, training.dry_run):
        for name in inspect.signature(function).parameters:
            assert name in function.__doc__


@pytest.mark.parametrize(
    ("name", "figures", "expected"),
    [
        ("demo", {}, []),
        ("demo", {"status": "trained"}, ["Next: python -m keras_r3d.evaluate --model RUN"]),
    ],
)
def test_without_an_evaluation_it_comes_next(name, figures, expected):
    """Of several workers only the first knows the figures, and none evaluates."""
    run = run_folder.Run(Path("RUN"), recipe.load(name), [], figures)
    assert closing_lines(run) == expected


def test_few_videos_close_with_their_stages_and_accuracy():
    scores = {
        "split": "cross-validation",
        "video_top1": 0.9,
        "videos": 10,
        "video_top1_interval": [0.6, 0.98],
    }
    figures = {"seconds": {"embedded": 1.25}, "cross_validation": scores}
    run = run_folder.Run(Path("RUN"), recipe.load("few"), [], figures)
    lines = closing_lines(run)
    assert "  embedded          1.2 s" in lines
    assert "  cross-validation  90.0% of 10 videos (60.0-98.0%)" in lines
    assert any(line.endswith(" -m keras_r3d.predict VIDEO --model RUN") for line in lines)
