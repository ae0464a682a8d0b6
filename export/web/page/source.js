// A camera or a video file in a <video>: opening it, and the frames it shows.

import { clipsOf, eachFrame, FrameCutter } from "./frames.js";
import { average, newestClip, wholeVideo } from "./windows.js";

const MOST_BYTES = 2 ** 27; // of the frames of a video that are kept
export const GAP_SECONDS = 1; // without a frame, after which what came before counts no longer: the tab slept
const PLAYABLE = {
  "MP4 (H.264)": 'video/mp4; codecs="avc1.42E01E"',
  "MP4 (H.265)": 'video/mp4; codecs="hvc1.1.6.L93.B0"',
  "MP4 (AV1)": 'video/mp4; codecs="av01.0.05M.08"',
  "WebM (VP9)": 'video/webm; codecs="vp9"',
  "Ogg (Theora)": 'video/ogg; codecs="theora"',
};
const REFUSED = {
  NotAllowedError: "The camera was not allowed: allow it for this page (in the address bar), or choose a video.",
  NotFoundError: "There is no camera: plug one in, or choose a video.",
  NotReadableError: "Another program or tab uses the camera: close it there, or choose a video.",
};

export async function openCamera(video) {
  if (!navigator.mediaDevices) {
    throw new Error("Browsers allow cameras at https:// and http://localhost only: open this page there.");
  }
  closeSource(video);
  try {
    const facingMode = "user";
    video.srcObject = await navigator.mediaDevices.getUserMedia({ video: { facingMode, width: 640, height: 480 } });
  } catch (error) {
    throw new Error(REFUSED[error.name] ?? `The camera cannot be opened: ${error.message}`);
  }
  await video.play();
}

/** Opens a file, ready to be played from its start. */
export async function openFile(video, file) {
  closeSource(video);
  const kinds = Object.keys(PLAYABLE).filter((kind) => video.canPlayType(PLAYABLE[kind]));
  await new Promise((resolve, reject) => {
    const wrong = () => reject(new Error(`${file.name} is no video that this browser plays. It plays ${kinds.join(", ")}.`));
    video.onloadeddata = () => (video.videoWidth ? resolve() : wrong());
    video.onerror = wrong;
    video.src = URL.createObjectURL(file);
  });
}

export function closeSource(video) {
  for (const track of video.srcObject?.getTracks() ?? []) track.stop();
  if (video.src) URL.revokeObjectURL(video.src);
  Object.assign(video, { onloadeddata: null, onerror: null, srcObject: null });
  video.removeAttribute("src");
  video.load();
}

/** Keeps the newest frames of a camera, and in `memory` what was seen in them; calls `slept` when the tab wakes. */
export class Newest {
  constructor(video, model, slept) {
    this.cutter = new FrameCutter(model.clips, model.evaluation.views);
    const { kind, stride = 1, fps } = model.clips.sampling;
    this.most = kind === "consecutive" && !fps ? model.clips.frames * stride : Infinity;
    this.length = kind === "consecutive" && fps ? (model.clips.frames * stride) / fps : 0; // seconds
    Object.assign(this, { model, slept, times: [], frames: [], rate: 0 });
    this.stop = eachFrame(video, (seconds) => this.#take(video, seconds));
  }

  #take(video, seconds) {
    const gap = seconds - (this.times.at(-1) ?? seconds);
    if (gap > GAP_SECONDS) {
      Object.assign(this, { times: [], frames: [], taken: null, memory: null });
      this.slept();
    } else if (gap > 0) this.rate += 0.1 * (1 / gap - this.rate);
    this.times.push(seconds);
    this.frames.push(this.cutter.cut(video));
    // A second more than a window, so that its start is sure to be there.
    while (this.times.length > this.most || (this.length && this.times[0] < seconds - this.length - 1)) {
      this.times.shift();
      this.frames.shift();
    }
  }

  /** Returns the views of the newest clip, spread over some seconds; null if there is no new one. */
  clips(seconds) {
    const { clips, evaluation } = this.model;
    if (clips.sampling.kind !== "consecutive") this.length = seconds;
    const last = this.times.at(-1);
    const numbers = last === this.taken ? null : newestClip(this.times, clips, seconds);
    if (!numbers) return null;
    this.taken = last;
    return clipsOf(numbers.map((number) => this.frames[number]), evaluation.views);
  }
}

/** Plays a file once and scores its windows as `predict` does; calls `progress(share)` meanwhile.
 *
 * Returns `{scores, milliseconds, cut}`: the second of a window, the last as of `playedFrames`.
 */
export async function scoreVideo(video, model, network, progress) {
  const frames = await playedFrames(video, model, progress);
  const { views, average: quantity } = model.evaluation;
  const [rows, several] = [[], model.thresholds !== null];
  let milliseconds = 0;
  for (const numbers of wholeVideo(frames.times, model.clips, model.evaluation)) {
    const answer = await network.score(clipsOf(numbers.map((number) => frames.pixels[number]), views));
    rows.push(average(answer.scores, quantity, several));
    milliseconds += answer.milliseconds;
  }
  return { scores: average(rows, quantity, several), milliseconds: milliseconds / rows.length, cut: frames.cut };
}

/** Plays a video from its start; returns `{times, pixels, cut}` of the frames it showed.
 *
 * Of one that is too long for the memory, clips that are spread over it get every second frame, or
 * every fourth; consecutive ones are taken as far as it goes, until `cut` seconds.
 */
export async function playedFrames(video, model, progress) {
  const cutter = new FrameCutter(model.clips, model.evaluation.views);
  let [times, pixels, step, shown, cut] = [[], [], 1, 0, null];
  const stop = eachFrame(video, (seconds) => {
    progress(Number.isFinite(video.duration) ? seconds / video.duration : 0);
    if (seconds <= (times.at(-1) ?? -1) || cut !== null) return;
    shown += 1;
    if (shown % step) return;
    times.push(seconds);
    pixels.push(cutter.cut(video));
    if (pixels.length * cutter.bytes <= MOST_BYTES) return;
    if (model.clips.sampling.kind === "consecutive") {
      cut = seconds;
      video.currentTime = video.duration;
    } else {
      step *= 2;
      [times, pixels] = [times, pixels].map((list) => list.filter((_, number) => number % 2 === 0));
    }
  });
  try {
    await new Promise((resolve, reject) => {
      video.onended = resolve;
      video.onerror = () => reject(new Error("The video breaks off: it is damaged."));
      video.onemptied = () => reject(new DOMException("Something else is shown.", "AbortError"));
      video.play().catch(reject);
    });
  } finally {
    stop();
    Object.assign(video, { onended: null, onerror: null, onemptied: null });
  }
  if (!times.length) throw new Error("The browser showed no frame of the video: keep this tab in front.");
  return { times, pixels, cut };
}
