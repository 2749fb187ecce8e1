// Filters, list and detail that the report's and the comparison's page share. All text goes through text nodes: nothing
// from DATA is ever parsed as HTML. The state is in the URL's hash: #task=calls&metric=name_right&filter=wrong&q=Oslo
const DATA = JSON.parse(document.getElementById("data").textContent);
const ROW_HEIGHT = 30; // as in page.css
const SHOWN_AT_ONCE = 20000; // characters of one text, before "show all"

const $ = (id) => document.getElementById(id);

function el(tag, attributes, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes || {})) {
    if (value !== null && value !== undefined) node.setAttribute(name, value);
  }
  node.append(...children.filter((child) => child !== null && child !== undefined));
  return node;
}

function preformatted(parts, name) {
  const block = el("pre", { class: name });
  const total = parts.reduce((sum, [, text]) => sum + text.length, 0);
  const fill = (limit) => {
    let left = limit;
    const spans = [];
    for (const [kind, text] of parts) {
      if (left <= 0) break;
      spans.push(el("span", { class: kind }, text.slice(0, left)));
      left -= text.length;
    }
    block.replaceChildren(...spans);
  };
  fill(SHOWN_AT_ONCE);
  if (total > SHOWN_AT_ONCE) {
    const more = el("button", { type: "button", class: "more" }, `show all ${total.toLocaleString("en")} characters`);
    more.addEventListener("click", () => fill(Infinity));
    block.append("\n", more);
  }
  return block;
}

const plainText = (parts) => parts.map(([, text]) => text).join("");

const lastSaid = (steps) => (steps.length ? plainText(steps[steps.length - 1].parts) : "");

// right, wrong, unparsed, partly (a value between), or null where the metric does not apply
function verdict(scores, metric) {
  const value = scores.values[metric.name];
  if (value === undefined) return null;
  if (metric.name in scores.unparsed) return "unparsed";
  const share = metric.lower ? 1 - value : value;
  return share === 1 ? "right" : share === 0 ? "wrong" : "partly";
}

function chips(task, scores) {
  const list = el("ul", { class: "chips" });
  for (const metric of task.metrics) {
    const found = verdict(scores, metric);
    if (found === null) continue;
    const value = scores.values[metric.name];
    const said = found === "unparsed" ? scores.unparsed[metric.name] : found === "partly" ? value.toFixed(2) : found;
    list.append(el("li", { class: `chip ${found}`, title: metric.about }, `${metric.name}: ${said}`));
  }
  for (const [key, value] of Object.entries(scores.notes)) list.append(el("li", { class: "chip" }, `${key}: ${value}`));
  return list;
}

function reply(step, number) {
  const facts = [`turn ${number}`, `${step.new_tokens.toLocaleString("en")} tokens`];
  if (step.finish !== "stop") facts.push(`ended by ${step.finish}`);
  const heading = el("h4", null, facts.join(" · "));
  if (step.error) heading.append(el("span", { class: "chip unparsed" }, step.error));
  return [heading, step.parts.length ? preformatted(step.parts, "reply") : el("p", { class: "about" }, "(nothing)")];
}

function prompt(step, name) {
  const block = preformatted([["context", step.prompt]], "prompt");
  return [el("h4", null, `${name} · ${step.prompt_tokens.toLocaleString("en")} tokens`), block];
}

// A list of any length: only the rows in sight are in the page.
function virtualList(box, draw, choose) {
  let rows = [];
  let chosen = -1;
  const inner = el("div", { class: "inner" });
  box.replaceChildren(inner);
  const paint = () => {
    const first = Math.max(0, Math.floor(box.scrollTop / ROW_HEIGHT) - 10);
    const last = Math.min(rows.length, first + Math.ceil(box.clientHeight / ROW_HEIGHT) + 20);
    const nodes = [];
    for (let index = first; index < last; index++) {
      const node = draw(rows[index]);
      node.style.top = `${index * ROW_HEIGHT}px`;
      node.setAttribute("role", "option");
      node.setAttribute("aria-selected", String(index === chosen));
      node.addEventListener("click", () => select(index));
      nodes.push(node);
    }
    inner.replaceChildren(...nodes);
  };
  const select = (index) => {
    chosen = Math.max(0, Math.min(rows.length - 1, index));
    const top = chosen * ROW_HEIGHT;
    if (top < box.scrollTop) box.scrollTop = top;
    if (top + ROW_HEIGHT > box.scrollTop + box.clientHeight) box.scrollTop = top + ROW_HEIGHT - box.clientHeight;
    paint();
    choose(rows[chosen] || null);
  };
  box.addEventListener("scroll", paint);
  box.addEventListener("keydown", (event) => {
    const step = { ArrowDown: 1, ArrowUp: -1, PageDown: 20, PageUp: -20 }[event.key];
    if (step) {
      event.preventDefault();
      select(chosen + step);
    }
  });
  return {
    show(items, item) {
      rows = items;
      inner.style.height = `${rows.length * ROW_HEIGHT}px`; // before scrolling: nothing scrolls past the end
      box.scrollTop = 0;
      select(Math.max(0, rows.indexOf(item)));
    },
    move: (step) => select(chosen + step),
  };
}

// filters: names, the first of which lets everything through. statusOf(item, metric) -> one of the others, null where the
// metric does not apply; snippet(item) -> the row's text; detail(item, task) -> nodes; texts(item) -> what is searched.
function browse({ filters, statusOf, snippet, detail, texts }) {
  const passes = (status, filter) => filter === filters[0] || status === filter;
  const state = { task: "", metric: "", filter: filters[0], q: "", item: "" };
  const taskNamed = (name) => DATA.tasks.find((task) => task.name === name) || DATA.tasks[0];
  const metricOf = (task) => task.metrics.find((metric) => metric.name === state.metric) || task.metrics[0];

  const readHash = () => {
    const given = new URLSearchParams(location.hash.slice(1));
    for (const key of Object.keys(state)) state[key] = given.get(key) || "";
    if (!filters.includes(state.filter)) state.filter = filters[0];
  };
  const writeHash = () => {
    const kept = Object.entries(state).filter(([key, value]) => value && !(key === "filter" && value === filters[0]));
    history.replaceState(null, "", `#${new URLSearchParams(kept)}`);
  };
  const row = (item) => {
    const status = statusOf(item, metricOf(taskNamed(state.task)));
    const badge = el("span", { class: `badge ${status.replace(" ", "-")}` }, status);
    return el("div", { class: "row" }, badge, el("span", { class: "id" }, item.id), el("span", { class: "said" }, snippet(item)));
  };
  const list = virtualList($("list"), row, (item) => {
    $("detail").replaceChildren();
    if (item === null) {
      $("detail").append(el("p", { class: "about" }, "No item passes this filter."));
      return;
    }
    state.item = item.id;
    writeHash();
    const step = (by) => {
      const button = el("button", { type: "button" }, by < 0 ? "previous" : "next");
      button.addEventListener("click", () => list.move(by));
      return button;
    };
    const heading = el("div", { class: "heading" }, el("h3", null, item.id), step(-1), step(1));
    $("detail").append(heading, ...detail(item, taskNamed(state.task)));
    $("detail").scrollTop = 0;
    for (const block of $("detail").querySelectorAll("pre.prompt")) block.scrollTop = block.scrollHeight;
  });

  const apply = () => {
    const task = taskNamed(state.task);
    const metric = metricOf(task);
    state.task = task.name;
    state.metric = metric.name;
    const needle = state.q.toLowerCase();
    const counted = DATA.items.filter(
      (item) =>
        item.task === task.name &&
        statusOf(item, metric) !== null &&
        (!needle || texts(item).some((text) => text.toLowerCase().includes(needle))),
    );
    const shown = counted.filter((item) => passes(statusOf(item, metric), state.filter));
    $("task").replaceChildren(...DATA.tasks.map((each) => el("option", { selected: each === task ? "" : null }, each.name)));
    $("metric").replaceChildren(...task.metrics.map((each) => el("option", { selected: each === metric ? "" : null }, each.name)));
    $("filters").replaceChildren(
      ...filters.flatMap((name) => {
        const count = counted.filter((item) => passes(statusOf(item, metric), name)).length;
        if (name === "partly" && count === 0 && name !== state.filter) return []; // most metrics are yes or no
        const button = el("button", { type: "button", "data-filter": name, "aria-pressed": String(name === state.filter) },
          `${name} ${count.toLocaleString("en")}`);
        button.addEventListener("click", () => set({ filter: name }));
        return button;
      }),
    );
    if ($("q").value !== state.q) $("q").value = state.q;
    $("count").textContent = `${shown.length.toLocaleString("en")} shown`;
    for (const line of document.querySelectorAll("tr[data-metric]")) {
      line.classList.toggle("chosen", line.dataset.task === task.name && line.dataset.metric === metric.name);
    }
    list.show(shown, shown.find((item) => item.id === state.item));
    writeHash();
  };
  const set = (changes) => {
    Object.assign(state, changes);
    apply();
  };

  $("task").addEventListener("change", (event) => set({ task: event.target.value }));
  $("metric").addEventListener("change", (event) => set({ metric: event.target.value }));
  let typing = 0;
  $("q").addEventListener("input", (event) => {
    clearTimeout(typing);
    typing = setTimeout(() => set({ q: event.target.value }), 150);
  });
  $("controls").addEventListener("submit", (event) => event.preventDefault());
  for (const line of document.querySelectorAll("tr[data-metric]")) {
    line.addEventListener("click", () => {
      set({ task: line.dataset.task, metric: line.dataset.metric });
      $("browse").scrollIntoView();
    });
  }
  addEventListener("hashchange", () => {
    readHash();
    apply();
  });
  readHash();
  apply();
}
