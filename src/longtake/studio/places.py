"""Names of files and folders in the folder of a studio, and in the folder of a job."""

FILES, UPLOADS, FOOTAGE, JOBS = "files", "uploads", "footage", "jobs"
PARTS, VIDEO, SHEET = "parts", "video.mp4", "video_sheet.png"
SINGLE, JOINED = "000_{:08d}.mp4", "001_{:08d}.mp4"
"""Names of the files of a live video's parts, by the index of the first frame: of one part, and of
several that were joined to one."""
CHANGES, DRIFT, CURVE, TRAINED = "changes.json", "drift.json", "drift.jsonl", "training"
SEGMENTS, LENGTH = "segments", "length.json"
"""Segments of a video of a given length, and the number of frames that were last asked for."""
