"""Pixels go in and come out unchanged; contact sheets show what they should."""

from pathlib import Path

import numpy as np
import pytest
import torch
from films import film
from PIL import Image

from longtake.checkpoint import ExistsError
from longtake.video import contact_sheet, to_model, to_pixels, write_image


def test_every_value_of_a_pixel_survives_there_and_back() -> None:
    frames = np.arange(256, dtype=np.uint8).reshape(1, 16, 16, 1).repeat(3, axis=-1)
    np.testing.assert_array_equal(to_pixels(to_model(frames)), frames)


def test_an_array_and_a_tensor_are_the_same_to_a_model() -> None:
    torch.testing.assert_close(to_model(film(3)), to_model(torch.from_numpy(film(3))))


def test_black_is_minus_one_and_white_is_one() -> None:
    frames = np.array([0, 255], np.uint8).reshape(1, 1, 2, 1).repeat(3, axis=-1)
    assert to_model(frames)[0, 0, 0].tolist() == [-1.0, 1.0]


def test_pixels_are_rounded_and_clamped() -> None:
    values = torch.tensor([-3.0, 99.6 / 127.5 - 1, 99.4 / 127.5 - 1, 3.0]).expand(3, 1, 1, 4)
    assert to_pixels(values)[0, 0, :, 0].tolist() == [0, 100, 99, 255]


def test_frames_that_cannot_be_written_to_are_read() -> None:
    frames = film(2)
    frames.flags.writeable = False
    assert to_model(frames).shape == (3, 2, 32, 48)


def test_a_contact_sheet_has_a_row_a_video_from_first_to_last_frame() -> None:
    videos = [film(30), film(5)]
    sheet = contact_sheet(videos, frames_per_row=4)
    assert sheet.shape == (2 * 32 + 2, 4 * 48 + 3 * 2, 3)
    np.testing.assert_array_equal(sheet[:32, :48], videos[0][0])
    np.testing.assert_array_equal(sheet[34:, -48:], videos[1][-1])


def test_a_contact_sheet_takes_videos_of_different_sizes() -> None:
    assert contact_sheet([film(3), film(2, 16, 16)], 3).shape == (50, 148, 3)


def test_an_image_is_overwritten_only_when_asked(tmp_path: Path) -> None:
    path, picture = tmp_path / "sheet.png", film(1)[0]
    write_image(path, picture)
    np.testing.assert_array_equal(np.asarray(Image.open(path)), picture)
    with pytest.raises(ExistsError, match="exists"):
        write_image(path, picture)
    write_image(path, picture, overwrite=True)
    assert list(tmp_path.iterdir()) == [path]
