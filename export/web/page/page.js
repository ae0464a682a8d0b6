// Names what a camera or a video shows.

import { Bars, Timeline } from "./charts.js";
import { openModel } from "./model.js";
import { fetchJson, Network } from "./network.js";
import { closeSource, Newest, openCamera, openFile, scoreVideo } from "./source.js";
import { average, SteadyLabel } from "./windows.js";

const EVERY_MILLISECONDS = 100; // a window of the camera, at most
const $ = (id) => document.getElementById(id);
const video = $("video");
let [model, network, bars, timeline, newest] = [];

function say(text, isError = false) {
  $("status").textContent = text;
  $("status").classList.toggle("error", isError);
}

async function load() {
  const began = performance.now();
  model = await openModel("model.tflite");
  network = await Network.start(model, { useGpu: !new URLSearchParams(location.search).has("wasm") });
  bars = new Bars($("bars"), model.classes);
  timeline = new Timeline($("timeline"), model.classes);
  $("device").textContent = network.described;
  const { frames, size, sampling } = model.clips;
  const pace = sampling.kind === "consecutive" ? `in a row${(sampling.stride ?? 1) > 1 ? `, every ${sampling.stride}th` : ""}` : "spread over a movement";
  $("clips").textContent = `${frames} frames ${pace}, ${size} pixels, ${model.clips.crop.kind === "whole" ? "the whole picture" : "its center"}`;
  await describe();
  $("length").hidden = sampling.kind === "consecutive";
  $("camera").disabled = $("file").disabled = false;
  say(`Ready in ${((performance.now() - began) / 1000).toFixed(1)} s.`);
}

async function describe() {
  const { source, parity } = await fetchJson("export.json");
  const { name, weights } = model.recipe.model ?? {};
  const link = document.createElement("a");
  Object.assign(link, { href: "README.md", textContent: "model card" });
  const run = source.run ?? source.model;
  document.title = $("title").textContent = run;
  const started = weights ? `, started from ${weights}` : "";
  const right = parity.export.video_top1;
  const accuracy = right === undefined ? "" : `; ${(100 * right).toFixed(1)} % of ${parity.videos} test videos right`;
  $("trained").append(`${model.classes.length} classes: ${name ?? "a network"}${started}${accuracy} (`, link, ")");
}

/** Shows scores, and the classes that they name. */
function show(scores, places) {
  bars.show(scores, places);
  timeline.add(scores);
  $("label").textContent = places.map((place) => model.classes[place]).join(", ");
}

const named = (scores, label) => model.thresholds
  ? [...scores.keys()].filter((place) => scores[place] >= model.thresholds[place])
  : [label.update(scores)];

function speed(milliseconds, rate) {
  const frames = rate ? `; camera ${rate.toFixed(0)} frames/s` : "";
  $("speed").textContent = `${milliseconds.toFixed(1)} ms a window${frames}`;
}

async function watch() {
  stop();
  await openCamera(video);
  const mine = new Newest(video, model);
  newest = mine;
  const label = new SteadyLabel();
  const { average: quantity } = model.evaluation;
  video.classList.add("mirrored");
  $("hint").hidden = true;
  $("camera").textContent = "Stop the camera";
  say("Watching.");
  video.srcObject.getVideoTracks()[0].onended = () => {
    stop();
    say("The camera is gone: plug it in, and start it again.", true);
  };
  while (newest === mine) {
    const due = new Promise((resolve) => setTimeout(resolve, EVERY_MILLISECONDS));
    const clips = mine.clips(Number($("seconds").value));
    if (clips) {
      const answer = await network.score(clips);
      const scores = average(answer.scores, quantity, model.thresholds !== null);
      if (newest === mine) {
        show(scores, named(scores, label));
        speed(answer.milliseconds, mine.rate);
        $("device").textContent = network.described;
      }
    }
    await due;
  }
}

/** Ends what is shown. */
function stop() {
  newest?.stop();
  newest = null;
  closeSource(video);
  video.classList.remove("mirrored");
  $("camera").textContent = "Start the camera";
  $("label").textContent = "";
  $("hint").hidden = false;
}

async function score(file) {
  stop();
  $("hint").hidden = true;
  await openFile(video, file);
  const result = await scoreVideo(video, model, network, (share) => say(`${file.name}: ${(100 * share).toFixed(0)} % seen`));
  show(result.scores, named(result.scores, new SteadyLabel()));
  speed(result.milliseconds);
  const cut = result.cut === null ? "" : ` Only its first ${result.cut.toFixed(0)} s were scored: the rest does not fit into memory.`;
  say(`${file.name}: scored.${cut}`);
}

/** Runs what a visitor asked for; what goes wrong is a sentence on the page. */
async function attempt(action) {
  try {
    await action();
  } catch (error) {
    say(error.message, true);
  }
}

$("camera").onclick = () => attempt(newest ? async () => (stop(), say("Stopped.")) : watch);
$("file").onchange = ({ target }) => {
  const [file] = target.files;
  if (file) attempt(() => score(file));
  target.value = "";
};
$("seconds").oninput = () => { document.querySelector("output[for=seconds]").textContent = `${Number($("seconds").value).toFixed(1)} s`; };
for (const [type, inside] of [["dragover", true], ["dragleave", false], ["drop", false]]) {
  document.addEventListener(type, (event) => {
    event.preventDefault();
    document.body.classList.toggle("dropping", inside);
    const file = type === "drop" && event.dataTransfer.files[0];
    if (file && !$("file").disabled) attempt(() => score(file));
  });
}
attempt(load);
