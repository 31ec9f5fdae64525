"""Train, Gallery and the page as a whole in a browser: lists, tabs, keyboard, rules of axe."""

import itertools
import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from chromium import SIZES, Tab
from studio.page.acts import FOOTAGE, VIEWS, WATCHED, Jobs, listed, made

from longtake.studio.places import FILES, JOBS, TRAINED

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Route


def test_a_training_asks_for_footage_and_says_where_it_belongs(tab: Tab, folder: Path):
    page = tab.open("train")
    page.locator("#footage", has_text=str(folder / "footage")).wait_for()
    page.get_by_role("button", name="Start the training").click()
    page.locator(".toast.bad", has_text="Choose a folder of videos").wait_for()
    assert page.evaluate("document.activeElement.getAttribute('aria-describedby')") == "footage"


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
        tab.until(f"() => {videos}.length === 200")  # else it is one of earlier jobs that is last
        for place in ("at(-1)", "at(0)"):
            page.evaluate(f"{videos}.{place}.scrollIntoView()")
            tab.until(f"() => {videos}.{place}.readyState > 0")
            assert 0 < page.evaluate(f"{videos}.filter((video) => video.src).length") < 75
    page.unroute("**/api/jobs/copy*/files/*")


def test_a_time_keeps_up_with_the_clock(tab: Tab):
    page = tab.open()
    made(tab)
    page.clock.install()
    page = tab.open("gallery")
    page.locator("#panel-gallery time", has_text="just now").first.wait_for()
    page.clock.fast_forward("07:00")
    page.locator("#panel-gallery time", has_text="7 min ago").first.wait_for()
    page.clock.resume()


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


def test_what_is_drawn_while_the_server_is_away_has_its_icons(tab: Tab):
    page = tab.open("gallery")
    uses = "[...document.querySelectorAll('body > svg.glyph use')]"
    names = "(await (await fetch('/page/icons.svg')).text()).match(/(?<=symbol id=.)[a-z]+/g)"
    found = page.evaluate(f"async () => {names}")
    tab.until("() => document.querySelector('.symbols')")
    page.context.set_offline(True)
    page.locator("#offline:not([hidden])").wait_for()
    page.evaluate(
        """async (names) => {
             const { icon } = await import("/page/dom.js");
             document.body.append(...names.map(icon));
           }""",
        found,
    )
    page.wait_for_timeout(300)  # a reference to a file would be asked for now
    assert len(found) > 5
    assert page.locator("body > svg.glyph").count() == len(found)
    assert page.evaluate(f"{uses}.every((use) => use.getBBox().width > 0)")
    page.context.set_offline(False)
    page.locator("#offline").wait_for(state="hidden")
    tab.complaints.clear()  # the browser logs each request that fails


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
