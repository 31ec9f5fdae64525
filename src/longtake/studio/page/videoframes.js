// All frames of a short video as pictures, so that two videos can be shown by one frame index.

const MOST_FRAMES = 600;
const READ_SECONDS = 20;
const SHOWN_SECONDS = 2; // after which a frame counts as shown, where a browser does not say so

// Resolves to {frames, fps}: ImageBitmaps, the first 600 frames at most, which the caller closes, and
// the rate of the video, which has `total` frames.
export async function readFrames(url, total) {
  const video = Object.assign(document.createElement("video"), {
    muted: true,
    preload: "auto",
    playsInline: true,
  });
  await event(video, "loadeddata", () => (video.src = url));
  const fps = total / video.duration;
  const count = Math.min(MOST_FRAMES, total);
  const frames = [];
  for (let i = 0; i < count; i += 1) {
    const there = shown(video, i / fps, 0.5 / fps);
    await event(video, "seeked", () => (video.currentTime = Math.min((i + 0.5) / fps, video.duration)));
    await there;
    frames.push(await createImageBitmap(video));
  }
  video.removeAttribute("src");
  video.load();
  return { frames, fps };
}

// Resolves when the video shows the frame that begins at `time`: after "seeked" a busy browser may still
// show an earlier one. All times are in seconds.
function shown(video, time, tolerance) {
  if (!video.requestVideoFrameCallback) return Promise.resolve();
  return new Promise((resolve) => {
    const timer = setTimeout(resolve, SHOWN_SECONDS * 1000);
    const look = (_, frame) => {
      if (Math.abs(frame.mediaTime - time) > tolerance) return video.requestVideoFrameCallback(look);
      clearTimeout(timer);
      resolve();
    };
    video.requestVideoFrameCallback(look);
  });
}

function event(video, name, start) {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(
      () =>
        reject(
          new Error("The video did not load in 20 s. Download it from the Gallery and look at it there."),
        ),
      READ_SECONDS * 1000,
    );
    video.addEventListener(name, () => (clearTimeout(timer), resolve()), { once: true });
    video.onerror = () => {
      clearTimeout(timer);
      reject(
        new Error(
          "This browser cannot decode the video. Chromium, Firefox and Safari with H.264 can; or download both from the Gallery.",
        ),
      );
    };
    start();
  });
}
