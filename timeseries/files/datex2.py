"""Feeds of DATEX II 2.3 as the German access point has them: a ParkingTablePublication says which sites there are, a
ParkingStatusPublication how full they are.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree

from timeseries.errors import InvalidInputError
from timeseries.files.feed_file import read_feed
from timeseries.files.site import Site

EXPECTED = (
    "a feed of DATEX II is XML whose root is d2LogicalModel, with parkingRecord (a ParkingTablePublication) or"
    " parkingRecordStatus (a ParkingStatusPublication) in it"
)
CREATOR = "{*}payloadPublication/{*}publicationCreator/{*}nationalIdentifier"
VACANT = "{*}parkingOccupancy/{*}parkingNumberOfVacantSpaces"
SPACES = "{*}parkingOccupancy/{*}parkingNumberOfSpacesOverride"
DETAILS = {"lat": ".//{*}latitude", "lon": ".//{*}longitude", "type": "{*}urbanParkingSiteType"}
STATE = {"vacant": VACANT, "spaces": SPACES, "opening_status": "{*}parkingSiteOpeningStatus"}


def read_sites(path: Path, source: str | None = None) -> Iterator[Site]:
    """The records of a table or of statuses. An id is unique for the creator of a publication, or for `source`, which
    is then given for both.

    Raises InvalidInputError where it is no such feed, or says nowhere whose sites they are.
    """
    root = _xml(path)
    creator = source or root.findtext(CREATOR)
    if creator is None:
        raise InvalidInputError(f"{path} does not say whose sites they are; name the source (--source aachen)")
    records = [*root.findall(".//{*}parkingRecord"), *root.findall(".//{*}parkingRecordStatus")]
    if not records:
        raise InvalidInputError(f"{path} is another XML: {EXPECTED}")
    for number, record in enumerate(records, 1):
        yield (_status if record.tag.endswith("Status") else _described)(number, record, creator)


def _described(number: int, record: ElementTree.Element, creator: str) -> Site:
    uid = record.get("id")
    return Site(
        number, uid, key=("datex2", creator, uid), name=record.findtext("{*}parkingName/{*}values/{*}value"),
        capacity=record.findtext("{*}parkingNumberOfSpaces"),
        details={"datex2": {"source": creator, "id": uid} | _some(record, DETAILS)},
    )  # fmt: skip


def _status(number: int, record: ElementTree.Element, creator: str) -> Site:
    reference = record.find("{*}parkingRecordReference")
    uid = None if reference is None else reference.get("id")
    return Site(
        number, uid, key=("datex2", creator, uid), live=True, spaces=record.findtext(SPACES),
        free=record.findtext(VACANT), at=record.findtext("{*}parkingStatusOriginTime"), state=_some(record, STATE),
    )  # fmt: skip


def _some(record: ElementTree.Element, paths: dict[str, str]) -> dict[str, str]:
    found = {name: record.findtext(path) for name, path in paths.items()}
    return {name: text for name, text in found.items() if text}


def _xml(path: Path) -> ElementTree.Element:
    try:
        root = ElementTree.fromstring(read_feed(path))  # noqa: S314 - expat bounds what entities expand to, and loads none
    except ElementTree.ParseError as error:
        raise InvalidInputError(f"{path} is not XML ({error}); {EXPECTED}") from error
    if root.tag.rpartition("}")[2] != "d2LogicalModel":
        raise InvalidInputError(f"{path} is another XML: {EXPECTED}; its root is {root.tag.rpartition('}')[2]:.100}")
    return root
