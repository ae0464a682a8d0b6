// The network in a worker of its own.

/** Loads model and runtime; `folder` has model.json's neighbors: litert.json and example.json. */
export class Network {
  static async start(model, options = {}) {
    const [runtime, { clip, scores }] = await Promise.all(["litert.json", "example.json"].map(fetchJson));
    const network = new Network();
    const size = Array.isArray(model.clips.size) ? model.clips.size : [model.clips.size, model.clips.size];
    const shape = [1, model.clips.frames, ...size, 3];
    runtime.base = new URL(runtime.base, location.href).href;
    const example = { clip: Uint8Array.from(atob(clip), (letter) => letter.charCodeAt(0)), scores };
    const report = await network.ask("start", { runtime, bytes: model.bytes, shape, example, ...options });
    return Object.assign(network, report, { runtime });
  }

  constructor() {
    this.worker = new Worker("worker.js");
    this.waiting = new Map();
    this.count = 0;
    this.worker.onmessage = ({ data: { id, result, error } }) => {
      const { resolve, reject } = this.waiting.get(id);
      this.waiting.delete(id);
      if (error === undefined) resolve(result);
      else reject(new Error(error));
    };
    this.worker.onerror = (event) => {
      event.preventDefault();
      for (const { reject } of this.waiting.values()) reject(new Error(event.message || "The worker cannot be started."));
      this.waiting.clear();
    };
  }

  /** Scores clips, uint8 `(frames, height, width, 3)` each; returns `{device, scores, milliseconds}`. */
  async score(clips) {
    const answer = await this.ask("score", { clips }, clips.map((clip) => clip.buffer));
    this.device = answer.device;
    return answer;
  }

  ask(task, values, transfer = []) {
    this.count += 1;
    const id = this.count;
    return new Promise((resolve, reject) => {
      this.waiting.set(id, { resolve, reject });
      this.worker.postMessage({ id, task, ...values }, transfer);
    });
  }

  /** Returns in words where it runs, and how it was compared with TensorFlow Lite. */
  get described() {
    const titles = { webgpu: "WebGPU", wasm: `WebAssembly, ${this.threads} thread${this.threads > 1 ? "s" : ""}` };
    const parts = this.checks.map(({ device, difference, milliseconds, error }) => {
      const chosen = device === this.device ? "" : " (not used)";
      const off = difference ? `within ${difference.toExponential(0)} of` : "the same as";
      const found = `${milliseconds.toFixed(0)} ms a clip, scores ${off} TensorFlow Lite's on a test clip`;
      return `${titles[device]}${chosen}: ${error || found}`;
    });
    return parts.join("; ");
  }
}

export async function fetchJson(url) {
  const answer = await fetch(url);
  if (!answer.ok) throw new Error(`${url} is missing (${answer.status}): export the model again.`);
  return answer.json();
}
