// Line charts as inline SVG: time from left to right, up to one hour wide; bands where the hub was away.
const HOUR = 3600;
const SHORTEST = 600;  // seconds shown at least, so that the first minutes are no dot at the edge
const MARGIN = { left: 40, right: 10, top: 10, bottom: 22 };

class Chart {
  constructor(host, options) {
    this.host = host;
    this.options = options;  // format(value), floor
    this.data = null;
    this.place = null;  // index of the point under the cursor
    new ResizeObserver(() => this.draw()).observe(host);
    host.addEventListener("pointermove", (event) => this.point(event));
    host.addEventListener("pointerleave", () => this.move(null));
  }

  // {title, times, series: [{name, values, kind: line|target, colour}], outages: [[from, to]], interval}
  show(data) { this.data = data; this.draw(); }

  draw() {
    const data = this.data;
    const width = this.host.clientWidth;
    const height = this.host.clientHeight;
    if (!data || !width) return;
    const values = data.series.flatMap((series) => series.values).filter((value) => value !== null);
    if (data.times.length < 2 || !values.length) {
      this.host.replaceChildren(h("div", { class: "empty" }, t("chart.empty")));
      return;
    }
    const focused = this.host.contains(document.activeElement);
    const end = data.times[data.times.length - 1];
    const steps = ticks(this.options.floor === undefined ? Math.min(...values) : this.options.floor, Math.max(...values));
    const low = steps[0], high = steps[steps.length - 1];
    const wide = Math.min(Math.max(end - data.times[0], SHORTEST), HOUR);
    this.x = (time) => MARGIN.left + ((time - (end - wide)) / wide) * (width - MARGIN.left - MARGIN.right);
    this.y = (value) => MARGIN.top + (1 - (value - low) / (high - low)) * (height - MARGIN.top - MARGIN.bottom);
    const root = svg("svg", { role: "img", tabindex: "0", "aria-label": this.summary() });
    for (const step of steps) {
      const y = this.y(step);
      root.append(
        svg("line", { class: "grid-line", x1: MARGIN.left, x2: width - MARGIN.right, y1: y, y2: y }),
        svg("text", { x: MARGIN.left - 7, y: y + 4, "text-anchor": "end" }, figure(step, step % 1 ? 1 : 0)));
    }
    const every = [60, 120, 300, 600, 1200].find((step) => (wide / step) * 62 < width - MARGIN.left) || 1800;
    for (let time = Math.ceil((end - wide) / every) * every; time <= end; time += every) {
      const x = this.x(time);
      const anchor = x > width - 28 ? "end" : "middle";
      if (x > MARGIN.left + 12) root.append(svg("text", { x, y: height - 5, "text-anchor": anchor }, clock(time)));
    }
    for (const [from, to] of data.outages || []) {
      const left = Math.max(this.x(from), MARGIN.left);
      root.append(svg("rect", { class: "outage", x: left, y: MARGIN.top, width: Math.max(this.x(to) - left, 2), height: height - MARGIN.top - MARGIN.bottom }));
    }
    for (const series of data.series) this.stroke(root, series, low);
    this.overlay = svg("g");
    root.append(this.overlay);
    root.addEventListener("keydown", (event) => this.key(event));
    root.addEventListener("blur", () => this.move(null));
    this.tip = h("div", { class: "tip", hidden: true });
    this.host.replaceChildren(root, this.tip);
    if (focused) root.focus();
    if (this.place !== null) this.move(Math.min(this.place, data.times.length - 1));
  }

  stroke(root, series, low) {
    const times = this.data.times;
    for (const [from, to] of runs(times, series.values, this.data.interval * 3.5)) {
      let path = "";
      for (let i = from; i <= to; i += 1) {
        if (series.values[i] === null) continue;
        path += `${path ? "L" : "M"}${this.x(times[i]).toFixed(1)} ${this.y(series.values[i]).toFixed(1)}`;
      }
      if (from === to) path += "h.01";
      if (series.kind === "area") {
        const floor = this.y(low).toFixed(1);
        root.append(svg("path", { class: `area k${series.colour}`, d: `${path}L${this.x(times[to]).toFixed(1)} ${floor}L${this.x(times[from]).toFixed(1)} ${floor}Z` }));
      }
      const stroke = { class: `${series.kind === "target" ? "target" : "line"} k${series.colour}`, d: path };
      if (series.dash) stroke["stroke-dasharray"] = series.dash;
      root.append(svg("path", stroke));
    }
  }

  summary() {
    const lines = this.data.series.filter((series) => series.kind !== "target");
    const values = lines.map((series) => `${series.name}: ${this.options.format(last(series.values))}`).join(", ");
    return t("chart.summary", { title: this.data.title, values });
  }

  point(event) {
    if (!this.data || !this.x || this.data.times.length < 2) return;
    const at = event.clientX - this.host.getBoundingClientRect().left;
    let best = null;
    this.data.times.forEach((time, i) => {
      if (best === null || Math.abs(this.x(time) - at) < Math.abs(this.x(this.data.times[best]) - at)) best = i;
    });
    this.move(best);
  }

  key(event) {
    const count = this.data.times.length;
    const here = this.place === null ? count : this.place;
    const moves = { ArrowLeft: here - 1, ArrowRight: here + 1, Home: 0, End: count - 1 };
    if (event.key === "Escape") { this.move(null); return; }
    if (!(event.key in moves)) return;
    event.preventDefault();
    this.move(Math.min(Math.max(moves[event.key], 0), count - 1));
  }

  move(place) {
    this.place = place;
    if (!this.overlay) return;
    this.overlay.replaceChildren();
    this.tip.hidden = place === null;
    if (place === null) return;
    const time = this.data.times[place];
    const x = this.x(time);
    this.overlay.append(svg("line", { class: "cursor", x1: x, x2: x, y1: MARGIN.top, y2: this.host.clientHeight - MARGIN.bottom }));
    const rows = [h("b", {}, clock(time))];
    for (const series of this.data.series) {
      const value = series.values[place];
      if (value === null || value === undefined || series.kind === "target") continue;
      this.overlay.append(svg("circle", { class: `k${series.colour}`, cx: x, cy: this.y(value), r: 3.5 }));
      rows.push(h("div", {}, `${series.name} ${this.options.format(value)}`));
    }
    this.tip.replaceChildren(...rows);
    const wide = this.tip.offsetWidth;
    this.tip.style.left = `${x + 12 + wide > this.host.clientWidth ? x - wide - 12 : x + 12}px`;
  }
}

// Stretches without a gap, as [first, last] indices; a null or a hole in time ends one.
function runs(times, values, gap) {
  const found = [];
  let start = null, previous = null;
  values.forEach((value, i) => {
    if (value === null) return;
    if (start === null) start = i;
    else if (times[i] - times[previous] > gap) { found.push([start, previous]); start = i; }
    previous = i;
  });
  if (start !== null) found.push([start, previous]);
  return found;
}

// Four or so round figures that enclose low and high.
function ticks(low, high) {
  if (high - low < 1e-9) high = low + 1;
  const rough = (high - low) / 4;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 2.5, 5, 10].map((n) => n * power).find((n) => n >= rough);
  const found = [];
  for (let value = Math.floor(low / step) * step; value < high + step * 0.999; value += step) found.push(Number(value.toFixed(6)));
  return found;
}

function last(values) {
  for (let i = values.length - 1; i >= 0; i -= 1) if (values[i] !== null) return values[i];
  return null;
}
