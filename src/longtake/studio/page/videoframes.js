// All frames of a short video as pictures, so that two videos can be shown by one frame index.

const MOST_FRAMES = 600;
const READ_SECONDS = 20;

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
    await event(video, "seeked", () => (video.currentTime = Math.min((i + 0.5) / fps, video.duration)));
    frames.push(await createImageBitmap(video));
  }
  video.removeAttribute("src");
  video.load();
  return { frames, fps };
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
