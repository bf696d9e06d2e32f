"""A control plane: cameras are listed, edited by several people at once, and shown live as they change and count.

    uvicorn --app-dir examples/control_plane control_plane:app

It connects by TIMESERIES_DATABASE_URL, as a role of the kind `control`: that may edit cameras and ask for averages and
states, and reads neither raw rows nor connection strings. `demo.py` beside it is the same with sample data. It asks
nobody for a password. A proxy before it must; what the proxy says in X-Forwarded-User is who changed a camera.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Annotated, Any, Literal

from fastapi import Depends, FastAPI, Header, Request
from fastapi.encoders import jsonable_encoder
from fastapi.exceptions import RequestValidationError
from fastapi.responses import FileResponse, JSONResponse
from fastapi.sse import EventSourceResponse, ServerSentEvent
from pydantic import BaseModel, ConfigDict

from analytics import aio
from timeseries import (
    AsyncStore,
    Camera,
    CameraChangedError,
    CameraExistsError,
    InvalidInputError,
    NotAllowedError,
    TimeseriesError,
    UnknownCameraError,
)

PAGE = Path(__file__).with_name("page.html")
LOOK_EVERY = 2.0  # seconds between two looks at the newest counts, which nothing notifies of
SHOWN = (
    "id",
    "name",
    "capacity",
    "timezone",
    "desired_state",
    "revision",
    "changed_at",
    "changed_by",
    "opening_hours",
)
NEWEST = ["camera_id", "occupied_count", "counted_at", "status", "status_at"]
STATUS_CODES = {
    CameraChangedError: 409,
    CameraExistsError: 409,
    UnknownCameraError: 404,
    InvalidInputError: 422,
    NotAllowedError: 403,
}  # all others mean that the database is away or busy: 503


@asynccontextmanager
async def connected(app: FastAPI) -> AsyncIterator[None]:
    async with await AsyncStore.open() as app.state.store:
        yield


app = FastAPI(title="Cameras", lifespan=connected)


def the_store(request: Request) -> AsyncStore:
    store: AsyncStore = request.app.state.store
    return store


StoreOfApp = Annotated[AsyncStore, Depends(the_store)]
User = Annotated[str | None, Header(alias="X-Forwarded-User")]


class Edit(BaseModel):
    """What is to be changed of the camera as it was at a revision; what is left out stays."""

    model_config = ConfigDict(extra="forbid")

    revision: int
    name: str | None = None
    capacity: int | None = None
    timezone: str | None = None
    desired_state: Literal["running", "stopped", "maintenance"] | None = None
    opening_hours: dict[str, tuple[str, str]] | None = None


def shown(camera: Camera) -> dict[str, Any]:
    """What a browser may see of a camera."""
    return {name: getattr(camera, name) for name in SHOWN}


@app.get("/", include_in_schema=False)
async def page() -> FileResponse:
    policy = "default-src 'none'; connect-src 'self'; script-src 'unsafe-inline'; style-src 'unsafe-inline'"
    return FileResponse(PAGE, headers={"Content-Security-Policy": policy})


@app.get("/cameras")
async def list_cameras(store: StoreOfApp) -> list[dict[str, Any]]:
    return [shown(camera) for camera in await store.cameras.list()]


@app.patch("/cameras/{camera_id}")
async def edit_camera(camera_id: str, edit: Edit, store: StoreOfApp, user: User = None) -> dict[str, Any]:
    """The camera with its new revision. 409 where it was changed since the one that was edited, with both versions."""
    changes = edit.model_dump(exclude={"revision"}, exclude_unset=True)
    return shown(await store.cameras.update(camera_id, if_revision=edit.revision, by=user, **changes))


@app.get("/live", response_class=EventSourceResponse)
async def live(store: StoreOfApp) -> AsyncIterator[ServerSentEvent]:
    """Events `camera`: each camera as it is now, then each change. `newest`: the counts and states that are new.

    `database`: whether it can be reached; nothing is missed while it cannot. A watch holds a connection of its own, and
    ends when the browser leaves.
    """
    sent: dict[str, Any] = {}
    due = asyncio.get_running_loop().time() + LOOK_EVERY / 4
    async with store.cameras.watch() as watch:
        while True:
            try:
                async with asyncio.timeout_at(due):
                    change = await anext(watch)
                data = {"kind": change.kind, "id": change.camera_id, "camera": change.new and shown(change.new)}
                yield ServerSentEvent(event="camera", data=data | {"changed": change.changed})
            except TimeoutError:
                new, problem = await newest(sent)
                yield ServerSentEvent(event="newest", data=new)
                problem = problem or (str(watch.last_error) if watch.last_error else None)
                yield ServerSentEvent(event="database", data={"problem": problem})
                due = asyncio.get_running_loop().time() + LOOK_EVERY


async def newest(sent: dict[str, Any]) -> tuple[list[dict[Any, Any]], str | None]:
    """The counts and states that are not `sent` yet, to which they are added; or why they cannot be had."""
    try:
        frame = await aio.latest()
    except TimeseriesError as error:
        return [], str(error)
    rows = frame[NEWEST].astype(object).where(frame[NEWEST].notna(), None).to_dict("records")
    new = [row for row in rows if sent.get(row["camera_id"]) != row]
    sent |= {row["camera_id"]: row for row in new}
    return new, None


@app.exception_handler(TimeseriesError)
async def explain(request: Request, error: TimeseriesError) -> JSONResponse:
    code = next((code for kind, code in STATUS_CODES.items() if isinstance(error, kind)), 503)
    body: dict[str, Any] = {"detail": str(error)}
    if isinstance(error, CameraChangedError):
        versions = {"edited": error.edited, "current": error.current}
        body |= {name: shown(camera) for name, camera in versions.items() if isinstance(camera, Camera)}
    return JSONResponse(jsonable_encoder(body), code)


@app.exception_handler(RequestValidationError)
async def explain_request(request: Request, error: RequestValidationError) -> JSONResponse:
    """Without what was sent, which FastAPI would repeat: it may be a connection string in the wrong place."""
    reasons = [f"{'.'.join(map(str, one['loc'][1:]))}: {one['msg']}" for one in error.errors()]
    return JSONResponse({"detail": "; ".join(reasons)}, 422)
