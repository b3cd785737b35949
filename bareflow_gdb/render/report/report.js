"use strict";
// Draws the activity of a guest over time, and what lay in its pools. Everything comes from the element with the data;
// names are drawn or set as text, never as markup.
(() => {
  const data = JSON.parse(document.getElementById("activity-data").textContent);
  const canvas = document.getElementById("activity"), told = document.getElementById("told");
  const find = document.getElementById("find"), hitsTold = document.getElementById("hits");
  const ROW = 26, BAR = 16, AXIS = 24;
  const whole = Math.max(data.last - data.start, 1e-9);
  let from = data.start, to = data.start + whole;     // what is shown
  let hits = [], hit = -1, pointed = null;
  const near = 6;                                     // pixels beside a mark that still mean it

  const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  const moment = (time) => `${time >= 0 ? "+" : ""}${time.toLocaleString("en", {maximumFractionDigits: 3})} ${data.unit}`;
  const fills = {boot: "--o1", l0: "--o0", l1: "--o1", l2: "--o2", l3: "--o3", lx: "--ox", phase: "--quiet"};
  const strokes = {swap: "--text", bad: "--bad", note: "--quiet"};

  function sized(element, height) {
    const ratio = window.devicePixelRatio || 1, width = element.clientWidth;
    element.style.height = `${height}px`;
    element.width = Math.round(width * ratio);
    element.height = Math.round(height * ratio);
    const pen = element.getContext("2d");
    pen.setTransform(ratio, 0, 0, ratio, 0, 0);
    pen.clearRect(0, 0, width, height);
    pen.font = "12.5px system-ui, sans-serif";
    pen.textBaseline = "middle";
    return [pen, width];
  }
  const names = () => Math.min(150, canvas.clientWidth * 0.3);
  const x = (time) => names() + (time - from) / (to - from) * (canvas.clientWidth - names());
  const time = (at) => from + (at - names()) / (canvas.clientWidth - names()) * (to - from);

  function draw() {
    const [pen, width] = sized(canvas, data.lanes.length * ROW + AXIS);
    const left = names();
    data.lanes.forEach((lane, row) => {
      const y = row * ROW + ROW / 2;
      pen.fillStyle = colour("--text");
      pen.textAlign = "right";
      pen.fillText(lane.name, left - 8, y, left - 10);
      pen.save();
      pen.beginPath();
      pen.rect(left, row * ROW, width - left, ROW);
      pen.clip();
      if (lane.counts.length) bins(pen, lane, row);
      else lane.spans.forEach((span) => bar(pen, span, row));
      lane.marks.forEach((mark) => line(pen, mark, row));
      pen.restore();
    });
    axis(pen, width);
  }
  function bar(pen, span, row) {
    const [start, end, , kind] = span;
    if (end < from || start > to) return;
    const thin = kind === "phase", gap = kind === "boot" ? 1 : 0, begin = Math.max(x(start), names() - 1);
    pen.fillStyle = colour(fills[kind] || "--ox");
    pen.globalAlpha = hits.length && !hits.some((one) => one.item === span) ? 0.35 : 1;
    pen.fillRect(begin, row * ROW + (ROW - BAR) / 2 + (thin ? BAR - 2 : 0),
      Math.max(Math.min(x(end), canvas.clientWidth) - begin - gap, thin ? 1 : 0.7), thin ? 4 : BAR - 3);
    pen.globalAlpha = 1;
  }
  function line(pen, mark, row) {
    const at = x(mark[0]);
    if (at < names() - 1 || at > canvas.clientWidth + 1) return;
    const found = hits.some((one) => one.item === mark);
    pen.fillStyle = colour(found ? "--bad" : strokes[mark[2]] || "--quiet");
    pen.fillRect(at - (found ? 1.5 : 0.6), row * ROW + 2, found ? 3 : 1.2, ROW - 4);
  }
  function bins(pen, lane, row) {
    const [start, end] = lane.spans[0], most = Math.max(...lane.counts, 1), step = (end - start) / lane.counts.length;
    pen.fillStyle = colour("--o1");
    lane.counts.forEach((count, number) => {
      const begin = x(start + number * step), height = count ? Math.max(1, (ROW - 6) * count / most) : 0;
      pen.fillRect(begin, row * ROW + ROW - 3 - height, Math.max(x(start + (number + 1) * step) - begin, 0.5), height);
    });
  }
  function axis(pen, width) {
    const y = data.lanes.length * ROW, steps = Math.max(2, Math.floor((width - names()) / 130));
    const rough = (to - from) / steps, power = 10 ** Math.floor(Math.log10(rough));
    const step = [1, 2, 5, 10].map((one) => one * power).find((one) => one >= rough * 0.999);
    const digits = Math.max(0, -Math.floor(Math.log10(step)));
    pen.fillStyle = colour("--quiet");
    pen.textAlign = "center";
    for (let number = Math.ceil(from / step); number * step <= to; number++) {
      const at = x(number * step);
      pen.fillRect(at, y, 1, 5);
      const words = (number * step).toLocaleString("en", {maximumFractionDigits: digits});
      pen.fillText(`${words} ${data.unit}`, Math.min(Math.max(at, names() + 24), width - 34), y + 15);
    }
  }

  function show(start, end) {
    const span = Math.min(Math.max(end - start, whole / 1e6), whole * 1.02);
    from = Math.min(Math.max(start, data.start - whole * 0.01), data.start + whole * 1.01 - span);
    to = from + span;
    draw();
  }
  const zoom = (factor, at) => show(at - (at - from) * factor, at + (to - at) * factor);

  // What is under a point: a mark beside it, else the span that it is in, else how many events there were.
  function under(px, py) {
    const lane = data.lanes[Math.floor(py / ROW)], when = time(px);
    if (!lane || px < names()) return null;
    if (lane.counts.length) {
      const [start, end] = lane.spans[0], number = Math.floor((when - start) / (end - start) * lane.counts.length);
      const count = lane.counts[number];
      return count === undefined ? null : `${count.toLocaleString("en")} events about ${moment(when)}`;
    }
    const marks = lane.marks.filter((mark) => Math.abs(x(mark[0]) - px) <= near);
    marks.sort((one, two) => Math.abs(x(one[0]) - px) - Math.abs(x(two[0]) - px));
    if (marks.length) {
      const more = marks.length > 1 ? ` (and ${marks.length - 1} more here)` : "";
      return `${lane.name}: ${marks[0][1]}, ${moment(marks[0][0])}${more}`;
    }
    const spans = lane.spans.filter((span) => span[0] <= when && when <= span[1]);
    if (!spans.length) return null;
    const span = spans.reduce((one, two) => (two[1] - two[0] < one[1] - one[0] ? two : one));
    return `${lane.name}: ${span[2]}, ${moment(span[0])} for ${moment(span[1] - span[0]).slice(1)}`;
  }

  // Pointers: one drags, two pinch.
  const down = new Map();
  canvas.addEventListener("pointerdown", (event) => {
    down.set(event.pointerId, event.offsetX);
    canvas.setPointerCapture(event.pointerId);
  });
  canvas.addEventListener("pointermove", (event) => {
    const before = down.get(event.pointerId);
    if (before !== undefined && down.size === 1) {
      const moved = time(before) - time(event.offsetX);
      show(from + moved, to + moved);
    } else if (before !== undefined && down.size === 2) {
      const other = [...down].find(([pointer]) => pointer !== event.pointerId)[1];
      const factor = Math.abs(before - other) / Math.max(Math.abs(event.offsetX - other), 1);
      zoom(Math.min(Math.max(factor, 0.5), 2), time(other));
    }
    if (before !== undefined) down.set(event.pointerId, event.offsetX);
    pointed = under(event.offsetX, event.offsetY);
    if (pointed) told.textContent = pointed;
  });
  for (const over of ["pointerup", "pointercancel"])
    canvas.addEventListener(over, (event) => down.delete(event.pointerId));
  canvas.addEventListener("wheel", (event) => {
    event.preventDefault();
    zoom(event.deltaY > 0 ? 1.25 : 0.8, time(event.offsetX));
  }, {passive: false});

  const middle = () => (from + to) / 2;
  const actions = {
    in: () => zoom(0.5, middle()),
    out: () => zoom(2, middle()),
    whole: () => show(data.start, data.start + whole),
    before: () => go(-1),
    next: () => go(1),
  };
  const keys = {"+": "in", "=": "in", "-": "out", 0: "whole"};
  canvas.addEventListener("keydown", (event) => {
    const step = (to - from) / 8;
    if (event.key === "ArrowLeft") show(from - step, to - step);
    else if (event.key === "ArrowRight") show(from + step, to + step);
    else if (keys[event.key]) actions[keys[event.key]]();
    else return;
    event.preventDefault();
  });
  document.querySelectorAll("button[data-do]").forEach((button) =>
    button.addEventListener("click", actions[button.dataset.do]));

  // Search: every mark and span whose lane or words hold all the words that were typed.
  function search() {
    const words = find.value.toLowerCase().split(/\s+/).filter(Boolean);
    hits = [];
    hit = -1;
    if (words.length) {
      for (const lane of data.lanes) {
        const fits = (text) => words.every((word) => `${lane.name} ${text}`.toLowerCase().includes(word));
        lane.spans.filter((span) => fits(span[2])).forEach((item) => hits.push({item, lane, time: item[0], text: item[2]}));
        lane.marks.filter((mark) => fits(mark[1])).forEach((item) => hits.push({item, lane, time: item[0], text: item[1]}));
      }
      hits.sort((one, two) => one.time - two.time);
    }
    hitsTold.textContent = words.length ? `${hits.length.toLocaleString("en")} found` : "";
    draw();
  }
  function go(step) {
    if (!hits.length) return;
    hit = (hit + step + hits.length) % hits.length;
    const {time: at, lane, text} = hits[hit], span = Math.min(to - from, whole / 10);
    show(at - span / 2, at + span / 2);
    hitsTold.textContent = `${hit + 1} of ${hits.length.toLocaleString("en")}`;
    told.textContent = `${lane.name}: ${text}, ${moment(at)}`;
  }
  find.addEventListener("input", search);
  find.addEventListener("keydown", (event) => { if (event.key === "Enter") go(event.shiftKey ? -1 : 1); });

  // Pools: the blocks that were there at the moment of the slider.
  const slider = document.getElementById("moment"), picture = document.getElementById("pools");
  const STRIP = 44;
  const chosen = () => data.start + whole * slider.value / 1000;
  const lies = (block, at) => block[0] <= at && (block[1] === null || at < block[1]);
  function drawPools() {
    const at = chosen(), [pen, width] = sized(picture, data.pools.length * STRIP);
    document.getElementById("when").textContent = moment(at);
    const words = data.pools.map((pool, row) => {
      const blocks = pool.blocks.filter((block) => lies(block, at));
      const used = blocks.reduce((sum, block) => sum + block[3], 0);
      pen.textAlign = "left";
      pen.fillStyle = colour("--quiet");
      const words = `${pool.name.toUpperCase()}: ${blocks.length.toLocaleString("en")} blocks, ` +
        `${used.toLocaleString("en")} of ${pool.size.toLocaleString("en")} bytes`;
      pen.fillText(words, 0, row * STRIP + 8);
      pen.fillStyle = colour("--free");
      pen.fillRect(0, row * STRIP + 18, width, 20);
      for (const block of blocks) {
        pen.fillStyle = colour({version: "--o1", module: "--o3", cache: "--o2"}[block[4].split(" ")[0]] || "--ox");
        pen.fillRect((block[2] - pool.base) / pool.size * width, row * STRIP + 18,
          Math.max(block[3] / pool.size * width - 0.3, 0.8), 20);
      }
      return words;
    });
    picture.setAttribute("aria-label", words.join("; "));
  }
  if (slider) {
    slider.addEventListener("input", drawPools);
    picture.addEventListener("pointermove", (event) => {
      const pool = data.pools[Math.floor(event.offsetY / STRIP)], at = chosen();
      if (!pool) return;
      const address = pool.base + event.offsetX / picture.clientWidth * pool.size;
      const block = pool.blocks.find((one) => lies(one, at) && one[2] <= address && address < one[2] + one[3]);
      document.getElementById("block").textContent = block
        ? `0x${block[2].toString(16).padStart(8, "0")}, ${block[3].toLocaleString("en")} bytes, ${block[4]}, since ${moment(block[0])}`
        : "free";
    });
  }

  function all() {
    draw();
    if (slider) drawPools();
  }
  window.addEventListener("resize", all);
  window.matchMedia("(prefers-color-scheme: dark)").addEventListener("change", all);
  all();
})();
