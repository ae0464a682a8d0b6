// Opens the network; a network with classes names what it sees, one without is taught some.

import { openModel } from "./model.js";
import { Network } from "./network.js";
import { $, attempt, say } from "./stage.js";

attempt(async () => {
  const began = performance.now();
  const model = await openModel("model.tflite");
  const network = await Network.start(model);
  const taught = model.classes.length === 0;
  document.body.className = taught ? "teach" : "watch";
  const { start } = await import(taught ? "./teach.js" : "./watch.js");
  await start(model, network);
  $("device").textContent = network.described;
  $("length").hidden = model.clips.sampling.kind === "consecutive";
  $("camera").disabled = $("file").disabled = false;
  say(`Ready in ${((performance.now() - began) / 1000).toFixed(1)} s.`);
});
