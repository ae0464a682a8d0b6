// Bars of the scores, and the last minute of them.

const MOST_BARS = 12;
const MOST_ROWS = 6;
const MINUTE = 60;

/** Bars of the classes; of many, those of the highest scores. */
export class Bars {
  constructor(place, classes) {
    this.classes = classes;
    this.rows = classes.slice(0, MOST_BARS).map(() => {
      const row = document.createElement("div");
      row.className = "bar";
      const [name, meter, value] = ["span", "meter", "output"].map((tag) => document.createElement(tag));
      row.append(name, meter, value);
      return { row, name, meter, value };
    });
    place.replaceChildren(...this.rows.map(({ row }) => row));
    this.show(classes.map(() => 0), []);
  }

  /** Shows scores; the places in `named` are the classes that are named. */
  show(scores, named) {
    let places = [...scores.keys()];
    if (places.length > MOST_BARS) places = places.sort((a, b) => scores[b] - scores[a]).slice(0, MOST_BARS);
    places.forEach((place, number) => {
      const { row, name, meter, value } = this.rows[number];
      name.textContent = name.title = this.classes[place];
      meter.value = scores[place];
      meter.setAttribute("aria-label", this.classes[place]);
      value.textContent = `${(100 * scores[place]).toFixed(0)} %`;
      row.classList.toggle("named", named.includes(place));
    });
  }
}

/** A row for each of the classes that led lately, darker where their score was higher. */
export class Timeline {
  constructor(canvas, classes) {
    Object.assign(this, { canvas, classes, points: [] });
  }

  add(scores) {
    const now = performance.now() / 1000;
    this.points.push({ now, scores });
    while (this.points[0].now < now - MINUTE) this.points.shift();
    this.#draw(now);
  }

  #draw(now) {
    const { canvas, points } = this;
    const [width, height] = [canvas.clientWidth, canvas.clientHeight].map((side) => Math.round(side * devicePixelRatio));
    if (canvas.width !== width || canvas.height !== height) Object.assign(canvas, { width, height });
    const context = canvas.getContext("2d");
    const { color } = getComputedStyle(canvas);
    const most = this.classes.map((_, place) => Math.max(...points.map(({ scores }) => scores[place])));
    const shown = [...most.keys()].sort((a, b) => most[b] - most[a]).slice(0, MOST_ROWS).sort((a, b) => a - b);
    const [left, row] = [Math.min(110 * devicePixelRatio, width / 3), height / MOST_ROWS];
    context.clearRect(0, 0, width, height);
    context.font = `${12 * devicePixelRatio}px system-ui, sans-serif`;
    context.textBaseline = "middle";
    shown.forEach((place, number) => {
      context.globalAlpha = 1;
      context.fillStyle = color;
      context.fillText(shortened(context, this.classes[place], left - 6), 0, (number + 0.5) * row);
      points.forEach(({ now: then, scores }, point) => {
        const x = (seconds) => left + (1 - Math.min(MINUTE, now - seconds) / MINUTE) * (width - left);
        const until = Math.min(points[point + 1]?.now ?? now, then + 1); // nothing was scored longer
        context.globalAlpha = scores[place];
        context.fillStyle = "#2f6fde";
        context.fillRect(x(then), number * row + 2, Math.max(1, x(until) - x(then)), row - 4);
      });
    });
  }
}

function shortened(context, text, width) {
  let shown = text;
  while (shown && context.measureText(shown === text ? text : `${shown}…`).width > width) shown = shown.slice(0, -1);
  return shown === text ? text : `${shown}…`;
}
