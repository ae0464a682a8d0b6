// A .tflite model and what it says of itself: its classes, and how clips are cut.

import { readZip } from "./zip.js";

/** Fetches a model.
 *
 * Returns `{bytes, classes, clips, evaluation, thresholds, recipe}`: `clips` and `evaluation` are the
 * tables [clips] and [eval] of the recipe it was trained by. Throws an Error with a sentence to show.
 */
export async function openModel(url) {
  const answer = await fetch(url);
  if (!answer.ok) throw new Error(`${url} is missing (${answer.status}): export the model again.`);
  const bytes = new Uint8Array(await answer.arrayBuffer());
  const ours = "a model that `python -m keras_r3d.export` wrote was expected";
  if (new TextDecoder().decode(bytes.subarray(4, 8)) !== "TFL3") {
    throw new Error(`${url} is no .tflite file: ${ours}.`);
  }
  const { start, files } = readZip(bytes);
  const texts = Object.fromEntries([...files].map(([name, text]) => [name, new TextDecoder().decode(text)]));
  if (!texts["model.json"]) {
    throw new Error(`${url} does not say what its classes are and how its clips are cut: ${ours}.`);
  }
  if ((await sha256(bytes.subarray(0, start))) !== texts["model.sha256"]) {
    throw new Error(`${url} is damaged: the model inside is not the one that was exported.`);
  }
  const { format, classes, recipe, thresholds = null } = JSON.parse(texts["model.json"]);
  if (format !== 1) {
    throw new Error(`${url} is of format ${format}, this page reads format 1: export it again.`);
  }
  if (recipe.clips.input !== "rgb") {
    throw new Error(`${url} takes optical flow (${recipe.clips.input}), which is not computed here.`);
  }
  return { bytes, classes, thresholds, recipe, clips: recipe.clips, evaluation: recipe.eval };
}

async function sha256(bytes) {
  if (!globalThis.crypto?.subtle) {
    throw new Error("Open this page by https:// or at http://localhost: browsers allow neither cameras nor checksums elsewhere.");
  }
  const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", bytes));
  return Array.from(digest, (byte) => byte.toString(16).padStart(2, "0")).join("");
}
