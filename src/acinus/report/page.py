"""The report as one self-contained HTML file, with its figures and tables beside it.

Enters: `ReportContent`. Leaves: ``report.html``, ``figures/*.png``, ``tables/*.csv``.
Scripts and plotting in the browser were rejected: the file must open from a mail
in ten years, and print.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

import pandas as pd
from PIL import Image

from acinus.evaluate.tables import BENCHMARK, MISSING_CHANNELS, READINGS
from acinus.files import write_text
from acinus.report.agreement import draw_agreement
from acinus.report.centres import OVERLAYS, SHIFT, draw_centre_overlays, draw_shift
from acinus.report.choose import all_scores
from acinus.report.content import FINAL_MODEL, ReportContent
from acinus.report.contours import draw_contours
from acinus.report.curves import draw_curves
from acinus.report.distributions import draw_spread, draw_variants
from acinus.report.figure import FigureView, Folders, TableView, write_table
from acinus.report.flow import draw_flow
from acinus.report.inside import INSIDE, draw_inside
from acinus.report.numbers import join_words, seconds_text
from acinus.report.overlays import draw_overlays
from acinus.report.pipeline import draw_pipeline
from acinus.report.profiles import CONFUSION, PROFILES, draw_confusion, draw_profiles
from acinus.report.saliency import draw_saliency
from acinus.report.sampling import draw_sampling
from acinus.report.sequences import SEQUENCES, draw_sequences, sequence_words
from acinus.report.summary import NOT_CLINICAL, SYNTHETIC, summarise_in_words
from acinus.report.tables import (
    Numbers,
    compute_numbers,
    glance_table,
    make_tables,
    write_raw_tables,
)
from acinus.report.unlabelled import UNLABELLED, UNVERIFIED, draw_unlabelled
from acinus.report.volumetry import BOUNDS, VOLUMES, draw_bounds, draw_volumes

REPORT_NAME = "report.html"


@dataclass(frozen=True)
class Section:
    """A part of the page: a heading and what stands under it, in order."""

    anchor: str
    title: str
    intro: str
    items: tuple[FigureView | TableView, ...]
    points: tuple[str, ...] = ()


def write_report(content: ReportContent, out: Path | str) -> Path:
    """Write the report of a run or study.

    Args:
        content: What it is made from.
        out: Folder for ``report.html``, ``figures/`` and ``tables/``; made if absent.

    Returns:
        Path of ``report.html``.

    Raises:
        DataError: The disk is full or the folder cannot be written.
    """
    folders = Folders(Path(out))
    numbers = compute_numbers(content)
    figures = _figures(content, numbers, folders)
    tables = make_tables(content, numbers, folders)
    glance = glance_table(content, numbers, folders)
    summary = summarise_in_words(content, numbers)
    _write_notes(content, summary, folders)
    raw = write_raw_tables(content, folders)
    page = _render(content, summary, glance, _sections(content, figures, tables), raw)
    path = folders.out / REPORT_NAME
    write_text(path, page)
    _remove_earlier(figures.values(), tables, folders)
    return path


def _remove_earlier(
    figures: Iterable[FigureView], tables: Iterable[TableView], folders: Folders
) -> None:
    """Delete numbered figures and tables that an earlier report left and this one has not."""
    shown = {name for view in tables for name in (view.csv, f"{Path(view.csv).stem}-as-shown.csv")}
    for figure in figures:
        shown |= {*figure.csv, *(path.name for path in figure.paths)}
    for folder in (folders.figures, folders.tables):
        for kind in ("table", "figure"):
            for path in folder.glob(f"{kind}-[0-9]*"):
                if path.name not in shown:
                    path.unlink()


def _figures(content: ReportContent, numbers: Numbers, folders: Folders) -> dict[int, FigureView]:
    made = [
        draw_contours(content, folders),
        draw_sampling(content, folders),
        draw_flow(content, folders),
        draw_pipeline(content, folders),
        draw_agreement(content, folders, numbers.agreement),
        draw_overlays(content, folders),
        draw_saliency(content, folders),
        draw_curves(content, folders),
        draw_spread(content, folders),
        draw_variants(content, folders, numbers.variants),
        draw_inside(content, folders),
        draw_unlabelled(content, folders),
        draw_profiles(content, folders),
        draw_confusion(content, folders),
    ]
    if content.has_centres:
        made += [
            draw_centre_overlays(content, folders),
            draw_volumes(content, folders),
            draw_shift(content, folders),
            draw_bounds(content, folders),
        ]
    if content.sequences is not None:
        made.append(draw_sequences(content, folders))
    places = (content.published or {}).get("places", {})
    return {figure.number: figure.placed(places) for figure in made}


def _write_notes(content: ReportContent, summary: Sequence[str], folders: Folders) -> None:
    """The sentences of the page as CSV, since they hold numbers too."""
    rows = [("summary", text) for text in summary]
    rows += [("note", f"{arm.name}: {text}") for arm in content.arms for text in arm.notes]
    rows += [("caveat", f"{arm.name}: {text}") for arm in content.arms for text in arm.caveats]
    rows += [("departure", text) for text in content.departures]
    rows += [("failure", text) for text in content.failures]
    write_table(pd.DataFrame(rows, columns=["kind", "text"]), folders.tables / "notes.csv")


def _sections(
    content: ReportContent, figures: dict[int, FigureView], tables: Sequence[TableView]
) -> list[Section]:
    def of(*keys: str) -> tuple[TableView, ...]:
        return tuple(table for key in keys for table in tables if table.key == key)

    notes = _of_arms({arm.name: arm.notes for arm in content.arms})
    caveats = _of_arms({arm.name: arm.caveats for arm in content.arms})
    inside = Section(
        "inside",
        "What lies inside the labels",
        "",
        (
            *of("grid", "holdout"),
            figures[INSIDE],
            figures[PROFILES],
            *of("inside"),
            *([] if figures[CONFUSION].absent else [figures[CONFUSION]]),
            *of("confusion", "anomalies"),
        ),
    )
    unlabelled = Section(
        "unlabelled",
        "Scans without a reference",
        UNVERIFIED,
        (figures[UNLABELLED], *of("unlabelled", "series_agreement")),
    )
    sections = [
        Section("data", "What was done, on what", _numbering(content),
                (figures[4], figures[3], *of("characteristics"), figures[1])),
        Section("training", "How it was trained", "",
                (figures[2], *of("trainings"), figures[8]), notes),
        Section("results", "Results on the hold-out",
                _how_judged(content)
                + (" They are the external centres." if content.has_centres else ""),
                (*of("evaluation", "sides", "localisation"), figures[9], figures[5],
                 *of("agreement", "comparison"), figures[6]), caveats),
        *_protocols(content, figures, of),
        Section("variants", "What was varied", "",
                (*of("mirroring", "variants"), *([] if figures[10].absent else [figures[10]])),
                tuple(content.variant_caveats)),
        *([] if content.values.empty else [inside]),
        *([unlabelled] if any(arm.unlabelled for arm in content.arms) else []),
        Section("saliency", "Where the network looked", "", (figures[7],)),
        Section("failures", "What failed, and why", "", of("worst", "warnings"),
                _failures(content)),
    ]  # fmt: skip
    if content.departures or content.published:
        sections.append(
            Section("paper", "Beside the published study", "", of("published"),
                    tuple(content.departures))
        )  # fmt: skip
    if content.kind == "run" and not content.variants:
        sections = [section for section in sections if section.anchor != "variants"]
    sections += [
        Section("details", "Further numbers", "", of("validation", "shapiro")),
        Section("plan", "Decisions of the plan", "", of("decisions", "recipe")),
        Section("repeat", "How to repeat it", "", of("split", "provenance")),
    ]
    return sections


def _protocols(
    content: ReportContent,
    figures: dict[int, FigureView],
    of: Callable[..., tuple[TableView, ...]],
) -> list[Section]:
    """Sets of sequences, centres, observers and benchmark: only what the study has."""
    parts = set(all_scores(content)["part"])
    sections = []
    if content.sequences is not None:
        sections.append(
            Section("sequences", "Which sequences are needed", " ".join(sequence_words(content)),
                    (figures[SEQUENCES], *of("sequences", "factors")))
        )  # fmt: skip
    if content.has_centres:
        sections.append(
            Section("centres", "Internal and external centres",
                    "How much is lost on scans from places that the model had not learned from.",
                    (*of("centres", "drop"), figures[SHIFT], figures[OVERLAYS]))
        )  # fmt: skip
        sections.append(
            Section("volumetry", "Volumes", "",
                    (figures[VOLUMES], *of("volumetry"), figures[BOUNDS], *of("bounds")))
        )  # fmt: skip
    if MISSING_CHANNELS in parts:
        sections.append(
            Section("missing", "Missing channels",
                    "How much is lost on scans that lack channels which the model was trained to "
                    "do without.", of("missing"))
        )  # fmt: skip
    if READINGS in parts or content.readings_margin is not None:
        sections.append(
            Section("readings", "Observers", "", of("human", "readings", "noninferiority"))
        )
    if BENCHMARK in parts or len(content.costs):
        sections.append(
            Section("benchmark", "Networks compared, and what they cost",
                    "On a split of its own, over the cases of all centres together.",
                    of("networks", "cost"))
        )  # fmt: skip
    return sections


def _of_arms(sentences: Mapping[str, Sequence[str]]) -> tuple[str, ...]:
    """Sentences by arm as one list: what holds for all once, the others with their arms."""
    owners: dict[str, list[str]] = {}
    for arm, some in sentences.items():
        for sentence in some:
            owners.setdefault(sentence, []).append(arm)
    return tuple(
        sentence if len(arms) == len(sentences) else f"{join_words(arms)}: {sentence}"
        for sentence, arms in owners.items()
    )


def _numbering(content: ReportContent) -> str:
    if content.published and content.published.get("places"):
        return (
            "Figures keep their numbers from report to report; behind the title of each figure or "
            "table that has one stands its place in the published study."
        )
    if content.published:
        return (
            "Figures 1 to 7 and the first tables are numbered as in the published study, so that "
            "both can be laid side by side."
        )
    return "Figures keep their numbers from report to report, whatever the order on the page."


def _how_judged(content: ReportContent) -> str:
    """What the hold-out was used for."""
    if set(content.scores.get("model", ())) <= {FINAL_MODEL}:
        return "Nothing was chosen on these cases; each was predicted and scored once."
    return (
        "Nothing of the main models was chosen on these cases. What was varied was scored on them "
        "as well, for comparison: whoever takes the best of that has chosen on the hold-out."
    )


def _failures(content: ReportContent) -> tuple[str, ...]:
    """What failed, a sentence each: as reported by the run, then cases that could not be judged."""
    scores = all_scores(content)
    failed = scores[scores["status"] == "failed"].drop_duplicates(["case", "arm", "model"])
    words = [
        f"{row['case']} ({row['arm']}, {row['part']}): could not be judged; {row['reason']}"
        for row in failed.to_dict("records")
        if not any(str(row["case"]) in sentence for sentence in content.failures)
    ]
    return (*content.failures, *words) or ("No case and no stage failed.",)


def _render(
    content: ReportContent,
    summary: Sequence[str],
    glance: TableView,
    sections: Sequence[Section],
    raw: Sequence[str],
) -> str:
    from jinja2 import Environment, StrictUndefined

    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters["picture"] = _picture
    source = resources.files("acinus.report").joinpath("template.html").read_text("utf-8")
    facts = content.provenance
    return environment.from_string(source).render(
        content=content,
        summary=summary,
        glance=glance,
        sections=sections,
        raw=raw,
        synthetic_note=SYNTHETIC,
        not_clinical=NOT_CLINICAL,
        command=str(facts.get("command", "")),
        started=str(facts.get("started", ""))[:16].replace("T", " "),
        took=seconds_text(facts.get("seconds")),
        version=str(dict(facts.get("versions") or {}).get("acinus", "")),
        is_figure=lambda item: isinstance(item, FigureView),
    )


def _picture(path: Path) -> dict[str, Any]:
    """A PNG as data URI with its size in pixels."""
    with Image.open(path) as picture:
        width, height = picture.size
    encoded = base64.b64encode(path.read_bytes()).decode("ascii")
    return {"uri": f"data:image/png;base64,{encoded}", "width": width, "height": height}
