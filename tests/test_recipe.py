import dataclasses
import json
import tomllib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keras_r3d import recipe
from keras_r3d.recipe.clips import Augment, Clips, Consecutive, MultiScale, Whole
from keras_r3d.recipe.tables import as_dict


@pytest.mark.parametrize("name", recipe.names())
def test_every_recipe_loads_and_round_trips(name, tmp_path):
    loaded = recipe.load(name, ['model.weights="w.pth"'] if name == "finetune" else [])
    path = tmp_path / "recipe.toml"
    path.write_text(recipe.dumps(loaded), encoding="utf-8")
    assert recipe.load(str(path)) == loaded


def test_the_named_recipes_are_there():
    assert {"demo", "gestures", "interactions", "kinetics18", "kinetics34"} <= set(recipe.names())
    assert {"gestures_flow", "c3d"} <= set(recipe.names())
    assert {"finetune", "finetune_ucf101", "finetune_hmdb51"} <= set(recipe.names())


def test_kinetics34_is_the_paper():
    paper = recipe.load("kinetics34")
    assert (paper.model.name, paper.model.shortcut, paper.model.width) == ("r3d34", "A", 1.0)
    assert paper.clips == Clips(16, 112, Consecutive(1), MultiScale(), short_side=360)
    assert paper.clips.crop.scales == pytest.approx([2 ** (-k / 4) for k in range(5)])
    assert len(paper.clips.crop.positions) == 5
    assert not paper.videos.balanced
    optimizer, schedule = paper.train.optimizer, paper.train.schedule
    assert (optimizer.kind, optimizer.learning_rate, optimizer.momentum) == ("sgd", 0.1, 0.9)
    assert (optimizer.weight_decay, optimizer.dampening) == (1e-3, 0.9)
    assert (paper.train.batch_size, schedule.kind, schedule.drops) == (256, "plateau", 3)


def test_kinetics18_is_kinetics34_but_for_the_network():
    smaller, paper = recipe.load("kinetics18"), recipe.load("kinetics34")
    assert smaller.model.name == "r3d18"
    assert dataclasses.replace(smaller, model=paper.model) == paper


def test_c3d_is_kinetics34_but_for_the_network():
    baseline, paper = recipe.load("c3d"), recipe.load("kinetics34")
    assert baseline.model.name == "c3d_bn"
    assert dataclasses.replace(baseline, model=paper.model) == paper
    plain = recipe.load("c3d", ['model.name="c3d"'])
    assert plain.model == dataclasses.replace(baseline.model, name="c3d")
    with pytest.raises(recipe.RecipeError, match=r"must be absent: `name` is 'c3d_bn'"):
        recipe.load("c3d", ['model.shortcut="A"'])
    with pytest.raises(recipe.RecipeError, match=r"the recipe leaves \['shortcut'\]"):
        recipe.load("c3d", ['model.name="r3d18"'])


@pytest.mark.parametrize("name", ["finetune_ucf101", "finetune_hmdb51"])
def test_the_authors_fine_tuning(name):
    authors = recipe.load(name)
    assert (authors.model.weights, authors.model.freeze) == ("kinetics400", "conv1..conv4")
    train = authors.train
    assert (train.optimizer.learning_rate, train.optimizer.weight_decay) == (1e-3, 1e-5)
    assert (train.batch_size, train.epochs, train.schedule.patience) == (128, 300, 10)
    assert authors.videos.annotations.endswith("/1")


def test_finetune_takes_all_from_the_weights():
    model = recipe.load("finetune", ['model.weights="w.pth"']).model
    assert {model.name, model.shortcut, model.width, model.mean, model.std} == {None}
    with pytest.raises(recipe.RecipeError) as error:
        recipe.load("finetune")
    assert str(error.value) == (
        "Recipe key 'model.weights' is absent, but the recipe leaves ['name', 'shortcut', 'width', "
        "'mean', 'std'] to the weights: pass `weights`, a checkpoint or the best.keras of a run."
    )


@given(
    st.text(st.characters(exclude_categories=["Cs"]), max_size=20),
    st.floats(1e-6, 1e6),
    st.lists(st.floats(0.05, 1), min_size=1, max_size=4),
)
def test_any_text_and_number_round_trips(text, rate, scales):
    demo = recipe.load("demo")
    optimizer = dataclasses.replace(demo.train.optimizer, learning_rate=rate)
    changed = dataclasses.replace(
        demo,
        videos=dataclasses.replace(demo.videos, annotations=text),
        clips=dataclasses.replace(demo.clips, crop=MultiScale(tuple(scales))),
        train=dataclasses.replace(demo.train, optimizer=optimizer),
    )
    assert recipe.parse(tomllib.loads(recipe.dumps(changed))) == changed
    assert recipe.parse(json.loads(json.dumps(recipe.to_dict(changed)))) == changed


@pytest.mark.parametrize(
    ("override", "message"),
    [
        (
            "train.optimizer.learning_rat=0.1",
            "Unknown recipe key 'train.optimizer.learning_rat'. Did you mean "
            "'train.optimizer.learning_rate'?",
        ),
        (
            "train.learning_rate=0.1",
            "Unknown recipe key 'train.learning_rate'. It stands at "
            "'train.optimizer.learning_rate'.",
        ),
        ("data.frames=8", "Unknown recipe key 'data.frames'. It stands at 'clips.frames'."),
        ("train.epochs=2.5", "Recipe key 'train.epochs' must be int. Received: 2.5"),
        ("train.epochs=true", "Recipe key 'train.epochs' must be int. Received: True"),
        ("train.epochs=0", "Recipe key 'train.epochs' must be at least 1. Received: 0"),
        (
            "videos.hold_out.test=nan",
            "Recipe key 'videos.hold_out.test' must be finite. Received: nan",
        ),
        ("model.mean=[1, 2, nan]", "Recipe key 'model.mean' must be finite. Received: nan"),
        ("model.mean=[1, 2]", "Recipe key 'model.mean' must hold 3 numbers (red, green, blue)."),
        ("model.mean=", "is absent, but the recipe leaves ['mean'] to the weights: pass `weights`"),
        ("model.width=0.01", "Recipe key 'model.width' must be at least 0.015625. Received: 0.01"),
        (
            "model.freeze='conv1'",
            "Recipe key 'model.freeze' is 'conv1', but `weights` is absent: what is random would "
            "stay so. Either pass `weights`",
        ),
        (
            "clips.crop.scales=[]",
            "Recipe key 'clips.crop.scales' must be a list, not empty. Received",
        ),
        (
            "clips.crop.scales=1",
            "Recipe key 'clips.crop.scales' must be a list, not empty. Received: 1",
        ),
        (
            "clips.crop.kind='random_resize'",
            "Recipe key 'clips.crop.kind' must be one of ['multiscale', 'random_resized', "
            "'whole']. Received: 'random_resize'",
        ),
        (
            "clips.sampling.kind=segment",
            "Recipe key 'clips.sampling.kind' must be one of ['consecutive', 'uniform', "
            "'segments']. Received: 'segment'",
        ),
        (
            "clips.crop={kind='whole', area=[1.0, 0.5], aspect=[1, 1]}",
            "Recipe key 'clips.crop.area' must be the smallest and the largest. "
            "Received: [1.0, 0.5]",
        ),
        (
            "clips.crop={kind='whole', area=[0.5], aspect=[1, 1]}",
            "Recipe key 'clips.crop.area' must be a list of 2. Received: [0.5]",
        ),
        (
            "clips.crop={kind='whole', area=[0, 1], aspect=[1, 1]}",
            "Recipe key 'clips.crop.area' must be from 0.01 to 1. Received: 0",
        ),
        (
            "clips.crop.area=[0.5, 1]",
            "Recipe key 'clips.crop.area' belongs to whole; this crop is multiscale: leave it out.",
        ),
        (
            "train.optimizer.momentum=0.9",
            "Recipe key 'train.optimizer.momentum' belongs to sgd; this optimizer is adamw: leave "
            "it out.",
        ),
        ("clips.augment.rotate_degrees=-5", "must be from 0 to 180. Received: -5"),
        ("clips.augment.randaugment={ops=1, magnitude=31}", "must be from 0 to 30. Received: 31"),
        (
            "clips.sampling.max_stride=1",
            "Recipe key 'clips.sampling.max_stride' must be at least `stride`, 2. Received: 1",
        ),
        ("clips.sampling.spans=[1.0, 0.5]", "belongs to segments; this sampling is consecutive"),
        ("clips.input=dis", "Recipe key 'clips.augment' changes colors or turns pictures"),
        ("tran.epochs=1", "Unknown recipe key 'tran.epochs'. It stands at 'train.epochs'."),
        ("train.epochs", "`overrides` takes section.key=value"),
        ("train.epochs=many", "Recipe key 'train.epochs' must be int. Received: 'many'"),
        ("model.name=r3d35", "Recipe key 'model.name' must be one of ['r3d10', 'r3d18', "),
        ("train.schedule.warmup_epochs=100", "must be below `train.epochs`, 25. Received: 100"),
        (
            "train.schedule={kind='milestones', factor=0.1, milestones=[]}",
            "Recipe key 'train.schedule.milestones' must be a list, not empty. Received: []",
        ),
        (
            "train.schedule={kind='milestones', factor=0.1, milestones=[5, 5]}",
            "Recipe key 'train.schedule.milestones' must increase. Received: [5, 5]",
        ),
        (
            "train.schedule={kind='milestones', factor=0.1, milestones=[5, 25]}",
            "Recipe key 'train.schedule.milestones' must be below `train.epochs`, 25. Received: 25",
        ),
        (
            "train.schedule={kind='milestones', factor=0.1, milestones=[1, 5], warmup_epochs=1}",
            "must be above `warmup_epochs`, 1, which sets the rate until then. Received: 1",
        ),
        (
            "train.optimizer={kind='sgd', learning_rate=1, momentum=0, weight_decay=0, "
            "nesterov=true}",
            "Recipe key 'train.optimizer.nesterov' needs `momentum` above 0. Received: momentum 0",
        ),
        (
            "train.optimizer={kind='sgd', learning_rate=1, momentum=0.9, weight_decay=0, "
            "dampening=0.9, nesterov=true}",
            "must be absent where `nesterov` is true. Received: 0.9",
        ),
        ("eval.windows=0", "Recipe key 'eval.windows' must be 'all' or at least 1. Received: 0"),
        ("eval.views=4", "Recipe key 'eval.views' must be one of [1, 2, 3, 10]. Received: 4"),
        (
            "eval.views=2",
            "Recipe key 'eval.views' is 2, the whole frame and its center, but `clips.crop.kind` "
            "is 'multiscale': take 1, 3 or 10.",
        ),
        ("eval.views=10", "is 10, half of them mirrored, but `clips.flip` is false"),
        ("train.patience=0", "Recipe key 'train.patience' must be at least 1. Received: 0"),
        ("few.folds=5", "Recipe key 'few.stages' is missing."),
        ("videos.annotations=motion", "is 'motion', clips that are rendered at their final size"),
        ("clips.size=8", "Recipe key 'clips.size' must be at least 16. Received: 8"),
        ("clips.size=[8, 64]", "Recipe key 'clips.size' must be at least 16. Received: 8"),
        ("clips.size=[64]", "Recipe key 'clips.size' must be a list of 2. Received: [64]"),
        (
            "clips.sampling.fps=0",
            "Recipe key 'clips.sampling.fps' must be from 0.1 to 1000. Received: 0",
        ),
        ("train.optimizer='sgd'", "Recipe key 'train.optimizer' must be a table. Received: 'sgd'"),
        ("train.epochs.x=3", "Recipe key 'train.epochs' must be a table."),
        ("train.optimizer.kind=[1]", "must be one of ['sgd', 'adamw']. Received: [1]"),
        ("train.mixup=1" + 400 * "0", "Recipe key 'train.mixup' must be finite. Received: 1"),
        ("train.mixup=1" + 5000 * "0", "Recipe key 'train.mixup' must be float. Received: '1"),
        ("few.stages=[conv4]", "`overrides` few.stages=[conv4]: texts in a list or a table need"),
    ],
)
def test_a_wrong_value_is_refused_by_name(override, message):
    with pytest.raises(recipe.RecipeError) as error:
        recipe.load("demo", [override])
    assert message in str(error.value)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("clips.sampling.spans=[0.01]", "must be from 0.05 to 1. Received: 0.01"),
        ("few.fold=3", "Unknown recipe key 'few.fold'. Did you mean 'few.folds'?"),
        ("few.folds=-1", "Recipe key 'few.folds' must be at least 2. Received: -1"),
        ("few.stages=[]", "Recipe key 'few.stages' must be a list, not empty. Received: []"),
        ("few.stages=['conv1']", "Recipe key 'few.stages' must be one of ['conv2', "),
        ("few.finetune_epochs=2", "must be above `train.schedule.warmup_epochs`, 2. Received: 2"),
        ("model.weights=", "Recipe key 'model.weights' is absent, but the recipe leaves ['name'"),
    ],
)
def test_few_is_checked_as_all_else(override, message):
    with pytest.raises(recipe.RecipeError) as error:
        recipe.load("few", [override])
    assert message in str(error.value)


def test_all_problems_are_said_at_once():
    with pytest.raises(recipe.RecipeError) as error:
        recipe.load(
            "demo", ["train.epoch=3", "train.epochs=2.5", "clips.size=1", "train.batch_size="]
        )
    assert str(error.value) == (
        "The recipe has 4 problems:\n"
        "  Recipe key 'clips.size' must be at least 16. Received: 1\n"
        "  Unknown recipe key 'train.epoch'. Did you mean 'train.epochs'?\n"
        "  Recipe key 'train.epochs' must be int. Received: 2.5\n"
        "  Recipe key 'train.batch_size' is missing."
    )


def test_text_needs_no_quotes():
    experiment = recipe.load("demo", ["model.name=r3d18", "eval.split=test", "eval.windows=all"])
    assert (experiment.model.name, experiment.eval.split) == ("r3d18", "test")


def test_extras_are_switched_on_and_off():
    demo = recipe.load("demo")
    assert (demo.train.mixup, demo.train.patience, demo.few) == (None, None, None)
    changed = recipe.load("demo", ["train.mixup=0.2", "train.patience=4", "clips.augment="])
    assert (changed.train.mixup, changed.train.patience) == (0.2, 4)
    assert changed.clips.augment is None
    assert recipe.override(changed, ["train.mixup=", "train.patience="]).train == demo.train


def test_another_kind_leaves_out_the_keys_of_the_old_one():
    changed = recipe.load(
        "kinetics34",
        ["train.optimizer.kind=adamw", "clips.sampling.kind=uniform", "train.schedule.kind=cosine"],
    )
    assert changed.train.optimizer == recipe.schema.AdamwOptimizer(0.1, 1e-3)
    assert (changed.clips.sampling.kind, changed.train.schedule.kind) == ("uniform", "cosine")
    with pytest.raises(recipe.RecipeError, match=r"'train\.optimizer\.momentum' is missing"):
        recipe.load("demo", ["train.optimizer.kind=sgd"])


def test_a_recipe_file_states_what_is_done_and_nothing_else():
    text = recipe.dumps(recipe.load("demo"))
    for extra in ("few", "mixup", "nesterov", "max_stride", "random", "class_weights"):
        assert extra not in text
    few = recipe.load("few", ["few.folds=7", "few.stages=['conv4']"])
    assert few.few == recipe.Few(("conv4",), 7)
    assert recipe.parse(recipe.to_dict(few)) == few


def test_a_file_may_be_based_on_a_recipe(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text(
        'base = "gestures"\nwithout = ["train.label_smoothing"]\n[clips]\nflip = true\n'
        '[train]\nepochs = 3\n[train.optimizer]\nkind = "sgd"\nlearning_rate = 0.1\n'
        "momentum = 0.9\nweight_decay = 1e-3\n"
    )
    mine, gestures = recipe.load(str(path)), recipe.load("gestures")
    assert (mine.train.epochs, mine.train.optimizer.kind, mine.clips.flip) == (3, "sgd", True)
    assert (mine.train.label_smoothing, gestures.train.label_smoothing) == (None, 0.1)
    assert (mine.model, mine.eval, mine.train.schedule) == (
        *(gestures.model, gestures.eval, gestures.train.schedule),
    )
    assert "base" not in recipe.dumps(mine)
    path.write_text('base = "gesture"\n')
    with pytest.raises(recipe.RecipeError, match=r"`base` must be one of .* Received: 'gesture'"):
        recipe.load(str(path))
    path.write_text('base = "gestures"\nwithout = "train.mixup"\n')
    with pytest.raises(recipe.RecipeError, match=r"`without` must be a list of keys\. Received"):
        recipe.load(str(path))
    path.write_text('base = "gestures"\nwithout = ["train.mixup"]\n')
    with pytest.raises(recipe.RecipeError, match=r"`without` names 'train\.mixup', which recipe"):
        recipe.load(str(path))


def test_format_1_ends_in_one_sentence(tmp_path):
    path = tmp_path / "recipe.toml"
    path.write_text('[model]\nname = "r3d10"\n[data]\nframes = 16\n')
    with pytest.raises(recipe.RecipeError, match=r"^\S+ is of format 1, .*train again\.$"):
        recipe.load(str(path))
    with pytest.raises(recipe.RecipeError, match=r"^The recipe is of format 1, "):
        recipe.with_clips({"data": {"frames": 16}, "eval": {}})


def test_tables_that_are_none_are_named():
    with pytest.raises(
        recipe.RecipeError, match=r"^Recipe key 'clips' must be a table\. Received: 3$"
    ):
        recipe.with_clips({"clips": 3})


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: Clips(frames=0), "Clips: `frames` must be at least 1. Received: 0"),
        (
            lambda: Clips(crop="whole"),
            "Clips: `crop` must be MultiScale or RandomResized or Whole. Received: 'whole'",
        ),
        (lambda: Clips(flip=1), "Clips: `flip` must be bool. Received: 1"),
        (lambda: Consecutive(2, 1), "Consecutive: `max_stride` must be at least `stride`, 2."),
        (lambda: Whole(area=(1, 0.5)), "Whole: `area` must be the smallest and the largest."),
        (lambda: Clips(input="dis", augment=Augment()), "which is wrong for `input` 'dis'"),
    ],
)
def test_values_of_python_users_are_checked_alike(build, message):
    with pytest.raises(recipe.RecipeError) as error:
        build()
    assert message in str(error.value)


@pytest.mark.parametrize("override", ["clips.size=[64, 96]", "clips.sampling.fps=16"])
def test_rendered_motion_has_one_size_and_no_rate(override):
    with pytest.raises(recipe.RecipeError, match=r"`clips\.size` one number and `clips\.sampling"):
        recipe.load("motion", [override])


def test_a_size_is_one_number_or_two():
    wide = recipe.load("demo", ["clips.size=[64, 96]", "clips.sampling.fps=12.5"])
    assert (wide.clips.size, wide.clips.shape) == ((64, 96), (16, 64, 96, 3))
    assert "size = [64, 96]" in recipe.dumps(wide)
    assert "fps = 12.5" in recipe.dumps(wide)
    assert recipe.parse(recipe.to_dict(wide)) == wide
    assert recipe.override(wide, ["clips.size=64", "clips.sampling.fps="]) == recipe.override(
        wide, ["clips.size=[64, 64]", "clips.sampling.fps="]
    )
    assert as_dict(Clips(size=(64, 64)))["size"] == 64


def test_clips_of_python_users_are_a_recipes_table():
    clips = Clips(8, 64, crop=Whole(area=[0.5, 1]))
    assert clips.crop.area == (0.5, 1.0)
    assert recipe.with_clips({"clips": as_dict(clips)}).clips == clips
    assert clips.center() != clips
    assert as_dict(clips.center()) == as_dict(clips)
    assert (clips.shape, clips.is_whole, clips.is_spread) == ((8, 64, 64, 3), True, False)


def test_a_missing_key_is_named(tmp_path):
    path = tmp_path / "recipe.toml"
    path.write_text(recipe.dumps(recipe.load("demo")).replace("epochs = ", "# ", 1))
    with pytest.raises(recipe.RecipeError, match=r"Recipe key 'train.epochs' is missing"):
        recipe.load(str(path))


def test_an_unknown_recipe_is_named():
    with pytest.raises(recipe.RecipeError, match=r"Unknown recipe 'dmo'\. Did you mean 'demo'\?"):
        recipe.load("dmo")


def test_a_file_that_is_no_toml_is_named(tmp_path):
    path = tmp_path / "recipe.toml"
    path.write_bytes(b"\xff\xfe = [")
    with pytest.raises(recipe.RecipeError, match="is not valid TOML"):
        recipe.load(str(path))
