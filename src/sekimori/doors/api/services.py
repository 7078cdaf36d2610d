"""Routes of the presets: the services that are known."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path, Query
from pydantic import BaseModel, Field
from starlette.responses import Response

from sekimori.doors.api.call import ViewerCall, json_response
from sekimori.doors.api.render import render_preset
from sekimori.doors.api.shapes import Asked, Text
from sekimori.model.address import parse_ports
from sekimori.model.causes import near
from sekimori.model.errors import Problem
from sekimori.model.preset import Preset
from sekimori.presets.load import Presets

__all__ = ["PresetsBody", "find_presets", "router"]

router = APIRouter(prefix="/v1/presets", tags=["presets"])


class PresetsQuery(Asked):
    """Which presets."""

    search: Text | None = Field(None, description="A word of the name, an alias, the title, or a port.")


class PresetView(BaseModel):
    """A known service."""

    name: str
    title: dict[str, str]
    aliases: list[str]
    ports: list[str]
    risk: str
    from_: str = Field(alias="from")
    for_: str = Field(alias="for")
    limit: str | None
    danger: str | None = Field(description="The risk to accept before anyone may come in.")
    note: dict[str, str]


class PresetsBody(BaseModel):
    """Known services."""

    presets: list[PresetView]


@router.get("", response_model=PresetsBody, summary="Known services")
async def list_presets(query: Annotated[PresetsQuery, Query()], call: ViewerCall) -> Response:
    """Every preset, or those that a word finds."""
    found = find_presets(call.views.presets, query.search or "")
    return json_response({"presets": [render_preset(preset) for preset in found]})


@router.get("/{name}", response_model=PresetView, summary="One known service")
async def get_preset(name: Annotated[str, Path(examples=["minecraft"])], call: ViewerCall) -> Response:
    """One preset, by its name or an alias."""
    preset = call.views.presets.get(name)
    if preset is None:
        raise Problem("no-such-preset", name=name, near=near(call.views.presets.suggest(name)))
    return json_response(render_preset(preset))


def find_presets(presets: Presets, word: str) -> list[Preset]:
    """The presets whose name, alias, title, risk or port is or holds a word.

    Where none does, those whose names are near it.
    """
    word = word.strip().lower()
    if not word:
        return list(presets.all())
    found = [preset for preset in presets.all() if _is_meant(preset, word)]
    if found:
        return found
    alike = [presets.get(name) for name in presets.suggest(word)]
    return [preset for preset in alike if preset is not None]


def _is_meant(preset: Preset, word: str) -> bool:
    if word.isdecimal():
        return any(int(word) in spec.outside for text in preset.ports for spec in parse_ports(text))
    texts = (preset.name, *preset.aliases, *preset.title.values())
    return word == preset.risk or any(word in text.lower() for text in texts)
