"""What headers say about a person is taken out of texts, however it is spelt; the rest stays."""

from __future__ import annotations

import unicodedata
from pathlib import Path
from types import SimpleNamespace

import pytest

from acinus.cohort.convert.censor import Censor


def censor(**tags: str) -> Censor:
    return of_slices({}, tags)


def of_slices(*headers: dict[str, str]) -> Censor:
    slices = tuple(SimpleNamespace(tags=tags) for tags in headers)
    series = SimpleNamespace(slices=slices)
    return Censor(SimpleNamespace(series=(series,), segmentations=(), skipped=()), Path("/export"))


@pytest.mark.parametrize(
    ("name", "text", "left"),
    [
        ("Yamada^Tarou=山田^太郎=やまだ^たろう", "山田太郎様 頭部CT", "***様 頭部CT"),
        ("Lin^Jun=林^俊", "林 頭部 林様", "*** 頭部 ***様"),
        ("Wang^XiaoDong=王^小东", "王小东 头部CT", "*** 头部CT"),
        ("Hong^Gildong=洪^吉洞=홍^길동", "홍길동 두경부", "*** 두경부"),
        ("Doe^John", "DOEJOHN neck JDOE Doe2 john_doe", "*** neck *** ***2 ***_***"),
        ("Müller^Hans", "MuellerHans HWS Muller", "*** HWS ***"),
        ("MUELLER^HANS", "Müller, Hans HNO", "***, *** HNO"),
        ("Müller^Hans", unicodedata.normalize("NFD", "Müller HNO"), "*** HNO"),
        ("Núñez^José", "NUNEZ JOSE orbit", "*** *** orbit"),
        ("Li^Wu", "Lin line LiWu, lips", "Lin line ***, lips"),
        ("Iванов^Пётр", "ИВАНОВ", "ИВАНОВ"),  # another letter at its begin: another name
        ("Иванов^Пётр", "ИВАНОВА ПЁТР кт", "***А *** кт"),
    ],
)
def test_names_are_hidden_however_they_are_written(name: str, text: str, left: str) -> None:
    assert censor(PatientName=name)(text) == left


@pytest.mark.parametrize(
    "text",
    [
        "17041950", "04171950", "17.04.50", "17/4/50", "500417", "1950年4月17日",
        "April 17th 1950", "17th of April", "17. Apr. 1950", "1950-04-17",
    ],
)  # fmt: skip
def test_dates_are_hidden_however_they_are_written(text: str) -> None:
    hidden = censor(PatientBirthDate="19500417")(f"born {text} CT")
    assert hidden == ("born 17th of April CT" if " of " in text else "born *** CT")


def test_ids_are_hidden_and_numbers_that_tell_of_nobody_stay() -> None:
    hide = censor(
        PatientID="77", AccessionNumber="A123", StudyID="1", OtherPatientIDsSequence="ALTID998877"
    )
    assert hide("77 A123 xALTID998877x part 1 of 3, 177 mm") == "*** *** x***x part 1 of 3, 177 mm"


def test_what_one_slice_alone_says_is_hidden() -> None:
    hide = of_slices(
        {"PatientName": ""}, {"PatientName": "Zimmermann^Eva"}, {"PatientID": "X998877"}
    )
    assert hide("AX Zimmermann X998877") == "AX *** ***"


def test_uids_are_hidden_and_versions_are_not() -> None:
    hide = censor()
    assert hide("CT.1.2.826.0.1.3680043.8.498.25339.dcm") == "CT.***.dcm"
    assert hide("version 1.2.3, 0.5 mm, 10.20.30.40") == "version 1.2.3, 0.5 mm, 10.20.30.40"
