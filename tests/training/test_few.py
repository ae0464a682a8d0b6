import csv
import dataclasses
import json
import shutil
from pathlib import Path

import keras
import numpy as np
import pytest
from conftest import write_classes, write_video
from serving_model import ServedModel
from serving_server import RestServer

from keras_r3d import VideoClassifier, applications, recipe, run_folder
from keras_r3d.applications import embedding
from keras_r3d.inference.embeddings import novelty, ridge
from keras_r3d.inference.evaluation import evaluating
from keras_r3d.system.devices import choose
from keras_r3d.system.errors import ArgumentError, DataError, RecipeError, RunError
from keras_r3d.training import dry_run, finetune
from keras_r3d.training import run as training
from keras_r3d.training.experiment import train as train_recipe
from keras_r3d.training.few import embeddings, fitting, setup

pytestmark = pytest.mark.usefixtures("cheap_pictures")
SIZE, FRAMES = 32, 4


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """Files of two networks with random weights."""
    folder = tmp_path_factory.mktemp("weights")
    paths = []
    for name, seed in (("one", 1), ("other", 2)):
        keras.utils.set_random_seed(seed)
        network = applications.R3D10(
            classes=3,
            width=1 / 16,
            input_shape=(FRAMES, SIZE, SIZE, 3),
            mean=(114.0, 107.0, 99.0),
            std=(58.0, 57.0, 57.0),
            labels=["a", "b", "c"],
        )
        paths.append(str(folder / f"{name}.keras"))
        network.save(paths[-1])
    return paths


@pytest.fixture
def experiment(weights):
    return few_recipe(weights[0])


def few_recipe(weights, *overrides):
    changes = [
        *(f"clips.frames={FRAMES}", f"clips.size={SIZE}", "clips.short_side="),
        *("eval.batch_size=4", f"model.weights={json.dumps(weights)}", *overrides),
    ]
    return recipe.load("few", changes)


def train(experiment, data, folder, said=None, **options):
    say = [].append if said is None else said.append
    return training.train_network(experiment, data, folder, say=say, **options)


@pytest.fixture(scope="module")
def first(weights, tmp_path_factory, cheap_pictures) -> Path:
    """A folder with "data" and a finished "run" on it; not to be changed."""
    root = tmp_path_factory.mktemp("first")
    write_classes(root / "data")
    train(few_recipe(weights[0]), root / "data", root / "run")
    return root


def test_a_run_has_all_that_an_evaluation_has(first):
    run = run_folder.open_run(first / "run")
    names = {path.name for path in run.path.iterdir()}
    assert {"best.keras", "embeddings.npz", "clips.png", "evaluation.json"} <= names
    assert {"confusion.png", "reliability.png", "per_class.csv", "recipe.toml"} <= names
    evaluation = json.loads((run.path / "evaluation.json").read_text())
    assert evaluation["split"] == "cross-validation"
    assert evaluation["videos"] == len(evaluation["records"]) == 12
    # Red and green are told apart.
    assert run.summary["evaluation"]["video_top1"] == evaluation["video_top1"] == 1.0
    assert set(run.summary["seconds"]) == {
        *("embedded", "fitted", "cross-validated", "kept", "evaluated")
    }


def test_the_model_is_stock_keras_and_says_what_the_embeddings_said(
    experiment, class_folders, tmp_path
):
    shutil.copytree(class_folders, tmp_path / "all" / "train")
    write_video(tmp_path / "all" / "test" / "red" / "new.avi", 9, tint=(1, 0.3, 0.2))
    write_video(tmp_path / "all" / "test" / "green" / "new.avi", 14, tint=(0.3, 1, 0.2))
    run = train(experiment, tmp_path / "all", tmp_path / "run")
    by_embeddings = json.loads((run.path / "evaluation.json").read_text())
    assert by_embeddings["split"] == "test"
    assert (run.path / "evaluations" / "cross-validation" / "evaluation.json").is_file()
    evaluation = evaluating.evaluate_run(run)
    by_model = {record["video"]: record["top"] for record in evaluation.records()}
    for record in by_embeddings["records"]:
        for one, other in zip(record["top"], by_model[record["video"]], strict=True):
            assert one["label"] == other["label"]
            assert one["score"] == pytest.approx(other["score"], abs=1e-5)
    model = keras.models.load_model(run.model_path())
    assert all(type(layer).__module__.startswith("keras.") for layer in model.layers)
    assert model.layers[-1].get_config()["units"] == 2


def test_unchanged_videos_are_embedded_once(experiment, class_folders, tmp_path, monkeypatch):
    few = setup.prepare(experiment, class_folders, choose(), [].append)
    (tmp_path / "runs" / "one").mkdir(parents=True)
    few.cache(tmp_path / "runs" / "one").embed(few.embedder(), few.videos)
    changed, new = class_folders / "green" / "0.avi", class_folders / "red" / "new.avi"
    write_video(changed, 13, tint=(0.2, 1, 0.2))
    write_video(new, 12, tint=(1, 0.2, 0.2))
    seen, said = embedded(monkeypatch), []
    train(experiment, class_folders, tmp_path / "runs" / "two", said)
    assert seen == [str(changed), str(new)]
    assert "11 of 13 videos were embedded before, and are as they were." in said


def embedded(monkeypatch, most=10**9) -> list[str]:
    """Lists the videos that are embedded from now on; after as many of them, Ctrl-C comes."""
    seen: list[str] = []
    score = embeddings.score

    def counted(*arguments, **options):
        for scored in score(*arguments, **options):
            if len(seen) == most:
                raise KeyboardInterrupt
            seen.append(scored.source.path)
            yield scored

    monkeypatch.setattr(embeddings, "score", counted)
    return seen


def results(run: Path) -> tuple[bytes, ...]:
    """Returns what a training found out, without times."""
    names = ("embeddings.npz", "evaluation.json", "problems.csv", "per_class.csv", "videos.csv")
    weights = keras.models.load_model(run / "best.keras").get_weights()
    return *((run / name).read_bytes() for name in names), *(w.tobytes() for w in weights)


def test_an_interrupted_training_goes_on_with_what_is_missing(
    experiment, class_folders, tmp_path, monkeypatch
):
    data, changed = class_folders, class_folders / "green" / "1.avi"
    (data / "green" / "3.avi").write_bytes(b"none")
    monkeypatch.chdir(tmp_path)
    with monkeypatch.context() as patch:
        embedded(patch, 8)
        with pytest.raises(KeyboardInterrupt):
            train(experiment, data, tmp_path / "runs" / "one")
    assert not (tmp_path / "runs" / "one" / embeddings.NAME).exists()
    write_video(changed, 13, tint=(0.2, 1, 0.3))
    with monkeypatch.context() as patch:
        seen = embedded(patch)
        train(experiment, data, tmp_path / "runs" / "one")
    assert sorted(seen) == sorted(
        [str(changed), *(str(data / "red" / f"{number}.avi") for number in range(2, 6))]
    )
    train(experiment, data, tmp_path / "other" / "one")
    assert results(tmp_path / "runs" / "one") == results(tmp_path / "other" / "one")
    assert [path.name for path in (tmp_path / "runs").iterdir()] == ["one"], "no parts are left"


def test_shares_of_a_training_are_joined(weights, class_folders, tmp_path, monkeypatch):
    data, folder = class_folders, tmp_path / "runs" / "one"
    (data / "green" / "3.avi").write_bytes(b"none")

    def call(place=folder, **options):
        changes = recipe.dumps(few_recipe(weights[0]))
        (tmp_path / "small.toml").write_text(changes)
        options |= {"workdir": place, "say": [].append}
        return train_recipe(tmp_path / "small.toml", data, **options)

    with pytest.raises(RunError, match=r"one\.parts has no parts yet"):
        call(finish=True)
    shutil.rmtree(folder)
    seen = embedded(monkeypatch)
    assert str(call(shard_index=1, shard_count=2)) == "6 of 12 parts are made; 6 are missing."
    assert len(seen) == 6
    assert not folder.exists()
    with pytest.raises(RunError, match=r"lacks 6 of its 12 parts: 0, 2, 4, 6, 8, 10\. Make them"):
        call(finish=True)
    assert str(call(shard_index=0, shard_count=2)) == "12 of 12 parts are made: pass --finish."
    call(finish=True)
    assert len(seen) == 12
    call(tmp_path / "other" / "one")
    assert results(folder) == results(tmp_path / "other" / "one")
    with pytest.raises(RecipeError, match=r"a recipe with \[few\], and 'kinetics34' has none"):
        train_recipe("kinetics34", data, shard_index=0, shard_count=2, workdir=folder)
    with pytest.raises(ArgumentError, match="`workdir` is missing: what several processes make"):
        call(None, finish=True)


@pytest.mark.slow
def test_starting_over_forgets_parts_of_other_clips(weights, class_folders, tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        embedded(patch, 8)
        with pytest.raises(KeyboardInterrupt):
            train(few_recipe(weights[0]), class_folders, tmp_path / "run")
    other = few_recipe(weights[0], "clips.sampling.spans=[1.0]")
    few = setup.prepare(other, class_folders, choose(), [].append)
    with pytest.raises(RunError, match=r"run\.parts was begun with something else, and is left as"):
        few.cache(tmp_path / "run").embed(few.embedder(), few.videos)
    train(other, class_folders, tmp_path / "run", fresh=True)
    assert not (tmp_path / "run.parts").exists()


def known(experiment, data, runs) -> int:
    """Counts the training videos whose embeddings a new run beside others would not compute."""
    few = setup.prepare(experiment, data, choose(), [].append)
    cache = few.cache(runs / "new")
    return sum(cache.get(video) is not None for video in few.annotations.split("train"))


def test_embeddings_of_other_weights_or_clips_are_not_used(weights, first, tmp_path):
    shutil.copytree(first / "run", tmp_path / "run")
    assert known(few_recipe(weights[0]), first / "data", tmp_path) == 12
    assert known(few_recipe(weights[1]), first / "data", tmp_path) == 0
    other = few_recipe(weights[0], "clips.sampling.spans=[1.0]")
    assert known(other, first / "data", tmp_path) == 0


def test_a_damaged_cache_is_made_again(experiment, first, tmp_path):
    shutil.copytree(first / "run", tmp_path / "run")
    cache = tmp_path / "run" / embeddings.NAME
    cache.write_bytes(cache.read_bytes()[:1000])
    assert known(experiment, first / "data", tmp_path) == 0


def test_a_finished_run_is_left_as_it_is(experiment, first, class_folders, tmp_path):
    shutil.copytree(first / "run", tmp_path / "run")
    run = run_folder.open_run(tmp_path / "run")
    before = run.model_path().stat().st_mtime_ns
    train(experiment, first / "data", tmp_path / "run")
    assert run.model_path().stat().st_mtime_ns == before
    write_video(class_folders / "red" / "new.avi", 12)
    with pytest.raises(RunError, match="not those that the run"):
        train(experiment, class_folders, tmp_path / "run")
    train(experiment, class_folders, tmp_path / "run", fresh=True)
    assert (tmp_path / "run-before").is_dir()


def test_each_video_is_predicted_by_others_only(experiment, class_folders, tmp_path):
    """A video with a wrong label is wrong, however well it could be remembered."""
    shutil.move(class_folders / "red" / "0.avi", class_folders / "green" / "wrong.avi")
    run = train(experiment, class_folders, tmp_path / "run")
    said = json.loads((run.path / "evaluation.json").read_text())
    wrong = [record["video"] for record in said["records"] if not record["correct"]]
    assert wrong == [str(class_folders / "green" / "wrong.avi")]


def write_list(path, rows):
    with path.open("w", newline="") as file:
        lines = csv.writer(file)
        lines.writerow(["path", "label", "group"])
        lines.writerows(rows)
    return path


def test_groups_are_folds(experiment, class_folders, tmp_path):
    rows = [
        (f"{color}/{number}.avi", color, f"scene{number % 3}")
        for color in ("red", "green")
        for number in range(6)
    ]
    said = []
    run = train(experiment, write_list(class_folders / "list.csv", rows), tmp_path / "run", said)
    assert "Cross-validated in 3 folds, by group." in said
    assert not [line for line in said if "inflates" in line]
    assert "scene2" in (run.path / run_folder.VIDEOS).read_text()


def test_a_group_that_holds_a_class_is_said(experiment, class_folders, tmp_path):
    rows = [(f"red/{n}.avi", "red", f"scene{n}") for n in range(4)]
    rows += [(f"green/{n}.avi", "green", "scene0") for n in range(4)]
    said = []
    run = train(experiment, write_list(class_folders / "list.csv", rows), tmp_path / "run", said)
    assert [line for line in said if "holds all videos of green" in line]
    records = json.loads((run.path / "evaluation.json").read_text())["records"]
    assert not any(record["correct"] for record in records if record["label"] == "green")


def test_one_video_a_class_is_enough(experiment, tmp_path):
    write_video(tmp_path / "data" / "red" / "0.avi", 12, tint=(1, 0.2, 0.2))
    write_video(tmp_path / "data" / "green" / "0.avi", 12, tint=(0.2, 1, 0.2))
    said = []
    run = train(experiment, tmp_path / "data", tmp_path / "run", said)
    assert [line for line in said if "no accuracy can be cross-validated" in line]
    assert run.model_path().is_file()
    assert "evaluation" not in run.summary


def test_a_class_with_one_video_among_others(experiment, class_folders, tmp_path):
    write_video(class_folders / "blue" / "0.avi", 12, tint=(0.2, 0.2, 1))
    run = train(experiment, class_folders, tmp_path / "run")
    assert run.summary["evaluation"]["video_top1"] == pytest.approx(12 / 13)


def test_many_classes_of_one_video(experiment, tmp_path):
    for number in range(40):
        write_video(tmp_path / "data" / f"class{number:02}" / "0.avi", 6, base=number)
    assert train(experiment, tmp_path / "data", tmp_path / "run").classes[39] == "class39"


def test_videos_that_look_the_same_are_refused(experiment, tmp_path):
    for color in ("red", "green"):
        for number in range(2):
            write_video(tmp_path / "data" / color / f"{number}.avi", 6)
    with pytest.raises(DataError, match="look the same"):
        train(experiment, tmp_path / "data", tmp_path / "run")


def test_a_class_whose_videos_are_broken_is_refused(experiment, class_folders, tmp_path):
    (class_folders / "blue").mkdir()
    (class_folders / "blue" / "0.avi").write_bytes(b"no video")
    with pytest.raises(DataError, match="None of the videos of blue can be read"):
        train(experiment, class_folders, tmp_path / "run")


def test_a_broken_video_counts_as_wrong(experiment, class_folders, tmp_path):
    (class_folders / "red" / "0.avi").write_bytes(b"no video")
    run = train(experiment, class_folders, tmp_path / "run")
    said = json.loads((run.path / "evaluation.json").read_text())
    assert said["errors"] == 1
    assert said["video_top1"] == pytest.approx(11 / 12)
    assert "0.avi" in (run.path / run_folder.PROBLEMS).read_text()


def test_too_many_broken_videos_are_refused(experiment, class_folders, tmp_path):
    for number in range(3):
        (class_folders / "red" / f"{number}.avi").write_bytes(b"no video")
    (class_folders / "quarantine.txt").write_text("green/0.avi\n")
    said: list[str] = []
    with pytest.raises(DataError, match=r"3 of 11 training videos are broken"):
        train(experiment, class_folders, tmp_path / "run", said)
    assert said[0].startswith("Note: 1 videos are skipped by ")
    assert said[-4].startswith("3 broken videos (")
    assert all("it cannot be opened as a video" in line for line in said[-3:])
    assert run_folder.open_run(tmp_path / "run").summary["status"] == "stopped"


@pytest.mark.slow
def test_several_weights_are_chosen_from(weights, class_folders, tmp_path):
    said = []
    run = train(few_recipe(",".join(weights)), class_folders, tmp_path / "run", said)
    assert run.summary["evaluation"]["video_top1"] == 1.0
    assert [line for line in said if line.startswith("Classifier: ")]
    evaluating.evaluate_run(run, split="train")


def test_a_blend_is_one_model(weights, class_folders, tmp_path):
    few = setup.prepare(few_recipe(",".join(weights)), class_folders, choose(), [].append)
    size = few.embedders[0].output_shape[-1]
    rng = np.random.default_rng(0)
    kernels = [rng.normal(size=(size, 2)) for _ in range(2)]
    fitted = ridge.Fitted(kernels, np.array([0.1, -0.1]), 0.0, 1.0, "")
    model = few.build_model(fitted)
    clips = rng.integers(0, 256, (3, FRAMES, SIZE, SIZE, 3)).astype(np.float32)
    parts = [np.asarray(one(clips)) for one in few.embedders]
    logits = sum(part @ kernel for part, kernel in zip(parts, kernels, strict=True)) + fitted.bias
    shares = np.exp(logits - logits.max(axis=1, keepdims=True))
    expected = shares / shares.sum(axis=1, keepdims=True)
    assert np.asarray(model(clips)) == pytest.approx(expected, abs=1e-5)
    model.save(tmp_path / "blend.keras")
    loaded = keras.models.load_model(tmp_path / "blend.keras")
    assert np.asarray(loaded(clips)) == pytest.approx(expected, abs=1e-5)


@pytest.mark.slow
def test_mirrored_clips_are_fitted_to_where_flips_are_allowed(weights, class_folders, tmp_path):
    plain, flipped = (
        setup.prepare(
            few_recipe(weights[0], f"clips.flip={flip}"), class_folders, choose(), [].append
        )
        for flip in ("false", "true")
    )
    found = plain.annotations.split("train")[:2]
    rows = [
        list(embeddings.compute(one.embedder(), one.source.reader, found))
        for one in (plain, flipped)
    ]
    for (_, one), (_, both) in zip(*rows, strict=True):
        size = one.features.shape[-1]
        assert both.features.shape[-1] == 2 * size
        assert both.features[..., :size] == pytest.approx(one.features, abs=1e-5)
    run = train(few_recipe(weights[0], "clips.flip=true"), class_folders, tmp_path / "run")
    assert run.summary["evaluation"]["video_top1"] == 1.0


def test_validation_videos_are_trained_on(experiment, class_folders, tmp_path):
    shutil.copytree(class_folders, tmp_path / "all" / "train")
    write_video(tmp_path / "all" / "validation" / "red" / "new.avi", 9, tint=(1, 0.3, 0.2))
    said = []
    run = train(experiment, tmp_path / "all", tmp_path / "run", said)
    assert run.summary["videos"] == {"train": 13}
    assert [line for line in said if "cross-validation takes its place" in line]


def test_too_many_numbers_are_averaged(experiment, class_folders, tmp_path, monkeypatch):
    monkeypatch.setattr(setup, "_MOST_NUMBERS", 100)
    said = []
    run = train(experiment, class_folders, tmp_path / "run", said)
    assert [line for line in said if "each video's mean is taken" in line]
    assert run.summary["evaluation"]["video_top1"] == 1.0


def test_weights_of_another_clip_size_are_said(weights, class_folders):
    said = []
    setup.prepare(few_recipe(weights[0], "clips.size=48"), class_folders, choose(), said.append)
    assert [line for line in said if "trained on clips of 4 frames of 32x32 pixels" in line]
    setup.prepare(
        few_recipe(weights[0], "clips.size=[32, 48]"), class_folders, choose(), said.append
    )
    assert said[-1].endswith(
        "the recipe's have 4 of 32x48. As they were trained: clips.frames=4 and clips.size=32."
    )


@pytest.mark.slow
def test_fine_tuning_is_kept_where_it_lowers_the_loss(weights, class_folders, tmp_path):
    experiment = few_recipe(
        weights[0], "few.finetune_epochs=2", "train.schedule.warmup_epochs=", "train.batch_size=4"
    )
    said = []
    run = train(experiment, class_folders, tmp_path / "run", said)
    (line,) = [line for line in said if line.startswith("Fine-tuning: loss of")]
    assert ("all videos" in line) or ("linear classifier is kept" in line)
    assert "fine-tuned" in run.summary["seconds"]
    assert keras.models.load_model(run.model_path()).output_shape == (None, 2)


@pytest.mark.slow
def test_fine_tuning_starts_from_the_classifier(weights, class_folders):
    experiment = few_recipe(
        weights[0],
        "few.finetune_epochs=1",
        "train.schedule.warmup_epochs=",
        "train.optimizer.learning_rate=0",
    )
    few = setup.prepare(experiment, class_folders, choose(), [].append)
    size = few.embedders[0].output_shape[-1]
    kernel = np.random.default_rng(0).normal(size=(size, 2))
    model = few.build_model(ridge.Fitted([kernel], np.zeros(2), 0.0, 1.0, ""))
    before = model.get_layer("predictions").get_weights()
    found = few.annotations.split("train")
    trained, epochs = fitting.train_from(model, few, found[:8], found[8:], 1, [].append)
    assert epochs == 1
    for one, other in zip(before, trained.get_layer("predictions").get_weights(), strict=True):
        assert one == pytest.approx(other)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["few.stages=[]"], "few.stages"),
        (['few.stages=["conv9"]'], "few.stages"),
        (["few.folds=-1"], "few.folds"),
        (["few.finetune_epochs=1"], "above `train.schedule.warmup_epochs`, 2. Received: 1"),
    ],
)
def test_keys_at_odds(weights, overrides, message):
    with pytest.raises(RecipeError, match=message):
        few_recipe(weights[0], *overrides)


def test_without_weights_there_is_nothing_to_embed_by():
    with pytest.raises(RecipeError, match=r"model\.weights"):
        few_recipe("")


def test_a_dry_run_writes_nothing(experiment, class_folders, tmp_path):
    said = []
    dry_run(experiment, class_folders, say=said.append)
    assert "No run folder was made." in said[-1]
    assert not (tmp_path / "runs").exists()


def test_a_few_model_is_weights_to_start_from(first, small):
    run = run_folder.open_run(first / "run")
    model = dataclasses.replace(
        small.model,
        **dict.fromkeys(("name", "shortcut", "width", "mean", "std")),
        weights=str(run.model_path()),
    )
    built = finetune.build_model(model, (FRAMES, SIZE, SIZE, 3), run.classes, [].append)
    kept = keras.models.load_model(run.model_path())
    before = kept.get_layer("conv5_1_conv1").get_weights()[0]
    assert (built.get_layer("conv5_1_conv1").get_weights()[0] == before).all()


TINTS = {"red": (1, 0.3, 0.2), "green": (0.3, 1, 0.2), "blue": (0.2, 0.3, 1)}


def with_foreign(folder, shown=6):
    """Makes a data folder of red and green videos, and one of some more and blue ones."""
    for label, tint in TINTS.items():
        for number in range(shown + 2):
            split = Path("all") / "train" if number < shown else Path("new")
            if label != "blue" or number >= shown:
                path = folder / split / label / f"{number}.avi"
                write_video(path, 12, tint=tint, base=3 * (7 * number % 8))
    shutil.copytree(folder / "new" / "red", folder / "all" / "test" / "red")
    return folder / "all", folder / "new"


def test_an_open_set_has_one_more_class(weights, tmp_path):
    data, new = with_foreign(tmp_path)
    said = []
    run = train(few_recipe(",".join(weights), "few.open_set=0.1"), data, tmp_path / "run", said)
    (line,) = [line for line in said if line.startswith("None of these: ")]
    assert "1 of 12 held-out videos are (8.3%, few.open_set = 0.1)" in line
    assert run.summary["open_set"]["refused"] == pytest.approx(1 / 12)
    assert run.classes == ["green", "red", "none of these"]
    folder = run.path / "evaluations" / "cross-validation"
    of_folds = json.loads((folder / "evaluation.json").read_text())
    assert of_folds["known_refused"] == pytest.approx(1 / 12)
    assert of_folds["known_top1"] == 1.0
    assert of_folds["open_set_auroc"] is None
    by_embeddings = json.loads((run.path / "evaluation.json").read_text())["records"]
    by_model = evaluating.evaluate_run(run).records()
    for one, other in zip(by_embeddings, by_model, strict=True):
        assert [x["label"] for x in one["top"]] == [x["label"] for x in other["top"]]
        scores = [[x["score"] for x in record["top"]] for record in (one, other)]
        assert scores[0] == pytest.approx(scores[1], abs=1e-4)
    evaluation = evaluating.evaluate_run(run, data=str(new), say=said.append)
    figures = evaluation.figures()
    assert (figures["videos"], figures["errors"]) == (6, 0)
    assert figures["open_set_auroc"] == 1.0
    blue = [record for record in evaluation.records() if record["label"] == "blue"]
    assert [record["top"][0]["label"] for record in blue] == 2 * ["none of these"]
    assert all(record["correct"] for record in blue)
    text = " ".join(str(evaluation).split())
    assert "2 videos are of classes that the model was not trained on" in text
    assert "'blue' (2)" in text
    model = keras.models.load_model(run.model_path())
    assert model.output_shape == (None, 3)
    assert all(type(layer).__module__.startswith("keras.") for layer in model.layers)
    export = VideoClassifier(run).export("saved_model", tmp_path / "toy", data=str(data))
    with RestServer(ServedModel(export.path)) as server:
        served = VideoClassifier.served(server.url, "toy", exported_from=export.path)
        answers = {p.video: p.top(1)[0] for p in served.predict(new)}
    assert len(answers) == 6
    for record in evaluation.records():
        label, score = answers[record["video"]]
        expected = record["top"][0]
        assert (label, score) == (expected["label"], pytest.approx(expected["score"], abs=1e-4))


def test_distances_in_a_model_are_those_of_numpy():
    """Also where centers lie far from 0, as squares then cancel."""
    rng = np.random.default_rng(0)
    labels = np.repeat(np.arange(3), 10)
    rows = rng.normal(size=(60, 5)) + 1000 + 5 * np.repeat(labels, 2)[:, None]
    rows[::2] += 20  # the first of two clips
    parts, videos = [rows[:, :2], rows[:, 2:]], np.arange(30)
    labeled = ridge.Labeled(parts, np.repeat(videos, 2), labels, videos, 3)
    distances = novelty.fit(labeled, [True, True]).over(9.0)
    embedder = keras.Model(one := keras.Input((5,)), keras.layers.Identity()(one))
    kernel, bias = rng.normal(size=(5, 3)) / 1000, np.zeros(3)
    measured = distances.kernel, distances.centers
    model = embedding.classifier([embedder], kernel, bias, distances=measured)
    clips = rows + rng.normal(size=rows.shape) * np.linspace(0, 8, 60)[:, None]
    shares = np.exp(clips @ kernel)
    shares /= shares.sum(axis=1, keepdims=True)
    known = shares * np.exp(-20 * (distances.squared(clips) - 1))
    expected = np.concatenate([known, np.ones((60, 1))], axis=1)
    expected /= expected.sum(axis=1, keepdims=True)
    assert expected[:, 3].min() < 0.1
    assert expected[:, 3].max() > 0.9
    assert np.asarray(model(clips.astype(np.float32))) == pytest.approx(expected, abs=2e-3)


def test_silent_classes_are_classes(weights, class_folders):
    experiment = few_recipe(weights[0], 'eval.silent=["red", "rde"]')
    with pytest.raises(RecipeError, match=r"eval\.silent.* are .*red.*\. Received: rde$"):
        setup.prepare(experiment, class_folders, choose(), [].append)


def test_what_an_open_set_cannot_be(weights, class_folders, tmp_path):
    experiment = few_recipe(weights[0], "few.open_set=0.1")
    with pytest.raises(RecipeError, match=r"`open_set` is for recipes with \[few\]"):
        train_recipe("demo", class_folders, open_set=0.1)
    with pytest.raises(RecipeError, match=r"few\.open_set"):
        train_recipe("few", class_folders, open_set=2.0)
    with pytest.raises(RecipeError, match="must be absent where `open_set` is given"):
        few_recipe(weights[0], "few.open_set=0.1", "few.finetune_epochs=1")
    lines = [f"{path},{path.parent.name}\n" for path in sorted(class_folders.glob("*/*.avi"))]
    several = tmp_path / "several.csv"
    several.write_text("path,labels\n" + "".join(lines))
    with pytest.raises(RecipeError, match=r"'few\.open_set' is for videos with one label each"):
        setup.prepare(experiment, several, choose(), [].append)
    shutil.copytree(class_folders / "red", class_folders / "none of these")
    with pytest.raises(DataError, match="has a class 'none of these', as the one"):
        setup.prepare(experiment, class_folders, choose(), [].append)
    for name in ("red", "green"):
        shutil.copytree(class_folders / name, tmp_path / "one" / name)
        for path in sorted((tmp_path / "one" / name).iterdir())[1:]:
            path.unlink()
    with pytest.raises(DataError, match=r"'few\.open_set' needs a class with two videos"):
        train(experiment, tmp_path / "one", tmp_path / "run")
