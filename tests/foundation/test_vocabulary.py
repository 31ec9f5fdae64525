"""Labels and words are checked by their names alone, and in the same way where they are encoded."""

import subprocess
import sys

import pytest

from longtake.vocabulary import LabelNames, check_words

NAMED = {"time": ("day", "night"), "wind": ("left", "right")}
CLASSES = ("day, left", "day, right", "night, left", "night, right")
WHOLE = LabelNames(classes=CLASSES, named=NAMED, reads_class=False)
PLAIN = LabelNames(classes=CLASSES, named={}, reads_class=True)
PART = LabelNames(classes=CLASSES, named={"time": NAMED["time"]}, reads_class=False)
NOTHING = LabelNames(classes=(), named={}, reads_class=False)


@pytest.mark.parametrize("names", [WHOLE, PLAIN])
@pytest.mark.parametrize("label", ["day, left", "left, night", "3", "none"])
def test_a_class_by_its_words_or_number_is_accepted(names: LabelNames, label: str):
    names.check(label)


def test_named_labels_are_given_alone_and_none_is_a_value():
    assert WHOLE.values_of("wind=right, time=none") == {"wind": 1, "time": None}
    WHOLE.check("wind=right")


@pytest.mark.parametrize(
    ("names", "label", "message"),
    [
        (PLAIN, "nigt, left", "is not a class of this model; did you mean 'night, left'"),
        (PLAIN, "storm, up", "no class has 'storm'; valid are day, left, right, night"),
        (PLAIN, "left", r"fits 2 classes of this model \(day, left; night, left\); add a word"),
        (PLAIN, "time=day", "has no label 'time'; give the name of a class"),
        (WHOLE, "left", "to set it alone give wind=left"),
        (WHOLE, "win=left", "has no label 'win'; did you mean 'wind'"),
        (WHOLE, "wind=lef", "'lef' is not a value of wind; did you mean 'left'"),
        (PART, "day, left", "have parts that this model's network does not read; give time=..."),
        (NOTHING, "day", "has no classes; give no label"),
        (NOTHING, "none", "has no classes; give no label"),
    ],
)
def test_another_label_is_refused_with_the_nearest(names: LabelNames, label: str, message: str):
    with pytest.raises(ValueError, match=message):
        names.check(label)


def test_words_are_those_of_the_captions_and_not_too_many():
    check_words("Calm sea!", {"calm", "sea"}, 2)
    check_words("any word", (), 2)
    with pytest.raises(ValueError, match="has the word 'see'; did you mean 'sea'"):
        check_words("calm see", {"calm", "sea"}, 2)
    with pytest.raises(ValueError, match="has 3 words, this encoder takes at most 2; shorten it"):
        check_words("a calm sea", (), 2)


def test_the_check_needs_no_torch():
    code = "import sys, longtake.vocabulary; sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
