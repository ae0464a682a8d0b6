import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keras_r3d import recipe


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
    assert (paper.data.frames, paper.data.size, paper.data.flip) == (16, 112, True)
    assert paper.data.scales == pytest.approx([2 ** (-k / 4) for k in range(5)])
    assert len(paper.data.positions) == 5
    assert (paper.data.sampling, paper.data.crop) == ("consecutive", "multiscale")
    assert (paper.data.frame_stride, paper.data.frame_stride_most) == (1, 1)
    unlike_the_paper = (
        "rotate_degrees",
        "shear_degrees",
        "translate",
        "colour_jitter",
        "randaugment_ops",
        "balanced",
    )
    assert not any(getattr(paper.data, key) for key in unlike_the_paper)
    train = paper.train
    assert (train.optimizer, train.learning_rate, train.momentum) == ("sgd", 0.1, 0.9)
    assert (train.weight_decay, train.batch_size, train.plateau_drops) == (1e-3, 256, 3)


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
    with pytest.raises(recipe.RecipeError, match=r"must be '' where 'model.name' is 'c3d_bn'"):
        recipe.load("c3d", ['model.shortcut="A"'])
    with pytest.raises(recipe.RecipeError, match=r"the recipe leaves \['shortcut'\]"):
        recipe.load("c3d", ['model.name="r3d18"'])


@pytest.mark.parametrize("name", ["finetune_ucf101", "finetune_hmdb51"])
def test_the_authors_fine_tuning(name):
    authors = recipe.load(name)
    assert (authors.model.weights, authors.model.freeze) == ("kinetics400", "conv1..conv4")
    train = authors.train
    assert (train.optimizer, train.learning_rate, train.weight_decay) == ("sgd", 1e-3, 1e-5)
    assert (train.batch_size, train.epochs, train.plateau_patience) == (128, 300, 10)
    assert authors.data.annotations.endswith("/1")


def test_finetune_takes_all_from_the_weights():
    model = recipe.load("finetune", ['model.weights="w.pth"']).model
    assert (model.name, model.shortcut, model.width, model.mean, model.std) == ("", "", 0, (), ())
    with pytest.raises(recipe.RecipeError) as error:
        recipe.load("finetune")
    assert str(error.value) == (
        "Recipe key 'model.weights' is empty, but the recipe leaves ['name', 'shortcut', 'width', "
        "'mean', 'std'] to the weights: pass --weights FILE, a checkpoint or the best.keras of a "
        "run."
    )


@given(
    st.text(st.characters(exclude_categories=["Cs"]), max_size=20),
    st.floats(1e-6, 1e6),
    st.lists(st.floats(0.05, 1), min_size=1, max_size=4),
)
def test_any_text_and_number_round_trips(text, rate, scales):
    demo = recipe.load("demo")
    changed = dataclasses.replace(
        demo,
        data=dataclasses.replace(demo.data, annotations=text, scales=tuple(scales)),
        train=dataclasses.replace(demo.train, learning_rate=rate),
    )
    assert recipe.parse(recipe.tomllib.loads(recipe.dumps(changed))) == changed


@pytest.mark.parametrize(
    ("override", "message"),
    [
        (
            "train.learning_rat=0.1",
            "Unknown recipe key 'train.learning_rat'. Did you mean 'learning_rate'?",
        ),
        ("train.epochs=2.5", "Recipe key 'train.epochs' must be int. Received: 2.5"),
        ("train.epochs=true", "Recipe key 'train.epochs' must be int. Received: True"),
        ("train.epochs=0", "Recipe key 'train.epochs' must be at least 1. Received: 0"),
        (
            "data.test_fraction=nan",
            "Recipe key 'data.test_fraction' must be from 0 to 0.9. Received: nan",
        ),
        ("data.cache_gib=inf", "Recipe key 'data.cache_gib' must be at least 0. Received: inf"),
        ("model.mean=[1, 2, nan]", "Recipe key 'model.mean' must be finite. Received: nan"),
        (
            "model.name='r3d35'",
            "Recipe key 'model.name' must be one of ['r3d10', 'r3d18', 'r3d34', 'r3d50', 'r3d101', "
            "'r3d152', 'r3d200', 'r3d_18', 'mc3_18', 'r2plus1d_18', 'c3d', "
            "'c3d_bn', '']. Received: 'r3d35'",
        ),
        ("model.mean=[1, 2]", "Recipe key 'model.mean' must hold 3 numbers"),
        (
            "model.mean=[]",
            "is empty, but the recipe leaves ['mean'] to the weights: pass --weights",
        ),
        ("model.width=0.01", "Recipe key 'model.width' must be at least 0.015625, or 0: that of"),
        ("model.width=-1", "Recipe key 'model.width' must be at least 0. Received: -1.0"),
        (
            "model.freeze='conv1'",
            "Recipe key 'model.freeze' is 'conv1', but 'model.weights' is empty: what is random "
            "would stay random. Either pass --weights FILE",
        ),
        ("data.scales=[]", "Recipe key 'data.scales' must not be empty"),
        ("data.scales=1", "Recipe key 'data.scales' must be a list. Received: 1"),
        (
            "data.crop='random_resize'",
            "Recipe key 'data.crop' must be one of ['multiscale', 'random_resized', "
            "'whole']. Received: 'random_resize'",
        ),
        (
            "data.sampling='segment'",
            "Recipe key 'data.sampling' must be one of ['consecutive', 'uniform', 'segments']. "
            "Received: 'segment'",
        ),
        (
            "data.area=[1.0, 0.5]",
            "Recipe key 'data.area' must hold 2 numbers, the smallest and the largest. "
            "Received: [1.0, 0.5]",
        ),
        ("data.area=[0.5]", "Recipe key 'data.area' must hold 2 numbers"),
        ("data.area=[0, 1]", "Recipe key 'data.area' must be from 0.01 to 1. Received: 0.0"),
        ("data.aspect=[1, 1, 1]", "Recipe key 'data.aspect' must hold 2 numbers"),
        ("data.aspect=[1, 11]", "Recipe key 'data.aspect' must be from 0.1 to 10. Received: 11.0"),
        (
            "data.rotate_degrees=-5",
            "Recipe key 'data.rotate_degrees' must be from 0 to 180. Received: -5.0",
        ),
        (
            "data.shear_degrees=90",
            "Recipe key 'data.shear_degrees' must be from 0 to 60. Received: 90.0",
        ),
        ("data.translate=1", "Recipe key 'data.translate' must be from 0 to 0.5. Received: 1.0"),
        (
            "data.frame_stride_most=1",
            "Recipe key 'data.frame_stride_most' must be at least 'data.frame_stride' (2). "
            "Received: 1. For one stride: --set data.frame_stride_most=2",
        ),
        (
            "data.randaugment_magnitude=31",
            "Recipe key 'data.randaugment_magnitude' must be from 0 to 30. Received: 31.0",
        ),
        ("tran.epochs=1", "Unknown recipe section [tran]. Did you mean 'train'?"),
        ("train.epochs", "`--set` takes section.key=value"),
        ("train.epochs=many", "the value must be a number, true or false, or a list in brackets"),
        ("model.name=r3d35", "Recipe key 'model.name' must be one of"),
        ("train.warmup_epochs=100", "must be below 'train.epochs'"),
        (
            "train.milestones=[3]",
            "Recipe key 'train.milestones' must be empty where 'train.schedule' is 'cosine'. "
            "Received: [3]. Without: --set 'train.milestones=[]'",
        ),
        ("train.schedule='milestones'", "Recipe key 'train.milestones' must not be empty where"),
    ],
)
def test_a_wrong_value_is_refused_by_name(override, message):
    with pytest.raises(recipe.RecipeError) as error:
        recipe.load("demo", [override])
    assert message in str(error.value)


def test_text_needs_no_quotes():
    experiment = recipe.load("demo", ["model.name=r3d18", "eval.split=test", "data.crop='whole'"])
    assert (experiment.model.name, experiment.eval.split) == ("r3d18", "test")
    assert experiment.data.crop == "whole"


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (
            ["train.schedule='milestones'", "train.milestones=[5, 5]"],
            "Recipe key 'train.milestones' must increase. Received: [5, 5]",
        ),
        (
            ["train.schedule='milestones'", "train.milestones=[5, 25]"],
            "Recipe key 'train.milestones' must be below 'train.epochs' (25). Received: 25",
        ),
        (
            ["train.schedule='milestones'", "train.milestones=[1, 5]"],
            "Recipe key 'train.milestones' must be above 'train.warmup_epochs' (1), which sets "
            "the rate until then. Received: 1",
        ),
        (
            ["train.optimizer='sgd'", "train.momentum=0.0", "train.nesterov=true"],
            "Recipe key 'train.nesterov' needs 'train.momentum' above 0. Received: true, momentum "
            "0",
        ),
        (
            ["train.optimizer='sgd'", "train.momentum=0.0", "train.dampening=0.9"],
            "Recipe key 'train.dampening' needs 'train.momentum' above 0. Received: 0.9, momentum "
            "0",
        ),
        (
            ["train.optimizer='sgd'", "train.nesterov=true", "train.dampening=0.9"],
            "Recipe key 'train.dampening' must be 0 where 'train.nesterov' is true. Received: 0.9",
        ),
        (
            ["train.batch_size=1", "train.cutmix=1.0"],
            "Recipe key 'train.cutmix' blends clips of a batch: 'train.batch_size' must be above "
            "1. Received: 1",
        ),
    ],
)
def test_values_at_odds_are_refused(overrides, message):
    with pytest.raises(recipe.RecipeError) as error:
        recipe.load("demo", overrides)
    assert str(error.value) == message


def test_all_problems_are_said_at_once():
    with pytest.raises(recipe.RecipeError) as error:
        recipe.load("demo", ["train.epoch=3", "train.epochs=2.5", "data.size=1", "evl.split='a'"])
    assert str(error.value) == (
        "The recipe has 4 problems:\n"
        "  Unknown recipe section [evl]. Did you mean 'eval'?\n"
        "  Unknown recipe key 'train.epoch'. Did you mean 'epochs'?\n"
        "  Recipe key 'train.epochs' must be int. Received: 2.5\n"
        "  Recipe key 'data.size' must be at least 16. Received: 1"
    )
    with pytest.raises(
        recipe.RecipeError, match=r"^The recipe has 3 problems:(\n  Recipe key.*){3}$"
    ):
        recipe.load("demo", ["model.mean=[1]", "data.scales=[]", "train.warmup_epochs=99"])


@pytest.mark.parametrize("kind", ["uniform", "segments"])
def test_a_range_of_strides_needs_consecutive_frames(kind):
    with pytest.raises(recipe.RecipeError) as error:
        recipe.load("demo", ["data.frame_stride_most=4", f"data.sampling='{kind}'"])
    assert str(error.value) == (
        "Recipe key 'data.frame_stride_most' must be 'data.frame_stride' (2) where 'data.sampling' "
        f"is '{kind}', which has no stride. Received: 4"
    )
    assert recipe.load("demo", ["data.frame_stride_most=4"]).data.frame_stride_most == 4


def test_keys_that_may_be_absent_are_extras():
    demo = recipe.load("demo")
    assert (demo.data.spans, demo.train.patience, demo.few) == ((), 0, None)
    changes = ["data.spans=[1, 0.5]", "data.sampling='uniform'", "data.frame_stride_most=2"]
    changed = recipe.load("demo", [*changes, "train.patience=4"])
    assert (changed.data.spans, changed.train.patience) == ((1.0, 0.5), 4)
    assert recipe.parse(recipe.tomllib.loads(recipe.dumps(changed))) == changed
    assert recipe.parse(recipe.tables(changed)) == changed


def test_a_recipe_without_few_says_nothing_of_it():
    demo = recipe.load("demo")
    assert "[few]" not in recipe.dumps(demo)
    assert recipe.tables(demo)["few"] is None
    assert recipe.parse(recipe.tables(demo)) == demo


def test_few_is_a_table_of_its_own():
    loaded = recipe.load("few", ["few.folds=7", "few.stages=['conv4']"])
    assert loaded.few == recipe.Few(("conv4",), 7, loaded.few.finetune_epochs)
    assert (loaded.data.crop, loaded.eval.views) == ("whole", 2)
    assert recipe.parse(recipe.tables(loaded)) == loaded


@pytest.mark.parametrize(
    ("name", "overrides", "message"),
    [
        (
            "demo",
            ["data.spans=[1.0, 0.5]"],
            "Recipe key 'data.spans' is of clips that are spread over the video, and "
            "'data.sampling' is 'consecutive'. Received: [1.0, 0.5]",
        ),
        ("few", ["data.spans=[0.01]"], "Recipe key 'data.spans' must be from 0.05 to 1. "),
        ("few", ["data.spans=[1.5]"], "Recipe key 'data.spans' must be from 0.05 to 1. "),
        ("demo", ["train.patience=-1"], "Recipe key 'train.patience' must be at least 0. "),
        (
            "demo",
            ["eval.views=2"],
            "Recipe key 'eval.views' is 2, the whole frame and its centre, but 'data.crop' is "
            "'multiscale': take 1, 3 or 10, or --set 'data.crop=\"whole\"'.",
        ),
        ("demo", ["eval.views=4"], "Recipe key 'eval.views' must be one of [1, 2, 3, 10]. "),
        ("few", ["few.fold=3"], "Unknown recipe key 'few.fold'. Did you mean 'folds'?"),
        ("few", ["few.folds=-1"], "Recipe key 'few.folds' must be at least 0. Received: -1"),
        ("few", ["few.stages=[]"], "Recipe key 'few.stages' must not be empty: the stages that"),
        ("few", ["few.stages=['conv1']"], "Recipe key 'few.stages[0]' must be one of ['conv2', "),
        ("few", ["model.weights=''"], "Recipe key 'model.weights' is empty, but "),
        ("demo", ["few.folds=5"], "Recipe key 'few.stages' is missing."),
    ],
)
def test_extras_are_checked_as_all_else(name, overrides, message):
    with pytest.raises(recipe.RecipeError) as error:
        recipe.load(name, overrides)
    assert message in str(error.value)


def test_whole_frames_may_have_one_view_or_two_or_more():
    for views in (1, 2, 3):
        loaded = recipe.load("demo", ["data.crop='whole'", f"eval.views={views}"])
        assert (loaded.data.crop, loaded.eval.views) == ("whole", views)


def test_an_override_counts():
    assert recipe.load("demo", ["train.epochs=7", 'eval.split="train"']).train.epochs == 7


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
