// Draws each stream's course when it comes into view.
"use strict";
const courses = JSON.parse(document.getElementById("courses").textContent);
const color = (name) => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();

const short = new Intl.NumberFormat("en", { notation: "compact", maximumSignificantDigits: 4 });
const axis = () => ({ stroke: color("quiet"), grid: { stroke: color("line"), width: 1 }, ticks: { stroke: color("line") } });

function alerts(course) {
  return (chart) => {
    const { ctx, bbox } = chart;
    ctx.save();
    ctx.fillStyle = color("alert");
    for (const time of course.alerts) {
      const x = chart.valToPos(time, "x", true);
      if (x >= bbox.left && x <= bbox.left + bbox.width) ctx.fillRect(x - 1, bbox.top, 2, bbox.height);
    }
    ctx.restore();
  };
}

function draw(place, course) {
  const width = Math.max(place.clientWidth, 280);
  const sync = { key: place.id };
  const common = { width, cursor: { sync }, tzDate: (seconds) => uPlot.tzDate(new Date(seconds * 1000), "Etc/UTC") };
  const upper = new uPlot({
    ...common, height: 230, axes: [axis(), { ...axis(), size: 64, values: (_, marks) => marks.map((m) => short.format(m)) }],
    bands: [{ series: [4, 3], fill: color("band") }],
    series: [{}, { label: "value", stroke: color("value"), width: 1 },
      { label: "expected", stroke: color("expected"), width: 1 },
      { label: "from", stroke: "transparent" }, { label: "to", stroke: "transparent" }],
    hooks: { drawClear: [alerts(course)] },
  }, [course.time, course.value, course.expected, course.low, course.high], place);
  const lower = new uPlot({
    ...common, height: 100, axes: [axis(), { ...axis(), size: 64, values: (_, marks) => marks.map((m) => m.toFixed(1)) }],
    scales: { y: { range: [0, 1] } }, legend: { show: false },
    series: [{}, { label: "anomaly", stroke: color("alert"), fill: color("alert"), width: 1 }],
  }, [course.time, course.anomaly], place);
  new ResizeObserver(() => {
    const now = Math.max(place.clientWidth, 280);
    if (now !== upper.width) { upper.setSize({ width: now, height: 230 }); lower.setSize({ width: now, height: 100 }); }
  }).observe(place);
}

const seen = new IntersectionObserver((entries) => {
  for (const entry of entries) {
    if (!entry.isIntersecting) continue;
    seen.unobserve(entry.target);
    draw(entry.target, courses[Number(entry.target.dataset.course)]);
  }
}, { rootMargin: "400px" });
document.querySelectorAll(".plot").forEach((place) => seen.observe(place));
