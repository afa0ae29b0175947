"""Settings: every fault names the line, the key and the nearest known one."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import Field, ValidationError

from acinus.config import Settings, key_lines, merge, nest, read_yaml, validate
from acinus.errors import ConfigError
from acinus.plan import list_recipes, load_recipe
from acinus.study.claim import arm_recipe
from acinus.study.schema import read_study

ROOT = Path(__file__).resolve().parents[2]


class Inner(Settings):
    spacing_mm: float = Field(1.0, gt=0)
    patch_vox: tuple[int, int] = (64, 64)


class Outer(Settings):
    name: str
    inner: Inner = Inner()
    several: dict[str, Inner] = Field(default_factory=dict)


def written(folder: Path, text: str) -> Path:
    path = folder / "run.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def test_differences_are_laid_over_the_defaults(tmp_path: Path) -> None:
    settings = read_yaml(written(tmp_path, "name: a\ninner:\n  spacing_mm: 2\n"), Outer)
    assert settings == Outer(name="a", inner=Inner(spacing_mm=2.0))
    assert settings.inner.patch_vox == (64, 64)


def test_settings_cannot_be_changed() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        Outer(name="a").name = "b"


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (
            "name: a\ninner:\n  # a remark\n  spacings: 2\n",
            "line 4: unknown key 'inner.spacings'. Did you mean 'spacing_mm'?",
        ),
        (
            "name: a\nseveral:\n  x: {patch: [1, 2]}\n",
            "line 3: unknown key 'several.x.patch'. Did you mean 'patch_vox'?",
        ),
        ("name: a\nqqq: 1\n", "line 2: unknown key 'qqq'. Known: inner, name, several."),
        ("inner: {}\n", "'name' must be given and is missing."),
        (
            "name: a\ninner:\n  spacing_mm: -1\n",
            "line 3: 'inner.spacing_mm': must be greater than 0; got -1.",
        ),
        ("name: a\ninner:\n  patch_vox: [1, x]\n", "line 3: 'inner.patch_vox.1'"),
        ("- a\n- b\n", "must hold 'key: value' lines; got list."),
        ("name: [a\n", "must be valid YAML"),
        ("name: !!python/object/apply:os.getcwd []\n", "must be valid YAML"),
    ],
)
def test_a_fault_is_a_sentence_with_its_line(tmp_path: Path, text: str, sentence: str) -> None:
    path = written(tmp_path, text)
    with pytest.raises(ConfigError) as caught:
        read_yaml(path, Outer)
    assert sentence in str(caught.value)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_all_faults_are_told_at_once(tmp_path: Path) -> None:
    path = written(tmp_path, "nam: a\ninner:\n  spacing_mm: 0\n")
    with pytest.raises(ConfigError) as caught:
        read_yaml(path, Outer)
    assert len(str(caught.value).splitlines()) == 3


def test_a_missing_file_and_bytes_that_are_no_text(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"gone\.yaml: no such file"):
        read_yaml(tmp_path / "gone.yaml", Outer)
    (tmp_path / "bytes.yaml").write_bytes(b"\xff\xfe\x00\x80")
    with pytest.raises(ConfigError, match=r"bytes\.yaml: must be"):
        read_yaml(tmp_path / "bytes.yaml", Outer)


def test_lines_of_nested_keys() -> None:
    lines = key_lines("a:\n  b: 1\n  c:\n    - x\n    - {d: 2}\n")
    assert lines[("a",)] == 1
    assert lines[("a", "b")] == 2
    assert lines[("a", "c", "0")] == 4
    assert lines[("a", "c", "1", "d")] == 5
    assert key_lines("") == {}


def test_merge_changes_neither_side_and_nest_splits_dots() -> None:
    base = {"a": {"b": 1, "c": 2}, "d": [1]}
    changes = nest({"a.b": 9, "e.f.g": 3})
    assert merge(base, changes) == {"a": {"b": 9, "c": 2}, "d": [1], "e": {"f": {"g": 3}}}
    assert base == {"a": {"b": 1, "c": 2}, "d": [1]}


def test_validation_leaves_the_data_alone() -> None:
    data = {"name": "a", "inner": {"spacing_mm": 3}}
    validate(Outer, data, where="here")
    assert data == {"name": "a", "inner": {"spacing_mm": 3}}


@pytest.mark.parametrize("name", [name for name, _ in list_recipes()])
def test_every_recipe_loads_and_says_what_it_is(name: str) -> None:
    recipe = load_recipe(name)
    assert recipe.name == name
    assert recipe.summary
    assert recipe.provenance or name != "lacrimal-2d"


def test_an_unknown_recipe_is_answered_with_the_nearest() -> None:
    with pytest.raises(ConfigError, match=r"unknown recipe 'unet-2'.*Did you mean 'unet-2d'"):
        load_recipe("unet-2")


STUDIES = sorted([*(ROOT / "studies").glob("*.yaml"), *(ROOT / "src/acinus/study").glob("*.yaml")])


@pytest.mark.parametrize("path", STUDIES, ids=lambda path: path.stem)
def test_every_study_loads_with_its_recipes(path: Path) -> None:
    study = read_study(path)
    for arm in study.arms.values():
        load_recipe(arm.recipe or study.recipe, merge(study.set, arm.set))
    for part, names in study.vary.items():
        for name in names:
            arm_recipe(study, next(iter(study.arms)), {part: name})
