"""Make, Compare and Inside in a browser: forms, two videos side by side, a clip from inside."""

import io
from pathlib import Path
from typing import TYPE_CHECKING, Any

import av
import numpy as np
from chromium import Tab
from studio.page.acts import made

if TYPE_CHECKING:
    from playwright.sync_api import Route


def test_a_video_is_estimated_made_and_shown_with_its_command(tab: Tab):
    page = tab.open("make")
    page.select_option("#panel-make select >> nth=0", "planes")
    page.get_by_role("spinbutton", name="Length in frames").fill("8")
    page.locator(".estimate b").wait_for()
    page.get_by_role("button", name="Make the video").click()
    job = page.locator("#panel-make article", has=page.locator("video")).first
    job.wait_for()
    job.get_by_text("The command that repeats it").click()
    assert "longtake generate" in job.locator("code").inner_text()
    job.get_by_role("button", name="Use these settings").click()
    assert page.get_by_role("spinbutton", name="Length in frames").input_value() == "8"
    job.get_by_role("button", name="Extend by 64 frames").click()
    job.get_by_text("72 frames").first.wait_for()
    job.locator("video").wait_for()


def test_what_is_beyond_the_limits_is_said_and_cannot_be_started(tab: Tab):
    page = tab.open("make")
    page.get_by_role("spinbutton", name="Length in frames").fill("20000000")
    page.locator(".estimate .problem").wait_for()
    assert "frames" in page.inner_text(".estimate .problem")
    assert page.get_by_role("button", name="Make the video").is_disabled()
    assert tab.violations() == []
    tab.complaints.clear()  # the browser logs each answer 422


def test_a_length_that_is_left_empty_is_that_of_64_frames_and_none_is_refused(tab: Tab):
    page = tab.open("make")
    length = page.get_by_role("spinbutton", name="Length in frames")
    length.fill("")
    page.locator(".estimate", has_text="64 frames").wait_for()
    length.fill("0")
    page.locator(".estimate .problem", has_text="frames").wait_for()
    assert page.get_by_role("button", name="Make the video").is_disabled()
    tab.complaints.clear()  # the browser logs each answer 422


def test_a_video_waits_for_the_upload_that_it_begins_with(tab: Tab, picture: Path):
    def late(route: "Route") -> None:
        page.wait_for_timeout(1000)
        route.continue_()

    page = tab.open("make")
    page.select_option("#panel-make select >> nth=0", "planes")
    page.get_by_role("spinbutton", name="Length in frames").fill("8")
    page.locator("#panel-make summary", has_text="Begin with your own frames").click()
    page.route("**/api/uploads", late)
    page.set_input_files("#panel-make details input[type=file] >> nth=0", picture)
    with page.expect_request("**/api/jobs") as started:
        page.get_by_role("button", name="Make the video").click()
    sent: Any = started.value.post_data_json
    assert sent["settings"]["start_image"]
    page.set_input_files("#panel-make details input[type=file] >> nth=0", Path(__file__))
    page.get_by_role("button", name="Make the video").click()
    page.locator(".toast.bad", has_text="not a video or an image").wait_for()
    page.unroute("**/api/uploads")
    tab.complaints.clear()  # the browser logs each answer 422


def test_two_videos_are_compared_frame_by_frame_and_in_numbers(tab: Tab):
    tab.open("compare")
    made(tab, seed=1)
    made(tab, seed=2)
    page = tab.open("compare")
    page.get_by_role("button", name="Compare", exact=True).click()
    tab.until("() => document.querySelector('.compare.screen').dataset.index > 0")
    page.locator("#panel-compare table").wait_for()
    assert "PSNR" in page.inner_text("#panel-compare .meters")
    cut = page.get_by_role("slider", name="Where A ends and B begins")
    cut.focus()
    cut.press("ArrowRight")
    cut.press("ArrowRight")
    assert "52%" in (page.get_attribute(".compare.screen", "style") or "")
    page.locator("#panel-compare label", has_text="Difference").click()
    assert page.locator("canvas.difference").is_visible()
    assert tab.violations() == []


def test_each_frame_of_a_compared_video_is_shown_once_from_the_first_to_the_last(tab: Tab):
    tab.open("compare")
    made(tab, seed=3)
    job = made(tab, seed=4)
    page = tab.open("compare")
    page.get_by_role("button", name="Compare", exact=True).click()
    frame = page.get_by_role("slider", name="Frame")
    page.get_by_role("button", name="Pause").click()
    assert frame.get_attribute("max") == "7"
    body = page.request.get(f"{tab.address}/api/jobs/{job}/files/seed_0004.mp4").body()
    with av.open(io.BytesIO(body), "r") as video:
        decoded = [each.to_ndarray(format="rgb24") for each in video.decode(video=0)]
    assert page.locator("#panel-compare select").nth(1).input_value() == job
    shown = []
    for i in range(8):
        frame.press("Home" if i == 0 else "ArrowRight")
        assert page.inner_text("#panel-compare output") == f"{i + 1} / 8"
        pixels = page.evaluate(
            """() => {
                 const options = {willReadFrequently: true};
                 const copy = new OffscreenCanvas(16, 16).getContext("2d", options);
                 copy.drawImage(document.querySelectorAll("#panel-compare canvas")[1], 0, 0);
                 return [...copy.getImageData(0, 0, 16, 16).data];
               }"""
        )
        shown.append(np.array(pixels).reshape(16, 16, 4)[..., :3])
    distances = np.array([[np.abs(a - b.astype(int)).mean() for b in decoded] for a in shown])
    assert (distances.diagonal() == distances.min(1)).all(), distances.round(1)


def test_a_video_of_a_program_can_be_compared(tab: Tab):
    tab.open("compare")
    settings = {"model": "planes", "frames": 8, "seed": 3}
    job = tab.post("jobs", {"kind": "video", "settings": settings})["id"]
    tab.done(job)
    page = tab.open("compare")
    page.locator(f"#panel-compare select >> nth=0 >> option[value='{job}']").wait_for(
        state="attached"
    )


def test_two_are_made_with_settings_of_each_side_and_compared(tab: Tab):
    page = tab.open("compare")
    form = page.get_by_role("form", name="Make two, with the same seed")
    form.get_by_label("Length in frames").fill("8")
    for side, model in enumerate(("planes", "volume")):
        fields = form.locator("fieldset.side").nth(side)
        fields.get_by_label("Model").select_option(model)
        fields.locator("summary", has_text="Rollout").click()
        fields.get_by_label("Rollout").select_option("one_clip")
    form.get_by_role("button", name="Make both and compare").click()
    tab.until("() => document.querySelector('.compare.screen').dataset.index > 0")
    names = page.inner_text("#panel-compare .results > .hint")
    assert {"planes", "volume"} <= {*names.replace(":", " ").split()}
    assert names.count("rollout one clip") == 2
    page.locator("#panel-compare table").wait_for()


def test_a_clip_is_seen_from_inside(tab: Tab, clip: Path):
    page = tab.open("inside")
    page.select_option("#panel-inside select", "planes")
    page.set_input_files("#panel-inside input[type=file]", clip)
    page.locator("#panel-inside .preview img").wait_for()
    page.get_by_role("button", name="Look inside").click()
    slider = page.get_by_role("slider", name="Time")
    slider.wait_for()
    assert "PSNR" in page.inner_text("#panel-inside .meters")
    assert slider.get_attribute("aria-valuetext") == "t = 0.5"
    assert slider.get_attribute("max") == "10"
    before = page.locator("#panel-inside img[alt^=Noisy]").get_attribute("src")
    slider.press("End")
    assert slider.get_attribute("aria-valuetext") == "t = 1"
    assert page.locator("#panel-inside img[alt^=Noisy]").get_attribute("src") != before
    assert page.locator("#panel-inside img[alt^=Latent]").count() == 3


def test_an_upload_that_is_not_a_video_is_refused_in_words(tab: Tab):
    page = tab.open("inside")
    page.set_input_files("#panel-inside input[type=file]", Path(__file__))
    page.locator("#panel-inside .hint.bad").wait_for()
    assert "expected" in page.inner_text("#panel-inside .hint.bad")
    tab.complaints.clear()  # the browser logs each answer 422
