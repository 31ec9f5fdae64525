"""Live in a browser: a video plays while it is made, is steered, stopped, lost and found again."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from chromium import SIZES, Tab
from studio.page.acts import CANVAS, FOCUSED, FRAMES, JOBS_URL, listed, made, play, stop

if TYPE_CHECKING:
    from playwright.sync_api import Browser

WINDOWS = {"desk": {"viewport": {"width": 1060, "height": 690}}, "phone": SIZES["phone"]}


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
