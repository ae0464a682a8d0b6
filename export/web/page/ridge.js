// The linear classifier of `few` in closed form, fitted to an embedding of each recording: ridge
// regression, of whose strengths the one is taken that recordings left out in turn are named best by
// (keras_r3d/inference/embeddings/ridge.py).

import { softmax } from "./windows.js";

const STRENGTHS = Array.from({ length: 13 }, (_, number) => 10 ** ((number - 6) / 2));
const TEMPERATURES = Array.from({ length: 80 }, (_, number) => 0.5 * 120 ** (number / 79));

/** Fits to rows, one an example, with the numbers of their classes.
 *
 * Returns `{kernel, bias, heldOut}`: logits are `kernel[class] · row + bias[class]`; `heldOut` has the
 * class that each example is given by a fit without it.
 */
export function fit(rows, labels, classes) {
  const [count, size] = [rows.length, rows[0].length];
  const columns = Array.from({ length: size }, (_, d) => rows.map((row) => row[d]));
  const mean = columns.map((column) => sum(column) / count);
  const deviation = columns.map((column, d) => Math.sqrt(sum(column.map((value) => (value - mean[d]) ** 2)) / count));
  const least = 1e-6 * Math.max(1e-30, ...deviation);
  const scale = deviation.map((value) => (value > least ? 1 / value : 0));
  const standard = rows.map((row) => row.map((value, d) => (value - mean[d]) * scale[d]));
  const products = standard.map((a) => standard.map((b) => dot(a, b)));
  const targets = labels.map((label) => Array.from({ length: classes }, (_, k) => (k === label ? 1 : -1)));
  const shift = Array.from({ length: classes }, (_, k) => sum(targets.map((row) => row[k])) / count);

  let best = { loss: Infinity };
  for (const strength of STRENGTHS) {
    const penalty = strength * count;
    const inverse = inverted(products.map((row, i) => row.map((value, j) => value + (i === j ? penalty : 0))));
    const dual = inverse.map((row) => shift.map((_, k) => sum(row.map((value, j) => value * (targets[j][k] - shift[k])))));
    // Of a fit without example i, from the fit of all.
    const scores = targets.map((row, i) => row.map((target, k) =>
      target - (penalty * dual[i][k]) / Math.max(1e-9, penalty * inverse[i][i] - 1 / count)));
    const { temperature, loss } = calibrated(scores, labels);
    if (loss < best.loss) best = { loss, temperature, dual, scores };
  }
  const kernel = shift.map((_, k) => scale.map((factor, d) =>
    best.temperature * factor * sum(standard.map((row, i) => row[d] * best.dual[i][k]))));
  const bias = shift.map((value, k) => best.temperature * value - dot(mean, kernel[k]));
  return { kernel, bias, heldOut: best.scores.map((row) => row.indexOf(Math.max(...row))) };
}

/** Returns the probabilities of the classes of an embedding. */
export const classify = ({ kernel, bias }, row) => softmax(kernel.map((weights, k) => dot(weights, row) + bias[k]));

const sum = (values) => values.reduce((total, value) => total + value, 0);

function dot(a, b) {
  let total = 0;
  for (let d = 0; d < a.length; d += 1) total += a[d] * b[d];
  return total;
}

/** Returns what scores are to be multiplied by to be logits, and the cross-entropy then.
 *
 * One more example, of which nothing is known, keeps it finite where all are right.
 */
function calibrated(scores, labels) {
  let best = { smoothed: Infinity };
  for (const temperature of TEMPERATURES) {
    const logs = scores.map((row) => softmax(row.map((score) => temperature * score)).map((share) => Math.log(Math.max(1e-300, share))));
    const right = sum(labels.map((label, i) => logs[i][label]));
    const unknown = sum(logs.map((row) => sum(row) / row.length)) / logs.length;
    const smoothed = -(right + unknown) / (labels.length + 1);
    if (smoothed < best.smoothed) best = { smoothed, temperature, loss: -right / labels.length };
  }
  return best;
}

/** Inverts a positive definite matrix (Gauss-Jordan). */
function inverted(matrix) {
  const size = matrix.length;
  const rows = matrix.map((row, i) => Float64Array.from([...row, ...row.map((_, j) => (i === j ? 1 : 0))]));
  for (let i = 0; i < size; i += 1) {
    const pivot = rows[i][i];
    for (let k = 0; k < 2 * size; k += 1) rows[i][k] /= pivot;
    for (let j = 0; j < size; j += 1) {
      const factor = rows[j][i];
      if (j === i || !factor) continue;
      for (let k = i; k < 2 * size; k += 1) rows[j][k] -= factor * rows[i][k];
    }
  }
  return rows.map((row) => Array.from(row.subarray(size)));
}
