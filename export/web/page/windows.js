// Which frames make a clip, as keras_r3d/data/sampling/temporal.py has it, and averages of scores.

const LEAST = 1e-12; // of a probability whose logarithm is taken

const range = (count) => Array.from({ length: count }, (_, number) => number);

/** Returns the clips that an evaluation cuts from frames shown at `times`, as lists of frame numbers. */
export function wholeVideo(times, clips, evaluation) {
  const { kind, stride = 1, spans, fps } = clips.sampling;
  const shown = atRate(times, fps);
  const count = shown.length;
  const windows = evaluation.windows === "all" ? 0 : Number(evaluation.windows);
  let chosen;
  if (kind === "consecutive") {
    chosen = consecutive(count, clips.frames, stride, windows);
  } else if (spans && !windows) {
    chosen = snippets(count, clips, (length, parts) =>
      spanPlaces(parts, spans).map((row) => row.map((place) => Math.min(length - 1, Math.floor(place * length)))));
  } else {
    const all = windows || 1;
    chosen = snippets(count, clips, (length, parts) =>
      range(all).map((number) => spread(length, parts, (number + 0.5) / all)));
  }
  return different(chosen).map((clip) => clip.map((number) => shown[number]));
}

/** Returns the frame numbers of the newest clip; null while there are too few frames.
 *
 * `seconds` are what it is spread over, of clips that are spread over a whole video.
 */
export function newestClip(times, clips, seconds) {
  const { kind, stride = 1, fps } = clips.sampling;
  const [count, last] = [times.length, times.at(-1)];
  if (kind === "consecutive" && !fps) {
    const first = count - 1 - (clips.frames - 1) * stride;
    return first < 0 ? null : range(clips.frames).map((number) => first + number * stride);
  }
  const length = kind === "consecutive" ? (clips.frames * stride) / fps : seconds;
  if (count < 2 || ((last - times[0]) * count) / (count - 1) < length) return null;
  if (fps) {
    const instants = range(Math.max(1, Math.round(length * fps))).map((back) => last - back / fps).reverse();
    const shown = nearest(times, instants);
    if (kind === "consecutive") {
      return range(clips.frames).map((number) => shown[shown.length - 1 - number * stride]).reverse();
    }
    return snippets(shown.length, clips, (n, parts) => [spread(n, parts, 0.5)])[0].map((n) => shown[n]);
  }
  const first = times.findIndex((time) => time > last - length);
  return snippets(count - first, clips, (n, parts) => [spread(n, parts, 0.5)])[0].map((n) => first + n);
}

/** Resamples to `fps`; else to the video's own rate, so that frames the browser left out are filled. */
function atRate(times, fps) {
  const gaps = times.slice(1).map((time, number) => time - times[number]).sort((a, b) => a - b);
  const rate = fps ?? 1 / (gaps[Math.floor(gaps.length / 2)] || 1);
  const count = Math.floor((times.at(-1) - times[0]) * rate + (fps ? 0.001 : 0.5)) + 1;
  return nearest(times, range(count).map((number) => times[0] + number / rate));
}

function nearest(times, instants) {
  let at = 0;
  return instants.map((instant) => {
    while (at + 1 < times.length && times[at + 1] - instant < instant - times[at] - 1e-4) at += 1;
    return at;
  });
}

function consecutive(count, frames, stride, windows) {
  const span = frames * stride;
  const last = Math.max(0, count - (frames - 1) * stride - 1);
  let starts = range(Math.ceil(count / span)).map((number) => number * span);
  if (windows === 1) starts = [Math.floor(last / 2)];
  else if (windows) starts = range(windows).map((n) => Math.floor((last * n) / (windows - 1)));
  return starts.map((start) => {
    const there = range(Math.ceil((Math.min(count, start + span) - start) / stride));
    return range(frames).map((number) => start + there[number % there.length] * stride);
  });
}

/** Makes clips of snippets, `clips.sampling.snippet` frames in a row. */
function snippets(count, clips, choose) {
  const length = clips.sampling.snippet ?? 1;
  const firsts = choose(Math.max(1, count - length + 1), clips.frames / length);
  return firsts.map((row) => row.flatMap((first) => range(length).map((n) => Math.min(count - 1, first + n))));
}

const spread = (count, frames, place) => range(frames).map((number) => Math.floor(((number + place) * count) / frames));

function spanPlaces(frames, shares) {
  return shares.flatMap((share) => {
    const count = Math.ceil(2 / share - 1e-9) - 1;
    return range(count).map((number) => {
      const first = ((1 - share) * number) / Math.max(1, count - 1);
      return range(frames).map((frame) => first + (share * (frame + 0.5)) / frames);
    });
  });
}

const different = (clips) => [...new Map(clips.map((clip) => [clip.join(), clip])).values()];

/** Averages lists of scores as the model's [eval] says: "probabilities" or "log_probabilities". */
export function average(rows, quantity, several) {
  const mean = (of) => rows[0].map((_, k) => rows.reduce((sum, row) => sum + of(row[k]), 0) / rows.length);
  if (quantity === "probabilities") return mean((score) => score);
  if (several) {
    return mean((score) => Math.log(1 / Math.min(1 - LEAST, Math.max(LEAST, score)) - 1)).map((log) => 1 / (1 + Math.exp(log)));
  }
  return softmax(mean((score) => Math.log(Math.max(LEAST, score))));
}

export function softmax(logits) {
  const most = Math.max(...logits);
  const shares = logits.map((value) => Math.exp(value - most));
  const sum = shares.reduce((total, share) => total + share);
  return shares.map((share) => share / sum);
}

/** A label that does not flicker: another class takes its place when it leads by `margin`. */
export class SteadyLabel {
  constructor(margin = 0.1) {
    Object.assign(this, { margin, place: -1 });
  }

  update(scores) {
    const best = scores.indexOf(Math.max(...scores));
    if (this.place < 0 || scores[best] > scores[this.place] + this.margin) this.place = best;
    return this.place;
  }
}
