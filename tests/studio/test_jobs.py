"""Jobs of a studio: made, changed, stopped, continued, repeated."""

from studio.conftest import Page


def test_a_video_is_made_with_its_contact_sheet(page: Page):
    job = page.ended(page.submit("make", model="volume", frames=24, seed=3, sheet=True))
    assert (job["status"], job["frames_done"]) == ("done", 24)
    assert [each["name"] for each in job["files"]] == ["seed_0003.mp4", "seed_0003_sheet.png"]
