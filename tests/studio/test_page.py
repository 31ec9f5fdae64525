"""The studio's page in a real browser, with a real server and tiny models."""

import io
import itertools
import json
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import av
import numpy as np
import pytest
from chromium import SIZES, Tab, launched

from longtake.studio.places import FILES, JOBS, TRAINED
from longtake.video import VideoWriter, write_image

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page, Route

VIEWS = ("live", "make", "compare", "inside", "train", "gallery")
CANVAS = "document.querySelector('#panel-live canvas.frames')"
FRAMES = f"() => Number({CANVAS}.dataset.shown ?? 0)"
FOOTAGE, WATCHED = "clouds", "skies_trained"


@pytest.fixture(scope="module")
def browser() -> Iterator["Browser"]:
    with launched() as found:
        yield found


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of the studio, with a folder of footage that has no video."""
    path = tmp_path_factory.mktemp("studio")
    (path / "footage" / FOOTAGE).mkdir(parents=True)
    return path


@pytest.fixture(scope="module")
def training(tmp_path_factory: pytest.TempPathFactory, places: dict[str, str], clip: Path) -> Path:
    """Folder of a training that another command carries out: a log, a sample, a model of a step."""
    folder = tmp_path_factory.mktemp("trained") / WATCHED
    run = folder / "runs" / "denoiser"
    (run / "samples" / "step_00000002").mkdir(parents=True)
    shutil.copyfile(clip, run / "samples" / "step_00000002" / "0.mp4")
    rows = [{"step": step, "loss": 1 / step} for step in (1, 2)]
    (run / "log.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    shutil.copytree(places["planes"], run / "models" / "step_00000002")
    return folder


@pytest.fixture(scope="module")
def address(
    browser: "Browser", places: dict[str, str], folder: Path, training: Path
) -> Iterator[str]:
    """Address of a studio; its process is started by the command."""
    del browser  # without one there is nothing to start
    command = [sys.executable, "-m", "longtake.cli", "studio", *places.values(), str(training)]
    command += ["--port", "0", "--folder", str(folder)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        yield line.split()[-1]
        process.send_signal(signal.SIGTERM)
        process.wait(20)


@pytest.fixture(scope="module")
def desk(browser: "Browser", address: str) -> Iterator[Tab]:
    """One tab in which all tests work that do not need a certain size or theme."""
    context = browser.new_context()
    yield Tab(context.new_page(), address)
    context.close()


@pytest.fixture
def tab(desk: Tab) -> Iterator[Tab]:
    """The tab; afterwards nothing was complained of, and no other server was asked."""
    desk.complaints.clear()
    yield desk
    assert desk.complaints == []
    assert desk.foreign == []


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A video of 12 frames."""
    path = tmp_path_factory.mktemp("clip") / "clip.mp4"
    rows = np.arange(16, dtype=np.uint8)[:, None, None]
    with VideoWriter(path, 8.0) as writer:
        for shift in range(12):
            writer.write(np.broadcast_to(rows * 12 + shift * 4, (1, 16, 16, 3)).astype(np.uint8))
    return path


@pytest.fixture(scope="module")
def picture(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A picture of 16 x 16 pixels."""
    path = tmp_path_factory.mktemp("picture") / "picture.png"
    write_image(path, np.full((16, 16, 3), 128, np.uint8))
    return path


def made(tab: Tab, **settings: object) -> str:
    """Id of a finished video of 8 frames."""
    data = {"kind": "make", "settings": {"model": "planes", "frames": 8, **settings}}
    job = tab.post("jobs", data)["id"]
    tab.done(job)
    return job


def play(page: "Page", tab: Tab) -> None:
    page.get_by_role("button", name="Play planes").click()
    tab.until(f"() => ({FRAMES})() > 8")


def stop(page: "Page") -> None:
    page.locator("#panel-live").get_by_role("button", name="Stop", exact=True).click()
    page.get_by_role("button", name="Continue").wait_for()


def test_live_plays_says_where_a_change_begins_is_kept_and_continues(tab: Tab):
    page = tab.open()
    page.select_option("#panel-live select", "planes")
    play(page, tab)
    page.locator("#panel-live .labels label", has_text="calm").click()
    page.wait_for_selector("#panel-live .effect.pending, #panel-live .effect.now")
    page.wait_for_selector("#panel-live .effect.now")
    assert "since frame" in page.inner_text("#panel-live .effect")
    page.locator("#panel-live .drift svg").wait_for()
    assert tab.violations() == []  # while it plays
    stop(page)
    file = page.locator("#panel-live .kept a")
    with page.expect_download() as download:
        file.click()
    assert download.value.suggested_filename.endswith(".mp4")
    last = page.evaluate(
        "Number(document.querySelector('#panel-live canvas.frames').dataset.index)"
    )
    page.get_by_role("button", name="Continue").click()
    tab.until(
        f"() => document.querySelector('#panel-live canvas.frames').dataset.index > {last} + 8"
    )
    page.reload()  # the video that is being made is found again
    tab.until(f"() => ({FRAMES})() > 8")
    assert page.get_by_role("button", name="Stop this one").count() == 0  # its settings are shown
    tab.until("() => document.querySelector('#panel-live .drift svg')")
    curve = page.locator("#panel-live .drift polyline").get_attribute("points") or ""
    assert len(curve.split()) > 3  # also of the clips before this page was opened
    stop(page)
    page = tab.open("gallery")
    page.locator(".tile-open").first.click()
    page.get_by_role("dialog").get_by_role("button", name="Repeat with its changes").click()
    tab.until(
        """async () => {
          const [repeated, first] = await (await fetch("/api/jobs?limit=2")).json();
          const changes = JSON.stringify(first.changes);
          return changes !== "[]" && JSON.stringify(repeated.changes) === changes;
        }"""
    )
    stop(page)


def test_a_live_video_begins_with_an_image_and_continues_from_another(tab: Tab, picture: Path):
    page = tab.open()
    page.select_option("#panel-live select", "planes")
    page.locator("#panel-live summary", has_text="Begin with your own frames").click()
    page.set_input_files("#panel-live details input[type=file] >> nth=0", picture)
    page.locator("#panel-live details .preview img").wait_for()
    play(page, tab)
    page.set_input_files("#panel-live .controls > .upload input[type=file]", picture)
    page.wait_for_selector("#panel-live .effect.now")
    assert page.get_by_role("button", name="Stop this one").count() == 0
    stop(page)
    newest = page.request.get(f"{tab.address}/api/jobs?limit=1").json()[0]
    assert newest["settings"]["start_image"]
    assert newest["changes"][0]["start_image"]


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


def test_a_training_asks_for_footage_and_says_where_it_belongs(tab: Tab, folder: Path):
    page = tab.open("train")
    page.locator("#footage", has_text=str(folder / "footage")).wait_for()
    page.get_by_role("button", name="Start the training").click()
    page.locator(".toast.bad", has_text="Choose a folder of videos").wait_for()
    assert page.evaluate("document.activeElement.getAttribute('aria-describedby')") == "footage"


def test_a_length_that_is_left_empty_is_that_of_64_frames_and_none_is_refused(tab: Tab):
    page = tab.open("make")
    length = page.get_by_role("spinbutton", name="Length in frames")
    length.fill("")
    page.locator(".estimate", has_text="64 frames").wait_for()
    length.fill("0")
    page.locator(".estimate .problem", has_text="frames").wait_for()
    assert page.get_by_role("button", name="Make the video").is_disabled()
    tab.complaints.clear()  # the browser logs each answer 422


def test_a_training_that_cannot_begin_says_why(tab: Tab):
    page = tab.open("train")
    page.locator(f"#panel-train option[value={FOOTAGE}]").wait_for(state="attached")
    page.select_option("#panel-train select >> nth=0", FOOTAGE)  # a folder without videos
    page.get_by_role("button", name="Start the training").click()
    page.locator("#panel-train .badge.failed").wait_for()
    assert page.inner_text("#panel-train .problem") != ""


def test_a_training_shows_series_and_samples_of_its_newest_stage_first(
    tab: Tab, folder: Path, clip: Path
):
    page = tab.open("train")
    job = tab.post("jobs", {"kind": "train", "settings": {"folder_name": FOOTAGE}})["id"]
    status = f"(await (await fetch('/api/jobs/{job}')).json()).status"
    tab.until(f"async () => {status} === 'failed'")  # the folder has no videos
    place = folder / JOBS / job
    (place / FILES).mkdir(exist_ok=True)
    for stage in ("autoencoder", "prediction", "interpolation"):  # as LVDM trains them
        log = place / TRAINED / "runs" / stage / "log.jsonl"
        log.parent.mkdir(parents=True)
        rows = [{"step": step} | {f"loss_{i}": i + step for i in range(14)} for step in (1, 2)]
        log.write_text("".join(json.dumps(row) + "\n" for row in rows))
        for i in range(8):
            shutil.copyfile(clip, place / FILES / f"{stage}_step_00000002_{i}.mp4")
        page.wait_for_timeout(50)  # the stages are ordered by the times of their files
    page = tab.open("train")
    article = page.locator("#panel-train article", has=page.locator(".charts"))
    article = article.filter(has_not_text=WATCHED)
    article.locator("video").nth(7).wait_for()
    titles = article.locator(".charts figcaption").all_text_contents()
    assert len(titles) == 3 * 14
    stages = [title.split(":")[0].strip() for title in titles]
    assert stages == ["interpolation"] * 14 + ["prediction"] * 14 + ["autoencoder"] * 14
    shown = [each.get_attribute("aria-label") for each in article.locator("video").all()]
    assert shown == [f"interpolation_step_00000002_{i}.mp4" for i in range(8)]
    page.request.delete(f"{tab.address}/api/jobs/{job}", headers={"X-Longtake": "1"})


def test_a_training_of_the_command_line_is_watched_and_its_model_of_a_step_plays(tab: Tab):
    page = tab.open("train")
    article = page.locator("#panel-train article", has_text=WATCHED)
    article.locator(".charts figcaption", has_text="loss").wait_for()
    assert article.locator("video").count() == 1
    assert article.get_by_role("button", name="Delete").count() == 0
    article.get_by_label("Model").select_option("denoiser_step_00000002")
    article.get_by_role("button", name="Play this model").click()
    name = f"{WATCHED}-denoiser_step_00000002"
    tab.until(f"() => document.querySelector('#panel-live select').value === '{name}'")
    assert page.locator("#panel-live").is_visible()


def test_the_gallery_shows_settings_and_deletes_after_a_question(tab: Tab):
    tab.open("gallery")
    job = made(tab, seed=77)
    page = tab.open("gallery")
    tile = page.locator(".tile", has_text="seed 77")
    tile.get_by_role("button").click()
    dialog = page.get_by_role("dialog")
    assert "77" in dialog.locator("table").inner_text()
    assert tab.violations() == []
    dialog.get_by_role("button", name="Delete").click()
    dialog.get_by_role("button", name="Cancel").click()
    assert tile.is_visible()
    tile.get_by_role("button").click()
    dialog.get_by_role("button", name="Delete").click()
    dialog.get_by_role("button", name="Delete", exact=True).click()
    tile.wait_for(state="detached")
    assert page.evaluate(f"async () => (await fetch('/api/jobs/{job}')).status") == 404
    tab.complaints.clear()  # the browser logs the answer 404


def test_a_long_prompt_leaves_names_whole_and_tiles_small(tab: Tab):
    page = tab.open()
    made(tab)
    prompt = {"prompt": "clouds over a ridge " * 60 + "x" * 200}

    def talk(jobs: Jobs) -> Jobs:
        return [each | {"settings": each["settings"] | prompt} for each in jobs]

    with listed(page, talk):
        page.get_by_role("tab", name="Gallery").click()
        tile = page.locator("#panel-gallery .tile", has_text="clouds over").first
        box = tile.locator(".tile-text").bounding_box()
        assert box is not None
        assert box["height"] < 240
        tile.get_by_role("button").click()
        page.locator("dialog td", has_text="clouds over").wait_for()
        heights = "[...document.querySelectorAll('dialog th')].map((each) => each.firstChild)"
        lines = page.evaluate(
            f"() => {heights}.map((text) => {{ const range = document.createRange();"
            " range.selectNode(text); return range.getClientRects().length; })"
        )
        assert set(lines) <= {1, 2}
    page.keyboard.press("Escape")


def test_the_gallery_shows_older_jobs_and_deletes_uploads(tab: Tab, picture: Path):
    def of_two(route: "Route") -> None:
        answer = route.fetch()
        route.fulfill(response=answer, body=answer.text().replace("PAGE = 200", "PAGE = 2"))

    tab.open("gallery")
    made(tab, seed=5)
    jobs = tab.page.request.get(f"{tab.address}/api/jobs").json()
    assert len(jobs) > 2
    tab.page.route("**/page/api.js", of_two)
    page = tab.open("gallery")
    page.get_by_role("button", name="Show older ones").click()
    tiles = "document.querySelectorAll('#panel-gallery .tile').length"
    tab.until(f"() => {tiles} >= {min(len(jobs), 4)}")
    tab.page.unroute("**/page/api.js")
    page = tab.open("inside")
    page.set_input_files("#panel-inside input[type=file]", picture)
    page.locator("#panel-inside .preview img").wait_for()
    page.get_by_role("tab", name="Gallery").click()
    page.locator("#panel-gallery label", has_text="Uploads").click()
    tile = page.locator(".tile", has_text="no job").first
    tile.wait_for()
    count = page.locator("#panel-gallery .tile").count()
    tile.get_by_role("button", name="Delete").click()
    page.get_by_role("dialog").get_by_role("button", name="Delete", exact=True).click()
    tab.until(f"() => {tiles} === {count - 1}")


def test_no_empty_tab_violates_a_rule_of_axe(tab: Tab):
    tab.page.route("**/api/jobs?*", lambda route: route.fulfill(json=[]))
    page = tab.open("gallery")
    page.locator("#panel-gallery .empty").wait_for()
    found = {}
    for view in VIEWS:
        page.get_by_role("tab", name=view.capitalize()).click()
        found[view] = tab.violations()
    tab.page.unroute("**/api/jobs?*")
    assert found == {view: [] for view in VIEWS}


def test_every_tab_is_reached_by_the_keyboard_alone(tab: Tab):
    page = tab.open("live")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to the content"
    page.keyboard.press("Tab")
    for view in (*VIEWS[1:], VIEWS[0]):
        page.keyboard.press("ArrowRight")
        assert page.evaluate("document.activeElement.id") == f"tab-{view}"
        assert page.locator(f"#panel-{view}").is_visible()
    page.keyboard.press("Tab")
    theme = page.evaluate("document.activeElement.getAttribute('aria-label')")
    assert theme.startswith("Theme")
    page.keyboard.press("Enter")
    assert page.evaluate("document.documentElement.dataset.theme") == "light"


def test_the_back_button_leads_to_the_tab_before(tab: Tab):
    page = tab.open("make")
    page.get_by_role("tab", name="Inside").click()
    page.get_by_role("tab", name="Gallery").click()
    page.keyboard.press("ArrowLeft")  # walking along the tabs is one step
    for view in ("inside", "make"):
        page.go_back()
        page.locator(f"#panel-{view}").wait_for()
        assert page.locator("[role=tabpanel]:visible").count() == 1
    page.go_forward()
    page.locator("#panel-inside").wait_for()


def test_a_server_that_is_away_is_said_and_found_again(tab: Tab):
    page = tab.open("gallery")
    page.context.set_offline(True)
    page.locator("#offline:not([hidden])").wait_for()
    assert "does not answer" in page.inner_text("#offline")
    assert tab.violations() == []
    page.context.set_offline(False)
    page.locator("#offline").wait_for(state="hidden")
    tab.complaints.clear()  # the browser logs each request that fails


FOCUSED = "() => document.activeElement.textContent.trim() || document.activeElement.value"
JOBS_URL = "**/api/jobs?*"


Jobs = list[dict[str, Any]]


@contextmanager
def listed(page: "Page", change: Callable[[Jobs], Jobs]) -> Iterator[None]:
    """The page gets another list of jobs: ``change`` of the server's."""

    def answer(route: "Route") -> None:
        route.fulfill(json=change(route.fetch().json()))

    page.route(JOBS_URL, answer)
    yield
    page.unroute(JOBS_URL)


def test_the_focus_stays_with_what_a_keyboard_user_does(tab: Tab):
    page = tab.open()
    page.select_option("#panel-live select", "planes")
    page.get_by_role("button", name="Play planes").press("Enter")
    tab.until(f"() => ({FRAMES})() > 8")
    assert page.evaluate(FOCUSED) == "Stop"
    page.locator("#panel-live .labels input").first.focus()
    page.keyboard.press("ArrowRight")
    page.wait_for_selector("#panel-live .effect.now")
    assert page.evaluate(FOCUSED) == "calm"
    page.locator("#panel-live").get_by_role("button", name="Stop", exact=True).press("Enter")
    page.get_by_role("button", name="Continue").wait_for()
    assert page.evaluate(FOCUSED) == "Continue"
    page.get_by_role("tab", name="Make").click()
    page.get_by_role("spinbutton", name="Length in frames").fill("8")
    page.get_by_role("button", name="Make the video").press("Enter")
    page.locator("#panel-make article", has=page.locator("video")).first.wait_for()
    assert page.evaluate(FOCUSED) == "Make the video"
    card = page.locator("#panel-make article").first
    job = card.get_attribute("data-job")
    card.get_by_role("button", name="Delete").press("Enter")
    page.get_by_role("dialog").get_by_role("button", name="Delete", exact=True).press("Enter")
    page.locator(f"#panel-make [data-job='{job}']").wait_for(state="detached")
    tab.until("() => document.activeElement !== document.body")


def test_two_pages_steer_one_video_and_see_what_the_other_does(
    tab: Tab, browser: "Browser", address: str
):
    page = tab.open()
    page.select_option("#panel-live select", "planes")
    play(page, tab)
    context = browser.new_context()
    other = Tab(context.new_page(), address)
    other.open()
    other.until(f"() => ({FRAMES})() > 8")
    page.locator("#panel-live .labels label", has_text="calm").click()
    other.until("() => document.querySelector('#panel-live input[value=calm]').checked")
    guidance = other.page.get_by_role("slider", name="Guidance")
    guidance.press("ArrowRight")
    other.page.wait_for_selector("#panel-live .effect.pending, #panel-live .effect.now")
    tab.until("() => document.querySelector('#panel-live input[type=range]').value === '1.5'")
    newest = page.request.get(f"{address}/api/jobs?limit=1").json()[0]
    said = [{key: each[key] for key in ("label", "guidance_scale") if key in each}
            for each in newest["changes"]]  # fmt: skip
    assert said == [{"label": "calm"}, {"guidance_scale": 1.5}]
    page.locator("#panel-live .labels label", has_text="any").click()
    page.locator("#panel-live .effect.bad", has_text="without a label").wait_for()
    assert page.locator("#panel-live input[value=calm]").is_checked()
    stop(other.page)
    page.get_by_role("button", name="New video").click()
    other.page.locator("#panel-live .transport", has_text="Stop").wait_for()
    stop(page)
    context.close()
    assert other.complaints == []


def test_what_failed_or_was_stopped_says_why_and_can_continue(tab: Tab):
    page = tab.open()
    page.select_option("#panel-live select", "planes")
    play(page, tab)
    stop(page)
    made(tab)

    def ended(status: str) -> Any:
        facts = {"status": status, "error": "signal 9, perhaps; it can continue"}
        return listed(page, lambda jobs: [each | facts for each in jobs])

    with ended("stopped"):
        page.locator("#panel-live .kept .problem", has_text="signal 9").wait_for()
    with ended("failed"):
        page.locator("#panel-live .cover", has_text="signal 9").wait_for()
        assert page.get_by_role("button", name="Continue").count() == 1
        for view, card in (("Make", "#panel-make article"), ("Gallery", "#panel-gallery .tile")):
            page.get_by_role("tab", name=view).click()
            if view == "Gallery":
                page.locator(card).first.get_by_role("button").click()
                card = "dialog"
            page.locator(card).first.get_by_role("button", name="Continue").wait_for()
    page.keyboard.press("Escape")


def test_a_card_keeps_its_controls_while_its_job_runs(tab: Tab, training: Path):
    page = tab.open("make")
    job = made(tab)
    steps = itertools.count(1)
    running = {"status": "running", "frames": 4000, "frames_done": 0, "seconds_left": 60.0}

    def continued(jobs: Jobs) -> Jobs:
        grown = running | {"frames_done": 8 * next(steps)}
        return [each | grown if each["id"] == job else each for each in jobs]

    with listed(page, continued):
        for view, name in (("Make", "Stop and keep"), ("Gallery", "planes")):
            page.get_by_role("tab", name=view).click()
            panel = page.locator(f"#panel-{view.lower()}")
            button = panel.locator(".slot", has=page.locator("progress")).get_by_role("button")
            button = button.filter(has_text=name).first
            button.focus()
            before = panel.locator(".progress .hint").first.inner_text()
            button.evaluate("node => (node.mark = true)")
            tab.until(f"() => document.querySelector('#panel-{view.lower()} .progress .hint')"
                      f".innerText !== {before!r}")  # fmt: skip
            assert page.evaluate("document.activeElement.mark"), view
    page.get_by_role("tab", name="Train").click()
    article = page.locator("#panel-train article", has_text=WATCHED)
    article.get_by_label("Model").evaluate("node => node.focus() ?? (node.mark = true)")
    with (training / "runs" / "denoiser" / "log.jsonl").open("a") as log:
        log.write(json.dumps({"step": 3, "loss": 7}) + "\n")
    article.locator(".charts figcaption", has_text="7").first.wait_for()
    assert page.evaluate("document.activeElement.mark")


def test_a_full_gallery_loads_the_videos_that_are_in_sight(tab: Tab):
    page = tab.open()
    job = made(tab)
    video = page.request.get(f"{tab.address}/api/jobs/{job}/files/seed_0000.mp4").body()

    def many(jobs: Jobs) -> Jobs:
        found = next(each for each in jobs if each["id"] == job)
        return [found | {"id": f"copy{number:08}"} for number in range(200)]

    answer = {"body": video, "content_type": "video/mp4"}
    page.route("**/api/jobs/copy*/files/*", lambda route: route.fulfill(**answer))
    with listed(page, many):
        page.get_by_role("tab", name="Gallery").click()
        videos = "[...document.querySelectorAll('#panel-gallery video')]"
        for place in ("at(-1)", "at(0)"):
            page.evaluate(f"{videos}.{place}.scrollIntoView()")
            tab.until(f"() => {videos}.length === 200 && {videos}.{place}.readyState > 0")
            assert 0 < page.evaluate(f"{videos}.filter((video) => video.src).length") < 75
    page.unroute("**/api/jobs/copy*/files/*")


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


def test_a_stop_that_fails_leaves_the_picture_in_sight(tab: Tab):
    page = tab.open()
    page.select_option("#panel-live select", "planes")
    play(page, tab)
    page.route("**/stop", lambda route: route.abort())
    page.locator("#panel-live").get_by_role("button", name="Stop", exact=True).click()
    page.locator(".toast.bad", has_text="does not answer").wait_for()
    assert page.locator("#panel-live .cover").is_hidden()
    page.unroute("**/stop")
    stop(page)
    tab.complaints.clear()  # the browser logs each request that fails


def test_a_connection_that_is_dead_is_noticed_and_made_again(browser: "Browser", address: str):
    opened: list[Any] = []
    dead: list[Any] = []

    def forward(socket: Any) -> None:
        opened.append(socket)
        server = socket.connect_to_server()
        server.on_message(lambda message: socket in dead or socket.send(message))

    context = browser.new_context()
    tab = Tab(context.new_page(), address)
    tab.page.route_web_socket("**/frames*", forward)
    page = tab.open()
    page.select_option("#panel-live select", "planes")
    play(page, tab)
    dead += opened
    page.route(JOBS_URL, lambda _: None)  # no answer, and no end
    page.locator("#offline:not([hidden])", has_text="does not answer").wait_for()
    index = page.evaluate(f"{CANVAS}.dataset.index")
    page.unroute(JOBS_URL)
    page.locator("#offline").wait_for(state="hidden")
    tab.until(f"() => {CANVAS}.dataset.index > {index} + 16")
    assert len(opened) == len(dead) + 1
    stop(page)
    context.close()


def test_an_address_that_names_no_tab_and_the_skip_link_leave_the_page_whole(tab: Tab):
    page = tab.open()
    for name in ("toString", "nothing"):
        page.goto("about:blank")
        page.goto(f"{tab.address}/#{name}")
        page.locator("#panel-live").wait_for()
    page = tab.open("gallery")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "content"
    assert page.url.endswith("#gallery")


def test_a_time_keeps_up_with_the_clock(tab: Tab):
    page = tab.open()
    made(tab)
    page.clock.install()
    page = tab.open("gallery")
    page.locator("#panel-gallery time", has_text="just now").first.wait_for()
    page.clock.fast_forward("07:00")
    page.locator("#panel-gallery time", has_text="7 min ago").first.wait_for()
    page.clock.resume()


WINDOWS = {"desk": {"viewport": {"width": 1060, "height": 690}}, "phone": SIZES["phone"]}


@pytest.mark.parametrize("window", WINDOWS)
def test_all_tabs_and_a_running_video_stay_in_sight(window: str, browser: "Browser", address: str):
    context = browser.new_context(**WINDOWS[window])
    tab = Tab(context.new_page(), address)
    page = tab.open()
    right = "Math.max(...[...document.querySelectorAll('[role=tab]')].map("
    inside = f"{right}(each) => each.getBoundingClientRect().right)) <= innerWidth"
    assert page.evaluate(inside)
    page.select_option("#panel-live select", "planes")
    play(page, tab)
    page.locator("#panel-live .labels").evaluate("node => node.scrollIntoView({block: 'end'})")
    page.locator("#panel-live .labels label", has_text="calm").click()
    header = page.locator("header.top").bounding_box()
    box = page.locator("#panel-live canvas.frames").bounding_box()
    label = page.locator("#panel-live .labels label", has_text="calm").bounding_box()
    assert header is not None
    assert box is not None
    assert label is not None
    page.wait_for_selector("#panel-live .effect.now")
    bottom = box["y"] + box["height"]
    assert header["height"] <= box["y"] < bottom <= WINDOWS[window]["viewport"]["height"]
    assert label["y"] >= bottom or label["x"] >= box["x"] + box["width"]  # nor is it covered
    stop(page)
    context.close()
    assert tab.complaints == []


@pytest.mark.parametrize("size", SIZES)
def test_no_tab_violates_a_rule_of_axe_or_is_wider_than_the_window(
    size: str, browser: "Browser", address: str
):
    context = browser.new_context(**SIZES[size])
    tab = Tab(context.new_page(), address)
    tab.open("live")
    found = {}
    for view in VIEWS:
        tab.page.get_by_role("tab", name=view.capitalize()).click()
        wide = tab.page.evaluate("document.documentElement.scrollWidth > innerWidth")
        found[view] = [*tab.violations(), *(["wider than the window"] if wide else [])]
    context.close()
    assert found == {view: [] for view in VIEWS}
    assert tab.complaints == []
    assert tab.foreign == []
