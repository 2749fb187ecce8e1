
browse({
  filters: ["all", "right", "wrong", "unparsed", "partly"],
  statusOf: verdict,
  snippet: (item) => lastSaid(item.steps).slice(0, 160),
  texts: (item) => [item.id, plainText(item.gold), ...item.steps.flatMap((step) => [step.prompt, plainText(step.parts)])],
  detail: (item, task) => [
    chips(task, item),
    ...item.steps.flatMap((step, index) => [...prompt(step, index ? "then" : "prompt"), ...reply(step, index + 1)]),
    el("h4", null, "gold"),
    preformatted(item.gold, "gold"),
  ],
});
