"""A walker that explores Doom maps by depth alone; the only module that imports vizdoom.

The maps are Freedoom's and one of ViZDoom's scenarios, which the package contains.
"""

import math
import os
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import UInt8
from PIL import Image

TICS_A_FRAME = 2
FRAMES_PER_SECOND = 35 / TICS_A_FRAME
NEAR, FAR = 14.0, 90.0  # depths at which the walker turns away, and at which it slows down
HARD_TURN, GENTLE_TURN = 7.0, 3.0  # degrees per tic
STILL = 1.5  # mean change, in levels of 255, below which a frame is skipped
LOOKBACK, LEAST_PROGRESS = 40, 40.0  # steps, and map units within them, of a walker that is stuck
HIDDEN = ("hud", "weapon", "crosshair", "messages", "decals", "particles", "screen_flashes")
RESOLUTIONS = ((160, 120), (320, 240), (640, 480), (1280, 960))


class DoomMap(NamedTuple):
    """A map of the package vizdoom.

    Attributes:
        wad: name of the WAD file in the package.
        level: name of the map in this file.
        view: description of the map for captions.
    """

    wad: str
    level: str
    view: str


class Step(NamedTuple):
    """One frame of a walk, and the turn from it to the next frame, in degrees to the right."""

    frame: UInt8[np.ndarray, "h w 3"]
    turn: float


@dataclass
class Gait:
    """State of a walker that chooses its moves at random.

    Attributes:
        pace: distance per game tic, in map units.
        random: source of the random turns.
        side: direction of turns away from obstacles: 1 is right, -1 is left.
        turn: degrees to the right per game tic.
        escape: number of frames for which it still turns away from an obstacle.
        track: latest positions, by which it notices that it is stuck.
    """

    pace: float
    random: np.random.Generator
    side: float = 1.0
    turn: float = 0.0
    escape: int = 0
    track: list[tuple[float, float]] = field(default_factory=list)


def load() -> Any:
    """Import the package vizdoom; if it is missing, an ImportError that says how to install it."""
    try:
        return import_module("vizdoom")
    except ImportError as error:
        command = "pip install 'longtake[doom]'"
        raise ImportError(
            f"the synthetic data set doom needs the package vizdoom ({error}); install it with: "
            f"{command}"
        ) from error


def walk(doom_map: DoomMap, seed: int, pace: float, height: int, width: int) -> Iterator[Step]:
    """Yield the frames of an endless walk; equal arguments and vizdoom versions give equal frames.

    Frames in which almost nothing moves are skipped, so that a walker that is stuck makes no still
    video. If the game's episode ends, by the map's exit or an accident, the walk restarts at the
    map's start.

    Args:
        doom_map: map to walk through.
        seed: seed of the game and of the walker's random turns.
        pace: distance per game tic (1/35 s), in map units; a player runs at 50.
        height: height of the frames in pixels.
        width: width of the frames in pixels.

    Raises:
        ImportError: vizdoom is not installed.
        ValueError: frames are larger than 960 x 1280 pixels.
    """
    game = _game(os.getpid(), doom_map.wad, _resolution(height, width))
    game.set_doom_map(doom_map.level)
    game.set_seed(seed % (1 << 31))
    gait = Gait(pace, np.random.default_rng(seed))
    shown: np.ndarray | None = None
    while True:
        game.new_episode()
        game.send_game_command("god")
        while not game.is_episode_finished():
            state = game.get_state()
            frame = _fit(state.screen_buffer, height, width)
            turn, forward, use = _decide(gait, state.depth_buffer, state.game_variables)
            if shown is None or np.abs(frame.astype(np.int16) - shown).mean() > STILL:
                shown = frame
                yield Step(frame, turn * TICS_A_FRAME)
            game.make_action([turn, forward, use], TICS_A_FRAME)


def _decide(gait: Gait, depth: UInt8[np.ndarray, "h w"], where: Any) -> tuple[float, float, float]:
    """Choose the next move: degrees to the right and map units forward per game tic, and door.

    The last is 1 to open a door, else 0. ``depth`` is larger where walls are further away;
    ``where`` begins with the walker's x and y in map units.
    """
    view = np.sort(depth[depth.shape[0] * 3 // 10 : depth.shape[0] * 6 // 10], axis=0)[2]
    left, _, right = (float(np.mean(part)) for part in np.array_split(view.astype(float), 3))
    nearest = float(np.array_split(view, 5)[2].min())
    _notice_captivity(gait, (float(where[0]), float(where[1])))
    if nearest < NEAR or gait.escape:
        wanted, forward = gait.side * HARD_TURN, 0.25 * gait.pace
    else:
        lean = (right - left) / max(left + right, 1.0)
        wanted = GENTLE_TURN * (1.6 * lean + 0.35 * gait.random.standard_normal())
        forward = gait.pace * min(1.0, nearest / FAR + 0.5)
        if abs(lean) > 0.05:
            gait.side = math.copysign(1.0, lean)
    gait.turn += 0.35 * (wanted - gait.turn)
    use = float(nearest < NEAR and gait.random.random() < 0.1)
    return gait.turn, forward, use


def _notice_captivity(gait: Gait, where: tuple[float, float]) -> None:
    """Make a walker that has not got far turn for some frames, to a random side.

    ``where`` is its position in map units.
    """
    gait.escape = max(gait.escape - 1, 0)
    gait.track.append(where)
    if len(gait.track) <= LOOKBACK:
        return
    if math.dist(gait.track.pop(0), where) < LEAST_PROGRESS:
        gait.escape = int(gait.random.integers(8, 26))
        gait.side = float(gait.random.choice([-1.0, 1.0]))
        gait.track.clear()


def _fit(screen: UInt8[np.ndarray, "a b 3"], height: int, width: int) -> UInt8[np.ndarray, "h w 3"]:
    """Resize a screen to ``height`` x ``width`` pixels, after a centred crop to their ratio."""
    rows, columns, _ = screen.shape
    scale = min(rows / height, columns / width)
    x, y = (columns - scale * width) / 2, (rows - scale * height) / 2
    box = (x, y, x + scale * width, y + scale * height)
    picture = Image.fromarray(screen).resize((width, height), Image.Resampling.BICUBIC, box)
    return np.asarray(picture)


def _resolution(height: int, width: int) -> tuple[int, int]:
    fits = [size for size in RESOLUTIONS if size[0] >= width and size[1] >= height]
    if not fits:
        raise ValueError(f"size {height}x{width} must be at most 960x1280, Doom's largest screen")
    return fits[0]


@lru_cache(maxsize=3)
def _game(process: int, wad: str, resolution: tuple[int, int]) -> Any:
    """A running game of vizdoom without monsters, window, sound and overlays.

    There is one for each ``process``, an id: a forked data loader must not talk to its parent's
    game. ``wad`` is the name of a file in vizdoom, ``resolution`` width and height in pixels.
    """
    vizdoom = load()
    game = vizdoom.DoomGame()
    # The engine writes its settings to a file, by default in the user's working folder.
    game.set_doom_config_path(str(Path(tempfile.gettempdir()) / f"longtake_doom_{process}.ini"))
    package = Path(vizdoom.__file__).parent
    if wad.startswith("freedoom"):
        game.set_doom_game_path(str(package / wad))
    else:
        game.set_doom_scenario_path(str(package / "scenarios" / wad))
    game.set_screen_resolution(getattr(vizdoom.ScreenResolution, "RES_{}X{}".format(*resolution)))
    game.set_screen_format(vizdoom.ScreenFormat.RGB24)
    game.set_depth_buffer_enabled(True)
    for part in ("window_visible", "sound_enabled", *(f"render_{part}" for part in HIDDEN)):
        getattr(game, f"set_{part}")(False)
    button, variable = vizdoom.Button, vizdoom.GameVariable
    game.set_available_buttons(
        [button.TURN_LEFT_RIGHT_DELTA, button.MOVE_FORWARD_BACKWARD_DELTA, button.USE]
    )
    game.set_available_game_variables([variable.POSITION_X, variable.POSITION_Y])
    game.set_episode_timeout(0)
    game.set_episode_start_time(2)
    game.set_mode(vizdoom.Mode.PLAYER)
    game.add_game_args("-nomonsters +sv_nomonsters 1")
    game.init()
    return game
