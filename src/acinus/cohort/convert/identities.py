"""Who is who: pseudonyms, and the table that links them to the headers.

Enters: headers of an export and the table of an earlier conversion. Leaves:
participant and case ids. Ids made from a hash of the header's id were rejected:
whoever has a list of patients can undo them. Numbers follow a hash's order, so
that they tell nothing about ids.
"""

from __future__ import annotations

import csv
import hashlib
import io
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from acinus.errors import DataError
from acinus.files import whole_file
from acinus.scans import Series

COLUMNS = ("case_id", "participant_id", "patient_id", "study_uid", "series_uids")

OLDEST_YEARS = 90
"""Ages from here on are written as this one, as the Safe Harbor rule asks (45 CFR 164.514)."""


@dataclass
class Identities:
    """Pseudonyms of persons and their studies.

    Attributes:
        path: The table that links them to the headers; holds personal data.
        prefix: Begin of the pseudonyms.
        cases: Case to its row in the table.
    """

    path: Path
    prefix: str
    cases: dict[str, dict[str, str]] = field(default_factory=dict)

    @classmethod
    def read(cls, path: Path, prefix: str) -> Identities:
        """Those of an earlier conversion; none if there is no table yet.

        Raises:
            DataError: The file is no such table.
        """
        if path.is_dir():
            raise DataError(
                f"{path}: must be a file for the table of ids; found a folder. Give a file in it "
                f"(--ids {path / 'ids.tsv'})."
            )
        if not path.exists():
            return cls(path, prefix)
        try:
            with path.open(encoding="utf-8", newline="") as stream:
                table = csv.DictReader(stream, delimiter="\t")
                rows = list(table)
            if set(table.fieldnames or ()) != set(COLUMNS):  # it may have no rows to be wrong in
                raise ValueError("line 1 has other columns")
            for number, row in enumerate(rows, start=2):
                _require_row(row, number)
        except (OSError, ValueError, csv.Error) as error:
            raise DataError(
                f"{path}: must be the table of ids of an earlier conversion, with the columns "
                f"{', '.join(COLUMNS)} and no others; it is not ({error}). Give another file "
                "(--ids)."
            ) from None
        return cls(path, prefix, {row["case_id"]: row for row in rows})

    def assign(self, series: Iterable[Series]) -> dict[tuple[str, str], str]:
        """Person and study of each series to a case id; those known from before are kept."""
        dates = {study_of(one): one.tags.get("StudyDate", "") for one in series}
        known = {(row["patient_id"], row["study_uid"]): case for case, row in self.cases.items()}
        for person, study in sorted(dates, key=lambda key: (_shuffled(key[0]), dates[key], key[1])):
            if (person, study) not in known:
                participant = self._participant(person)
                case = f"{participant}_{self._next_study(participant)}"
                known[person, study] = case
                row = (case, participant, person, study, "")
                self.cases[case] = dict(zip(COLUMNS, row, strict=True))
        return known

    def write(self, series_uids: Mapping[str, Iterable[str]]) -> None:
        """Write the table, readable by its owner only.

        Args:
            series_uids: Case to the series that became its channels.
        """
        for case, uids in series_uids.items():
            self.cases[case]["series_uids"] = " ".join(uids)
        text = io.StringIO()
        writer = csv.DictWriter(text, COLUMNS, delimiter="\t", lineterminator="\n")
        writer.writeheader()
        writer.writerows(self.cases[case] for case in sorted(self.cases))
        with whole_file(self.path) as beside:
            beside.touch(mode=0o600)
            beside.write_text(text.getvalue(), encoding="utf-8", newline="\n")

    def _participant(self, person: str) -> str:
        for row in self.cases.values():
            if row["patient_id"] == person:
                return row["participant_id"]
        numbers = [
            int(row["participant_id"].removeprefix(self.prefix))
            for row in self.cases.values()
            if row["participant_id"].removeprefix(self.prefix).isdigit()
        ]
        return f"{self.prefix}{max(numbers, default=0) + 1:03d}"

    def _next_study(self, participant: str) -> int:
        own = [case for case, row in self.cases.items() if row["participant_id"] == participant]
        return max((int(case.rsplit("_", 1)[1]) for case in own), default=0) + 1


def study_of(series: Series) -> tuple[str, str]:
    """Person and study that a series belongs to.

    Without PatientID each study is a person, and without StudyInstanceUID too each series: two
    persons may lack both.
    """
    alone = f"study {series.study_uid}" if series.study_uid else f"series {series.uid}"
    return series.patient_id.strip() or alone, series.study_uid


def participant_of(case_id: str) -> str:
    """Pseudonym of the person that a case belongs to."""
    return case_id.rsplit("_", 1)[0]


def disagreements(
    series: Iterable[Series], case_of: Mapping[tuple[str, str], str]
) -> dict[str, str]:
    """Participants who may be two persons, or one person with another, and why.

    Args:
        series: All series of an export.
        case_of: Person and study to case id.
    """
    told: dict[str, dict[str, set[str]]] = defaultdict(lambda: defaultdict(set))
    of_series: dict[tuple[str, str], set[str]] = defaultdict(set)
    for one in series:
        participant = participant_of(case_of[study_of(one)])
        of_series[one.study_uid, one.uid].add(participant)
        for tag, word in (("PatientBirthDate", "birth date"), ("PatientSex", "sex")):
            if one.tags.get(tag, "").strip():
                told[participant][word].add(one.tags[tag].strip())
    doubts: dict[str, list[str]] = defaultdict(list)
    for participant, values in told.items():
        words = sorted(word for word, found in values.items() if len(found) > 1)
        if words:
            doubts[participant].append(
                f"headers under one id differ in {' and '.join(words)}: two persons?"
            )
    several = (found for found in of_series.values() if len(found) > 1)
    for participant in set().union(*several):
        doubts[participant].append("slices of one series lie under several ids: one person?")
    return {participant: "; ".join(texts) for participant, texts in doubts.items()}


def age_years(tags: Mapping[str, str]) -> float | None:
    """Age at the examination from PatientAge, or else from the birth date; None if unknown.

    Args:
        tags: Values by DICOM keyword, as text.
    """
    match = re.fullmatch(r"(\d{1,3})([DWMY])", tags.get("PatientAge", "").strip().upper())
    if match:
        years = int(match[1]) / {"D": 365.25, "W": 52.18, "M": 12, "Y": 1}[match[2]]
    else:
        born, seen = (tags.get(tag, "").strip() for tag in ("PatientBirthDate", "StudyDate"))
        if not (re.fullmatch(r"\d{8}", born) and re.fullmatch(r"\d{8}", seen)):
            return None
        years = int(seen[:4]) - int(born[:4]) - (seen[4:] < born[4:])
    if years < 0:
        return None
    age = min(OLDEST_YEARS, round(years, 1))
    return int(age) if age == int(age) else age


def sex_of(tags: Mapping[str, str]) -> str | None:
    """M or F; None if the header says neither."""
    sex = tags.get("PatientSex", "").strip().upper()[:1]
    return sex if sex in ("M", "F") else None


def _require_row(row: Mapping[str | None, str | None], number: int) -> None:
    """Refuse what a person or a table program has made of a row; a guess would mix up persons."""
    if set(row) != set(COLUMNS) or None in row.values():
        raise ValueError(f"line {number} has other columns")
    case, participant = str(row["case_id"]), str(row["participant_id"])
    if not row["patient_id"] or not re.fullmatch(rf"{re.escape(participant)}_\d+", case):
        raise ValueError(f"line {number} links case '{case}' to no participant or no patient")


def _shuffled(person: str) -> str:
    return hashlib.sha256(person.encode()).hexdigest()
