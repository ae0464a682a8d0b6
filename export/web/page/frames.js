// Frames of a camera or a video as the network takes them, like keras_r3d/data/decoding/pixels.py:
// shrunk by averaging areas, cropped, scaled.

const LONGEST_SHORT_SIDE = 480; // pixels; the browser shrinks what is larger

/** Cuts the views of the frames that a <video> shows. */
export class FrameCutter {
  constructor(clips, views) {
    this.size = Array.isArray(clips.size) ? clips.size : [clips.size, clips.size];
    this.canvas = document.createElement("canvas");
    this.context = this.canvas.getContext("2d", { willReadFrequently: true });
    Object.assign(this, { clips, views });
  }

  get bytes() {
    return this.views * this.size[0] * this.size[1] * 3;
  }

  /** Returns the views of the frame that is shown, uint8 RGB `(views, height, width, 3)`. */
  cut(video) {
    const { videoWidth, videoHeight } = video;
    const scale = Math.min(1, LONGEST_SHORT_SIDE / Math.min(videoWidth, videoHeight));
    const [width, height] = [videoWidth, videoHeight].map((side) => Math.max(1, Math.round(side * scale)));
    if (this.canvas.width !== width || this.canvas.height !== height) {
      Object.assign(this.canvas, { width, height });
      this.context.imageSmoothingQuality = "high";
    }
    this.context.drawImage(video, 0, 0, width, height);
    let image = { data: this.context.getImageData(0, 0, width, height).data, width, height, channels: 4 };
    const short = this.clips.short_side ?? 0;
    if (short && short < Math.min(width, height)) {
      const [rows, columns] = [height, width].map((side) => Math.max(1, Math.round((side * short) / Math.min(width, height))));
      image = scaled(image, { top: 0, left: 0, height, width }, rows, columns);
    }
    const out = new Uint8Array(this.bytes);
    const one = this.bytes / this.views;
    crops(this.clips, this.views, this.size, image.height, image.width).forEach((crop, number) => {
      out.set(scaled(image, crop, ...this.size).data, number * one);
    });
    return out;
  }
}

/** Returns the crops of a frame, as keras_r3d/data/sampling/cropping.py has them: one, or two. */
function crops(clips, views, size, height, width) {
  const aspect = size[1] / size[0];
  const largest = Math.min(height, width / aspect) * (clips.crop.center ?? 1);
  const [rows, columns] = [largest, largest * aspect].map((side) => Math.max(1, Math.round(side)));
  const [top, left] = [height - rows, width - columns].map((free) => Math.floor(free / 2));
  const all = [{ top, left, height: rows, width: columns }];
  if (clips.crop.kind === "whole") all.unshift({ top: 0, left: 0, height, width });
  return all.slice(0, views);
}

/** Scales a crop of an image to RGB: averages areas where it shrinks, bilinearly where a side grows. */
function scaled(image, crop, rows, columns) {
  const shrinks = rows <= crop.height && columns <= crop.width;
  const across = taps(crop.width, columns, shrinks);
  const down = taps(crop.height, rows, shrinks);
  const thin = new Float32Array(crop.height * columns * 3);
  const { data, channels } = image;
  for (let y = 0, out = 0; y < crop.height; y += 1) {
    const row = (crop.top + y) * image.width + crop.left;
    for (let x = 0; x < columns; x += 1, out += 3) {
      const { first, weights } = across[x];
      let [red, green, blue, at] = [0, 0, 0, (row + first) * channels];
      for (let tap = 0; tap < weights.length; tap += 1, at += channels) {
        const weight = weights[tap];
        red += weight * data[at];
        green += weight * data[at + 1];
        blue += weight * data[at + 2];
      }
      thin[out] = red;
      thin[out + 1] = green;
      thin[out + 2] = blue;
    }
  }
  const result = new Uint8Array(rows * columns * 3);
  for (let y = 0, out = 0; y < rows; y += 1) {
    const { first, weights } = down[y];
    for (let x = 0; x < 3 * columns; x += 1, out += 1) {
      let sum = 0.5; // rounds
      for (let tap = 0; tap < weights.length; tap += 1) sum += weights[tap] * thin[(first + tap) * 3 * columns + x];
      result[out] = sum;
    }
  }
  return { data: result, width: columns, height: rows, channels: 3 };
}

/** Returns for each of `outputs` pixels the first of `inputs` pixels it is made of, and their weights. */
function taps(inputs, outputs, shrinks) {
  const factor = inputs / outputs;
  return Array.from({ length: outputs }, (_, number) => {
    if (!shrinks) {
      const center = Math.min(inputs - 1, Math.max(0, (number + 0.5) * factor - 0.5));
      const first = Math.min(Math.floor(center), Math.max(0, inputs - 2));
      return { first, weights: inputs > 1 ? [1 - (center - first), center - first] : [1] };
    }
    const [begin, end] = [number * factor, (number + 1) * factor];
    const [first, last] = [Math.floor(begin + 1e-6), Math.min(inputs, Math.ceil(end - 1e-6))];
    const weights = Array.from({ length: last - first }, (_, tap) =>
      (Math.min(end, first + tap + 1) - Math.max(begin, first + tap)) / factor);
    return { first, weights };
  });
}

/** Calls `take(seconds)` for each frame that a <video> shows, until the function it returns is called. */
export function eachFrame(video, take) {
  if (!video.requestVideoFrameCallback) {
    throw new Error("This browser does not tell when a video shows a frame: use a newer one.");
  }
  let handle;
  const step = (now, { mediaTime }) => {
    handle = video.requestVideoFrameCallback(step);
    take(video.srcObject ? now / 1000 : mediaTime);
  };
  handle = video.requestVideoFrameCallback(step);
  return () => video.cancelVideoFrameCallback(handle);
}

/** Puts the views of a clip's frames together: a list of `(frames, height, width, 3)`, one a view. */
export function clipsOf(frames, views) {
  const size = frames[0].length / views;
  return Array.from({ length: views }, (_, view) => {
    const clip = new Uint8Array(frames.length * size);
    frames.forEach((frame, number) => clip.set(frame.subarray(view * size, (view + 1) * size), number * size));
    return clip;
  });
}
