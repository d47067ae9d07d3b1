"use strict";

const $ = (name) => document.getElementById(name);
const PAGE = 20;
const graph = new WorkflowGraph();
let offset = 0;
let login = null;

// -- the server

const token = () => sessionStorage.getItem("procedural-memory-token");

function askForToken() { // one question, however many answers wait for it
  login ??= new Promise((done) => {
    $("login").showModal();
    $("login").addEventListener("close", () => {
      const given = $("token").value.trim();
      // What cannot stand in a header is no token, and must not be kept.
      if (/^[!-~]+$/.test(given)) sessionStorage.setItem("procedural-memory-token", given);
      $("token").value = "";
      $("refused").hidden = false; // shown if it is asked for again
      login = null;
      done();
    }, { once: true });
  });
  return login;
}

async function ask(path, options = {}) {
  const sent = token();
  const headers = { ...options.headers, ...(sent ? { Authorization: `Bearer ${sent}` } : {}) };
  const answer = await fetch(path, { ...options, headers, cache: "no-store" });
  if (answer.status !== 401) return answer;
  if (sent === token()) {
    sessionStorage.removeItem("procedural-memory-token");
    await askForToken();
  }
  return ask(path, options);
}

async function json(path, options) {
  const answer = await ask(path, options);
  const body = await answer.json().catch(() => ({}));
  if (answer.ok) return body;
  const why = body.detail ?? body.message ?? body.error;
  throw new Error(typeof why === "string" ? why : `${path.split("?")[0]}: the server answered ${answer.status}`);
}

const query = (values) => new URLSearchParams(Object.entries(values).filter(([, value]) => value !== "")).toString();

async function safely(work) {
  try {
    await work();
    $("problem").hidden = true;
  } catch (error) {
    $("problem").textContent = `That did not work: ${error.message}`;
    $("problem").hidden = false;
  }
}

// -- health and sizes

async function showHealth() {
  const answer = await ask("health");
  const health = await answer.json();
  $("health").dataset.state = health.status === "healthy" ? "healthy" : "other";
  $("health").textContent = [health.status, health.version, health.reason].filter(Boolean).join(" · ");
}

async function showStats() {
  const stats = await json("stats");
  const names = {
    session_count: "Sessions", command_count: "Commands", pattern_count: "Patterns", graph_node_count: "Templates",
    graph_edge_count: "Transitions", total_successes: "Ended well", total_failures: "Failed",
  };
  $("stats").replaceChildren(...Object.entries(names).filter(([key]) => key in stats).map(([key, name]) => {
    const pair = element("div");
    pair.append(element("dt", name), element("dd", stats[key].toLocaleString("en")));
    return pair;
  }));
  const used = stats.embedder;
  const about = used && typeof used === "object" ? [used.fingerprint ?? used.name, used.problem] : [used];
  $("embedder").textContent = used ? `Embedder: ${about.filter(Boolean).join(" · ")}` : "";
}

// -- the graph

let around = 0;
const showGraph = async (values = {}) => graph.show(await json(`graph?${query({ format: "view", ...values })}`));

graph.onSearch = (search) => safely(async () => {
  await showGraph({ search });
  graph.find(search);
});

graph.onChoose = async (node) => { // what is drawn may be a part: ask for all that follows
  const mine = ++around;
  await safely(async () => {
    const found = await json(`graph?${query({ format: "view", around: node.id, limit: 60 })}`);
    const nodes = new Map(found.nodes.map((item) => [item.id, item]));
    const edges = found.edges.filter((edge) => edge.source === node.id)
      .map((edge) => ({ ...edge, target: nodes.get(edge.target) }));
    if (mine === around && nodes.has(node.id)) graph.describe({ ...node, ...nodes.get(node.id) }, edges);
  });
};

// -- predictions

const likely = (value) => (value > 0 && value < 0.005 ? "below 1 %" : percent(value));
const evidence = (item) => {
  const told = Object.entries(item.details ?? {}).map(([name, value]) => `${name} ${value}`).join(", ");
  return `${item.expert}: ${percent(item.probability)}, weight ${percent(item.weight)}${told ? ` (${told})` : ""}`;
};

function predicted(item) {
  const row = element("li");
  const line = element("p");
  line.append(element("code", item.next_command));
  if (item.destructive) line.append(element("span", "⚠ destructive: can lose data", "mark danger"));
  if (item.runnable === false) line.append(element("span", "to be filled in before it can run", "mark open"));
  row.append(line, element("p", `Probability ${likely(item.probability ?? 0)} · confidence ${percent(item.confidence)}`));
  row.append(element("p", item.reason, "quiet"));
  if (item.evidence?.length) {
    const more = element("details");
    const list = element("ul");
    list.append(...item.evidence.map((one) => element("li", evidence(one), "quiet")));
    more.append(element("summary", "Evidence"), list);
    row.append(more);
  }
  return row;
}

$("predict").addEventListener("submit", (event) => {
  event.preventDefault();
  safely(async () => {
    const lines = $("context").value.split("\n").filter((line) => line.trim());
    const found = await json("predict", {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify({ current_context: lines, top_k: 5 }),
    });
    const rows = found.predictions.map(predicted);
    $("predictions").replaceChildren(...(rows.length ? rows : [element("li", "No prediction")]));
  });
});

// -- patterns

function pattern(item) {
  const row = element("tr");
  const lines = item.command_sequence ?? item.commands ?? item.templates ?? [item.pattern_id];
  const list = element("ol");
  list.append(...lines.map((line) => element("li", line, "command")));
  const cell = element("td");
  const all = element("details");
  all.append(element("summary", `${short(lines[0], 60)} … ${short(lines[lines.length - 1], 60)}`, "command"), list);
  cell.append(all);
  const known = item.success_count + item.failure_count;
  const bar = element("td");
  const text = known ? `${item.success_count} of ${known} ended well` : "unknown";
  if (known) {
    const progress = element("progress");
    progress.max = known;
    progress.value = item.success_count;
    progress.setAttribute("aria-label", text);
    bar.append(progress);
  }
  bar.append(element("span", text));
  row.append(cell, element("td", item.command_count, "number"), bar, element("td", percent(item.confidence), "number"));
  return row;
}

async function showPatterns() {
  const found = await json(`patterns?${query({ limit: PAGE, offset, containing: $("filter").value.trim() })}`);
  const end = offset + found.patterns.length;
  $("patterns").replaceChildren(...found.patterns.map(pattern));
  $("pages").textContent = found.total ? `${offset + 1}–${end} of ${found.total}` : "none";
  $("back").disabled = offset === 0;
  $("on").disabled = end >= found.total;
}

const turn = (by) => { offset = Math.max(0, offset + by); safely(showPatterns); };
$("back").addEventListener("click", () => turn(-PAGE));
$("on").addEventListener("click", () => turn(PAGE));
let typing = 0;
$("filter").addEventListener("input", () => {
  clearTimeout(typing);
  typing = setTimeout(() => { offset = 0; safely(showPatterns); }, 250);
});

// -- what is learned meanwhile. Not an EventSource: that cannot send a token.

let refreshing = 0;

function learned(news) {
  const rows = (news.commands ?? []).map((item) => {
    const failed = item.exit_code !== null && item.exit_code !== undefined && item.exit_code !== 0;
    const row = element("li", undefined, failed ? "failed" : "");
    row.append(element("code", item.command));
    if (failed) row.append(element("span", ` failed with ${item.exit_code}`, "quiet"));
    return row;
  });
  $("quiet")?.remove();
  $("feed").prepend(...rows.reverse());
  while ($("feed").children.length > 100) $("feed").lastChild.remove();
  clearTimeout(refreshing);
  refreshing = setTimeout(() => safely(async () => { await showStats(); await showPatterns(); }), 1000);
}

async function listen() {
  for (let wait = 1000; ; wait = Math.min(30000, 2 * wait)) {
    try {
      const answer = await ask("events", { headers: { Accept: "text/event-stream" } });
      if (!answer.ok) throw new Error(String(answer.status));
      $("feed-state").textContent = "live";
      const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
      let kept = "";
      for (let part = await reader.read(); !part.done; part = await reader.read()) {
        wait = 1000;
        const events = (kept + part.value).replace(/\r\n/g, "\n").split("\n\n");
        kept = events.pop();
        for (const event of events) {
          const lines = event.split("\n");
          const data = lines.filter((line) => line.startsWith("data:")).map((line) => line.slice(5)).join("\n");
          if (data && lines.some((line) => /^event: ?learned$/.test(line))) learned(JSON.parse(data));
        }
      }
    } catch { /* tried again below */ }
    $("feed-state").textContent = "not connected; trying again";
    await new Promise((done) => setTimeout(done, wait));
  }
}

// -- light and dark

const dark = () => (document.documentElement.dataset.theme
  ?? (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light")) === "dark";
$("theme").setAttribute("aria-pressed", dark());
$("theme").addEventListener("click", () => {
  const next = dark() ? "light" : "dark";
  document.documentElement.dataset.theme = next;
  try { localStorage.setItem("procedural-memory-theme", next); } catch { /* storage is off */ }
  $("theme").setAttribute("aria-pressed", next === "dark");
  graph.draw();
});

safely(async () => {
  await showHealth();
  await Promise.all([showStats(), showGraph(), showPatterns()]);
});
setInterval(() => showHealth().catch(() => {
  $("health").dataset.state = "other";
  $("health").textContent = "not reachable";
}), 15000);
listen();
