import pytest

from chipdrift.chips import all_chips, find_chips, get_chip
from chipdrift.errors import UnknownNameError


@pytest.mark.parametrize(
    ("query", "soc"),
    [
        ("8 gen 3", "SM8650"),
        ("snapdragon 8 gen 3", "SM8650"),
        ("Snapdragon® 8 Gen 3", "SM8650"),
        ("8gen3", "SM8650"),
        ("sm8650", "SM8650"),
        (" SM8650 ", "SM8650"),
        ("SM8650-AC", "SM8650"),
        ("sm8650ac", "SM8650"),
        ("lanai", "SM8650"),
        ("iqoo 12", "SM8650"),
        ("kailua", "SM8550"),
        ("8s gen 3", "SM8635"),
        ("8 gen 1", "SM8450"),
        ("8+ gen 1", "SM8475"),
        ("8 plus gen 1", "SM8475"),
        ("8 elite", "SM8750"),
        ("8 elite for galaxy", "SM8750-AC"),
        ("8 elite gen 5", "SM8850"),
        ("SM8750-AC", "SM8750-AC"),
        ("x elite", "SC8380XP"),
        ("778", "SM7325"),
        ("exynos 2400", "s5e9945"),
        ("tensor g3", "Tensor_G3"),
        ("mt6989", "MT6989"),
    ],
)
def test_the_best_match_comes_first(query: str, soc: str) -> None:
    assert find_chips(query)[0].soc == soc


def test_8_gen_3_is_not_8s_gen_3() -> None:
    assert [chip.soc for chip in find_chips("8 gen 3")] == ["SM8650"]


def test_generation_finds_exactly_its_chips() -> None:
    found = {chip.soc for chip in find_chips("v73")}
    assert found == {chip.soc for chip in all_chips() if chip.hexagon == "v73"}
    assert {"SM8550", "SM7550"} <= found


def test_a_vendor_finds_its_chips() -> None:
    assert {chip.vendor for chip in find_chips("Google")} == {"Google"}


def test_every_chip_is_found_first_by_its_id_and_by_its_marketing_names() -> None:
    for chip in all_chips():
        assert find_chips(chip.soc)[0] == chip
        for name in chip.marketing_names:
            assert chip in find_chips(name)


def test_words_of_several_names_together() -> None:
    assert find_chips("SM8650 lanai v75")[0].soc == "SM8650"


@pytest.mark.parametrize("query", ["8 gen 9", "sm8651", "snapdragon 8 gen3s"])
def test_unknown_name_lists_near_names(query: str) -> None:
    with pytest.raises(UnknownNameError, match=r"Near names: .*SM8650 \(Snapdragon 8 Gen 3\)"):
        find_chips(query)


@pytest.mark.parametrize("query", ["", "  ", "qqqqqq", "®"])
def test_unknown_name_without_near_names(query: str) -> None:
    with pytest.raises(UnknownNameError, match=r"^Unknown chip .*'\. See chipdrift chips\.$"):
        find_chips(query)


def test_get_chip_takes_the_id_in_any_case() -> None:
    assert get_chip("sm8550") is get_chip("SM8550")
    assert get_chip("S5E9945").vendor == "Samsung"
    for chip in all_chips():
        assert get_chip(chip.soc.swapcase()) == chip


def test_get_chip_takes_no_other_name_but_says_whose_it_is() -> None:
    with pytest.raises(UnknownNameError) as caught:
        get_chip("8 gen 3")
    assert str(caught.value) == (
        "Unknown chip '8 gen 3'. Near names: SM8650 (Snapdragon 8 Gen 3). See chipdrift chips."
    )
    with pytest.raises(UnknownNameError, match="SM8550"):
        get_chip("SM8551")
