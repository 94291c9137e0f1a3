"""Recipes: shipped ones are sound, overrides are typed, and whatever is wrong is named."""

import tracemalloc

import pytest

from nnla.errors import FileFormatError, OptionError
from nnla.training.config import Table, check_recipe, load_recipe, option, recipes

MINIMAL = """
name = "x"
task = "nnla.training.autospec_cg:AutoSpecTask"
seed = 0
threads = 1

[optim]
steps = 3
lr = 1e-3
warmup = 0.1
weight_decay = 0
clip = 1
log_every = 1
checkpoint_every = 2
"""


def written(tmp_path, text):
    path = tmp_path / "r.toml"
    path.write_text(text)
    return str(path)


@pytest.mark.parametrize("name", recipes())
def test_shipped_recipes(name):
    recipe = load_recipe(name)
    assert recipe["name"] == name
    check_recipe(recipe)


def test_minimal_recipe(tmp_path):
    recipe = load_recipe(written(tmp_path, MINIMAL))
    assert recipe["optim"]["steps"] == 3
    assert type(recipe) is dict


@pytest.mark.parametrize("key", ["name", "task", "seed", "threads", "steps", "lr", "clip", "checkpoint_every"])
def test_a_missing_key_is_named(tmp_path, key):
    text = "\n".join(line for line in MINIMAL.splitlines() if not line.startswith(f"{key} "))
    full = key if key in ("name", "task", "seed", "threads") else f"optim.{key}"
    with pytest.raises(OptionError, match=f"lacks {full}"):
        load_recipe(written(tmp_path, text))


def test_every_missing_key_is_named(tmp_path):
    with pytest.raises(OptionError, match=r"task, seed, threads, optim\.steps, optim\.lr"):
        load_recipe(written(tmp_path, 'name = "x"'))


@pytest.mark.parametrize("name", ["../x", "a/b", "/x", "a\\\\b", "..", ".", "", ".hidden", "c:x", "a\\u0000b"])
def test_the_name_is_a_file_name(tmp_path, name):
    with pytest.raises(OptionError, match="name"):
        load_recipe(written(tmp_path, MINIMAL.replace('"x"', f'"{name}"')))


@pytest.mark.parametrize(
    ("line", "other"),
    [
        ("steps = 3", "steps = 0"),
        ("steps = 3", "steps = 2.5"),
        ("steps = 3", "steps = true"),
        ("steps = 3", 'steps = "many"'),
        ("seed = 0", "seed = -1"),
        ("threads = 1", "threads = 0"),
        ("lr = 1e-3", "lr = nan"),
        ("lr = 1e-3", "lr = -1.0"),
        ("clip = 1", "clip = inf"),
        ("log_every = 1", "log_every = 0"),
        ('name = "x"', "name = 3"),
    ],
)
def test_values_out_of_range(tmp_path, line, other):
    with pytest.raises(OptionError, match=other.split()[0]):
        load_recipe(written(tmp_path, MINIMAL.replace(line, other)))


def test_optim_must_be_a_table(tmp_path):
    with pytest.raises(OptionError, match="table"):
        load_recipe(written(tmp_path, MINIMAL.split("[optim]")[0] + "optim = 3"))


def test_overrides():
    recipe = load_recipe("autospec-cg", ["optim.steps=7", "optim.lr=1", "name=mine", " seed = 4 "])
    assert (recipe["optim"]["steps"], recipe["name"], recipe["seed"]) == (7, "mine", 4)
    assert recipe["optim"]["lr"] == 1.0
    assert isinstance(recipe["optim"]["lr"], float)
    assert load_recipe("autospec-cg")["optim"]["steps"] != 7


@pytest.mark.parametrize(
    ("override", "word"),
    [
        ("optim.magic=1", "no key 'optim.magic'.*optim.steps"),
        ("magic=1", "no key 'magic'"),
        ("optim.steps.deep=1", "no key"),
        ("optim", "key=value"),
        ("=1", "no key ''"),
        ("optim.steps=fast", "optim.steps is int"),
        ("optim.steps=1.5", "optim.steps is int"),
        ("optim.lr=true", "optim.lr is float"),
        ("optim=1", "optim is dict"),
        ("name=a/b", "separators"),
        ("optim.steps=0", ">= 1"),
    ],
)
def test_bad_overrides(override, word):
    with pytest.raises(OptionError, match=word):
        load_recipe("autospec-cg", [override])


def test_optional_keys():
    recipe = load_recipe("autospec-cg")
    assert [option(recipe, name) for name in ("accumulate", "prefetch", "device", "dtype")] == [1, 0, "cpu", ""]
    assert (option(recipe, "keep"), option(recipe, "figure")) == ("last", "")
    changed = load_recipe("autospec-cg", ["accumulate=2", "prefetch=3", "device=auto", "dtype=float64", "keep=best"])
    assert [option(changed, name) for name in ("accumulate", "prefetch", "device", "dtype")] == [
        2,
        3,
        "auto",
        "float64",
    ]
    assert changed["keep"] == "best"
    assert load_recipe("autospec-cg", ["figure=regret_p95"])["figure"] == "regret_p95"


@pytest.mark.parametrize(
    ("override", "word"),
    [
        ("accumulate=0", "accumulate must be an integer >= 1"),
        ("accumulate=1.5", "accumulate is int"),
        ("prefetch=-1", "prefetch must be an integer >= 0"),
        ("device=tpu", "device must be one of cpu, cuda, auto"),
        ("dtype=float16", "dtype must be one of float32"),
        ("keep=first", "keep must be one of last, best"),
        ('figure=""', "figure must be a text"),
        ("data.prefetch=1", "no key 'data.prefetch'"),
    ],
)
def test_bad_optional_keys(override, word):
    with pytest.raises(OptionError, match=word):
        load_recipe("autospec-cg", [override])


def test_no_such_recipe_and_no_toml(tmp_path):
    with pytest.raises(OptionError, match="no recipe 'magic'"):
        load_recipe("magic")
    for text in ("= 1", "\0", "[a]\n[a]"):
        with pytest.raises(FileFormatError, match="TOML"):
            load_recipe(written(tmp_path, text))


FOREIGN = [
    "subprocess:Popen", "os:system", "somewhere:Task", "nnla.training.config:load_recipe", "nnla.registry:load",
    "nnla.training.loop.os:system", "nnla.training.autospec_cg:AutoSpecTask.__init__", " nnla.training.nsls:NSLSTask",
    "nnla.training.:X", "", ":",
]  # fmt: skip


@pytest.mark.parametrize("task", FOREIGN)
def test_a_file_names_nnla_s_tasks_and_no_others(tmp_path, task):
    path = written(tmp_path, MINIMAL.replace("nnla.training.autospec_cg:AutoSpecTask", task))
    with pytest.raises(OptionError, match="--set task=") as error:
        load_recipe(path)
    assert "\n" not in str(error.value)
    assert load_recipe(path, tasks=[task])["task"] == task  # whoever runs it may
    if task.strip():
        assert load_recipe(path, [f"task={task}"])["task"] == task.strip()


def test_a_foreign_task_is_not_even_imported(tmp_path, monkeypatch):
    (tmp_path / "trap.py").write_text("raise AssertionError('imported')")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(OptionError, match="trap:Popen"):
        load_recipe(written(tmp_path, MINIMAL.replace("nnla.training.autospec_cg:AutoSpecTask", "trap:Popen")))


@pytest.mark.parametrize(
    "text",
    ["a=" + "[" * 100_000, "a=" + "{a=" * 100_000, ".".join(["a"] * 20_000) + "=1",
     "[" + " . ".join(['"a"'] * 99) + "]", "a=1" + "0" * 5000, "#" * 2**19, "a={" + ".".join(["'a'"] * 30) + "=1}"],
    ids=["arrays", "tables", "key", "header", "digits", "length", "inline"],
)  # fmt: skip
def test_texts_without_end_are_refused_by_name_and_take_no_memory(tmp_path, text):
    path = written(tmp_path, text)
    tracemalloc.start()
    with pytest.raises(FileFormatError) as error:
        load_recipe(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert len(str(error.value)) < 500
    assert peak < 32 * len(text) + 2**20


def test_overrides_without_end_are_refused():
    for text in ("[" * 100_000, "1" + "0" * 5000, "{a=" * 100_000):
        with pytest.raises(OptionError, match=r"optim\.steps") as error:
            load_recipe("autospec-cg", [f"optim.steps={text}"])
        assert len(str(error.value)) < 300


@pytest.mark.parametrize(
    "line",
    ["seed = 1" + "0" * 400, "seed = 9007199254740993", "threads = 100000", "prefetch = 1000000", "lr = 1e400",
     "accumulate = 10000000000", "extra = [1, -9223372036854775807]", "extra = {a = inf}", "extra = nan",
     "extra = 1979-05-27"],
)  # fmt: skip
def test_numbers_are_bounded_wherever_they_stand(tmp_path, line):
    key = line.split()[0]
    lines = [old for old in MINIMAL.splitlines() if not old.startswith(f"{key} ")]
    at = lines.index("[optim]") + (key == "lr")
    with pytest.raises(OptionError, match=key) as error:
        load_recipe(written(tmp_path, "\n".join([*lines[:at], line, *lines[at:]])))
    assert len(str(error.value)) < 300


def test_a_recipe_with_a_byte_order_mark(tmp_path):
    path = tmp_path / "r.toml"
    path.write_bytes(b"\xef\xbb\xbf" + MINIMAL.strip().replace("\n", "\r\n").encode())
    assert load_recipe(str(path))["optim"]["steps"] == 3


def test_a_table_names_what_it_lacks():
    table = Table({"data": {"n": 1}, "seed": 0})
    assert table["data"]["n"] == 1
    assert dict(table["data"]) == {"n": 1}
    assert table == {"data": {"n": 1}, "seed": 0}
    with pytest.raises(OptionError, match=r"'data\.spectra'"):
        table["data"]["spectra"]
    with pytest.raises(OptionError, match="'model'"):
        table["model"]
    assert table.get("model") is None
