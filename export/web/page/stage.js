// What watching and teaching share: the camera, and what is shown of the scores.

import { Bars, Timeline } from "./charts.js";
import { closeSource, Newest, openCamera } from "./source.js";

const EVERY_MILLISECONDS = 100; // a window of the camera, at most

export const $ = (id) => document.getElementById(id);
export const element = (tag, values = {}) => Object.assign(document.createElement(tag), values);
export const pause = (milliseconds) => new Promise((resolve) => setTimeout(resolve, milliseconds));
export const seconds = () => Number($("seconds").value);

export function say(text, isError = false) {
  $("status").textContent = text;
  $("status").classList.toggle("error", isError);
}

/** Runs what a visitor asked for; what goes wrong is a sentence on the page. */
export async function attempt(action) {
  try {
    await action();
  } catch (error) {
    if (error.name !== "AbortError") say(error.message, true);
  }
}

/** The screen with its camera, and the charts beside it. */
export class Stage {
  /** `score(clips)` gets the newest clip's views again and again; `decide(scores, camera)` returns what to `show`. */
  constructor(model, network, score, decide) {
    Object.assign(this, { model, network, score, decide, video: $("video"), camera: null });
    $("camera").onclick = () => attempt(this.camera ? async () => this.stop() : () => this.#watch());
    // A tab that sleeps misses no frame of a file, and goes on when it wakes: a browser that froze it paused the video.
    document.addEventListener("visibilitychange", () => {
      if (document.hidden) this.video.pause();
      else if (this.video.readyState && !this.video.ended) this.video.play().catch(() => {});
    });
    $("seconds").oninput = () => { $("length-shown").textContent = `${seconds().toFixed(1)} s`; };
  }

  classes(names) {
    this.names = names;
    [this.bars, this.timeline] = [new Bars($("bars"), names), new Timeline($("timeline"), names)];
  }

  /** Shows scores, and the classes that they name. */
  show(scores, places, milliseconds) {
    this.bars.show(scores, places);
    this.timeline.add(scores);
    $("label").textContent = places.map((place) => this.names[place]).join(", ");
    const rate = this.camera ? `; camera ${this.camera.rate.toFixed(0)} frames/s` : "";
    $("speed").textContent = `${milliseconds.toFixed(1)} ms a window${rate}`;
    $("device").textContent = this.network.described; // another one, if the GPU was lost
  }

  async #watch() {
    this.stop();
    $("camera").disabled = true; // while the visitor is asked
    await openCamera(this.video).finally(() => { $("camera").disabled = false; });
    const camera = new Newest(this.video, this.model, () => this.#opened(camera));
    this.#opened(camera);
    say("Watching.");
    this.video.srcObject.getVideoTracks()[0].onended = () => {
      this.stop();
      say("The camera is gone: plug it in, and start it again.", true);
    };
    try {
      while (this.camera === camera) {
        const due = pause(EVERY_MILLISECONDS);
        const clips = camera.clips(seconds());
        const { taken } = camera;
        const found = clips && await this.score(clips);
        // Meanwhile it may have been stopped, or the tab may have slept.
        if (found && this.camera === camera && camera.taken === taken) {
          this.show(...this.decide(found.scores, camera), found.milliseconds);
        }
        await due;
      }
    } catch (error) {
      this.stop();
      throw error;
    }
  }

  /** Ends what is shown. */
  stop() {
    this.camera?.stop();
    closeSource(this.video);
    this.#opened(null);
  }

  #opened(camera) {
    this.camera = camera;
    this.video.classList.toggle("mirrored", Boolean(camera));
    $("hint").hidden = Boolean(camera);
    $("label").textContent = "";
    if (camera) this.bars?.show(this.names.map(() => 0), []);
    $("camera").textContent = camera ? "Stop the camera" : "Start the camera";
    document.body.classList.toggle("live", Boolean(camera));
  }
}
