// Teaches movements by a few recordings of each, and names them.

import { clipsOf, eachFrame } from "./frames.js";
import { classify, fit } from "./ridge.js";
import { GAP_SECONDS } from "./source.js";
import { $, attempt, element, pause, say, seconds, Stage } from "./stage.js";
import { SteadyLabel, wholeVideo } from "./windows.js";
import { writeZip } from "./zip.js";

const SMOOTHED = 3; // windows whose scores are averaged
const COUNTDOWN = Number(new URLSearchParams(location.search).get("countdown") ?? 3); // seconds
const PICTURE_HEIGHT = 240; // of recordings, in pixels
const STRIP = 6; // pictures of a recording
const LEAST_FRAMES = 4;
const MOST_LETTERS = 60;
const classes = []; // {name, row, recordings: [{embedding, pictures, element}]}
let [stage, head, recording] = [];

export async function start(model, network) {
  document.title = $("title").textContent = "Teach it movements";
  stage = new Stage(model, network, score, decide);
  for (const title of ["nothing", "movement 1"]) addClass(title);
  $("add").onclick = () => addClass(`movement ${classes.length}`);
  $("save").onclick = () => attempt(save);
}

/** Scores the newest window, unless there is nothing to name it by. */
async function score(clips) {
  const fitted = head;
  if (!fitted || recording) return null;
  const { embedding, milliseconds } = await embed(clips);
  return head === fitted && !recording ? { scores: classify(head, embedding), milliseconds } : null;
}

/** Smooths the scores while camera and head stay the same. */
function decide(scores, camera) {
  if (camera.memory?.head !== head) camera.memory = { head, recent: [], label: new SteadyLabel(0.15) };
  const { recent, label } = camera.memory;
  recent.push(scores);
  if (recent.length > SMOOTHED) recent.shift();
  const smooth = mean(recent);
  return [smooth, [label.update(smooth)]];
}

async function embed(clips) {
  const { scores, milliseconds } = await stage.network.score(clips);
  return { embedding: mean(scores), milliseconds };
}

const mean = (rows) => rows[0].map((_, d) => rows.reduce((sum, row) => sum + row[d], 0) / rows.length);

function addClass(title) {
  const one = { name: title, row: element("div", { className: "class" }), recordings: [] };
  const input = element("input", { value: title, maxLength: MOST_LETTERS, ariaLabel: "Name" });
  const record = element("button", { textContent: "Record", className: "record" });
  input.onchange = () => {
    const wanted = input.value.replace(/[/\\\p{Cc}]/gu, "-").replace(/^[\s.]+|\s+$/gu, ""); // a folder's name, too
    const taken = classes.some((other) => other !== one && other.name === wanted);
    if (wanted && !taken) one.name = wanted;
    input.value = one.name;
    refit();
    if (taken) say(`There is a movement “${wanted}” already.`, true);
  };
  record.onclick = () => attempt(() => recordExample(one));
  one.row.append(input, record);
  $("classes").append(one.row);
  classes.push(one);
}

async function recordExample(one) {
  if (recording || !stage.camera) return;
  recording = true;
  document.body.classList.add("recording");
  try {
    for (let left = COUNTDOWN; left > 0; left -= 1) {
      $("label").textContent = `${one.name} in ${left}`;
      await pause(1000);
    }
    $("label").textContent = `● ${one.name}`;
    const { times, frames, pictures } = await recorded(seconds());
    const slept = times.some((time, number) => time - times[number - 1] > GAP_SECONDS);
    if (slept || times.length < LEAST_FRAMES) throw new Error("The camera gave hardly any frame: record again.");
    const { clips, evaluation } = stage.model;
    const windows = wholeVideo(times, clips, evaluation);
    const views = windows.flatMap((numbers) => clipsOf(numbers.map((number) => frames[number]), evaluation.views));
    const { embedding } = await embed(views);
    const example = { embedding, pictures: await Promise.all(pictures) };
    example.element = await strip(one, example);
    one.recordings.push(example);
    refit();
  } finally {
    recording = false;
    document.body.classList.remove("recording");
    $("label").textContent = "";
  }
}

/** Keeps what the camera shows for some seconds. */
async function recorded(length) {
  const { camera, video } = stage;
  const [times, frames, pictures] = [[], [], []];
  const height = Math.min(PICTURE_HEIGHT, video.videoHeight);
  const canvas = new OffscreenCanvas(Math.round((height * video.videoWidth) / video.videoHeight), height);
  const stopped = eachFrame(video, (time) => {
    canvas.getContext("2d").drawImage(video, 0, 0, canvas.width, height);
    times.push(time);
    frames.push(camera.cutter.cut(video));
    pictures.push(canvas.convertToBlob({ type: "image/jpeg", quality: 0.92 }));
  });
  await pause(1000 * length);
  stopped();
  if (stage.camera !== camera) throw new Error("The camera was stopped: record again.");
  return { times, frames, pictures };
}

/** Shows a recording, with a button that deletes it. */
async function strip(one, example) {
  const figure = element("figure");
  const canvas = element("canvas", { width: STRIP * 64, height: 48 });
  for (let number = 0; number < STRIP; number += 1) {
    const blob = example.pictures[Math.floor(((number + 0.5) * example.pictures.length) / STRIP)];
    canvas.getContext("2d").drawImage(await createImageBitmap(blob), number * 64, 0, 64, 48);
  }
  const remove = element("button", { textContent: "×", className: "plain", title: "Delete", ariaLabel: "Delete" });
  remove.onclick = () => {
    one.recordings = one.recordings.filter((other) => other !== example);
    figure.remove();
    refit();
  };
  figure.append(canvas, remove, element("figcaption"));
  one.row.append(figure);
  return figure;
}

/** Fits the head to all recordings, and says how well it does on those it has not seen. */
function refit() {
  const taught = classes.filter(({ recordings }) => recordings.length);
  const examples = taught.flatMap(({ recordings }, place) => recordings.map((example) => ({ example, place })));
  head = null;
  $("save").disabled = taught.length < 2;
  $("accuracy").textContent = $("label").textContent = "";
  if (taught.length < 2) return say(taught.length ? "Record another class, too." : "Record a few examples of each.");
  const began = performance.now();
  const places = examples.map(({ place }) => place);
  const fitted = fit(examples.map(({ example }) => example.embedding), places, taught.length);
  const milliseconds = performance.now() - began;
  const names = taught.map((one) => one.name);
  head = { ...fitted, names };
  examples.forEach(({ example, place }, number) => {
    const other = fitted.heldOut[number];
    const odd = other !== place && taught[place].recordings.length > 1;
    example.element.classList.toggle("odd", odd);
    example.element.lastChild.textContent = odd ? `unlike the others: looks like “${names[other]}”` : "";
  });
  const right = places.filter((place, number) => fitted.heldOut[number] === place).length;
  $("accuracy").textContent = `${right} of ${places.length} recordings are named right by a fit that has not seen them (${milliseconds.toFixed(0)} ms).`;
  stage.classes(names);
  return say("It names what you do.");
}

/** Saves the recordings, as folders of pictures, and the head. */
async function save() {
  const files = new Map();
  for (const one of classes) {
    for (const [number, { pictures }] of one.recordings.entries()) {
      for (const [frame, picture] of pictures.entries()) {
        const [folder, file] = [[number, 3], [frame, 5]].map(([n, digits]) => String(n + 1).padStart(digits, "0"));
        files.set(`${one.name}/${folder}/${file}.jpg`, new Uint8Array(await picture.arrayBuffer()));
      }
    }
  }
  const { names, kernel, bias } = head;
  const text = JSON.stringify({ format: 1, classes: names, recipe: stage.model.recipe, kernel, bias });
  files.set("head.json", new TextEncoder().encode(text));
  const link = element("a", { href: URL.createObjectURL(writeZip(files)), download: "movements.zip" });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60000);
}
