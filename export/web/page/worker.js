// Scores clips with LiteRT.js, away from the page. A classic worker: LiteRT.js uses importScripts.
"use strict";

const SAME = 0.01; // largest difference of a score from TensorFlow Lite's that counts as the same
let litert;
let compiled = []; // {device, model, shape}, the fastest first: "webgpu" and "wasm", or one

onmessage = async ({ data: { id, task, ...values } }) => {
  try {
    postMessage({ id, result: await { start, score }[task](values) });
  } catch (error) {
    postMessage({ id, error: error?.message ?? String(error) });
  }
};

/** Loads LiteRT.js and the model, and compares what each device makes of `example` with its `scores`.
 *
 * Returns `{device, threads, checks: [{device, difference, milliseconds, error}]}`, the fastest device.
 */
async function start({ runtime, bytes, shape, example, useGpu = true, threads: most = 4 }) {
  const fetched = async (name, type) => {
    const integrity = runtime.files[name];
    const answer = await fetch(runtime.base + name, { integrity }).catch(() => null);
    if (!answer?.ok) throw new Error(`${runtime.base + name} cannot be loaded, or is not the file it should be.`);
    return URL.createObjectURL(new Blob([await answer.arrayBuffer()], { type }));
  };
  const script = "text/javascript";
  const [core, utils] = Object.keys(runtime.files).filter((name) => name.endsWith("/dist/index.js"));
  const utilities = await fetched(utils, script);
  const text = await (await fetch(await fetched(core, script))).text();
  // A worker has no import map.
  const named = text.replace('"@litertjs/wasm-utils"', JSON.stringify(utilities));
  litert = await import(URL.createObjectURL(new Blob([named], { type: script })));

  const relaxed = await litert.supportsFeature("relaxedSimd");
  const threaded = relaxed && self.crossOriginIsolated && (await litert.supportsFeature("threads"));
  const variant = threaded ? "threaded_internal" : relaxed ? "internal" : "compat_internal";
  const [loader, binary] = [".js", ".wasm"].map((suffix) =>
    Object.keys(runtime.files).find((name) => name.endsWith(`/litert_wasm_${variant}${suffix}`)));
  const [loaderUrl, binaryUrl] = [await fetched(loader, script), await fetched(binary, "application/wasm")];
  self.Module = {
    locateFile: () => binaryUrl,
    mainScriptUrlOrBlob: loaderUrl, // of its threads
    print: () => {}, // what it logs of itself
    printErr: () => {},
  };
  try {
    await litert.loadLiteRt(`${loaderUrl}#.js`);
  } catch (error) {
    throw new Error(`This browser cannot run the network: it needs WebAssembly with SIMD (${error.message}).`);
  }
  const threads = threaded ? Math.max(1, Math.min(most, navigator.hardwareConcurrency >> 1)) : 1; // others are for the page
  const checks = [];
  for (const device of useGpu && litert.getWebGpuDevice() ? ["webgpu", "wasm"] : ["wasm"]) {
    const check = { device, difference: NaN, milliseconds: Infinity, error: "" };
    checks.push(check);
    try {
      const options = { accelerator: device, cpuOptions: { numThreads: threads }, gpuOptions: { precision: "fp32" } };
      const model = await litert.loadAndCompile(bytes, options);
      if (model.options.accelerator !== device) throw new Error("not all of the model runs there");
      const scores = await run({ model, shape }, example.clip); // which compiles what is left
      check.difference = Math.max(...scores.map((score, k) => Math.abs(score - example.scores[k])));
      if (!(check.difference <= SAME)) throw new Error("other scores than TensorFlow Lite");
      const began = performance.now();
      await run({ model, shape }, example.clip);
      check.milliseconds = performance.now() - began;
      compiled.push({ device, model, shape, milliseconds: check.milliseconds });
    } catch (error) {
      check.error = error?.message ?? String(error);
    }
  }
  if (!compiled.some(({ device }) => device === "wasm")) {
    throw new Error(`The network does not compute here what it should: ${checks.at(-1).error}.`);
  }
  compiled.sort((a, b) => a.milliseconds - b.milliseconds);
  return { device: compiled[0].device, threads, checks };
}

/** Scores clips, one after the other; returns `{device, scores, milliseconds}`. */
async function score({ clips }) {
  const began = performance.now();
  const [{ device }] = compiled;
  try {
    const scores = [];
    for (const clip of clips) scores.push(await run(compiled[0], clip));
    return { device, scores, milliseconds: performance.now() - began };
  } catch (error) {
    if (device === "wasm") throw error;
    compiled = compiled.filter((other) => other.device === "wasm"); // another tab took the GPU
    return score({ clips });
  }
}

async function run({ model, shape }, clip) {
  const input = new litert.Tensor(clip, shape);
  const outputs = await model.run(input);
  const scores = Array.from(await outputs[0].data());
  for (const tensor of [input, ...outputs]) tensor.delete();
  return scores;
}
