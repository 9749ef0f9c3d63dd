"use strict";
// Unpacks plotly, draws the figures in the page's colours, sorts and opens the leaderboard's rows.
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const touch = !matchMedia("(hover: hover)").matches;
  const config = { responsive: true, displaylogo: false, displayModeBar: touch ? false : "hover", modeBarButtons: [["toImage", "resetScale2d"]] };

  const plotly = unpack(document.getElementById("library").textContent);

  async function unpack(text) {
    const packed = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
    const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("gzip"));
    const script = document.createElement("script");
    script.textContent = await new Response(stream).text();
    document.head.append(script);
    return window.Plotly;
  }

  // A copy of a figure in which every var(--name) is the colour that the page has now.
  function coloured(value, style) {
    if (typeof value === "string" && value.startsWith("var(--")) {
      return style.getPropertyValue(value.slice(4, -1)).trim();
    }
    if (Array.isArray(value)) return value.map((item) => coloured(item, style));
    if (value && typeof value === "object") {
      return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, coloured(item, style)]));
    }
    return value;
  }

  async function draw(element, figure, settings = config) {
    const Plotly = await plotly;
    const { data: traces, layout } = coloured(figure, getComputedStyle(document.documentElement));
    if (touch) layout.dragmode = false; // a finger that scrolls the page must not zoom a figure
    await Plotly.react(element, traces, layout, settings);
    element.dataset.drawn = "yes";
  }

  function curve(trial) {
    const [epochs, accuracy] = data.curves[trial];
    const axis = { gridcolor: "var(--rule)", linecolor: "var(--faint)", zeroline: false, ticks: "", tickfont: { size: 10, color: "var(--muted)" }, automargin: true };
    const late = accuracy.slice(Math.floor(accuracy.length / 4));
    const target = data.target === null ? [] : [data.target];
    const low = Math.min(...late, ...target.map((share) => share - 0.1));
    const high = Math.max(...accuracy, ...target);
    const pad = Math.max(0.1 * (high - low), 0.05);
    return {
      data: [
        { x: data.median[0], y: data.median[1], mode: "lines", line: { color: "var(--faint)", width: 1.5 }, hovertemplate: "median at epoch %{x}: %{y:.2f} %<extra></extra>" },
        { x: epochs, y: accuracy, mode: "lines", line: { color: "var(--accent)", width: 2 }, hovertemplate: "epoch %{x}: %{y:.2f} %<extra></extra>" },
      ],
      layout: {
        height: 190,
        margin: { l: 36, r: 6, t: 8, b: 24 },
        showlegend: false,
        paper_bgcolor: "rgba(0,0,0,0)",
        plot_bgcolor: "rgba(0,0,0,0)",
        hoverlabel: { bgcolor: "var(--paper)", bordercolor: "var(--faint)", font: { color: "var(--ink)", size: 12 } },
        shapes: target.map((share) => ({ type: "line", xref: "paper", x0: 0, x1: 1, y0: share, y1: share, line: { color: "var(--muted)", width: 1, dash: "4px,4px" } })),
        xaxis: { ...axis, rangemode: "tozero", ...(epochs.length < 8 ? { dtick: 1 } : {}) },
        yaxis: { ...axis, range: [low - pad, Math.min(100, high + pad)] },
      },
    };
  }

  function drawAll() {
    const figures = [...document.querySelectorAll("[data-figure]")].map((element) => draw(element, data.figures[element.dataset.figure]));
    const curves = [...document.querySelectorAll(".curve[data-drawn]")].map((element) => drawCurve(element));
    return Promise.all([...figures, ...curves]);
  }

  function drawCurve(element) {
    return draw(element, curve(element.dataset.trial), { ...config, displayModeBar: false });
  }

  function toggle(entry) {
    const button = entry.querySelector("button.open");
    const detail = entry.querySelector(".detail");
    detail.hidden = !detail.hidden;
    button.setAttribute("aria-expanded", String(!detail.hidden));
    const element = detail.querySelector(".curve");
    if (!detail.hidden && element && !element.dataset.drawn) drawCurve(element);
  }

  for (const entry of document.querySelectorAll(".entry")) {
    entry.querySelector(".row").addEventListener("click", (event) => {
      const selecting = String(getSelection()) !== "";
      if (event.target.closest("button.open") || !selecting) toggle(entry);
    });
  }

  const OPPOSITE = { ascending: "descending", descending: "ascending" };
  for (const button of document.querySelectorAll("button.sort")) {
    button.addEventListener("click", () => {
      const header = button.closest("th");
      const before = header.getAttribute("aria-sort");
      const order = before ? OPPOSITE[before] : button.dataset.first;
      for (const other of header.parentElement.children) other.removeAttribute("aria-sort");
      header.setAttribute("aria-sort", order);
      const table = header.closest("table");
      const place = header.cellIndex;
      const sign = order === "ascending" ? 1 : -1;
      const value = (entry) => entry.rows[0].cells[place].dataset.value;
      const entries = [...table.querySelectorAll(".entry")];
      entries.sort((first, second) => {
        const [a, b] = [value(first), value(second)];
        if (a === "" || b === "") return (a === "") - (b === ""); // what is not known comes last
        return sign * (Number(a) - Number(b)) || first.rows[0].cells[0].dataset.value - second.rows[0].cells[0].dataset.value;
      });
      table.append(...entries);
    });
  }

  const copy = document.getElementById("copy");
  copy?.addEventListener("click", async () => {
    const block = document.getElementById("grader");
    const said = document.getElementById("copied");
    try {
      await navigator.clipboard.writeText(block.textContent);
      said.textContent = "Copied.";
    } catch {
      getSelection().selectAllChildren(block); // the browser forbids it: one key is left to press
      said.textContent = "Selected: press Ctrl+C or ⌘C.";
    }
  });

  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", drawAll);
  addEventListener("beforeprint", () => {
    document.documentElement.dataset.theme = "light";
    drawAll();
  });
  addEventListener("afterprint", () => {
    delete document.documentElement.dataset.theme;
    drawAll();
  });
  drawAll().then(() => { document.documentElement.dataset.ready = "yes"; });
})();
