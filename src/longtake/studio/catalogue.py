"""The models that a studio offers: places, abilities and measured speeds."""

import asyncio
import logging
from collections.abc import Mapping
from pathlib import Path

from longtake.hub import INDEX
from longtake.studio.checks import Description, steps_of
from longtake.studio.lanes import Lane
from longtake.studio.memory import estimated_mb
from longtake.studio.settings import VideoSettings
from longtake.studio.store import JobStore

LOGGER = logging.getLogger("longtake")
DESCRIBED = 4
"""Version of the stored descriptions of models: where it differs, a model is described again."""


class Catalogue:
    """Models by name, with descriptions and speeds, which a worker measures and the store keeps.

    Args:
        places: folder or hub id of each model, by its name.
        store: keeps descriptions and speeds.
        lane: its worker process describes models.

    Attributes:
        places: folder or hub id of each model, by its name.
        models: descriptions by name, of the models that could be opened.
        ready: event that is set when all models have been described once.
    """

    def __init__(self, places: Mapping[str, str], store: JobStore, lane: Lane) -> None:
        self.places, self._store, self._lane = dict(places), store, lane
        self.models: dict[str, Description] = {}
        self.ready = asyncio.Event()

    async def describe_all(self) -> None:
        """Describe all models, then set the event ``ready``; omit those that cannot be opened."""
        for name, place in [*self.places.items()]:
            await self.add(name, place)
        self.ready.set()

    async def add(self, name: str, place: str, title: str = "") -> None:
        """Describe a model, new or changed; if it cannot be opened, it is omitted with a warning.

        Args:
            name: name by which jobs choose the model.
            place: the model's folder or hub id.
            title: name to show; empty: ``name``.
        """
        key = f"model {DESCRIBED} {name} {_stamp(place)}"
        self.places[name] = place
        found = self._store.fact(key)
        if found is None:
            message = {"do": "describe", "name": name, "models": self.places}
            try:
                found = (await self._lane.ask(message, seconds=None))["model"]
            except ValueError as error:
                LOGGER.warning("%s: left out: %s", name, error)
                return
            self._store.set_fact(key, found)
        self.models[name] = {**found, "title": title or name}

    def remove(self, name: str) -> None:
        """Offer a model no more; its files and its speeds stay."""
        self.places.pop(name, None)
        self.models.pop(name, None)

    def seconds(self, settings: VideoSettings, frames: int) -> float | None:
        """Estimated seconds to make a video of this number of frames; None if no speed is known.

        The speed is that of the last video of the model with this backend, decoder and choice of
        students, or else the one measured for the description.
        """
        model = self.models[settings.model]
        speed = self._store.fact(_speed_key(settings)) or model["seconds_per_frame_step"]
        return None if speed is None else frames * steps_of(settings, model) * speed

    def memory(self, settings: VideoSettings, frames: int) -> float | None:
        """Estimated peak of a worker's memory, in MiB, that makes a video; None if unknown."""
        model = self.models[settings.model]
        return estimated_mb(model["memory"], settings, frames, model["grain"])

    def learn(self, settings: VideoSettings, seconds_per_frame: float) -> None:
        """Store how long a frame took of a video made as fast as possible; ``seconds`` reads it.

        Nothing is stored if the model was removed while the video was made.
        """
        if settings.model in self.models:
            steps = steps_of(settings, self.models[settings.model])
            self._store.set_fact(_speed_key(settings), seconds_per_frame / steps)


def _speed_key(settings: VideoSettings) -> str:
    students = "students" if settings.students else "teachers"
    return f"speed {settings.model} {settings.backend} {settings.decoder} {students}"


def _stamp(place: str) -> str:
    """Place of a model, and the time of its index file, which changes when the model does."""
    path = Path(place) / INDEX
    return f"{place} {path.stat().st_mtime_ns}" if path.exists() else place
