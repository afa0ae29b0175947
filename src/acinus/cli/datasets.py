"""``acinus datasets``: public datasets, what they hold and how to get them."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated

from cyclopts import App, Parameter

import acinus
from acinus.cli.outcome import SOME_FAILED
from acinus.cli.tables import print_table
from acinus.progress import plural

datasets = App(
    name="datasets",
    default_parameter=Parameter(negative=()),
    sort_key=2,
)

Catalogue = Annotated[
    Path | None,
    Parameter(help="Another catalogue in YAML.", env_var="ACINUS_CATALOGUE", show_default=False),
]


@datasets.default
def list_datasets(
    *,
    as_json: Annotated[bool, Parameter(name="--json", help="Print all facts as JSON.")] = False,
    catalogue: Catalogue = None,
) -> int:
    """List public datasets of glands, the pancreas and neighbours; show one; get one.

    ```console
    acinus datasets
    acinus datasets show pansegdata-t2
    acinus datasets get msd-hippocampus --out downloads --convert Dataset004_Hippocampus
    ```
    """
    entries = acinus.read_catalogue(catalogue)
    if as_json:
        data = {name: one.model_dump(mode="json") for name, one in entries.items()}
        sys.stdout.write(json.dumps(data, indent=1, ensure_ascii=False) + "\n")
        return 0
    columns = (
        "name", "what it is", "modality", "labelled", "size", "licence", "importer", "how to get it"
    )  # fmt: skip
    rows = [
        (
            name,
            one.title,
            one.modality,
            str(one.n_labelled or "?"),
            f"{one.size_bytes / 1e9:.2f} GB" if one.size_bytes else "?",
            one.licence or "see its address",
            one.importer or "–",
            "by hand" if not one.files else "partly by hand" if one.by_hand else "get",
        )
        for name, one in entries.items()
    ]
    print_table(columns, rows)
    return 0


@datasets.command
def show(
    name: Annotated[str, Parameter(help="Of the list.")],
    /,
    *,
    catalogue: Catalogue = None,
) -> int:
    """Show what is known of a public dataset; what is not known is not shown.

    ```console
    acinus datasets show abdomenct-1k
    ```
    """
    entries = acinus.read_catalogue(catalogue)
    one = acinus.dataset_entry(entries, name)
    size = one.size_bytes
    shared = [
        f"{other} ({entries[other].title})" if other in entries else other
        for other in one.shares_patients_with
    ]
    facts = {
        "title": one.title,
        "about": one.about,
        "structures": ", ".join(one.structures),
        "modality": one.modality,
        "cases": one.n_cases,
        "labelled": one.n_labelled,
        "licence": one.licence,
        "citation": one.citation,
        "address": one.address,
        "size": f"{size / 1e9:.2f} GB" if size else None,
        "files": ", ".join(file.name for file in one.files),
        "by hand": one.by_hand,
        "shares patients with": ", ".join(shared),
        "import": one.import_command(),
        "facts from": ", ".join(one.facts_from),
    }
    for key, value in facts.items():
        if value:
            sys.stdout.write(f"{key}: {value}\n")
    return 0


@datasets.command
def get(
    name: Annotated[str, Parameter(help="Of the list.")],
    /,
    *,
    out: Annotated[Path, Parameter(help="Folder in which it gets one for its files.")],
    convert: Annotated[
        Path | None,
        Parameter(help="Dataset to write in our layout; new or empty.", show_default=False),
    ] = None,
    labels: Annotated[
        tuple[str, ...],
        Parameter(
            help="Structures to keep in it. Default: all.",
            consume_multiple=True,
            show_default=False,
        ),
    ] = (),
    catalogue: Catalogue = None,
) -> int:
    """Download a public dataset, check it, and turn it into our layout on request.

    An interrupted download goes on when the same command is started again. A dataset that needs a
    registration is not downloaded: the address and the command to run afterwards are shown.

    ```console
    acinus datasets get pansegdata-t2 --out downloads --convert Dataset025_PancreasT2
    ```
    """
    got = acinus.get_dataset(name, out, convert=convert, labels=labels, catalogue=catalogue)
    n_files = len(got.files)
    sys.stdout.write(f"{n_files} {plural('file', n_files)} in {got.folder}\n")
    if got.left_to_do:
        sys.stdout.write(f"Left to do: {got.left_to_do}\n")
    if got.imported is None:
        return SOME_FAILED if got.left_to_do and convert else 0
    for remark in got.imported.remarks:
        sys.stderr.write(f"{remark}\n")
    for case, reason in got.imported.failed.items():
        sys.stderr.write(f"failed: case '{case}': {reason}\n")
    n_cases = got.imported.n_cases
    sys.stdout.write(f"{n_cases} {plural('case', n_cases)}: {got.imported.folder}\n")
    return SOME_FAILED if got.imported.failed else 0
