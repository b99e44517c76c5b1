/** Times in words. Pure, so that they are tested without a browser. */

/** "14:02", in the time of this machine. */
export const clock = (time) => new Date(time).toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" });

/** "29 Nov 2026, 14:02". */
export const dayAndTime = (time) => new Date(time).toLocaleString([], { dateStyle: "medium", timeStyle: "short" });

/** "2026-11-29": the day of a time on this machine, as a field for dates has it. */
export function dayOf(time) {
  const date = new Date(time);
  return [date.getFullYear(), date.getMonth() + 1, date.getDate()].map((part) => String(part).padStart(2, "0")).join("-");
}

/** The day after a day. Days may have 23 or 25 hours. */
export function dayAfter(day) {
  const [year, month, date] = day.split("-").map(Number);
  return dayOf(new Date(year, month - 1, date + 1, 12));
}

/** Items with a `time` in groups of one day: [["2026-11-29", [item, ...]], ...], in their order. */
export function byDay(items) {
  const days = new Map();
  for (const item of items) {
    const day = dayOf(item.time);
    days.set(day, [...(days.get(day) ?? []), item]);
  }
  return [...days];
}
