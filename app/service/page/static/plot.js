/** A small plot of the last minutes. uPlot is loaded with the first one. */

import { html, useEffect, useRef } from "./vendor/htm-preact.js";
import { strings } from "./strings.js";

const HEIGHT_PX = 130;
const LINES = 6;

const color = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

/** `series`: values by name, as long as `times` (seconds). `unit` follows a number. The colours follow the system's. */
export function Plot({ title, times, series, unit = "", digits = 1 }) {
  const place = useRef(null);
  const plot = useRef(null);
  const names = Object.keys(series).slice(0, LINES);
  const shown = `${title} ${names.join("\n")}`;
  const data = [times, ...names.map((name) => series[name])];
  const latest = useRef(data);
  latest.current = data;

  useEffect(() => {
    let closed = false;
    let close = () => {};
    import("./vendor/uplot.js").then(({ default: UPlot }) => {
      if (closed) return;
      const dark = matchMedia("(prefers-color-scheme: dark)");
      const draw = () => {
        plot.current?.destroy();
        plot.current = new UPlot(options(place.current.clientWidth, names, digits), latest.current, place.current);
      };
      const resized = new ResizeObserver(() => plot.current?.setSize({ width: place.current.clientWidth, height: HEIGHT_PX }));
      draw();
      resized.observe(place.current);
      dark.addEventListener("change", draw);
      close = () => {
        dark.removeEventListener("change", draw);
        resized.disconnect();
        plot.current.destroy();
        plot.current = null;
      };
    });
    return () => {
      closed = true;
      close();
    };
  }, [shown]);
  useEffect(() => plot.current?.setData(data), [times]);

  // In a pause nothing is measured; the last value still says something.
  const now = names.map((name) => [name, series[name].filter((value) => value !== null).at(-1)]);
  return html`<figure class="plot">
    <figcaption>
      <h3>${title}</h3>
      <ul>
        ${now.map(([name, value], line) => html`<li key=${name}>
          <span class="swatch line-${line}"></span>${name && `${name} `}
          <strong>${value == null ? "–" : `${value.toFixed(digits)}${unit}`}</strong>
        </li>`)}
      </ul>
    </figcaption>
    <div class="curve" ref=${place} role="img" aria-label=${now.map(([name, value]) => strings.plotValue(name || title, value?.toFixed(digits) ?? "–")).join(", ")}></div>
  </figure>`;
}

function options(width, names, digits) {
  const axis = { stroke: color("--muted"), grid: { stroke: color("--line"), width: 1 }, ticks: { show: false }, font: "11px system-ui, sans-serif" };
  return {
    width,
    height: HEIGHT_PX,
    legend: { show: false },
    cursor: { show: false },
    scales: { y: { range: (plot, low, high) => [0, Math.max(high * 1.1, digits ? 0.1 : 1)] } },
    series: [{}, ...names.map((name, line) => ({ label: name, stroke: color(`--line-${line}`), width: 2, points: { show: false } }))],
    axes: [
      { ...axis, size: 22, space: 90, values: (plot, ticks) => ticks.map((at) => new Date(1000 * at).toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" })) },
      { ...axis, size: 44, space: 34, ...(digits ? {} : { incrs: [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000] }) },
    ],
  };
}
