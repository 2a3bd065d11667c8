// Draws each stream's course when it comes into view.
"use strict";
const courses = JSON.parse(document.getElementById("courses").textContent);

const seen = new IntersectionObserver((entries) => {
  for (const entry of entries) {
    if (!entry.isIntersecting) continue;
    seen.unobserve(entry.target);
    Course.draw(entry.target, courses[Number(entry.target.dataset.course)], { utc: true });
  }
}, { rootMargin: "400px" });
document.querySelectorAll(".plot").forEach((place) => seen.observe(place));
