// Names what a camera or a video shows.

import { fetchJson } from "./network.js";
import { openFile, scoreVideo } from "./source.js";
import { $, attempt, element, say, Stage } from "./stage.js";
import { average, SteadyLabel } from "./windows.js";

export async function start(model, network) {
  const several = model.thresholds !== null;
  const named = (scores, label) => several
    ? [...scores.keys()].filter((place) => scores[place] >= model.thresholds[place])
    : [label.update(scores)];

  const stage = new Stage(model, network, async (clips) => {
    const { scores, milliseconds } = await network.score(clips);
    return { scores: average(scores, model.evaluation.average, several), milliseconds };
  }, (scores, camera) => [scores, named(scores, camera.memory ??= new SteadyLabel())]);
  stage.classes(model.classes);

  async function score(file) {
    stage.stop();
    $("hint").hidden = true;
    await openFile(stage.video, file);
    const seen = (share) => say(`${file.name}: ${(100 * share).toFixed(0)} % seen`);
    const { scores, milliseconds, cut } = await scoreVideo(stage.video, model, network, seen);
    stage.show(scores, named(scores, new SteadyLabel()), milliseconds);
    const rest = cut === null ? "" : ` Only its first ${cut.toFixed(0)} s: the rest does not fit into memory.`;
    say(`${file.name}: scored.${rest}`);
  }

  $("file").onchange = ({ target }) => {
    const [file] = target.files;
    if (file) attempt(() => score(file));
    target.value = ""; // the same file may be chosen again
  };
  for (const [type, inside] of [["dragover", true], ["dragleave", false], ["drop", false]]) {
    document.addEventListener(type, (event) => {
      event.preventDefault();
      document.body.classList.toggle("dropping", inside);
      const file = type === "drop" && event.dataTransfer.files[0];
      if (file) attempt(() => score(file));
    });
  }
  await describe(model);
}

async function describe({ classes, clips, recipe }) {
  const { source, parity } = await fetchJson("export.json");
  document.title = $("title").textContent = source.run ?? source.model;
  const { kind, stride = 1 } = clips.sampling;
  const pace = kind !== "consecutive" ? "spread over a movement" : stride > 1 ? `at a stride of ${stride}` : "in a row";
  const part = clips.crop.kind === "whole" ? "the whole picture" : "its center";
  $("clips").textContent = `${clips.frames} frames ${pace}; ${part} at ${[clips.size].flat().join("×")} pixels`;
  const { name = "a network", weights } = recipe.model ?? {};
  const right = parity.export.video_top1;
  const facts = [
    `${classes.length} classes`,
    `${name}${weights ? `, started from ${weights}` : ""}`,
    ...(right === undefined ? [] : [`${(100 * right).toFixed(1)} % of ${parity.videos} test videos right`]),
  ];
  const card = element("a", { href: "README.md", textContent: "model card" });
  $("trained").replaceChildren(`${facts.join("; ")} (`, card, ")");
}
