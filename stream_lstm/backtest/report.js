// Draws each stream's chart when it scrolls into view.
"use strict";
const charts = JSON.parse(document.getElementById("charts").textContent);

const observer = new IntersectionObserver((entries) => {
  for (const entry of entries) {
    if (!entry.isIntersecting) continue;
    observer.unobserve(entry.target);
    Course.draw(entry.target, charts[Number(entry.target.dataset.chart)], { utc: true });
  }
}, { rootMargin: "400px" });
document.querySelectorAll(".plot").forEach((place) => observer.observe(place));
