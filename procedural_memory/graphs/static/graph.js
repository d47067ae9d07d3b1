"use strict";

const element = (tag, text, kind) => {
  const made = document.createElement(tag);
  if (text !== undefined) made.textContent = text; // never as HTML: commands are foreign text
  if (kind) made.className = kind;
  return made;
};
const percent = (value) => `${Math.round(100 * value)} %`;
const rate = (item) => (item.success + item.failure ? item.success / (item.success + item.failure) : null);
const short = (text, length = 34) => (text.length > length ? `${text.slice(0, length - 1)}…` : text);

class WorkflowGraph {
  constructor() {
    this.part = (name) => document.getElementById(`graph-${name}`);
    this.canvas = this.part("canvas");
    this.pen = this.canvas.getContext("2d");
    this.onSearch = this.onChoose = () => {};
    this.view = d3.zoomIdentity;
    this.nodes = this.edges = [];
    this.hits = new Set();
    this.zoom = d3.zoom().scaleExtent([0.1, 8]).on("zoom", (event) => { this.view = event.transform; this.draw(); });
    d3.select(this.canvas).call(this.zoom).on("dblclick.zoom", null);
    this.canvas.addEventListener("click", (event) => this.clicked(event));
    this.canvas.addEventListener("keydown", (event) => this.pressed(event));
    this.part("search").addEventListener("submit", (event) => {
      event.preventDefault();
      this.onSearch(this.part("words").value.trim());
    });
    this.part("all").addEventListener("click", () => { this.part("words").value = ""; this.onSearch(""); });
    const button = (name, act) => document.getElementById(name).addEventListener("click", act);
    button("zoom-in", () => this.scale(1.4));
    button("zoom-out", () => this.scale(1 / 1.4));
    button("zoom-fit", () => this.fit());
    new ResizeObserver(() => this.resize()).observe(this.canvas);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.draw());
  }

  show(data) {
    this.total = data;
    const most = Math.max(1, ...data.nodes.map((node) => node.count));
    this.strongest = Math.max(1, ...data.edges.map((edge) => edge.weight));
    this.nodes = data.nodes.map((node) => ({ ...node, radius: 4 + 14 * Math.sqrt(node.count / most) }));
    this.byId = new Map(this.nodes.map((node) => [node.id, node]));
    this.edges = data.edges.map((edge) => ({ ...edge }));
    this.hits = new Set();
    const links = this.edges.filter((edge) => edge.source !== edge.target);
    const simulation = d3.forceSimulation(this.nodes)
      .force("link", d3.forceLink(links).id((node) => node.id).distance(90))
      .force("charge", d3.forceManyBody().strength(-420).distanceMax(700))
      .force("collide", d3.forceCollide((node) => node.radius + 10))
      .force("x", d3.forceX().strength(0.04)).force("y", d3.forceY().strength(0.09)).stop();
    simulation.tick(Math.round(Math.max(40, Math.min(300, 60000 / (this.nodes.length + 1)))));
    for (const edge of this.edges) { // a loop is no link of the simulation
      edge.source = this.byId.get(edge.source.id ?? edge.source);
      edge.target = this.byId.get(edge.target.id ?? edge.target);
    }
    this.chosen = this.chosen && this.byId.get(this.chosen.id);
    this.say();
    this.fillTable();
    this.resize();
    this.fit();
  }

  say(extra = "") {
    const { total_nodes: nodes, total_edges: edges } = this.total;
    this.part("status").textContent = nodes
      ? `${this.nodes.length} of ${nodes} templates, ${this.edges.length} of ${edges} transitions${extra}`
      : "Nothing is learned yet.";
  }

  find(words) {
    const wanted = words.toLowerCase().split(/\s+/).filter(Boolean);
    const found = wanted.length
      ? this.nodes.filter((node) => wanted.every((word) => node.id.toLowerCase().includes(word))) : [];
    this.hits = new Set(found);
    this.say(wanted.length ? `; ${found.length} found` : "");
    if (found.length) this.choose(found[0]); else this.draw();
  }

  fillTable() {
    const first = new Map();
    for (const edge of this.edges) if (!first.has(edge.source)) first.set(edge.source, edge);
    this.part("rows").replaceChildren(...this.nodes.slice(0, 500).map((node) => {
      const row = element("tr");
      const cell = element("td");
      cell.append(this.link(node));
      const next = first.get(node);
      const known = rate(node);
      row.append(cell, element("td", node.count, "number"),
        element("td", known === null ? "unknown" : percent(known), "number"),
        element("td", next ? `${short(next.target.id, 60)} (${next.weight})` : "–", "command"));
      return row;
    }));
  }

  link(node) {
    const button = element("button", node.id, "link");
    button.type = "button";
    button.addEventListener("click", () => this.choose(this.byId.get(node.id) ?? node));
    return button;
  }

  choose(node) {
    this.chosen = node;
    this.describe(node, this.edges.filter((edge) => edge.source === node));
    if (node.x !== undefined && !this.visible(node)) this.center(node);
    this.draw();
    this.onChoose(node);
  }

  describe(node, edges) {
    const known = rate(node);
    const parts = [element("h2", node.id, "command"), element("p", `Used ${node.count} times. ${known === null
      ? "How it went after another step is unknown."
      : `After another step it went well ${node.success} of ${node.success + node.failure} times.`}`)];
    parts.push(element("h3", edges.length ? "What follows" : "Nothing shown follows it"));
    const sum = edges.reduce((all, edge) => all + edge.weight, 0);
    if (edges.length) {
      const table = element("table");
      const head = element("tr");
      for (const [name, kind] of [["Next", ""], ["Times", "number"], ["Share", "number"], ["Success", "number"]]) {
        const cell = element("th", name, kind);
        cell.scope = "col";
        head.append(cell);
      }
      table.append(head);
      for (const edge of edges) {
        const row = element("tr");
        const cell = element("td");
        cell.append(this.link(edge.target));
        const good = rate(edge);
        row.append(cell, element("td", edge.weight, "number"), element("td", percent(edge.weight / sum), "number"),
          element("td", good === null ? "unknown" : `${percent(good)} (${edge.success}/${edge.success + edge.failure})`,
            "number"));
        table.append(row);
      }
      parts.push(table);
    }
    this.part("details").replaceChildren(...parts);
  }

  clicked(event) {
    const [x, y] = this.view.invert([event.offsetX, event.offsetY]);
    let best = null;
    for (const node of this.nodes) {
      const away = Math.hypot(node.x - x, node.y - y) - node.radius;
      if (away < 8 / this.view.k && (!best || away < best[0])) best = [away, node];
    }
    if (best) this.choose(best[1]);
  }

  pressed(event) {
    const place = this.nodes.indexOf(this.chosen);
    const along = (from, to) => {
      const edge = this.edges.find((item) => item[from] === this.chosen && item[to] !== this.chosen);
      return edge && edge[to];
    };
    const act = {
      ArrowDown: () => this.nodes[place + 1], ArrowUp: () => this.nodes[Math.max(0, place - 1)],
      ArrowRight: () => along("source", "target") ?? (this.chosen ? null : this.nodes[0]),
      ArrowLeft: () => along("target", "source"),
      "+": () => this.scale(1.4), "-": () => this.scale(1 / 1.4), 0: () => this.fit(),
    }[event.key];
    if (!act || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    const node = act();
    if (node) this.choose(node);
  }

  scale(factor) { this.zoom.scaleBy(d3.select(this.canvas), factor); }

  visible(node) {
    const [x, y] = this.view.apply([node.x, node.y]);
    return x > 20 && y > 20 && x < this.canvas.clientWidth - 20 && y < this.canvas.clientHeight - 20;
  }

  center(node) { this.zoom.translateTo(d3.select(this.canvas), node.x, node.y); }

  fit() {
    const { clientWidth: width, clientHeight: height } = this.canvas;
    if (!this.nodes.length || !width) return;
    const [left, right] = d3.extent(this.nodes, (node) => node.x);
    const [top, bottom] = d3.extent(this.nodes, (node) => node.y);
    const k = Math.min(1.6, 0.9 * Math.min(width / (right - left + 120), height / (bottom - top + 60)));
    const view = d3.zoomIdentity.translate(width / 2, height / 2).scale(k)
      .translate(-(left + right) / 2, -(top + bottom) / 2);
    d3.select(this.canvas).call(this.zoom.transform, view);
  }

  resize() {
    const ratio = devicePixelRatio || 1;
    this.canvas.width = this.canvas.clientWidth * ratio;
    this.canvas.height = this.canvas.clientHeight * ratio;
    this.draw();
  }

  draw() {
    const { pen, view } = this;
    const style = getComputedStyle(document.documentElement);
    const colour = (name) => style.getPropertyValue(`--${name}`).trim();
    const [good, bad, unknown, ink, card, dot, accent] =
      ["good", "bad", "unknown", "ink", "card", "node", "accent"].map(colour);
    const ratio = devicePixelRatio || 1;
    pen.setTransform(ratio, 0, 0, ratio, 0, 0);
    pen.clearRect(0, 0, this.canvas.clientWidth, this.canvas.clientHeight);
    const mix = d3.interpolateRgb(bad, good);
    const at = (node) => view.apply([node.x, node.y]);
    const size = (node) => Math.max(2, node.radius * Math.min(1.5, Math.max(0.5, view.k)));
    for (const edge of [...this.edges].reverse()) { // the strongest on top
      const known = rate(edge);
      const near = this.chosen && (edge.source === this.chosen || edge.target === this.chosen);
      pen.globalAlpha = this.chosen && !near ? 0.25 : 0.85;
      pen.strokeStyle = pen.fillStyle = known === null ? unknown : mix(known);
      pen.lineWidth = (0.8 + 5 * Math.sqrt(edge.weight / this.strongest)) * Math.min(1, Math.max(0.35, view.k));
      pen.setLineDash(known === null ? [2, 3] : known < 0.5 ? [7, 4] : []);
      this.arrow(at(edge.source), at(edge.target), size(edge.source), size(edge.target), pen.lineWidth);
    }
    pen.setLineDash([]);
    for (const node of this.nodes) {
      const [x, y] = at(node);
      pen.globalAlpha = 1;
      pen.fillStyle = node === this.chosen ? accent : dot;
      pen.strokeStyle = this.hits.has(node) ? accent : card;
      pen.lineWidth = this.hits.has(node) ? 4 : 1.5;
      pen.beginPath();
      pen.arc(x, y, size(node), 0, 7);
      pen.fill();
      pen.stroke();
    }
    this.labels(at, size, ink, card);
  }

  arrow([x, y], [u, v], from, to, width) {
    const { pen } = this;
    const away = Math.hypot(u - x, v - y);
    pen.beginPath();
    if (away < 1) { // a template that follows itself
      pen.arc(x, y - from - 6, 8, 0, 7);
      pen.stroke();
      return;
    }
    // Bent to one side, so that there and back are two lines.
    const bend = Math.min(24, away / 6);
    const [a, b] = [(x + u) / 2 + bend * (y - v) / away, (y + v) / 2 + bend * (u - x) / away];
    const angle = Math.atan2(v - b, u - a);
    const [p, q] = [u - to * Math.cos(angle), v - to * Math.sin(angle)];
    pen.moveTo(x, y);
    pen.quadraticCurveTo(a, b, p, q);
    pen.stroke();
    const head = 3 + 1.5 * width;
    pen.beginPath();
    pen.moveTo(p, q);
    for (const turn of [-0.4, 0.4]) pen.lineTo(p - head * Math.cos(angle + turn), q - head * Math.sin(angle + turn));
    pen.fill();
  }

  labels(at, size, ink, card) {
    const { pen } = this;
    const taken = [];
    pen.font = "12px system-ui, sans-serif";
    pen.textAlign = "center";
    pen.lineWidth = 3;
    pen.strokeStyle = card;
    pen.fillStyle = ink;
    const near = this.edges.filter((edge) => edge.source === this.chosen).map((edge) => edge.target);
    const first = [this.chosen, ...near, ...this.hits].filter(Boolean);
    for (const node of [...first, ...this.nodes]) { // most used first; one that would hide another is left out
      const [x, y] = at(node);
      if (x < 0 || y < 0 || x > this.canvas.clientWidth || y > this.canvas.clientHeight) continue;
      const text = short(node.id.replace(/\s+/g, " "));
      const half = pen.measureText(text).width / 2 + 3;
      const low = y + size(node) + 13;
      const box = [x - half, low - 12, x + half, low + 3];
      if (taken.some((o) => box[0] < o[2] && o[0] < box[2] && box[1] < o[3] && o[1] < box[3])) continue;
      taken.push(box);
      pen.strokeText(text, x, low);
      pen.fillText(text, x, low);
      if (taken.length > 150) break;
    }
  }
}
