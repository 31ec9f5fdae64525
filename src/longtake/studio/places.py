"""Names of files and folders in the folder of a studio, and in the folder of a job."""

FILES, UPLOADS, FOOTAGE, JOBS = "files", "uploads", "footage", "jobs"
PARTS, VIDEO, SHEET = "parts", "video.mp4", "video_sheet.png"
SINGLE, JOINED = "000_{:08d}.mp4", "001_{:08d}.mp4"
"""Names of a video's parts, by their first frame: one part, and several that were joined."""
CHANGES, DRIFT, TRAINED = "changes.json", "drift.json", "training"
