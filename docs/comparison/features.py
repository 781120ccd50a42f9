"""What features.toml says: libraries, rows and cells, and where a source lies."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
HERE = Path("docs/comparison")
OURS = "taut"
NOTHING = "–"


class Wrong(Exception):
    """What the file, or a source that it names, has wrong."""


@dataclass(frozen=True)
class Source:
    """A file or folder of a package, and words that stand in it, or nowhere below it; or an address."""

    package: str
    path: str
    words: str = ""
    absent: bool = False

    @classmethod
    def parse(cls, text: str) -> Source | None:
        if not text:
            return None
        if text.startswith("https://"):
            return cls("", text)
        place, separated, words = text.partition(": ")
        absent = bool(separated) and place.endswith("!")
        package, _, path = place.removesuffix("!").partition("/")
        if not path or (separated and not words):
            raise Wrong(f"no source: {text!r}")
        return cls(package, path, words, absent)

    def look(self, folder: Path) -> None:
        """Holds it against the package, which lies in the folder. Raises `Wrong`."""
        place = folder / self.path
        if not place.exists():
            raise Wrong(f"{self.package} has no {self.path}")
        if self.absent:
            files = [place] if place.is_file() else sorted(one for one in place.rglob("*") if one.is_file())
            for file in files:
                if self.words.lower() in file.read_text(encoding="utf-8", errors="replace").lower():
                    raise Wrong(f"{self.package}: {file.relative_to(folder)} has {self.words!r}")
        elif self.words and not stands_in(place, self.words):
            raise Wrong(f"{self.package}: {self.path} lacks {self.words!r}")


def stands_in(place: Path, words: str) -> bool:
    return place.is_file() and words in place.read_text(encoding="utf-8", errors="replace")


@dataclass(frozen=True)
class Cell:
    value: str
    note: str
    source: Source | None


@dataclass(frozen=True)
class Library:
    name: str
    packages: tuple[str, ...] = ()
    # Where its packages are pinned, and by which features they are counted.
    manifest: str = ""
    features: str = ""
    # Its server of the comparison, if that has another name.
    server: str = ""
    about: str = ""
    # For what is no package of cargo's.
    version: str = ""
    repository: str = ""
    commit: str = ""
    licence: str = ""

    def server_name(self) -> str:
        return self.server or self.name


@dataclass(frozen=True)
class Row:
    name: str
    group: str
    about: str
    cells: dict[str, Cell]
    # In what taut is behind, where the values of the cells do not say it.
    behind: str = ""


@dataclass(frozen=True)
class Failure:
    """Why a server fails cases of the Autobahn suite whose number begins so."""

    server: str
    cases: str
    why: str
    source: Source | None


@dataclass(frozen=True)
class Features:
    libraries: list[Library]
    rows: list[Row]
    hubs: list[str]
    hub_rows: list[Row]
    failures: list[Failure]

    @classmethod
    def read(cls, text: str) -> Features:
        content = tomllib.loads(text)
        libraries = [
            Library(**{key: tuple(value) if isinstance(value, list) else value for key, value in raw.items()})
            for raw in content["library"]
        ]
        hubs = [raw["name"] for raw in content.get("hub", [])]
        names = [one.name for one in libraries]
        return cls(
            libraries,
            [row(raw, names) for raw in content["row"]],
            hubs,
            [row(raw, hubs) for raw in content.get("hub_row", [])],
            [Failure(**{**raw, "source": Source.parse(raw["source"])}) for raw in content.get("failure", [])],
        )

    def sources(self) -> list[tuple[str, Source]]:
        """Each, with what names it."""
        failures = [(f"failure of {one.server}", one.source) for one in self.failures if one.source]
        return failures + [
            (f"{row.name}, {name}", cell.source)
            for row in [*self.rows, *self.hub_rows]
            for name, cell in row.cells.items()
            if cell.source
        ]


def row(raw: dict, names: list[str]) -> Row:
    name = raw.pop("name")
    group, about, behind = (raw.pop(key, "") for key in ("group", "about", "behind"))
    missing, unknown = set(names) - set(raw), set(raw) - set(names)
    if missing or unknown:
        wrong = [*(f"no cell for {one}" for one in sorted(missing)), *(f"nobody is {one}" for one in sorted(unknown))]
        raise Wrong(f"row {name!r}: {', '.join(wrong)}")
    cells = {}
    for column in names:
        if len(raw[column]) != 3:
            raise Wrong(f"row {name!r}, {column}: a cell has value, note and source")
        value, note, source = raw[column]
        cells[column] = Cell(value, note, Source.parse(source))
        if value != NOTHING and not source:
            raise Wrong(f"row {name!r}, {column}: no source")
    return Row(name, group, about, cells, behind)


def read() -> Features:
    return Features.read((ROOT / HERE / "features.toml").read_text(encoding="utf-8"))
