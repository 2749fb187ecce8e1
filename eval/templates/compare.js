
const shareOf = (scores, metric) => {
  const value = scores.values[metric.name];
  return value === undefined ? null : metric.lower ? 1 - value : value;
};

function column(name, side, withPrompts) {
  const steps = side.steps.flatMap((step, index) => {
    const asked = withPrompts(index) && step.prompt !== null ? prompt(step, index ? "then" : "prompt") : [];
    return [...asked, ...reply(step, index + 1)];
  });
  return el("div", null, el("h3", null, name), ...steps);
}

browse({
  filters: ["all", "gained", "lost", "both right", "both wrong"],
  statusOf: (item, metric) => {
    const old = shareOf(item.before, metric);
    const now = shareOf(item.after, metric);
    if (old === null || now === null) return null;
    return now > old ? "gained" : now < old ? "lost" : now === 1 ? "both right" : "both wrong";
  },
  snippet: (item) => lastSaid(item.after.steps).slice(0, 160),
  texts: (item) => [
    item.id,
    plainText(item.gold),
    ...[item.before, item.after].flatMap((side) =>
      side.steps.flatMap((step) => [step.prompt || "", plainText(step.parts)]),
    ),
  ],
  detail: (item, task) => {
    const [first] = item.before.steps;
    const shared = item.after.steps.length > 0 && item.after.steps[0].prompt === null;
    const withPrompts = (index) => index > 0 || !shared;
    const sides = el("div", { class: "sides" }, column("before", item.before, withPrompts), column("after", item.after, withPrompts));
    sides.children[0].insertBefore(chips(task, item.before), sides.children[0].children[1]);
    sides.children[1].insertBefore(chips(task, item.after), sides.children[1].children[1]);
    return [...(shared ? prompt(first, "prompt") : []), sides, el("h4", null, "gold"), preformatted(item.gold, "gold")];
  },
});
