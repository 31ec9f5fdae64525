"""Configs go to YAML and back, and what does not fit is named with its place and its remedy."""

from pathlib import Path
from typing import Annotated, Any, Literal

import pytest
from annotated_types import Ge
from pydantic import Field, TypeAdapter, model_validator

from longtake import config
from longtake.config import (
    Config,
    ConfigError,
    digest,
    load,
    nearest,
    override,
    parse,
    plural,
    read,
    to_dict,
    to_yaml,
)


class Wheel(Config):
    kind: Literal["wheel"] = "wheel"
    radius: float = 1.0
    spokes: Annotated[int, Ge(3)] = 20


class Track(Config):
    kind: Literal["track"] = "track"
    links: int = 40

    @model_validator(mode="after")
    def _even(self) -> "Track":
        if self.links % 2:
            raise ValueError(f"links={self.links} must be even")
        return self


class Axle(Config):
    runner: Annotated[Wheel | Track, Field(discriminator="kind")] = Wheel()
    count: int = 2


class Cart(Config):
    kind: Literal["cart"] = "cart"
    axles: tuple[Axle, ...] = (Axle(),)
    front: Axle = Axle()
    name: str


CART = Cart(name="barrow", front=Axle(runner=Track(links=8)), axles=(Axle(), Axle(count=1)))


def changed(*overrides: str) -> Cart:
    return parse(Cart, override(Cart, to_dict(CART), overrides))


def complaint(data: object) -> str:
    with pytest.raises(ConfigError) as caught:
        parse(Cart, data)
    return str(caught.value)


@pytest.mark.parametrize(
    ("count", "noun", "text"),
    [(1, "video", "1 video"), (0, "video", "0 videos"), (2, "class", "2 classes")],
)
def test_a_noun_follows_its_number(count: int, noun: str, text: str):
    assert plural(count, noun) == text


def test_a_config_goes_to_yaml_and_comes_back_equal(tmp_path: Path):
    (tmp_path / "cart.yaml").write_text(to_yaml(CART))
    assert load(tmp_path / "cart.yaml", Cart) == CART


def test_equal_configs_have_equal_digests_and_others_do_not():
    assert digest(CART) == digest(parse(Cart, to_dict(CART)))
    assert digest(CART) != digest(changed("name=tumbril"))


def test_an_override_changes_one_value_and_leaves_the_data_it_was_given():
    data = to_dict(CART)
    assert override(Cart, data, ["front.count=7"])["front"]["count"] == 7
    assert data == to_dict(CART)


def test_an_override_of_a_kind_drops_the_fields_of_the_old_one():
    assert changed("front.runner.kind=wheel").front.runner == Wheel()


def test_fields_of_a_new_kind_may_be_named_before_it():
    cart = changed("front.runner.spokes=5", "front.runner.kind=wheel")
    assert cart.front.runner == Wheel(spokes=5)


def test_a_value_of_an_override_is_yaml():
    assert changed("front.runner={kind: wheel, radius: 2}").front.runner == Wheel(radius=2)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["front.count"], "override 'front.count' must have the form a.b=value"),
        (["=3"], "override '=3' must have the form a.b=value"),
        (["name.first=3"], "override of name.first: name is not a mapping"),
        (
            ["name=@x"],
            "override 'name=@x': not valid YAML (line 1, column 1: while scanning for the next "
            "token, found character '@' that cannot start any token); put text in quotes, as in "
            """'name="..."'""",
        ),
        (
            ["front.count=99999999999999999999"],
            "override 'front.count=99999999999999999999': an integer has more than 64 "
            "bits; give a smaller one",
        ),
    ],
)
def test_an_override_that_cannot_be_made_says_why(overrides: list[str], message: str):
    with pytest.raises(ConfigError) as caught:
        changed(*overrides)
    assert str(caught.value) == message


def test_an_unknown_field_is_named_with_the_nearest_one():
    assert complaint({"name": "x", "front": {"coumt": 1}}) == (
        "front.coumt: there is no field 'coumt'; did you mean 'count'?"
    )


def test_an_unknown_field_inside_a_union_is_compared_with_fields_of_its_kind():
    message = complaint({"name": "x", "front": {"runner": {"kind": "wheel", "radios": 1}}})
    assert message.endswith("there is no field 'radios'; did you mean 'radius'?")


def test_a_field_of_another_kind_is_answered_with_that_kind():
    message = complaint({"name": "x", "front": {"runner": {"kind": "wheel", "links": 2}}})
    assert message == (
        "front.runner.links: there is no field 'links' in the kind 'wheel'; "
        "set front.runner.kind=track, which has it"
    )


def test_an_unknown_field_inside_a_list_is_compared_with_fields_of_its_items():
    message = complaint({"name": "x", "axles": [{"cuont": 1}]})
    assert message == "axles.0.cuont: there is no field 'cuont'; did you mean 'count'?"


def test_a_field_like_no_other_is_answered_with_all_of_them():
    assert complaint({"name": "x", "zzz": 1}).endswith("valid are axles, front, kind, name")


def test_an_unknown_kind_is_named_with_the_nearest_one():
    message = complaint({"name": "x", "front": {"runner": {"kind": "weel"}}})
    assert message == "front.runner: there is no kind 'weel'; did you mean 'wheel'?"


def test_a_lacking_kind_is_answered_with_those_there_are():
    message = complaint({"name": "x", "front": {"runner": {"radius": 1}}})
    assert message == "front.runner.kind: is missing; valid are wheel, track"


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({}, "name: is missing"),
        ({"name": "x", "front": {"runner": {"kind": "track", "links": 3}}}, "links=3 must be even"),
        ({"name": "x", "front": {"count": "two"}}, "front.count: input should be a valid integer"),
        ({"name": "x", "kind": "boat"}, "kind: input should be 'cart', got 'boat'"),
    ],
)
def test_an_unfit_value_is_named_with_its_place(data: object, message: str):
    assert message in complaint(data)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: [1", "not valid YAML"),
        ("- 1", "expected a mapping, got list"),
        ("", "name: is missing"),
    ],
)
def test_a_file_that_is_not_a_config_is_refused_in_one_line(
    text: str, message: str, tmp_path: Path
):
    path = tmp_path / "cart.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=message) as caught:
        load(path, Cart)
    assert "\n" not in str(caught.value)


def test_data_read_from_a_file_is_the_callers_own(tmp_path: Path):
    path = tmp_path / "cart.yaml"
    path.write_text("nested: {values: [1, 2]}\n")
    read(path)["nested"]["values"].append(3)
    assert read(path) == {"nested": {"values": [1, 2]}}
    path.write_text("nested: {}\n")
    assert read(path) == {"nested": {}}


def test_a_missing_file_is_named(tmp_path: Path):
    with pytest.raises(ConfigError, match=r"cart\.yaml: cannot be read \(No such file"):
        load(tmp_path / "cart.yaml", Cart)


def test_what_is_not_near_is_answered_with_all_options():
    assert nearest("weels", ["wheels", "tracks"]) == "did you mean 'wheels'?"
    assert nearest("q", ["wheels", "tracks"]) == "valid are wheels, tracks"


def test_advice_names_longer_options_first_and_keeps_commas_apart():
    assert nearest("lvdm_laptop", ["pvdm_laptop", "lvdm_laptop_a", "lvdm_laptop_b"]) == (
        "did you mean 'lvdm_laptop_a' or 'lvdm_laptop_b'?"
    )
    assert nearest("storm", ["calm", "wind, left"]) == "valid are calm; wind, left"


def test_a_field_of_another_kind_is_answered_with_the_kind():
    with pytest.raises(ConfigError, match="no field 'teeth' in the kind 'wheel'; valid are"):
        parse(Axle, {"runner": {"kind": "wheel", "teeth": 3}})


class Mixed(Config):
    turns: Annotated[int, Ge(1)] | Literal["auto", "none"] = "auto"
    braked: bool | Literal["later"] = False
    part: Annotated[int, Ge(0)] | Track = 0
    two: tuple[Annotated[int, Ge(1)], int] | int = 3


@pytest.mark.parametrize(
    ("data", "said"),
    [
        ({"turns": 0}, "turns: expected a number of at least 1, 'auto' or 'none', got 0"),
        ({"turns": "all"}, "turns: expected a whole number, 'auto' or 'none', got 'all'"),
        ({"braked": "soon"}, "braked: expected true, false or 'later', got 'soon'"),
        ({"part": -1}, "part: expected a number of at least 0 or settings by name, got -1"),
        ({"part": {"links": 3}}, "part: links=3 must be even"),
        ({"part": {"lynx": 3}}, "part.lynx: there is no field 'lynx' in the kind 'track'; valid"),
        ({"part": {"links": "x"}, "turns": 2}, "part.links: input should be a valid integer, "),
        ({"two": [0, 1]}, "two.0: input should be greater than or equal to 1, got 0"),
    ],
)
def test_a_value_of_several_types_is_answered_once(data: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError) as error:
        parse(Mixed, data)
    assert str(error.value).startswith(said)
    assert ";" not in str(error.value).replace("; valid", "")


def test_the_schema_of_a_kind_is_built_once(monkeypatch: pytest.MonkeyPatch):
    class Bell(Config):
        kind: Literal["bell"] = "bell"

    built: list[Any] = []

    def noted(kind: Any) -> TypeAdapter[Any]:
        built.append(kind)
        return TypeAdapter(kind)

    monkeypatch.setattr(config, "TypeAdapter", noted)
    either = Annotated[Bell | Wheel, Field(discriminator="kind")]
    for kind in ("bell", "wheel", "bell"):
        parse(either, {"kind": kind})
        parse(list[Bell], [{}])
    assert built == [either, list[Bell]]
